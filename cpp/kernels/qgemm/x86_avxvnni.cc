// SPDX-License-Identifier: Apache-2.0
/// qgemm for AVX-VNNI: tile of 6 pixels x 16 columns, k in groups of 4.
///
///   y(i, n) = requant(bias(n) + sum over taps, k of a_u8(i; tap, k) * w_s8(n; tap, k), scale(n))
///
///   intrinsic                   instruction              Zen 5 per cycle   Golden Cove
///   _mm256_dpbusd_avx_epi32     {vex} VPDPBUSD y, y, y   2                 2 (p01)
///   _mm256_set1_epi32(load)     VPBROADCASTD y, m32      2 (load port)     3
///   _mm256_loadu_si256          VMOVDQU y, m256          2                 3
///   requantise and store        see isa/x86_avx2.h
///
/// Why it is exact: as in x86_avx512vnni.cc. VPDPBUSD (not VPDPBUSDS) adds four u8 x s8 products to an int32 lane
/// without saturating; activations are biased bytes, hence the unsigned factor.
/// Bounds: a lane wraps modulo 2^32; the true sum fits int32, for any weights up to K = 65793.
/// A k group of a full tile is 12 dots (6 cycles) against 8 loads (4).
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/qgemm/x86_ymm.h"

namespace ek {

void qgemm_u8_6x16x4_avxvnni(const QGemmArgs& args);

namespace {

struct DotU8 {
  static constexpr int kElements = 4;
  static constexpr int kSums = 8;      // latency 4, two per cycle
  static constexpr int kWeights = 32;  // bytes of a vector
  static constexpr int kAhead = 0;
  static constexpr bool kSpare = true;
  static EK_MEMBER __m256i weights(const uint8_t* w) { return load256(w); }
  template <int V>
  static EK_MEMBER void add(__m256i (&sum_s32x8)[V], __m256i a_u8x32, const __m256i (&w_s8x32)[V]) {
    EK_UNROLL
    for (int v = 0; v < V; ++v) sum_s32x8[v] = _mm256_dpbusd_avx_epi32(sum_s32x8[v], a_u8x32, w_s8x32[v]);
  }
};

}  // namespace

void qgemm_u8_6x16x4_avxvnni(const QGemmArgs& args) { run<DotU8>(args); }

}  // namespace ek
