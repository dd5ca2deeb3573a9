// SPDX-License-Identifier: Apache-2.0
/// wide in plain C++, for every CPU:
///
///   conv, dwconv  high = sum(hi * w), low = sum(lo * w) + bias; t = (float(high) * 256 + float(low)) * m
///                 of bytes: t = float(sum((u - zero) * w) + bias) * m
///   add           t = float(a - za) * ra + float(b - zb) * rb
///   mul           t = float((a - za) * (b - zb)) * ra
///   mean          t = float(S - n * zero) * m
///   move          t = float(x - zero) * m, of a strided copy
///   all           y = int(rne(clip(t, lo, hi))) + zero
///
/// Channels and columns go in blocks through local arrays, so that a compiler turns the loops into vectors of whatever
/// the baseline has. Products with 256 are exact; the other operations round once each, in the order written.
/// Bounds: the verifier proves sum|w| * 255 + |bias| < 2^31 where the input is 16-bit, so neither sum overflows in any
/// order (|hi| <= 128, 0 <= lo <= 255); of bytes it proves the same with max|u - zero|. |S| <= 2^15 * 2^23, and
/// a product of mul is at most 2^30.
/// rne is one addition: for |t| <= 2^22 the sum t + 1.5 * 2^23 has ulp 1, so it rounds to an integer, ties to even, and
/// that integer stands in the low bits. Clipping comes first and leaves |t| <= 2^15.
/// Memory: reads and writes c elements (conv: n) of each pixel; of the depthwise weights whole blocks. y of add may be
/// a or b where the elements are equally large.
#include <cstring>

#include "base/nest.h"
#include "kernels/wide/wide.h"

namespace ek {
namespace {

constexpr int32_t kBlock = kWideLanes;

/// Clips, rounds and stores the first n of kBlock values.
inline void store(float* t, int32_t n, const WideOut& out, uint8_t* y) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23, bits 0x4b400000
  const float lo = out.to.lo, hi = out.to.hi;
  int32_t rounded[kBlock];
  for (int32_t i = 0; i < kBlock; ++i) {
    t[i] = t[i] < lo ? lo : t[i];
    t[i] = t[i] > hi ? hi : t[i];
    t[i] += kMagic;
  }
  std::memcpy(rounded, t, sizeof(rounded));
  if (out.s16) {
    int16_t q[kBlock];
    for (int32_t i = 0; i < kBlock; ++i) q[i] = static_cast<int16_t>(rounded[i] - 0x4b400000);
    std::memcpy(y, q, static_cast<size_t>(n) * sizeof(int16_t));
  } else {
    uint8_t u[kBlock];
    for (int32_t i = 0; i < kBlock; ++i) u[i] = static_cast<uint8_t>(rounded[i] - 0x4b400000 + out.to.zero);
    std::memcpy(y, u, static_cast<size_t>(n));
  }
}

/// The first n elements less their zero point; the others are 0.
inline void load(const uint8_t* x, bool s16, int32_t zero, int32_t n, int32_t* v) {
  if (s16) {
    int16_t q[kBlock] = {};
    std::memcpy(q, x, static_cast<size_t>(n) * sizeof(int16_t));
    for (int32_t i = 0; i < kBlock; ++i) v[i] = q[i];
  } else {
    uint8_t u[kBlock] = {};
    std::memcpy(u, x, static_cast<size_t>(n));
    for (int32_t i = 0; i < kBlock; ++i) v[i] = u[i] - zero;
  }
}

/// Elements of c from pixel to pixel of c channels, in bytes.
inline ptrdiff_t at(int32_t c, bool s16) { return s16 ? 2 * ptrdiff_t{c} : c; }

/// t of a block from its sums; `high` is what a byte input leaves at 0.
template <bool kTwo>
inline void scaled(const int32_t* high, const int32_t* low, const float* scale, float* t) {
  for (int32_t i = 0; i < kBlock; ++i) {
    const auto rest = static_cast<float>(low[i]);
    t[i] = (kTwo ? static_cast<float>(high[i]) * 256.0f + rest : rest) * scale[i];
  }
}

template <bool kTwo>
void conv(const WideConvArgs& args) {
  const ptrdiff_t k = args.k;
  for (int32_t i = 0; i < args.m; ++i) {
    const int16_t* first = args.high + i * k;
    const int16_t* second = kTwo ? args.low + i * k : first;
    int32_t high[kBlock] = {}, low[kBlock];
    std::memcpy(low, args.bias, sizeof(low));
    const int8_t* w = args.w;
    for (ptrdiff_t j = 0; j < k; ++j, w += kBlock) {
      const int32_t a = first[j], b = second[j];
      for (int32_t n = 0; n < kBlock; ++n) {
        if (kTwo) high[n] += a * w[n];
        low[n] += b * w[n];
      }
    }
    float t[kBlock];
    scaled<kTwo>(high, low, args.scale, t);
    store(t, args.n, args.out, args.y + i * args.y_px);
  }
}

template <bool kTwo>
void dwconv_block(const WideDwConvArgs& args, int32_t i, int32_t c, int32_t n) {
  const ptrdiff_t lanes = (args.c + kBlock - 1) / kBlock * kBlock;
  const int8_t* w = args.w + c;
  int32_t high[kBlock] = {}, low[kBlock];
  std::memcpy(low, args.bias + c, sizeof(low));
  for (int32_t ky = 0; ky < args.kh; ++ky) {
    const uint8_t* in = args.rows[ky] + i * args.sx + at(c, kTwo);
    for (int32_t kx = 0; kx < args.kw; ++kx, in += args.dx, w += lanes) {
      int32_t v[kBlock];
      load(in, kTwo, args.zero, n, v);
      for (int32_t j = 0; j < kBlock; ++j) {
        if (kTwo) high[j] += (v[j] >> 8) * w[j];
        low[j] += (kTwo ? v[j] & 255 : v[j]) * w[j];
      }
    }
  }
  float t[kBlock];
  scaled<kTwo>(high, low, args.scale + c, t);
  store(t, n, args.out, args.y + i * args.y_px + at(c, args.out.s16));
}

inline int32_t block_at(int32_t c, int32_t count) { return count - c < kBlock ? count - c : kBlock; }

/// Sums or products of two tensors.
template <bool kAdd>
void pairs(const WidePairArgs& args) {
  const float ra = args.ra, rb = args.rb;
  for (int32_t p = 0; p < args.pixels; ++p) {
    const uint8_t *a = args.a + p * args.a_px, *b = args.b + p * args.b_px;
    uint8_t* y = args.y + p * args.y_px;
    for (int32_t c = 0; c < args.c; c += kBlock) {
      const int32_t n = block_at(c, args.c);
      int32_t va[kBlock], vb[kBlock];
      float t[kBlock];
      load(a + at(c, args.a_s16), args.a_s16, args.za, n, va);
      load(b + at(c, args.b_s16), args.b_s16, args.zb, n, vb);
      for (int32_t i = 0; i < kBlock; ++i) {
        t[i] = kAdd ? static_cast<float>(va[i]) * ra + static_cast<float>(vb[i]) * rb
                    : static_cast<float>(va[i] * vb[i]) * ra;
      }
      store(t, n, args.out, y + at(c, args.out.s16));
    }
  }
}

}  // namespace

