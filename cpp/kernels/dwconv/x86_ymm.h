// SPDX-License-Identifier: Apache-2.0
/// What x86_avxvnni.cc gives the loop of x86_block.h: 256-bit vectors, loads, requantisation and stores. Writes the
/// first `valid` bytes of a pixel.
#pragma once
// clang-format off: x86_rows.h builds on what the isa header defines
#include "kernels/isa/x86_avx2.h"
#include "kernels/dwconv/x86_rows.h"
// clang-format on

namespace ek {
namespace {

/// Products are below 2^30 (fits), so they are clipped after the conversion to int32: saturation on the way to bytes
/// keeps their order, and both bounds are bytes.
struct Rounding256 {
  Requant256 out;
  __m256i hi_u8x32;
};

struct Ymm {
  using Vector = __m256i;
  using Mask = int32_t;
  using Rounding = Rounding256;
  static constexpr int kLanes = 8;
  static constexpr bool kHolds = false;

  static EK_MEMBER Vector load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static EK_MEMBER __m128i load_u8x8(const uint8_t* p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)); }
  static EK_MEMBER Mask first(int32_t n) { return n; }
  static EK_MEMBER Rounding rounding(const Requant& out) {
    const int32_t most = static_cast<int32_t>(out.hi) + out.zero;
    return {load_requant256(out), _mm256_set1_epi8(static_cast<int8_t>(most))};
  }

  static EK_MEMBER Vector round(Vector sum_s32x8, const float* scale, const Rounding&) {
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sum_s32x8), _mm256_loadu_ps(scale)));
  }

  static EK_MEMBER __m256i bytes(__m256i a_s32x8, __m256i b_s32x8, __m256i c_s32x8, __m256i d_s32x8,
                                 const Rounding& r) {
    const __m256i low_s16x16 = _mm256_adds_epi16(_mm256_packs_epi32(a_s32x8, b_s32x8), r.out.zero_s16x16);
    const __m256i high_s16x16 = _mm256_adds_epi16(_mm256_packs_epi32(c_s32x8, d_s32x8), r.out.zero_s16x16);
    const __m256i u_u8x32 = _mm256_max_epu8(_mm256_packus_epi16(low_s16x16, high_s16x16), r.out.lo_u8x32);
    return _mm256_min_epu8(u_u8x32, r.hi_u8x32);
  }

  static EK_MEMBER void store(uint8_t* y, Mask, const Vector (&q)[4], const Rounding& r) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), bytes(q[0], q[1], q[2], q[3], r));
  }

  static EK_MEMBER void store_half(uint8_t* y, const Vector (&q)[4], const Rounding& r) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), _mm256_castsi256_si128(bytes(q[0], q[1], q[2], q[3], r)));
  }

  static EK_MEMBER void store(uint8_t* y, Mask valid, const Vector (&q)[1], const Rounding& r) {
    const __m256i u_u8x32 = bytes(q[0], q[0], q[0], q[0], r);
    const __m128i u_u8x16 = _mm_unpacklo_epi32(_mm256_castsi256_si128(u_u8x32), _mm256_extracti128_si256(u_u8x32, 1));
    if (valid >= 8) return _mm_storel_epi64(reinterpret_cast<__m128i*>(y), u_u8x16);
    store_u8x16(y, u_u8x16, valid);
  }
};

}  // namespace
}  // namespace ek
