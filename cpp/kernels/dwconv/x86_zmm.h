// SPDX-License-Identifier: Apache-2.0
/// What x86_avx512vnni.cc and x86_avx512vnni_dense.cc share: 512-bit vectors, loads, interleaving, requantisation and
/// stores. Writes the `valid` channels of a pixel.
#pragma once
// clang-format off: rows.h builds on what the isa header defines
#include "kernels/isa/x86_avx512vnni.h"
#include "kernels/dwconv/rows.h"
// clang-format on

namespace ek {
namespace {

/// Products are below 2^30 (fits), so they are clipped after the conversion to int32: saturation on the way to bytes
/// keeps their order, and both bounds are bytes.
struct Rounding512 {
  Requant512 out;
  __m512i lo_s32x16, hi_s32x16, zero_s32x16, hi_u8x64;
};

struct Avx512Vnni {
  using Vector = __m512i;
  using Mask = __mmask16;
  using Rounding = Rounding512;
  static constexpr int kLanes = 16;
  static constexpr bool kHolds = true;

  static EK_MEMBER Vector load(const void* p) { return _mm512_loadu_si512(p); }
  static EK_MEMBER Mask first(int32_t n) { return static_cast<__mmask16>(first_bits(n)); }
  static EK_MEMBER Rounding rounding(const Requant& out) {
    const auto lo = static_cast<int32_t>(out.lo), hi = static_cast<int32_t>(out.hi);
    return {load_requant512(out), _mm512_set1_epi32(lo), _mm512_set1_epi32(hi), _mm512_set1_epi32(out.zero),
            _mm512_set1_epi8(static_cast<int8_t>(hi + out.zero))};
  }

  /// N = 4: bytes of rows 0, 1 and of rows 2, 3 alternating, of channels 16l + 0..7 and then of 16l + 8..15.
  template <int N>
  struct Taps {
    Vector v[N];
  };

  template <int K>
  static EK_MEMBER void interleave(const uint8_t* const (&row)[4], Taps<4>& taps) {
    __m512i a_u8x64 = load(row[0]), b_u8x64 = load(row[1]), c_u8x64 = load(row[2]), d_u8x64 = load(row[3]);
    hold(a_u8x64), hold(b_u8x64), hold(c_u8x64), hold(d_u8x64);
    taps.v[0] = _mm512_unpacklo_epi8(a_u8x64, b_u8x64);
    taps.v[1] = _mm512_unpacklo_epi8(c_u8x64, d_u8x64);
    taps.v[2] = _mm512_unpackhi_epi8(a_u8x64, b_u8x64);
    taps.v[3] = _mm512_unpackhi_epi8(c_u8x64, d_u8x64);
  }

  static EK_MEMBER Vector vector(const Taps<4>& taps, int j) {
    const __m512i ab_u8x64 = taps.v[j / 2 * 2], cd_u8x64 = taps.v[j / 2 * 2 + 1];
    return j % 2 == 0 ? _mm512_unpacklo_epi16(ab_u8x64, cd_u8x64) : _mm512_unpackhi_epi16(ab_u8x64, cd_u8x64);
  }

  /// With three rows byte 3 of a lane is the first row again, under weight 0.
  template <int K>
  static EK_MEMBER void interleave(const uint8_t* const (&row)[4], Taps<1>& taps) {
    const auto lanes = [&](int i) {
      return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row[i])));
    };
    const __m512i four_times = _mm512_setr_epi32(0x00000000, 0x01010101, 0x02020202, 0x03030303,  //
                                                 0x04040404, 0x05050505, 0x06060606, 0x07070707,  //
                                                 0x08080808, 0x09090909, 0x0a0a0a0a, 0x0b0b0b0b,  //
                                                 0x0c0c0c0c, 0x0d0d0d0d, 0x0e0e0e0e, 0x0f0f0f0f);
    taps.v[0] = _mm512_shuffle_epi8(lanes(0), four_times);
    taps.v[0] = _mm512_mask_shuffle_epi8(taps.v[0], 0x2222222222222222, lanes(1), four_times);
    taps.v[0] = _mm512_mask_shuffle_epi8(taps.v[0], 0x4444444444444444, lanes(2), four_times);
    if (K > 3) taps.v[0] = _mm512_mask_shuffle_epi8(taps.v[0], 0x8888888888888888, lanes(3), four_times);
  }

  static EK_MEMBER Vector vector(const Taps<1>& taps, int) { return taps.v[0]; }

  static EK_MEMBER Vector dot(Vector sum_s32x16, Vector taps_u8x64, Vector w_s8x64) {
    return _mm512_dpbusd_epi32(sum_s32x16, taps_u8x64, w_s8x64);
  }

  static EK_MEMBER Vector round(Vector sum_s32x16, const float* scale, const Rounding&) {
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sum_s32x16), _mm512_loadu_ps(scale)));
  }

  static EK_MEMBER __m512i bytes(const Vector (&q)[4], const Rounding& r) {
    const __m512i low_s16x32 = _mm512_adds_epi16(_mm512_packs_epi32(q[0], q[1]), r.out.zero_s16x32);
    const __m512i high_s16x32 = _mm512_adds_epi16(_mm512_packs_epi32(q[2], q[3]), r.out.zero_s16x32);
    const __m512i u_u8x64 = _mm512_max_epu8(_mm512_packus_epi16(low_s16x32, high_s16x32), r.out.lo_u8x64);
    return _mm512_min_epu8(u_u8x64, r.hi_u8x64);
  }

  static EK_MEMBER void store(uint8_t* y, Mask, const Vector (&q)[4], const Rounding& r) {
    _mm512_storeu_si512(y, bytes(q, r));
  }

  static EK_MEMBER void store_half(uint8_t* y, const Vector (&q)[4], const Rounding& r) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), _mm512_castsi512_si256(bytes(q, r)));
  }

  static EK_MEMBER void store(uint8_t* y, Mask valid, const Vector (&q)[1], const Rounding& r) {
    const __m512i clipped_s32x16 = _mm512_min_epi32(_mm512_max_epi32(q[0], r.lo_s32x16), r.hi_s32x16);
    _mm512_mask_cvtepi32_storeu_epi8(y, valid, _mm512_add_epi32(clipped_s32x16, r.zero_s32x16));
  }
};

}  // namespace
}  // namespace ek
