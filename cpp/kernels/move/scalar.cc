// SPDX-License-Identifier: Apache-2.0
/// move in plain C++, for every CPU:
///
///   copy  y[i . y_stride] = table ? table[x[i . x_stride]] : x[i . x_stride]
///   halo  every pixel of the border = zero
///
/// Dense runs are memcpy. Memory: reads and writes exactly the bytes named; x and y do not overlap.
#include <cstring>

#include "base/nest.h"
#include "kernels/move/halo.h"

namespace ek {

void move_copy_scalar(const MoveArgs& args) {
  const Nest nest(args.extent, args.x_stride, args.y_stride);
  if (const uint8_t* table = args.table) {
    nest.for_each_row(args.x, args.y, [table](const uint8_t* x, uint8_t* y, ptrdiff_t n, ptrdiff_t sx, ptrdiff_t sy) {
      for (ptrdiff_t i = 0; i < n; ++i) y[i * sy] = table[x[i * sx]];
    });
    return;
  }
  nest.for_each_row(args.x, args.y, [](const uint8_t* x, uint8_t* y, ptrdiff_t n, ptrdiff_t sx, ptrdiff_t sy) {
    if (sx == 1 && sy == 1) {
      std::memcpy(y, x, static_cast<size_t>(n));
      return;
    }
    for (ptrdiff_t i = 0; i < n; ++i) y[i * sy] = x[i * sx];
  });
}

void move_halo_scalar(const Nhwc& shape, uint8_t* base, uint8_t zero) {
  each_halo_run(shape, base, [zero](uint8_t* y, size_t n) { std::memset(y, zero, n); });
}

}  // namespace ek
