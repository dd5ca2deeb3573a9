// SPDX-License-Identifier: Apache-2.0
/// eltwise in plain C++, for CPUs without any of the ISA rows:
///
///   add     y = clamp((((a - za) * m + (b - zb) * n + 2^(shift-1)) >> shift) + zy, lo, hi)
///   affine  y = requant(x * w(c) + bias(c), scale(c))
///   table   y = table[x]
///   mul     y = requant((a - za) * (b - zb), m)
///
/// Channels go kBlock at a time through local arrays, so that a compiler turns the loops into vectors of whatever the
/// baseline has.
/// Bounds: |a - za| <= 255, 0 <= m, n <= 2^21 and shift <= 30, so the sum stays below 2 * 255 * 2^21 + 2^29 < 2^31.
/// rne is one addition: for |t| <= 2^22 the sum t + 1.5 * 2^23 has ulp 1, so it rounds to an integer, ties to even,
/// and that integer stands in the low bits. Clipping comes first and leaves |t| <= 255.
/// A product of mul is at most 255^2, which a float holds exactly.
/// Memory: reads and writes c bytes of each pixel. y may be a, b or x itself (of mul with b_px = 0: a).
#include <cstring>

#include "kernels/eltwise/eltwise.h"

namespace ek {
namespace {

constexpr int32_t kBlock = 32;

/// In the functions below `n` is the constant kBlock in the full case.

inline void add_block(const AddArgs& args, const uint8_t* a, const uint8_t* b, int32_t n, uint8_t* y) {
  const int32_t m = args.m, k = args.n, shift = args.shift, zy = args.zy, lo = args.lo, hi = args.hi;
  const int32_t rest = (1 << (shift - 1)) - args.za * m - args.zb * k;  // one constant for both zero points
  uint8_t u[kBlock];
  for (int32_t i = 0; i < n; ++i) {
    const int32_t v = ((a[i] * m + b[i] * k + rest) >> shift) + zy;
    u[i] = static_cast<uint8_t>(v < lo ? lo : v > hi ? hi : v);
  }
  std::memcpy(y, u, static_cast<size_t>(n));
}

inline void affine_block(const AffineArgs& args, const uint8_t* x, int32_t c, int32_t n, uint8_t* y) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23, bits 0x4b400000
  const float lo = args.out.lo, hi = args.out.hi;
  const int8_t* w = args.w + c;
  const int32_t* bias = args.bias + c;
  const float* scale = args.scale + c;
  float t[kBlock] = {};
  int32_t rounded[kBlock];
  uint8_t u[kBlock];
  for (int32_t i = 0; i < n; ++i) {
    // the folded bias may have wrapped; the sum has not
    const uint32_t acc = static_cast<uint32_t>(bias[i]) + static_cast<uint32_t>(x[i] * w[i]);
    t[i] = static_cast<float>(static_cast<int32_t>(acc)) * scale[i];
    t[i] = t[i] < lo ? lo : t[i];
    t[i] = t[i] > hi ? hi : t[i];
    t[i] += kMagic;
  }
  std::memcpy(rounded, t, sizeof(rounded));
  for (int32_t i = 0; i < n; ++i) u[i] = static_cast<uint8_t>(rounded[i] - 0x4b400000 + args.out.zero);
  std::memcpy(y, u, static_cast<size_t>(n));
}

inline void mul_block(const MulArgs& args, const uint8_t* a, const uint8_t* b, int32_t n, uint8_t* y) {
  constexpr float kMagic = 12582912.0f;
  const float m = args.m, lo = args.out.lo, hi = args.out.hi;
  const int32_t za = args.za, zb = args.zb;
  float v[kBlock] = {};
  int32_t rounded[kBlock];
  uint8_t u[kBlock];
  for (int32_t i = 0; i < n; ++i) {
    v[i] = static_cast<float>((a[i] - za) * (b[i] - zb)) * m;
    v[i] = v[i] < lo ? lo : v[i];
    v[i] = v[i] > hi ? hi : v[i];
    v[i] += kMagic;
  }
  std::memcpy(rounded, v, sizeof(rounded));
  for (int32_t i = 0; i < n; ++i) u[i] = static_cast<uint8_t>(rounded[i] - 0x4b400000 + args.out.zero);
  std::memcpy(y, u, static_cast<size_t>(n));
}

}  // namespace

void eltwise_add_scalar(const AddArgs& args) {
  const int32_t length = args.c;
  for (int32_t p = 0; p < args.pixels; ++p) {
    const uint8_t *a = args.a + p * args.a_px, *b = args.b + p * args.b_px;
    uint8_t* y = args.y + p * args.y_px;
    int32_t i = 0;
    for (; i + kBlock <= length; i += kBlock) add_block(args, a + i, b + i, kBlock, y + i);
    if (i < length) add_block(args, a + i, b + i, length - i, y + i);
  }
}

void eltwise_affine_scalar(const AffineArgs& args) {
  for (int32_t p = 0; p < args.pixels; ++p) {
    const uint8_t* x = args.x + p * args.x_px;
    uint8_t* y = args.y + p * args.y_px;
    int32_t c = 0;
    for (; c + kBlock <= args.c; c += kBlock) affine_block(args, x + c, c, kBlock, y + c);
    if (c < args.c) affine_block(args, x + c, c, args.c - c, y + c);
  }
}

void eltwise_table_scalar(const TableArgs& args) {
  const int32_t length = args.c;
  const uint8_t* table = args.table;
  for (int32_t p = 0; p < args.pixels; ++p) {
    const uint8_t* x = args.x + p * args.x_px;
    uint8_t* y = args.y + p * args.y_px;
    for (int32_t i = 0; i < length; ++i) y[i] = table[x[i]];
  }
}

void eltwise_mul_scalar(const MulArgs& args) {
  for (int32_t p = 0; p < args.pixels; ++p) {
    const uint8_t* a = args.a + p * args.a_px;
    const uint8_t* b = args.b + p * args.b_px;
    uint8_t* y = args.y + p * args.y_px;
    int32_t c = 0;
    for (; c + kBlock <= args.c; c += kBlock) mul_block(args, a + c, b + c, kBlock, y + c);
    if (c < args.c) mul_block(args, a + c, b + c, args.c - c, y + c);
  }
}

}  // namespace ek
