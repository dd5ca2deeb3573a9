// SPDX-License-Identifier: Apache-2.0
/// What A alone contributes to the products of x86_avx2_inner.cc, by AVX2: one number per pixel for all columns.
///
///   terms(i) = sum over taps, k groups of a0 a2 + a1 a3, modulo 2^32
///
///   intrinsic                   instruction           Zen 4 per cycle   for 32 elements
///   _mm256_shuffle_ps           VSHUFPS y, y, m256    2                 2: the first and the second pairs
///   _mm256_madd_epi16           VPMADDWD y, y, y      2                 1
///   _mm256_add_epi32            VPADDD y, y, y        4                 1
///
/// Bounds: elements are bytes, so two products stay below 2^17. Four pixels go together: a loop over k ends in a
/// mispredicted branch.
/// Memory: reads what the row reads of A, up to 3 elements behind each tap among them; writes m numbers.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/isa/x86_avx2.h"
#include "kernels/qgemm/qgemm.h"

namespace ek {

void a_terms_avx2(const QGemmArgs& args, int32_t* terms);

namespace {

/// a0 a2 + a1 a3 of the k groups whose halves are the even and odd 4 bytes of two vectors, added to 32-bit lanes.
EK_INLINE __m256i add_terms(__m256i sum_s32x8, __m256i first_s16x16, __m256i second_s16x16) {
  const __m256 first_f32x8 = _mm256_castsi256_ps(first_s16x16), second_f32x8 = _mm256_castsi256_ps(second_s16x16);
  const __m256i left_s16x16 = _mm256_castps_si256(_mm256_shuffle_ps(first_f32x8, second_f32x8, 0x88));
  const __m256i right_s16x16 = _mm256_castps_si256(_mm256_shuffle_ps(first_f32x8, second_f32x8, 0xDD));
  return _mm256_add_epi32(sum_s32x8, _mm256_madd_epi16(left_s16x16, right_s16x16));
}

/// Those of four pixels, not yet added across the lanes.
EK_INLINE void pixel_terms(const QGemmArgs& args, const ptrdiff_t (&pixel)[4], __m256i (&sum_s32x8)[4]) {
  const __m256i zero = _mm256_setzero_si256();
  for (int32_t ky = 0; ky < args.kh; ++ky) {
    for (int32_t kx = 0; kx < args.kw; ++kx) {
      const uint8_t* a = args.rows[ky] + kx * args.a_kx;
      int32_t k = args.kc;
      for (; k >= 32; k -= 32, a += 64) {
        EK_UNROLL
        for (int p = 0; p < 4; ++p) {
          sum_s32x8[p] = add_terms(sum_s32x8[p], load256(a + pixel[p]), load256(a + pixel[p] + 32));
        }
      }
      for (; k >= 16; k -= 16, a += 32) {
        EK_UNROLL
        for (int p = 0; p < 4; ++p) sum_s32x8[p] = add_terms(sum_s32x8[p], load256(a + pixel[p]), zero);
      }
      for (; k > 0; k -= 4, a += 8) {
        EK_UNROLL
        for (int p = 0; p < 4; ++p) {
          const __m128i group_s16x8 = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(a + pixel[p]));
          sum_s32x8[p] = add_terms(sum_s32x8[p], _mm256_zextsi128_si256(group_s16x8), zero);
        }
      }
    }
  }
}

}  // namespace

/// Four pixels at a time; of the last four some may be one pixel again. Reads the elements of A that the row reads.
void a_terms_avx2(const QGemmArgs& args, int32_t* terms) {
  for (int32_t i = 0; i < args.m; i += 4) {
    __m256i sum_s32x8[4];
    ptrdiff_t pixel[4];
    EK_UNROLL
    for (int p = 0; p < 4; ++p) {
      sum_s32x8[p] = _mm256_setzero_si256();
      pixel[p] = (i + p < args.m ? i + p : i) * args.a_px;
    }
    pixel_terms(args, pixel, sum_s32x8);
    const __m256i low_s32x8 = _mm256_hadd_epi32(sum_s32x8[0], sum_s32x8[1]);
    const __m256i high_s32x8 = _mm256_hadd_epi32(sum_s32x8[2], sum_s32x8[3]);
    const __m256i halves_s32x8 = _mm256_hadd_epi32(low_s32x8, high_s32x8);
    const __m128i all_s32x4 =
        _mm_add_epi32(_mm256_castsi256_si128(halves_s32x8), _mm256_extracti128_si256(halves_s32x8, 1));
    if (i + 4 <= args.m) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(terms + i), all_s32x4);
    } else {
      alignas(16) int32_t last[4];
      _mm_store_si128(reinterpret_cast<__m128i*>(last), all_s32x4);
      for (int32_t p = i; p < args.m; ++p) terms[p] = last[p - i];
    }
  }
}

}  // namespace ek
