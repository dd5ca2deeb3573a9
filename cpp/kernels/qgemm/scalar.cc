// SPDX-License-Identifier: Apache-2.0
/// qgemm in plain C++, for CPUs without any of the ISA rows, and the ancestor of the others:
///
///   y(i, n) = requant(bias(n) + sum over taps, k of a(i; tap, k) * w(n; tap, k), scale(n))
///
/// Tile 4 x 8, k in steps of 1: the column loop is innermost, so that a compiler turns it into vectors of whatever
/// the baseline has (SSE2: pmullw/pmulhw on the widened weights, shared by the four pixels).
/// Bounds: sums are uint32_t and may wrap on the way; the true sum fits int32 (proved by the verifier).
/// rne is one addition: for |t| <= 2^22 the sum t + 1.5 * 2^23 has ulp 1, so it rounds to an integer, ties to even,
/// and that integer stands in the low bits. Clipping comes first and leaves |t| <= 255.
/// Memory: reads kc elements of each tap of each pixel, the whole panel, 8 biases and scales; writes n columns.
#include <cstring>

#include "kernels/qgemm/qgemm.h"

namespace ek {
namespace {

constexpr int32_t kMr = 4, kNr = 8;

template <int MR>
void accumulate(const QGemmArgs& args, int32_t i, uint32_t (&acc)[MR][kNr]) {
  for (auto& row : acc) std::memcpy(row, args.bias, sizeof(row));
  const int8_t* w = static_cast<const int8_t*>(args.w);
  for (int32_t ky = 0; ky < args.kh; ++ky) {
    for (int32_t kx = 0; kx < args.kw; ++kx) {
      const uint8_t* a = args.rows[ky] + i * args.a_px + kx * args.a_kx;
      for (int32_t k = 0; k < args.kc; ++k, ++a, w += kNr) {
        for (int p = 0; p < MR; ++p) {
          const int16_t a_s16 = a[p * args.a_px];
          for (int n = 0; n < kNr; ++n) acc[p][n] += static_cast<uint32_t>(a_s16 * w[n]);
        }
      }
    }
  }
}

void requantise(const QGemmArgs& args, const uint32_t (&acc)[kNr], uint8_t (&u)[kNr]) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23, bits 0x4b400000
  const Requant out = args.out;          // a copy that no store to u can change
  int32_t sum[kNr], rounded[kNr];
  float t[kNr];
  std::memcpy(sum, acc, sizeof(sum));
  for (int n = 0; n < kNr; ++n) {
    t[n] = static_cast<float>(sum[n]) * args.scale[n];
    t[n] = t[n] < out.lo ? out.lo : t[n];
    t[n] = t[n] > out.hi ? out.hi : t[n];
    t[n] += kMagic;
  }
  std::memcpy(rounded, t, sizeof(rounded));
  for (int n = 0; n < kNr; ++n) u[n] = static_cast<uint8_t>(rounded[n] - 0x4b400000 + out.zero);
}

void store(const uint8_t (&u)[kNr], uint8_t* y, int32_t count) {
  if (count == kNr) {
    std::memcpy(y, u, sizeof(u));
  } else {
    for (int32_t n = 0; n < count; ++n) y[n] = u[n];
  }
}

template <int MR>
void tile(const QGemmArgs& args, int32_t i) {
  uint32_t acc[MR][kNr];
  accumulate(args, i, acc);
  for (int p = 0; p < MR; ++p) {
    uint8_t u[kNr];
    requantise(args, acc[p], u);
    store(u, args.y + (i + p) * args.y_px, args.n);
  }
}

}  // namespace

void qgemm_u8_4x8x1_scalar(const QGemmArgs& args) {
  int32_t i = 0;
  for (; i + kMr <= args.m; i += kMr) tile<kMr>(args, i);
  for (; i < args.m; ++i) tile<1>(args, i);
}

void widen_scalar(const uint8_t* u8, int32_t count, int16_t* s16) {
  for (int32_t i = 0; i < count; ++i) s16[i] = u8[i];
}

}  // namespace ek
