// SPDX-License-Identifier: Apache-2.0
/// eltwise for AVX2: residual add and per-channel affine, 32 bytes at a time.
///
///   add     y = clamp(((a * m + b * n + rest) >> shift) + zy, lo, hi),  rest = 2^(shift-1) - za * m - zb * n
///   affine  y = requant(x * w(c) + bias(c), scale(c))
///
///   intrinsic               instruction       Zen 5 per cycle   Skylake      for 32 outputs: add  affine
///   _mm256_cvtepu8_epi32    VPMOVZXBD y, m64  2                 1            8               -
///   _mm256_mullo_epi32      VPMULLD           2                 1 (2 uops)   8               -
///   _mm256_mullo_epi16      VPMULLW           2                 2            -               2
///   requantise              see isa/x86_avx2.h                               -               18
///
/// Bounds: |a - za| <= 255 and m, n < 2^21, so the add's sum stays below 2^30; x * w is at most 255 * 128 in
/// magnitude and fits int16. Clamping is by saturating packs and vpminub/vpmaxub, which keep the order of values.
/// Memory: reads and writes c bytes of each pixel and c entries of w, bias and scale, exactly.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/eltwise/eltwise.h"
#include "kernels/isa/x86_avx2.h"

namespace ek {

void eltwise_add_avx2(const AddArgs& args);
void eltwise_affine_avx2(const AffineArgs& args);

namespace {

struct Add256 {
  __m256i m_s32x8, n_s32x8, rest_s32x8, zero_s16x16, lo_u8x32, hi_u8x32;
  __m128i shift;
};

EK_INLINE Add256 load_add256(const AddArgs& args) {
  const int32_t rest = (1 << (args.shift - 1)) - args.za * args.m - args.zb * args.n;
  return {_mm256_set1_epi32(args.m),
          _mm256_set1_epi32(args.n),
          _mm256_set1_epi32(rest),
          _mm256_set1_epi16(static_cast<int16_t>(args.zy)),
          _mm256_set1_epi8(static_cast<int8_t>(args.lo)),
          _mm256_set1_epi8(static_cast<int8_t>(args.hi)),
          _mm_cvtsi32_si128(args.shift)};
}

/// Eight sums, shifted: without output zero point and clamp.
EK_INLINE __m256i add8_s32x8(const uint8_t* a, const uint8_t* b, const Add256& k) {
  const __m256i a_s32x8 = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(a)));
  const __m256i b_s32x8 = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(b)));
  const __m256i a_part = _mm256_add_epi32(_mm256_mullo_epi32(a_s32x8, k.m_s32x8), k.rest_s32x8);
  return _mm256_sra_epi32(_mm256_add_epi32(a_part, _mm256_mullo_epi32(b_s32x8, k.n_s32x8)), k.shift);
}

EK_INLINE __m256i add32_u8x32(const uint8_t* a, const uint8_t* b, const Add256& k) {
  const __m256i ab_s16x16 = _mm256_packs_epi32(add8_s32x8(a, b, k), add8_s32x8(a + 8, b + 8, k));
  const __m256i cd_s16x16 = _mm256_packs_epi32(add8_s32x8(a + 16, b + 16, k), add8_s32x8(a + 24, b + 24, k));
  const __m256i y_u8x32 = _mm256_packus_epi16(_mm256_adds_epi16(ab_s16x16, k.zero_s16x16),
                                              _mm256_adds_epi16(cd_s16x16, k.zero_s16x16));
  const __m256i clamped_u8x32 = _mm256_min_epu8(_mm256_max_epu8(y_u8x32, k.lo_u8x32), k.hi_u8x32);
  return _mm256_permutevar8x32_epi32(clamped_u8x32, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/// The last 1..31 bytes of a run, through local copies.
EK_INLINE void add_tail(const uint8_t* a, const uint8_t* b, uint8_t* y, int32_t n, const Add256& k) {
  uint8_t a_u8[32], b_u8[32];
  __builtin_memcpy(a_u8, a, static_cast<size_t>(n));
  __builtin_memcpy(b_u8, b, static_cast<size_t>(n));
  const __m256i y_u8x32 = add32_u8x32(a_u8, b_u8, k);
  if (n > 16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), _mm256_castsi256_si128(y_u8x32));
    return store_u8x16(y + 16, _mm256_extracti128_si256(y_u8x32, 1), n - 16);
  }
  store_u8x16(y, _mm256_castsi256_si128(y_u8x32), n);
}

