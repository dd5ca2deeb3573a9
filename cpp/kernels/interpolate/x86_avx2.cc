// SPDX-License-Identifier: Apache-2.0
/// interpolate in AVX2, sixteen channels of an output pixel at a time:
///
///   h = x[i] * (2048 - f) + x[i + 1] * f of both rows;   y = (h_top * (2048 - g) + h_bottom * g + 2^21) >> 22
///
/// | instruction            | per cycle Zen 5, Haswell | use                                                |
/// |------------------------|--------------------------|----------------------------------------------------|
/// | vpmovzxbw ymm          | 2, 1                     | sixteen bytes to 16 bits                           |
/// | vpunpck{l,h}wd ymm     | 2, 1                     | pairs (left, right), in an order that packing undoes |
/// | vpmaddwd ymm           | 2, 1                     | h: both products and their sum                     |
/// | vpmulld ymm            | 1, 0.5                   | h times the weight of its row                      |
///
/// Bounds: 2048 - f and f fit in 16 signed bits; h <= 255 * 2048 < 2^19; the sum before the shift <= 255 * 2^22 + 2^21
/// < 2^31, and after it a byte, so that no packing saturates.
/// Memory: reads up to 15 bytes behind the channels of a pixel (slack); writes c bytes of each output pixel.
#include "kernels/isa/x86_avx2.h"

#include "kernels/interpolate/interpolate.h"

namespace ek {

void interpolate_avx2(const InterpolateArgs& args);

namespace {

struct Weights256 {
  __m256i columns_s16x16;             ///< pairs (2048 - f, f)
  __m256i top_s32x8, bottom_s32x8;    ///< 2048 - g, g
  __m256i half_s32x8;
};

EK_INLINE __m256i load_s16x16(const uint8_t* p) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

/// Eight results from the pairs of both rows.
EK_INLINE __m256i mix_s32x8(__m256i top_s16x16, __m256i bottom_s16x16, const Weights256& k) {
  const __m256i top_s32x8 = _mm256_mullo_epi32(_mm256_madd_epi16(top_s16x16, k.columns_s16x16), k.top_s32x8);
  const __m256i bottom_s32x8 = _mm256_mullo_epi32(_mm256_madd_epi16(bottom_s16x16, k.columns_s16x16), k.bottom_s32x8);
  const __m256i sum_s32x8 = _mm256_add_epi32(_mm256_add_epi32(top_s32x8, bottom_s32x8), k.half_s32x8);
  return _mm256_srli_epi32(sum_s32x8, 22);
}

/// Sixteen channels from the pixels left and right in both rows.
EK_INLINE __m128i mix_u8x16(const uint8_t* top, const uint8_t* bottom, ptrdiff_t right, const Weights256& k) {
  const __m256i a_s16x16 = load_s16x16(top), b_s16x16 = load_s16x16(top + right);
  const __m256i c_s16x16 = load_s16x16(bottom), d_s16x16 = load_s16x16(bottom + right);
  const __m256i low_s32x8 =
      mix_s32x8(_mm256_unpacklo_epi16(a_s16x16, b_s16x16), _mm256_unpacklo_epi16(c_s16x16, d_s16x16), k);
  const __m256i high_s32x8 =
      mix_s32x8(_mm256_unpackhi_epi16(a_s16x16, b_s16x16), _mm256_unpackhi_epi16(c_s16x16, d_s16x16), k);
  const __m256i v_s16x16 = _mm256_packs_epi32(low_s32x8, high_s32x8);
  return _mm_packus_epi16(_mm256_castsi256_si128(v_s16x16), _mm256_extracti128_si256(v_s16x16, 1));
}

}  // namespace

void interpolate_avx2(const InterpolateArgs& args) {
  const int32_t g = args.weight;
  Weights256 k;
  k.top_s32x8 = _mm256_set1_epi32(2048 - g);
  k.bottom_s32x8 = _mm256_set1_epi32(g);
  k.half_s32x8 = _mm256_set1_epi32(1 << 21);
  uint8_t* y = args.y;
  for (int32_t j = 0; j < args.m; ++j, y += args.y_px) {
    const int32_t f = args.columns[j] & 2047;
    const ptrdiff_t left = ptrdiff_t{args.columns[j] >> 11} * args.x_px, right = f != 0 ? args.x_px : 0;
    const uint8_t *top = args.top + left, *bottom = args.bottom + left;
    if ((f | g) == 0) {
      for (int32_t c = 0; c < args.c; c += 16) {
        store_u8x16(y + c, _mm_loadu_si128(reinterpret_cast<const __m128i*>(top + c)), args.c - c);
      }
      continue;
    }
    k.columns_s16x16 = _mm256_set1_epi32(f << 16 | (2048 - f));
    for (int32_t c = 0; c < args.c; c += 16) store_u8x16(y + c, mix_u8x16(top + c, bottom + c, right, k), args.c - c);
  }
}

}  // namespace ek
