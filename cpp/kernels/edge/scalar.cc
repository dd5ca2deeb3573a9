// SPDX-License-Identifier: Apache-2.0
/// edge in plain C++, for every CPU:
///
///   quantise    u = clamp(rne(x / s) + zero, 0, 255); NaN gives 0
///   dequantise  x = float(u - zero) * s
///   bytes       u = x ^ flip
///
/// Elements go through local arrays of kBlock, which no other pointer can name, so that the arithmetic is vectors of
/// whatever the baseline has (SSE2: divps, maxps, minps, pxor) also where the caller's memory is strided; loads and
/// stores of floats need no alignment.
/// Clipping: `t > lo ? t : lo` gives lo for NaN, as maxps does; it comes before rounding and leaves |t| <= 255.
/// rne is one addition: for |t| <= 2^22 the sum t + 1.5 * 2^23 has ulp 1, so it rounds to an integer, ties to even,
/// and that integer stands in the low bits. Memory: reads and writes exactly the elements named.
#include <cstring>

#include "kernels/edge/run.h"

namespace ek {

void edge_quantise_scalar(const EdgeRun& run);
void edge_dequantise_scalar(const EdgeRun& run);
void edge_bytes_scalar(const EdgeRun& run);

namespace {

constexpr ptrdiff_t kBlock = 32;
constexpr ptrdiff_t kFloat = sizeof(float);

/// `n` is the constant kBlock in the full case.
inline void quantise_block(const uint8_t* x, uint8_t* y, ptrdiff_t n, ptrdiff_t sx, ptrdiff_t sy, float scale,
                           int32_t zero) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23, bits 0x4b400000
  const float lo = static_cast<float>(-zero), hi = static_cast<float>(255 - zero);
  float t[kBlock] = {};
  int32_t rounded[kBlock];
  uint8_t u[kBlock];
  if (sx == kFloat) {
    std::memcpy(t, x, static_cast<size_t>(n * kFloat));
  } else {
    for (ptrdiff_t i = 0; i < n; ++i) std::memcpy(t + i, x + i * sx, sizeof(float));
  }
  for (ptrdiff_t i = 0; i < kBlock; ++i) {
    t[i] = t[i] / scale;
    t[i] = t[i] > lo ? t[i] : lo;
    t[i] = t[i] < hi ? t[i] : hi;
    t[i] += kMagic;
  }
  std::memcpy(rounded, t, sizeof(rounded));
  for (ptrdiff_t i = 0; i < kBlock; ++i) u[i] = static_cast<uint8_t>(rounded[i] - 0x4b400000 + zero);
  if (sy == 1) {
    std::memcpy(y, u, static_cast<size_t>(n));
  } else {
    for (ptrdiff_t i = 0; i < n; ++i) y[i * sy] = u[i];
  }
}

inline void dequantise_block(const uint8_t* x, uint8_t* y, ptrdiff_t n, ptrdiff_t sx, ptrdiff_t sy, float scale,
                             int32_t zero) {
  uint8_t u[kBlock] = {};
  float t[kBlock];
  if (sx == 1) {
    std::memcpy(u, x, static_cast<size_t>(n));
  } else {
    for (ptrdiff_t i = 0; i < n; ++i) u[i] = x[i * sx];
  }
  for (ptrdiff_t i = 0; i < kBlock; ++i) t[i] = static_cast<float>(u[i] - zero) * scale;
  if (sy == kFloat) {
    std::memcpy(y, t, static_cast<size_t>(n * kFloat));
  } else {
    for (ptrdiff_t i = 0; i < n; ++i) std::memcpy(y + i * sy, t + i, sizeof(float));
  }
}

inline void bytes_block(const uint8_t* x, uint8_t* y, ptrdiff_t n, ptrdiff_t sx, ptrdiff_t sy, uint8_t flip) {
  if (sx != 1 || sy != 1) {
    for (ptrdiff_t i = 0; i < n; ++i) y[i * sy] = x[i * sx] ^ flip;
    return;
  }
  uint8_t u[kBlock] = {};
  std::memcpy(u, x, static_cast<size_t>(n));
  for (ptrdiff_t i = 0; i < kBlock; ++i) u[i] ^= flip;
  std::memcpy(y, u, static_cast<size_t>(n));
}

/// Calls block(x, y, n) for every kBlock elements of every plane, then for what is left of it.
template <class Block>
inline void in_blocks(const EdgeRun& run, const Block& block) {
  for (ptrdiff_t p = 0; p < run.planes; ++p) {
    const uint8_t* x = run.x + p * run.x_plane;
    uint8_t* y = run.y + p * run.y_plane;
    ptrdiff_t left = run.n;
    for (; left >= kBlock; left -= kBlock, x += kBlock * run.x_step, y += kBlock * run.y_step) block(x, y, kBlock);
    if (left > 0) block(x, y, left);
  }
}

}  // namespace

void edge_quantise_scalar(const EdgeRun& run) {
  in_blocks(run, [run](const uint8_t* x, uint8_t* y, ptrdiff_t n) {
    quantise_block(x, y, n, run.x_step, run.y_step, run.scale, run.zero);
  });
}

void edge_dequantise_scalar(const EdgeRun& run) {
  in_blocks(run, [run](const uint8_t* x, uint8_t* y, ptrdiff_t n) {
    dequantise_block(x, y, n, run.x_step, run.y_step, run.scale, run.zero);
  });
}

void edge_bytes_scalar(const EdgeRun& run) {
  in_blocks(run, [run](const uint8_t* x, uint8_t* y, ptrdiff_t n) {
    bytes_block(x, y, n, run.x_step, run.y_step, run.flip);
  });
}

}  // namespace ek
