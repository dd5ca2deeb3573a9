// SPDX-License-Identifier: Apache-2.0
/// edge of int16 tensors in plain C++, for every CPU:
///
///   quantise    y = clamp(rne(x / s), -32768, 32767); NaN gives -32768
///   dequantise  x = float(y) * s
///
/// Few tensors are 16-bit and fewer are a port, so one element follows the other and nothing is made of blocks.
/// Clipping: `t > lo ? t : lo` gives lo for NaN; it comes before rounding and leaves |t| <= 2^15.
/// rne is one addition: for |t| <= 2^22 the sum t + 1.5 * 2^23 has ulp 1, so it rounds to an integer, ties to even.
/// Memory: reads and writes exactly the elements named; the caller's floats need no alignment.
#include <cstring>

#include "kernels/edge/run.h"

namespace ek {

void edge_quantise_s16_scalar(const EdgeRun& run);
void edge_dequantise_s16_scalar(const EdgeRun& run);

namespace {

void quantise_line(const EdgeRun& run, const uint8_t* x, uint8_t* y) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23
  for (ptrdiff_t i = 0; i < run.n; ++i, x += run.x_step, y += run.y_step) {
    float t;
    std::memcpy(&t, x, sizeof(t));
    t = t / run.scale;
    t = t > -32768.0f ? t : -32768.0f;
    t = t < 32767.0f ? t : 32767.0f;
    t += kMagic;
    const auto q = static_cast<int16_t>(t - kMagic);
    std::memcpy(y, &q, sizeof(q));
  }
}

void dequantise_line(const EdgeRun& run, const uint8_t* x, uint8_t* y) {
  for (ptrdiff_t i = 0; i < run.n; ++i, x += run.x_step, y += run.y_step) {
    int16_t q;
    std::memcpy(&q, x, sizeof(q));
    const float t = static_cast<float>(q) * run.scale;
    std::memcpy(y, &t, sizeof(t));
  }
}

}  // namespace

void edge_quantise_s16_scalar(const EdgeRun& run) {
  for (ptrdiff_t p = 0; p < run.planes; ++p) quantise_line(run, run.x + p * run.x_plane, run.y + p * run.y_plane);
}

void edge_dequantise_s16_scalar(const EdgeRun& run) {
  for (ptrdiff_t p = 0; p < run.planes; ++p) dequantise_line(run, run.x + p * run.x_plane, run.y + p * run.y_plane);
}

}  // namespace ek
