// SPDX-License-Identifier: Apache-2.0
/// AVX-512: from sixteen int32 accumulators to bytes in memory. For x86_avx512vnni*.cc only.
///
///   byte = min(max(sat_u8(sat_s16(sat_s16(rne(float(acc) * m)) + zero)), lo + zero), hi + zero)
///
/// This is kernel.h's Requant: lo, hi and zero are integers, and rounding and every saturation are monotone, so
/// clipping may wait until the end, where one instruction clips 64 outputs. What must hold: |float(acc) * m| < 2^31,
/// because vcvtps2dq turns a float beyond int32 into INT32_MIN; whoever chooses a row proves it from weights, biases
/// and scales (qgemm_unbounded, dwconv_unbounded).
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/isa/compiler.h"
#include "kernels/kernel.h"

namespace ek {

/// Says that `v` is in a register here. Without it GCC carries sums through memory across the next branch, and loads
/// a vector once per use instead of once.
EK_INLINE void hold(__m512i& v) { __asm__("" : "+v"(v)); }

struct Requant512 {
  __m512i zero_s16x32, lo_u8x64, hi_u8x64;  ///< the least and the greatest output byte
};

EK_INLINE Requant512 load_requant512(const Requant& out) {
  Requant512 r;
  r.zero_s16x32 = _mm512_set1_epi16(static_cast<int16_t>(out.zero));
  r.lo_u8x64 = _mm512_set1_epi8(static_cast<int8_t>(static_cast<int32_t>(out.lo) + out.zero));
  r.hi_u8x64 = _mm512_set1_epi8(static_cast<int8_t>(static_cast<int32_t>(out.hi) + out.zero));
  return r;
}

/// rne(float(acc) * m): not yet clipped, zero not yet added.
EK_INLINE __m512i round_s32x16(__m512i acc_s32x16, __m512 scale_f32x16) {
  return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(acc_s32x16), scale_f32x16));
}

/// Four rounded vectors to 64 finished bytes, packed inside 128-bit lanes: [a0..a3 b0..b3 c0..c3 d0..d3 | a4.. | …].
EK_INLINE __m512i bytes_in_lanes_u8x64(__m512i a_s32x16, __m512i b_s32x16, __m512i c_s32x16, __m512i d_s32x16,
                                       const Requant512& r) {
  const __m512i ab_s16x32 = _mm512_adds_epi16(_mm512_packs_epi32(a_s32x16, b_s32x16), r.zero_s16x32);
  const __m512i cd_s16x32 = _mm512_adds_epi16(_mm512_packs_epi32(c_s32x16, d_s32x16), r.zero_s16x32);
  return _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(ab_s16x32, cd_s16x32), r.lo_u8x64), r.hi_u8x64);
}

/// Four rounded vectors to 64 finished bytes: [a0..a15 | b0..b15 | c0..c15 | d0..d15].
EK_INLINE __m512i bytes_u8x64(__m512i a_s32x16, __m512i b_s32x16, __m512i c_s32x16, __m512i d_s32x16,
                              const Requant512& r) {
  const __m512i abcd_u8x64 = bytes_in_lanes_u8x64(a_s32x16, b_s32x16, c_s32x16, d_s32x16, r);
  const __m512i order_s32x16 = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order_s32x16, abcd_u8x64);
}

/// One bit for each of the first n (0..64) of something.
EK_INLINE uint64_t first_bits(int32_t n) { return n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1; }

/// Stores the first n bytes (1..16), no other.
EK_INLINE void store_u8x16(uint8_t* y, __m128i v_u8x16, int32_t n) {
  if (n >= 16) return _mm_storeu_si128(reinterpret_cast<__m128i*>(y), v_u8x16);
  _mm_mask_storeu_epi8(y, static_cast<__mmask16>(first_bits(n)), v_u8x16);
}

/// Stores the first n bytes (1..32), no other.
EK_INLINE void store_u8x32(uint8_t* y, __m256i v_u8x32, int32_t n) {
  if (n >= 32) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), v_u8x32);
  _mm256_mask_storeu_epi8(y, static_cast<__mmask32>(first_bits(n)), v_u8x32);
}

}  // namespace ek
