// SPDX-License-Identifier: Apache-2.0
/// qgemm for AVX2: tile of 6 pixels x 16 columns, k in pairs, exact.
///
///   y(i, n) = requant(bias(n) + sum over taps, k of a_s16(i; tap, k) * w_s16(n; tap, k), scale(n))
///
///   intrinsic                   instruction           Zen 5 per cycle   Skylake      Haswell
///   _mm256_madd_epi16           VPMADDWD y, y, y      2                 2 (p01)      1 (p0)
///   _mm256_add_epi32            VPADDD y, y, y        4                 3 (p015)     2 (p15)
///   _mm256_set1_epi32(load)     VPBROADCASTD y, m32   2 (load port)     2            2
///   requantise and store        see isa/x86_avx2.h
///
/// Why not VPMADDUBSW: it adds two u8 x s8 products in int16 and saturates, 255 * 127 * 2 > 32767, so that results
/// would depend on the CPU. VPMADDWD on bytes widened to int16 adds two products in int32: |a * w| <= 255 * 128, a
/// pair stays below 2^17. Weights are widened by the packer, activations once per row of the picture by
/// `widen_avx2`, outside this loop; a pair then costs two instructions on 8 columns.
/// Bounds: lanes wrap modulo 2^32; the true sum fits int32, for any weights up to K = 65793.
/// A k group of a full tile is 12 products and 12 additions (6 cycles) against 8 loads (4).
/// Int16 weights are twice the bytes: a panel of K > 1024 leaves a 32 KiB L1, a layer of 1 MB leaves L2. Fetching them
/// ahead hides that where a tile has work enough (7 pixels of K = 4608: 20 to 22 MAC per cycle). One pixel has not:
/// `s16s8` keeps bytes in memory and widens a vector as it loads it (VPMOVSXBW y, m128: 1 or 2 per cycle), half the
/// stream for two more instructions per k group, which cost a full tile 6 %.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/qgemm/x86_ymm.h"

namespace ek {

void qgemm_s16_6x16x2_avx2(const QGemmArgs& args);
void qgemm_s16s8_6x16x2_avx2(const QGemmArgs& args);
void widen_avx2(const uint8_t* u8, int32_t count, int16_t* s16);

namespace {

struct DotS16 {
  static constexpr int kElements = 2;
  static constexpr int kSums = 2;      // only the addition is in the chain
  static constexpr int kWeights = 32;  // bytes of a vector
  static constexpr int kAhead = 0;
  static constexpr bool kSpare = false;
  static EK_MEMBER __m256i weights(const uint8_t* w) { return load256(w); }
  /// Two products, then two additions: one of each in turn is 4 to 10 % slower on Zen 4.
  template <int V>
  static EK_MEMBER void add(__m256i (&sum_s32x8)[V], __m256i a_s16x16, const __m256i (&w_s16x16)[V]) {
    __m256i product_s32x8[V];
    EK_UNROLL
    for (int v = 0; v < V; ++v) product_s32x8[v] = _mm256_madd_epi16(a_s16x16, w_s16x16[v]);
    if constexpr (V == 2) hold(product_s32x8[0], product_s32x8[1]);
    EK_UNROLL
    for (int v = 0; v < V; ++v) sum_s32x8[v] = _mm256_add_epi32(sum_s32x8[v], product_s32x8[v]);
  }
};

struct DotS16Ahead : DotS16 {
  static constexpr int kAhead = kFetched;
};

struct DotS16S8 : DotS16Ahead {
  static constexpr int kWeights = 16;
  static EK_MEMBER __m256i weights(const uint8_t* w) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
  }
};

}  // namespace

void qgemm_s16_6x16x2_avx2(const QGemmArgs& args) {
  if (args.kh * args.kw * args.kc > kNearDepth) return run<DotS16Ahead>(args);
  run<DotS16>(args);
}
void qgemm_s16s8_6x16x2_avx2(const QGemmArgs& args) { run<DotS16S8>(args); }

/// Sixteen bytes at a time; a rest of a longer row is done as the last sixteen once more. Reads and writes exactly
/// `count` elements.
void widen_avx2(const uint8_t* u8, int32_t count, int16_t* s16) {
  int32_t i = 0;
  if (count < 16) {
    for (; i < count; ++i) s16[i] = u8[i];
    return;
  }
  for (;; i = i + 32 <= count ? i + 16 : count - 16) {
    const __m128i v_u8x16 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(u8 + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(s16 + i), _mm256_cvtepu8_epi16(v_u8x16));
    if (i == count - 16) return;
  }
}

}  // namespace ek
