// SPDX-License-Identifier: Apache-2.0
/// layernorm in plain C++, for every CPU:
///
///   S = sum of x, Q = sum of x^2, v = c * Q - S^2;  r = 1 / sqrt(float(v) + epsilon)
///   y(i) = clip(float(c * x(i) - S) * r * g(i) + b(i)), rne, + zero
///
/// Algebra: v and c * x - S are the same whatever is added to every x, so the biased bytes serve and the zero point of
/// the input never appears. The square root and the division are the correctly rounded ones of IEEE 754.
/// Bounds: c <= 2^23, so S <= 255 * 2^23 < 2^31 and |c * x - S| < 2^31; Q < 2^39 and c * Q < 2^62; v <= 2^60 is at
/// least 0. epsilon >= 2^-126, so a row of equal bytes has r <= 2^63 and float(0) * r = 0: no NaN.
/// rne is one addition: for |t| <= 2^22 the sum t + 1.5 * 2^23 has ulp 1, so it rounds to an integer, ties to even,
/// and that integer stands in the low bits. Clipping comes first and leaves |t| <= 255.
/// Memory: reads c bytes of each pixel twice, c constants of each kind; writes c bytes of each pixel. y may be x.
#include <cmath>
#include <cstring>

#include "kernels/layernorm/layernorm.h"

namespace ek {
namespace {

constexpr int32_t kRun = 1 << 15;  // bytes whose squares add up to less than 2^31

/// c * Q - S^2; S by reference.
int64_t spread(const uint8_t* x, int32_t c, int32_t* sum) {
  int32_t total = 0;
  int64_t squares = 0;
  for (int32_t i = 0; i < c; i += kRun) {
    const int32_t end = c - i < kRun ? c : i + kRun;
    int32_t part = 0;
    for (int32_t k = i; k < end; ++k) {
      total += x[k];
      part += x[k] * x[k];
    }
    squares += part;
  }
  *sum = total;
  return c * squares - int64_t{total} * total;
}

}  // namespace

void layernorm_scalar(const LayerNormArgs& args) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23, bits 0x4b400000
  const float lo = args.out.lo, hi = args.out.hi;
  for (int32_t p = 0; p < args.pixels; ++p) {
    const uint8_t* x = args.x + p * args.x_px;
    uint8_t* y = args.y + p * args.y_px;
    int32_t sum;
    const float v = static_cast<float>(spread(x, args.c, &sum));
    const float r = 1.0f / std::sqrt(v + args.epsilon);
    for (int32_t i = 0; i < args.c; ++i) {
      float t = static_cast<float>(args.c * x[i] - sum) * r;
      t = t * args.g[i];
      t = t + args.b[i];
      t = t < lo ? lo : t;
      t = t > hi ? hi : t;
      t += kMagic;
      int32_t rounded;
      std::memcpy(&rounded, &t, sizeof(rounded));
      y[i] = static_cast<uint8_t>(rounded - 0x4b400000 + args.out.zero);
    }
  }
}

}  // namespace ek