void wide_conv_scalar(const WideConvArgs& args) { args.low == nullptr ? conv<false>(args) : conv<true>(args); }

void wide_dwconv_scalar(const WideDwConvArgs& args) {
  for (int32_t i = 0; i < args.m; ++i) {
    for (int32_t c = 0; c < args.c; c += kBlock) {
      const int32_t n = block_at(c, args.c);
      args.s16 ? dwconv_block<true>(args, i, c, n) : dwconv_block<false>(args, i, c, n);
    }
  }
}

void wide_add_scalar(const WidePairArgs& args) { pairs<true>(args); }

void wide_mul_scalar(const WidePairArgs& args) { pairs<false>(args); }

void wide_move_scalar(const MoveArgs& args, const WideMove& how) {
  const Nest nest(args.extent, args.x_stride, args.y_stride);
  const auto size_x = static_cast<size_t>(at(1, how.s16)), size_y = static_cast<size_t>(at(1, how.out.s16));
  nest.for_each_row(args.x, args.y, [&](const uint8_t* x, uint8_t* y, ptrdiff_t count, ptrdiff_t sx, ptrdiff_t sy) {
    for (ptrdiff_t i = 0; i < count; i += kBlock) {
      const auto n = static_cast<int32_t>(count - i < kBlock ? count - i : kBlock);
      uint8_t dense[2 * kBlock] = {};
      for (int32_t j = 0; j < n; ++j) std::memcpy(dense + static_cast<size_t>(j) * size_x, x + (i + j) * sx, size_x);
      int32_t v[kBlock];
      float t[kBlock];
      load(dense, how.s16, how.zero, n, v);
      for (int32_t j = 0; j < kBlock; ++j) t[j] = static_cast<float>(v[j]) * how.m;
      store(t, n, how.out, dense);
      for (int32_t j = 0; j < n; ++j) std::memcpy(y + (i + j) * sy, dense + static_cast<size_t>(j) * size_y, size_y);
    }
  });
}

void wide_mean_scalar(const WideMeanArgs& args) {
  const Nhwc& shape = args.shape;
  for (int32_t c = 0; c < shape.c; c += kBlock) {
    const int32_t n = block_at(c, shape.c);
    int64_t sum[kBlock] = {};
    for (int32_t y = 0; y < shape.h; ++y) {
      const uint8_t* in = args.in + y * shape.row + at(c, args.s16);
      for (int32_t x = 0; x < shape.w; ++x, in += shape.px) {
        int32_t v[kBlock];
        load(in, args.s16, args.zero, n, v);
        for (int32_t i = 0; i < kBlock; ++i) sum[i] += v[i];
      }
    }
    float t[kBlock];
    for (int32_t i = 0; i < kBlock; ++i) t[i] = static_cast<float>(sum[i]) * args.m;
    store(t, n, args.out, args.y + at(c, args.out.s16));
  }
}

}  // namespace ek
