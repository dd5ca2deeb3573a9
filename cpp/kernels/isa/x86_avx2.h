// SPDX-License-Identifier: Apache-2.0
/// AVX2: from eight int32 accumulators to bytes in memory. For x86_avx2*.cc and x86_avxvnni*.cc only.
///
///   byte = max(sat_u8(sat_s16(rne(min(float(acc) * m, hi))) + zero), lo + zero)
///
/// This is kernel.h's Requant: lo, hi and zero are integers, and rounding is monotone, so clipping below may wait
/// until after rounding and saturation, where one instruction clips 32 outputs (vpackssdw and vpackuswb keep the order,
/// and -32768..255 plus a zero of 0..255 stays int16). Clipping above may not: vcvtps2dq turns a float beyond int32
/// into INT32_MIN.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/isa/compiler.h"
#include "kernels/kernel.h"

namespace ek {

EK_INLINE __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

/// Says that `v` is in a register here. Without it GCC carries sums through memory across the next branch, and loads
/// a vector once per use instead of once.
EK_INLINE void hold(__m256i& v) { __asm__("" : "+x"(v)); }

/// Says that both are in registers here, so that what makes them comes before what takes either.
EK_INLINE void hold(__m256i& a, __m256i& b) { __asm__("" : "+x"(a), "+x"(b)); }

struct Requant256 {
  __m256 hi_f32x8;
  __m256i zero_s16x16, lo_u8x32;  ///< lo is the least output byte
};

/// Where products are below 2^30 both bounds may wait until there are bytes: saturation on the way keeps their order.
struct ByteBounds256 {
  __m256i zero_s16x16, lo_u8x32, hi_u8x32;
};

EK_INLINE ByteBounds256 load_byte_bounds256(const Requant& out) {
  const auto lo = static_cast<int32_t>(out.lo) + out.zero, hi = static_cast<int32_t>(out.hi) + out.zero;
  return {_mm256_set1_epi16(static_cast<int16_t>(out.zero)), _mm256_set1_epi8(static_cast<int8_t>(lo)),
          _mm256_set1_epi8(static_cast<int8_t>(hi))};
}

EK_INLINE Requant256 load_requant256(const Requant& out) {
  Requant256 r;
  r.hi_f32x8 = _mm256_set1_ps(out.hi);
  r.zero_s16x16 = _mm256_set1_epi16(static_cast<int16_t>(out.zero));
  r.lo_u8x32 = _mm256_set1_epi8(static_cast<int8_t>(static_cast<int32_t>(out.lo) + out.zero));
  return r;
}

/// rne(min(float(acc) * m, hi)): not yet clipped below, zero not yet added.
EK_INLINE __m256i round_s32x8(__m256i acc_s32x8, __m256 scale_f32x8, const Requant256& r) {
  const __m256 t_f32x8 = _mm256_mul_ps(_mm256_cvtepi32_ps(acc_s32x8), scale_f32x8);
  return _mm256_cvtps_epi32(_mm256_min_ps(t_f32x8, r.hi_f32x8));
}

/// rne(float(acc) * m): not yet clipped, zero not yet added.
EK_INLINE __m256i round_s32x8(__m256i acc_s32x8, __m256 scale_f32x8) {
  return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(acc_s32x8), scale_f32x8));
}

/// Four rounded vectors to 32 finished bytes, packed inside 128-bit lanes: [a0..a3 b0..b3 c0..c3 d0..d3 | a4.. | …].
EK_INLINE __m256i bytes_in_lanes_u8x32(__m256i a_s32x8, __m256i b_s32x8, __m256i c_s32x8, __m256i d_s32x8,
                                       const Requant256& r) {
  const __m256i ab_s16x16 = _mm256_add_epi16(_mm256_packs_epi32(a_s32x8, b_s32x8), r.zero_s16x16);
  const __m256i cd_s16x16 = _mm256_add_epi16(_mm256_packs_epi32(c_s32x8, d_s32x8), r.zero_s16x16);
  return _mm256_max_epu8(_mm256_packus_epi16(ab_s16x16, cd_s16x16), r.lo_u8x32);
}

/// The same, clipped as bytes.
EK_INLINE __m256i bytes_in_lanes_u8x32(__m256i a_s32x8, __m256i b_s32x8, __m256i c_s32x8, __m256i d_s32x8,
                                       const ByteBounds256& r) {
  const __m256i ab_s16x16 = _mm256_adds_epi16(_mm256_packs_epi32(a_s32x8, b_s32x8), r.zero_s16x16);
  const __m256i cd_s16x16 = _mm256_adds_epi16(_mm256_packs_epi32(c_s32x8, d_s32x8), r.zero_s16x16);
  return _mm256_min_epu8(_mm256_max_epu8(_mm256_packus_epi16(ab_s16x16, cd_s16x16), r.lo_u8x32), r.hi_u8x32);
}

/// From [a0..a3 b0..b3 c0..c3 d0..d3 | a4..] to [a0..a7 | b0..b7 | c0..c7 | d0..d7].
EK_INLINE __m256i across_lanes_u8x32(__m256i abcd_u8x32) {
  return _mm256_permutevar8x32_epi32(abcd_u8x32, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/// Four rounded vectors to 32 finished bytes: [a0..a7 | b0..b7 | c0..c7 | d0..d7].
EK_INLINE __m256i bytes_u8x32(__m256i a_s32x8, __m256i b_s32x8, __m256i c_s32x8, __m256i d_s32x8, const Requant256& r) {
  return across_lanes_u8x32(bytes_in_lanes_u8x32(a_s32x8, b_s32x8, c_s32x8, d_s32x8, r));
}

/// Stores the first n bytes (1..16), no other.
EK_INLINE void store_u8x16(uint8_t* y, __m128i v_u8x16, int32_t n) {
  if (n >= 16) return _mm_storeu_si128(reinterpret_cast<__m128i*>(y), v_u8x16);
  if (n & 8) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(y), v_u8x16);
    v_u8x16 = _mm_srli_si128(v_u8x16, 8);
    y += 8;
  }
  if (n & 4) {
    _mm_storeu_si32(y, v_u8x16);
    v_u8x16 = _mm_srli_si128(v_u8x16, 4);
    y += 4;
  }
  if (n & 2) {
    _mm_storeu_si16(y, v_u8x16);
    v_u8x16 = _mm_srli_si128(v_u8x16, 2);
    y += 2;
  }
  if (n & 1) *y = static_cast<uint8_t>(_mm_cvtsi128_si32(v_u8x16));
}

/// Stores the first n bytes (1..32), no other.
EK_INLINE void store_u8x32(uint8_t* y, __m256i v_u8x32, int32_t n) {
  if (n >= 32) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), v_u8x32);
  if (n > 16) store_u8x16(y + 16, _mm256_extracti128_si256(v_u8x32, 1), n - 16);
  store_u8x16(y, _mm256_castsi256_si128(v_u8x32), n);
}

/// Stores the first n bytes (1..8), no other.
EK_INLINE void store_u8x8(uint8_t* y, __m128i v_u8x16, int32_t n) {
  if (n >= 8) return _mm_storel_epi64(reinterpret_cast<__m128i*>(y), v_u8x16);
  store_u8x16(y, v_u8x16, n);
}

}  // namespace ek
