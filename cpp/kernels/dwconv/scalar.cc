// SPDX-License-Identifier: Apache-2.0
/// dwconv in plain C++, for CPUs without any of the ISA rows and for every shape those rows decline:
///
///   y(x, c) = requant(bias(c) + sum over ky < kh, kx < kw of rows[ky][(x*sx + kx*dx)*px + c] * w(ky, kx, c), scale(c))
///
/// Channels are innermost, 16 at a time in a local accumulator, so that a compiler turns the loops into vectors of
/// whatever the baseline has.
/// Algebra: a byte times an int8 weight is at most 255 * 128 = 32640 in size, so each product is exact in int16 and
/// one 16-bit multiply suffices (SSE2: pmullw); the sum is uint32_t and may wrap on the way, the true sum fits int32
/// (proved by the verifier). rne is one addition: for |t| <= 2^22 the sum t + 1.5 * 2^23 has ulp 1, so it rounds to
/// an integer, ties to even, and that integer stands in the low bits. Clipping comes first and leaves |t| <= 255.
/// Memory: reads c bytes of each tap of each pixel, weights, bias and scale of c channels; writes c bytes a pixel.
#include <cstring>

#include "kernels/dwconv/dwconv.h"

namespace ek {
namespace {

constexpr int32_t kBlock = 16;

/// One kernel column after the other of up to kBlock channels; `n` is a constant in the full case.
inline void accumulate(const DwConvArgs& args, int32_t x, int32_t c, int32_t n, uint32_t (&acc)[kBlock]) {
  const int8_t* w = static_cast<const int8_t*>(args.w) + c;
  for (int32_t ky = 0; ky < args.kh; ++ky) {
    const uint8_t* in = args.rows[ky] + ptrdiff_t{x} * args.sx * args.in_px + c;
    for (int32_t kx = 0; kx < args.kw; ++kx) {
      for (int32_t i = 0; i < n; ++i) {
        const int16_t product = static_cast<int16_t>(in[i] * w[i]);
        acc[i] += static_cast<uint32_t>(int32_t{product});
      }
      in += args.dx * args.in_px;
      w += args.c;
    }
  }
}

inline void requantise(const Requant& out, const uint32_t (&acc)[kBlock], const float* scale, int32_t n, uint8_t* y) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23, bits 0x4b400000
  int32_t sum[kBlock], rounded[kBlock];
  float t[kBlock] = {};
  std::memcpy(sum, acc, sizeof(sum));
  for (int32_t i = 0; i < n; ++i) {
    t[i] = static_cast<float>(sum[i]) * scale[i];
    t[i] = t[i] < out.lo ? out.lo : t[i];
    t[i] = t[i] > out.hi ? out.hi : t[i];
    t[i] += kMagic;
  }
  std::memcpy(rounded, t, sizeof(rounded));
  for (int32_t i = 0; i < n; ++i) y[i] = static_cast<uint8_t>(rounded[i] - 0x4b400000 + out.zero);
}

inline void block(const DwConvArgs& args, int32_t x, int32_t c, int32_t n) {
  uint32_t acc[kBlock] = {};
  std::memcpy(acc, args.bias + c, sizeof(int32_t) * static_cast<size_t>(n));
  accumulate(args, x, c, n, acc);
  requantise(args.out, acc, args.scale + c, n, args.y + x * args.y_px + c);
}

}  // namespace

void dwconv_u8_scalar(const DwConvArgs& args) {
  for (int32_t x = 0; x < args.m; ++x) {
    int32_t c = 0;
    for (; c + kBlock <= args.c; c += kBlock) block(args, x, c, kBlock);
    if (c < args.c) block(args, x, c, args.c - c);
  }
}

}  // namespace ek
