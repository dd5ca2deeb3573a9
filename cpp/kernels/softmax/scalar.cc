// SPDX-License-Identifier: Apache-2.0
/// softmax in plain C++, for every CPU:
///
///   e(i) = table[max(x) - x(i)];  S = sum of e, uint64;  p(i) = float(e(i)) / float(S)
///   y(i) = clip(p(i) / s_y), rne, + zy
///
/// Algebra: e <= 2^23 is exact in float; S rounds once. Both divisions are true divisions, never products with a
/// reciprocal. Bounds: S <= 2^23 * c < 2^63.
/// rne is one addition: for |t| <= 2^22 the sum t + 1.5 * 2^23 has ulp 1, so it rounds to an integer, ties to even,
/// and that integer stands in the low bits. Clipping comes first and leaves |t| <= 255.
/// Memory: reads c bytes twice; writes c floats, or c bytes.
#include <cstring>

#include "kernels/softmax/softmax.h"

namespace ek {
namespace {

uint8_t requantise(float t, const Requant& out) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23, bits 0x4b400000
  t = t < out.lo ? out.lo : t;
  t = t > out.hi ? out.hi : t;
  t += kMagic;
  int32_t rounded;
  std::memcpy(&rounded, &t, sizeof(rounded));
  return static_cast<uint8_t>(rounded - 0x4b400000 + out.zero);
}

}  // namespace

void softmax_scalar(const SoftmaxArgs& args) {
  const uint8_t* x = args.x;
  uint8_t top = 0;
  for (int32_t i = 0; i < args.c; ++i) top = x[i] > top ? x[i] : top;
  int64_t sum = 0;
  for (int32_t i = 0; i < args.c; ++i) sum += args.table[top - x[i]];
  const float whole = static_cast<float>(sum);
  for (int32_t i = 0; i < args.c; ++i) {
    const float p = static_cast<float>(static_cast<int32_t>(args.table[top - x[i]])) / whole;
    if (args.p) args.p[i] = p;
    if (args.y) args.y[i] = requantise(p / args.s_out, args.out);
  }
}

}  // namespace ek
