// SPDX-License-Identifier: Apache-2.0
/// pool: the windows of an output row, and the walks over them that the vector rows share. After the isa header.
///
/// Sums run in 16 bits for at most kExactPixels pixels (257 * 255 < 2^16), then go to 32 bits.
#pragma once
#include "kernels/pool/pool.h"

namespace ek {
namespace {

constexpr int32_t kExactPixels = 257;

/// The part of a window that lies inside the image.
struct Window {
  const uint8_t* const* rows;
  const uint8_t* top[3];  ///< first pixel of the first rows
  ptrdiff_t first;        ///< bytes from pixel 0 of a row
  int32_t row_count, columns;
  ptrdiff_t px;
};

/// Makes whole rows that lie dense behind each other one row: what a pool of all pixels reads.
EK_INLINE void join_rows(Window& in) {
  const ptrdiff_t row = in.columns * in.px;
  for (int32_t ky = 1; ky < in.row_count; ++ky) {
    if (in.rows[ky] - in.rows[ky - 1] != row) return;
  }
  in.columns *= in.row_count;
  in.row_count = 1;
}

EK_INLINE Window window(const PoolArgs& args, int32_t x) {
  const int32_t left = x * args.sx - args.left;
  const int32_t x0 = left > 0 ? left : 0, x1 = left + args.kw < args.w ? left + args.kw : args.w;
  Window in = {args.rows, {}, x0 * args.in_px, args.row_count, x1 - x0, args.in_px};
  EK_UNROLL
  for (int ky = 0; ky < 3; ++ky) in.top[ky] = args.rows[ky < in.row_count ? ky : 0] + in.first;
  if (in.columns == args.w && in.row_count > 3) join_rows(in);
  return in;
}

/// pixel(window, address) for each output pixel.
template <class Pixel>
EK_INLINE void each_window(const PoolArgs& args, const Pixel& pixel) {
  for (int32_t x = 0; x < args.m; ++x) pixel(window(args, x), args.y + x * args.y_px);
}

/// A window of kRows x kColumns pixels; 0: as many as the window says.
template <int32_t kRowCount, int32_t kColumnCount>
struct Size {
  static constexpr int32_t kRows = kRowCount, kColumns = kColumnCount;
};

/// pixel(Size) of a window: the common ones are known when compiling.
template <class Pixel>
EK_INLINE void by_size(const Window& in, const Pixel& pixel) {
  in.row_count == 2 && in.columns == 2   ? pixel(Size<2, 2>{})
  : in.row_count == 3 && in.columns == 3 ? pixel(Size<3, 3>{})
                                         : pixel(Size<0, 0>{});
}

/// add(part) for parts of at most kExactPixels pixels.
template <class Add>
EK_INLINE void each_part(const Window& in, const Add& add) {
  if (in.row_count * in.columns <= kExactPixels) return add(in);
  for (int32_t ky = 0; ky < in.row_count; ++ky) {
    for (int32_t kx = 0; kx < in.columns; kx += kExactPixels) {
      const int32_t left = in.columns - kx;
      const ptrdiff_t first = in.first + kx * in.px;
      add(Window{in.rows + ky, {}, first, 1, left < kExactPixels ? left : kExactPixels, in.px});
    }
  }
}

/// add(row) for all rows of an image, which are one where they lie dense.
template <class Add>
EK_INLINE void each_row(const MeanArgs& args, const Add& add) {
  const Nhwc& x = args.shape;
  const bool one_row = x.row == ptrdiff_t{x.w} * x.px;
  const int32_t rows = one_row ? 1 : x.h, columns = one_row ? x.h * x.w : x.w;
  for (int32_t i = 0; i < rows; ++i) {
    const uint8_t* row = args.in + i * x.row;
    add(Window{&row, {}, 0, 1, columns, x.px});
  }
}

/// Pixels of an average: those inside the image, and those it divides by.
struct Count {
  int32_t inside, all;
};

EK_INLINE Count count_of(const PoolArgs& args, const Window& in) {
  const int32_t inside = in.row_count * in.columns;
  return {inside, args.count_include_pad ? args.kh * args.kw : inside};
}

}  // namespace
}  // namespace ek