/// rne of min(t, hi) of channels [c, c + 8), whose products x * w stand in one half of `xw`.
EK_INLINE __m256i affine8_s32x8(__m128i xw_s16x8, const AffineArgs& args, int32_t c, const Requant256& r) {
  const __m256i bias_s32x8 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(args.bias + c));
  const __m256i acc_s32x8 = _mm256_add_epi32(_mm256_cvtepi16_epi32(xw_s16x8), bias_s32x8);
  return round_s32x8(acc_s32x8, _mm256_loadu_ps(args.scale + c), r);
}

EK_INLINE __m256i products_s16x16(const uint8_t* x, const int8_t* w) {
  const __m256i x_s16x16 = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
  const __m256i w_s16x16 = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
  return _mm256_mullo_epi16(x_s16x16, w_s16x16);
}

EK_INLINE void affine32(const AffineArgs& args, const uint8_t* x, uint8_t* y, int32_t c, const Requant256& r) {
  const __m256i low = products_s16x16(x, args.w + c), high = products_s16x16(x + 16, args.w + c + 16);
  const __m256i y_u8x32 = bytes_u8x32(affine8_s32x8(_mm256_castsi256_si128(low), args, c, r),
                                      affine8_s32x8(_mm256_extracti128_si256(low, 1), args, c + 8, r),
                                      affine8_s32x8(_mm256_castsi256_si128(high), args, c + 16, r),
                                      affine8_s32x8(_mm256_extracti128_si256(high, 1), args, c + 24, r), r);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), y_u8x32);
}

/// 1..8 channels at c, read exactly.
EK_INLINE void affine_tail(const AffineArgs& args, const uint8_t* x, uint8_t* y, int32_t c, int32_t n,
                           const Requant256& r) {
  uint8_t x_u8[16] = {};
  int8_t w_s8[16] = {};
  __builtin_memcpy(x_u8, x, static_cast<size_t>(n));
  __builtin_memcpy(w_s8, args.w + c, static_cast<size_t>(n));
  const __m256i valid_s32x8 = first_lanes_s32x8(n);
  const __m256i xw_s32x8 = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(products_s16x16(x_u8, w_s8)));
  const __m256i acc_s32x8 = _mm256_add_epi32(xw_s32x8, _mm256_maskload_epi32(args.bias + c, valid_s32x8));
  const __m256i q_s32x8 = round_s32x8(acc_s32x8, _mm256_maskload_ps(args.scale + c, valid_s32x8), r);
  store_u8x8(y, _mm256_castsi256_si128(bytes_u8x32(q_s32x8, q_s32x8, q_s32x8, q_s32x8, r)), n);
}

}  // namespace

void eltwise_add_avx2(const AddArgs& args) {
  const bool dense = args.a_px == args.c && args.b_px == args.c && args.y_px == args.c;
  const int32_t runs = dense ? 1 : args.pixels, length = dense ? args.pixels * args.c : args.c;
  const Add256 k = load_add256(args);
  for (int32_t p = 0; p < runs; ++p) {
    const uint8_t *a = args.a + p * args.a_px, *b = args.b + p * args.b_px;
    uint8_t* y = args.y + p * args.y_px;
    int32_t i = 0;
    for (; i + 32 <= length; i += 32) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i), add32_u8x32(a + i, b + i, k));
    }
    if (i < length) add_tail(a + i, b + i, y + i, length - i, k);
  }
}

void eltwise_affine_avx2(const AffineArgs& args) {
  const Requant256 r = load_requant256(args.out);
  for (int32_t p = 0; p < args.pixels; ++p) {
    const uint8_t* x = args.x + p * args.x_px;
    uint8_t* y = args.y + p * args.y_px;
    int32_t c = 0;
    for (; c + 32 <= args.c; c += 32) affine32(args, x + c, y + c, c, r);
    for (; c < args.c; c += 8) affine_tail(args, x + c, y + c, c, args.c - c < 8 ? args.c - c : 8, r);
  }
}

}  // namespace ek
