// SPDX-License-Identifier: Apache-2.0
/// edge: 16 pixels of up to four planes, between planes in registers and pixels in memory. For x86_avx2.cc only,
/// after kernels/isa/x86_avx2.h.
///
///   y[i * y_step + p] = v[p][i]      and back
///
/// Three planes: each of the 48 bytes comes from one of three vectors, so a vector is three vpshufb joined by or. Four:
/// transpositions of bytes and of words. Pixels that lie farther apart go one by one, kPlanes bytes each.
/// Memory: reads and writes exactly the bytes named.
#pragma once
#include "kernels/edge/weave.h"

namespace ek {
namespace {

/// shuffle[i][j] takes from vector j the bytes that stand in vector i after (before: for kApart) weaving three planes;
/// a negative index gives 0, so that three shuffles are joined by or.
struct Thirds {
  int8_t shuffle[3][3][16];
};

constexpr Thirds thirds(bool apart) {
  Thirds t = {};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      for (int byte = 0; byte < 16; ++byte) {
        const int at = apart ? 3 * byte + i : 16 * i + byte;  // of the 48 bytes of 16 pixels
        const bool here = (apart ? at / 16 : at % 3) == j;
        t.shuffle[i][j][byte] = static_cast<int8_t>(!here ? -1 : apart ? at % 16 : at / 3);
      }
    }
  }
  return t;
}

constexpr Thirds kTogether = thirds(false), kApart = thirds(true);

EK_INLINE __m128i third_u8x16(const Thirds& t, int i, const __m128i (&v_u8x16)[4]) {
  __m128i sum_u8x16 = _mm_setzero_si128();
  EK_UNROLL
  for (int j = 0; j < 3; ++j) {
    const __m128i from_u8x16 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(t.shuffle[i][j]));
    sum_u8x16 = _mm_or_si128(sum_u8x16, _mm_shuffle_epi8(v_u8x16[j], from_u8x16));
  }
  return sum_u8x16;
}

/// Four planes of 16 bytes to 16 pixels of four.
EK_INLINE void weave4(const __m128i (&v_u8x16)[4], __m128i (&px_u8x16)[4]) {
  const __m128i ab0 = _mm_unpacklo_epi8(v_u8x16[0], v_u8x16[1]), ab8 = _mm_unpackhi_epi8(v_u8x16[0], v_u8x16[1]);
  const __m128i cd0 = _mm_unpacklo_epi8(v_u8x16[2], v_u8x16[3]), cd8 = _mm_unpackhi_epi8(v_u8x16[2], v_u8x16[3]);
  px_u8x16[0] = _mm_unpacklo_epi16(ab0, cd0), px_u8x16[1] = _mm_unpackhi_epi16(ab0, cd0);
  px_u8x16[2] = _mm_unpacklo_epi16(ab8, cd8), px_u8x16[3] = _mm_unpackhi_epi16(ab8, cd8);
}

EK_INLINE void unweave4(const __m128i (&px_u8x16)[4], __m128i (&v_u8x16)[4]) {
  const __m128i columns = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m128i q0 = _mm_shuffle_epi8(px_u8x16[0], columns), q1 = _mm_shuffle_epi8(px_u8x16[1], columns);
  const __m128i q2 = _mm_shuffle_epi8(px_u8x16[2], columns), q3 = _mm_shuffle_epi8(px_u8x16[3], columns);
  const __m128i ab0 = _mm_unpacklo_epi32(q0, q1), ab8 = _mm_unpacklo_epi32(q2, q3);
  const __m128i cd0 = _mm_unpackhi_epi32(q0, q1), cd8 = _mm_unpackhi_epi32(q2, q3);
  v_u8x16[0] = _mm_unpacklo_epi64(ab0, ab8), v_u8x16[1] = _mm_unpackhi_epi64(ab0, ab8);
  v_u8x16[2] = _mm_unpacklo_epi64(cd0, cd8), v_u8x16[3] = _mm_unpackhi_epi64(cd0, cd8);
}

/// 16 pixels of kPlanes bytes, a step apart (weave.h).
struct Pixels {
  using Vector = __m128i;

  template <int kPlanes>
  static EK_MEMBER void store(uint8_t* y, ptrdiff_t y_step, const __m128i (&v_u8x16)[4]) {
    __m128i px_u8x16[4];
    if (kPlanes == 3 && y_step == 3) {
      EK_UNROLL
      for (int i = 0; i < 3; ++i) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(y) + i, third_u8x16(kTogether, i, v_u8x16));
      }
      return;
    }
    weave4(v_u8x16, px_u8x16);
    if (kPlanes == 4 && y_step == 4) {
      EK_UNROLL
      for (int i = 0; i < 4; ++i) _mm_storeu_si128(reinterpret_cast<__m128i*>(y) + i, px_u8x16[i]);
      return;
    }
    alignas(16) uint8_t pixels[4 * kPixels];
    EK_UNROLL
    for (int i = 0; i < 4; ++i) _mm_store_si128(reinterpret_cast<__m128i*>(pixels) + i, px_u8x16[i]);
    for (ptrdiff_t i = 0; i < kPixels; ++i) __builtin_memcpy(y + i * y_step, pixels + 4 * i, kPlanes);
  }

  template <int kPlanes>
  static EK_MEMBER void load(const uint8_t* x, ptrdiff_t x_step, __m128i (&v_u8x16)[4]) {
    __m128i px_u8x16[4];
    if (kPlanes == 3 && x_step == 3) {
      EK_UNROLL
      for (int i = 0; i < 3; ++i) px_u8x16[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x) + i);
      EK_UNROLL
      for (int i = 0; i < 3; ++i) v_u8x16[i] = third_u8x16(kApart, i, px_u8x16);
      return;
    }
    alignas(16) uint8_t pixels[4 * kPixels] = {};
    const bool dense = kPlanes == 4 && x_step == 4;
    if (!dense) {
      for (ptrdiff_t i = 0; i < kPixels; ++i) __builtin_memcpy(pixels + 4 * i, x + i * x_step, kPlanes);
    }
    const auto* from = reinterpret_cast<const __m128i*>(dense ? x : pixels);
    EK_UNROLL
    for (int i = 0; i < 4; ++i) px_u8x16[i] = _mm_loadu_si128(from + i);
    unweave4(px_u8x16, v_u8x16);
  }
};

}  // namespace
}  // namespace ek
