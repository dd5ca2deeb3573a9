// SPDX-License-Identifier: Apache-2.0
/// What x86_avxvnni.cc gives the loop of block.h: 256-bit vectors, loads, requantisation and stores. Writes the
/// first `valid` bytes of a pixel.
#pragma once
// clang-format off: rows.h builds on what the isa header defines
#include "kernels/isa/x86_avx2.h"
#include "kernels/dwconv/rows.h"
// clang-format on

namespace ek {
namespace {

struct Ymm {
  using Vector = __m256i;
  using Mask = int32_t;
  using Rounding = ByteBounds256;  ///< products are below 2^30 (fits)
  static constexpr int kLanes = 8;
  static constexpr bool kHolds = false;

  static EK_MEMBER Vector load(const void* p) { return load256(p); }
  static EK_MEMBER __m128i load_u8x8(const uint8_t* p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)); }
  static EK_MEMBER Mask first(int32_t n) { return n; }
  static EK_MEMBER Rounding rounding(const Requant& out) { return load_byte_bounds256(out); }

  static EK_MEMBER Vector round(Vector sum_s32x8, const float* scale, const Rounding&) {
    return round_s32x8(sum_s32x8, _mm256_loadu_ps(scale));
  }

  static EK_MEMBER void store(uint8_t* y, Mask, const Vector (&q)[4], const Rounding& r) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), bytes_in_lanes_u8x32(q[0], q[1], q[2], q[3], r));
  }

  static EK_MEMBER void store_half(uint8_t* y, const Vector (&q)[4], const Rounding& r) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y),
                     _mm256_castsi256_si128(bytes_in_lanes_u8x32(q[0], q[1], q[2], q[3], r)));
  }

  static EK_MEMBER void store(uint8_t* y, Mask valid, const Vector (&q)[1], const Rounding& r) {
    const __m256i u_u8x32 = bytes_in_lanes_u8x32(q[0], q[0], q[0], q[0], r);
    const __m128i u_u8x16 = _mm_unpacklo_epi32(_mm256_castsi256_si128(u_u8x32), _mm256_extracti128_si256(u_u8x32, 1));
    if (valid >= 8) return _mm_storel_epi64(reinterpret_cast<__m128i*>(y), u_u8x16);
    store_u8x16(y, u_u8x16, valid);
  }
};

}  // namespace
}  // namespace ek
