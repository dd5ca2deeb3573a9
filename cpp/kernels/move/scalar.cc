// SPDX-License-Identifier: Apache-2.0
/// move in plain C++, for every CPU:
///
///   copy  y[i . y_stride] = table ? table[x[i . x_stride]] : x[i . x_stride]
///   halo  every pixel of the border = zero
///
/// Dense runs are memcpy. Memory: reads and writes exactly the bytes named; x and y do not overlap.
#include <cstring>

#include "base/nest.h"
#include "kernels/move/move.h"

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
  const auto px = static_cast<size_t>(shape.px), row = static_cast<size_t>(shape.row);
  const auto left = static_cast<size_t>(shape.left) * px, right = static_cast<size_t>(shape.right) * px;
  const size_t inner = static_cast<size_t>(shape.w) * px, whole = left + inner + right;
  const auto top = static_cast<size_t>(shape.top), bottom = static_cast<size_t>(shape.bottom);
  if (row == whole) {  // what is right of one row and left of the next is one run
    std::memset(base, zero, top * row + left);
    uint8_t* gap = base + top * row + left + inner;
    if (left + right != 0) {
      for (int32_t y = 1; y < shape.h; ++y, gap += row) std::memset(gap, zero, right + left);
    } else {
      gap += static_cast<size_t>(shape.h - 1) * row;
    }
    std::memset(gap, zero, right + bottom * row);
    return;
  }
  for (int32_t y = 0; y < shape.top + shape.h + shape.bottom; ++y, base += row) {
    if (y < shape.top || y >= shape.top + shape.h) {
      std::memset(base, zero, whole);
    } else {
      std::memset(base, zero, left);
      std::memset(base + left + inner, zero, right);
    }
  }
}

}  // namespace ek
