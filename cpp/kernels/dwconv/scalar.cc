// SPDX-License-Identifier: Apache-2.0
/// dwconv in plain C++, for CPUs without any of the ISA rows and for every shape those rows decline:
///
///   y(x, c) = requant(bias(c) + sum over ky < kh, kx < kw of rows[ky][(x*sx + kx*dx)*px + c] * w(ky, kx, c), scale(c))
///
/// Channels are innermost, always 32 at a time in a local accumulator, so that a compiler turns the loops into
/// vectors of whatever the baseline has.
/// Algebra: a byte times an int8 weight is at most 255 * 128 = 32640 in size, so each product is exact in int16 and
/// one 16-bit multiply suffices (SSE2: pmullw); the sum is uint32_t and may wrap on the way, the true sum fits int32
/// (proved by the verifier). rne is one addition: for |t| <= 2^22 the sum t + 1.5 * 2^23 has ulp 1, so it rounds to
/// an integer, ties to even, and that integer stands in the low bits. Clipping comes first and leaves |t| <= 255.
/// Memory: reads up to 31 bytes behind a pixel's last channel (arena slack), under weights of 0; writes c bytes a
/// pixel.
#include <cstring>

#include "kernels/dwconv/dwconv.h"

namespace ek {
namespace {

constexpr int32_t kBlock = 32;  // GCC unrolls loops of 16 whole, and what is left it does not turn into vectors

inline void accumulate(const DwConvArgs& args, int32_t x, int32_t c, uint32_t (&acc)[kBlock]) {
  const int8_t* w = static_cast<const int8_t*>(args.w) + c;
  const ptrdiff_t w_tap = round_up(args.c, kBlock);
  std::memcpy(acc, args.bias + c, sizeof(acc));
  for (int32_t ky = 0; ky < args.kh; ++ky) {
    const uint8_t* in = args.rows[ky] + ptrdiff_t{x} * args.sx * args.in_px + c;
    for (int32_t kx = 0; kx < args.kw; ++kx, in += args.dx * args.in_px, w += w_tap) {
      for (int32_t i = 0; i < kBlock; ++i) {
        const int16_t product = static_cast<int16_t>(in[i] * w[i]);
        acc[i] += static_cast<uint32_t>(int32_t{product});
      }
    }
  }
}

inline void requantise(const Requant& out, const uint32_t (&acc)[kBlock], const float* scale, uint8_t (&u)[kBlock]) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23, bits 0x4b400000
  int32_t sum[kBlock], rounded[kBlock];
  float t[kBlock];
  std::memcpy(sum, acc, sizeof(sum));
  for (int32_t i = 0; i < kBlock; ++i) {
    t[i] = static_cast<float>(sum[i]) * scale[i];
    t[i] = t[i] < out.lo ? out.lo : t[i];
    t[i] = t[i] > out.hi ? out.hi : t[i];
    t[i] += kMagic;
  }
  std::memcpy(rounded, t, sizeof(rounded));
  for (int32_t i = 0; i < kBlock; ++i) u[i] = static_cast<uint8_t>(rounded[i] - 0x4b400000 + out.zero);
}

}  // namespace

void dwconv_u8_scalar(const DwConvArgs& args) {
  for (int32_t x = 0; x < args.m; ++x) {
    for (int32_t c = 0; c < args.c; c += kBlock) {
      uint32_t acc[kBlock];
      uint8_t u[kBlock];
      accumulate(args, x, c, acc);
      requantise(args.out, acc, args.scale + c, u);
      uint8_t* y = args.y + x * args.y_px + c;
      if (args.c - c >= kBlock) {
        std::memcpy(y, u, kBlock);
      } else {
        std::memcpy(y, u, static_cast<size_t>(args.c - c));
      }
    }
  }
}

}  // namespace ek
