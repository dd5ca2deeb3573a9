// SPDX-License-Identifier: Apache-2.0
/// pool in plain C++, for CPUs without any of the ISA rows:
///
///   max      y = clamp(max of the window's pixels)
///   average  y = clamp(S / n, half away from the origin)       equal quantisation in and out, bytes less the origin
///            y = clamp(rne(float(S - n * zx) * m(n)) + zy)     otherwise, m(n) = s_in / (s_out * n)
///   mean     the second form over all pixels, with m from the file
///
/// Channels are innermost, kBlock at a time in a local accumulator, so that a compiler turns the loops into vectors of
/// whatever the baseline has (SSE2: pmaxub, punpck and paddd).
/// Bounds: |S - n * zx| <= 255 n, and the loader refuses windows of more than 2^23 pixels.
/// rne is one addition: for |t| <= 2^22 the sum t + 1.5 * 2^23 has ulp 1, so it rounds to an integer, ties to even,
/// and that integer stands in the low bits. Clipping comes first and leaves |t| <= 255.
/// Memory: reads c bytes of each pixel inside the image, no halo; writes c bytes of each output pixel.
#include <cstring>

#include "kernels/pool/pool.h"

namespace ek {
namespace {

constexpr int32_t kBlock = 32;

/// The part of a window that lies inside the image.
struct Window {
  const uint8_t* const* rows;
  ptrdiff_t first;  ///< bytes from pixel 0 of a row
  int32_t row_count, columns;
  ptrdiff_t px;
};

Window window(const PoolArgs& args, int32_t x) {
  const int32_t left = x * args.sx - args.left;
  const int32_t x0 = left > 0 ? left : 0, x1 = left + args.kw < args.w ? left + args.kw : args.w;
  return {args.rows, x0 * args.in_px, args.row_count, x1 - x0, args.in_px};
}

/// In the functions below `n` is the constant kBlock in the full case.

inline void max_block(const Window& in, int32_t c, int32_t n, uint8_t lo, uint8_t hi, uint8_t* y) {
  uint8_t top[kBlock];
  for (int32_t i = 0; i < n; ++i) top[i] = lo;
  for (int32_t ky = 0; ky < in.row_count; ++ky) {
    const uint8_t* x = in.rows[ky] + in.first + c;
    for (int32_t kx = 0; kx < in.columns; ++kx, x += in.px) {
      for (int32_t i = 0; i < n; ++i) top[i] = x[i] > top[i] ? x[i] : top[i];
    }
  }
  for (int32_t i = 0; i < n; ++i) y[i] = top[i] < hi ? top[i] : hi;
}

inline void add_block(const Window& in, int32_t c, int32_t n, int32_t (&sum)[kBlock]) {
  for (int32_t ky = 0; ky < in.row_count; ++ky) {
    const uint8_t* x = in.rows[ky] + in.first + c;
    for (int32_t kx = 0; kx < in.columns; ++kx, x += in.px) {
      for (int32_t i = 0; i < n; ++i) sum[i] += x[i];
    }
  }
}

/// `offset` is what the zero points add to each sum.
inline void scale_block(const int32_t (&sum)[kBlock], int32_t offset, float m, const Requant& out, int32_t n,
                        uint8_t* y) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23, bits 0x4b400000
  float t[kBlock] = {};
  int32_t rounded[kBlock];
  for (int32_t i = 0; i < n; ++i) {
    t[i] = static_cast<float>(sum[i] - offset) * m;
    t[i] = t[i] < out.lo ? out.lo : t[i];
    t[i] = t[i] > out.hi ? out.hi : t[i];
    t[i] += kMagic;
  }
  std::memcpy(rounded, t, sizeof(rounded));
  for (int32_t i = 0; i < n; ++i) y[i] = static_cast<uint8_t>(rounded[i] - 0x4b400000 + out.zero);
}

inline void divide_block(const int32_t (&sum)[kBlock], int32_t offset, int32_t count, const PoolArgs& args, int32_t n,
                         uint8_t* y) {
  for (int32_t i = 0; i < n; ++i) {
    const int32_t s = sum[i] - offset;
    const int32_t half = s < 0 ? -(count / 2) : count / 2;
    const int32_t u = (s + half) / count + args.origin;  // C's division rounds toward zero
    y[i] = static_cast<uint8_t>(u < args.lo ? args.lo : u > args.hi ? args.hi : u);
  }
}

void average_pixel(const PoolArgs& args, int32_t x, const Requant& out) {
  const Window in = window(args, x);
  const int32_t inside = in.row_count * in.columns;
  const int32_t count = args.count_include_pad ? args.kh * args.kw : inside;
  const float m = args.s_in / (args.s_out * static_cast<float>(count));
  uint8_t* y = args.y + x * args.y_px;
  for (int32_t c = 0; c < args.c; c += kBlock) {
    int32_t sum[kBlock] = {};
    const int32_t n = args.c - c < kBlock ? args.c - c : kBlock;
    if (n == kBlock) {
      add_block(in, c, kBlock, sum);
    } else {
      add_block(in, c, n, sum);
    }
    if (args.same_scale) {  // pad pixels add their zero point
      divide_block(sum, inside * args.origin - (count - inside) * (args.zero_in - args.origin), count, args, n, y + c);
    } else {
      scale_block(sum, inside * args.zero_in, m, out, n, y + c);
    }
  }
}

}  // namespace

void pool_max_scalar(const PoolArgs& args) {
  for (int32_t x = 0; x < args.m; ++x) {
    const Window in = window(args, x);
    uint8_t* y = args.y + x * args.y_px;
    int32_t c = 0;
    for (; c + kBlock <= args.c; c += kBlock) max_block(in, c, kBlock, args.lo, args.hi, y + c);
    if (c < args.c) max_block(in, c, args.c - c, args.lo, args.hi, y + c);
  }
}

void pool_average_scalar(const PoolArgs& args) {
  const Requant out{static_cast<float>(args.lo - args.zero_out), static_cast<float>(args.hi - args.zero_out),
                    args.zero_out};
  for (int32_t x = 0; x < args.m; ++x) average_pixel(args, x, out);
}

void pool_mean_scalar(const MeanArgs& args) {
  const int32_t offset = args.shape.h * args.shape.w * args.zero_in;
  for (int32_t c = 0; c < args.shape.c; c += kBlock) {
    int32_t sum[kBlock] = {};
    const int32_t n = args.shape.c - c < kBlock ? args.shape.c - c : kBlock;
    for (int32_t y = 0; y < args.shape.h; ++y) {
      const uint8_t* row = args.in + y * args.shape.row;
      const Window in{&row, 0, 1, args.shape.w, args.shape.px};
      if (n == kBlock) {
        add_block(in, c, kBlock, sum);
      } else {
        add_block(in, c, n, sum);
      }
    }
    scale_block(sum, offset, args.m, args.out, n, args.y + c);
  }
}

}  // namespace ek
