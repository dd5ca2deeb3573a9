// SPDX-License-Identifier: Apache-2.0
/// firstconv's gathers for AVX2: 32 taps at a time are put together in one register and stored once.
///
///   taps[p * step + ky * row_taps + j] = rows[ky][(first + p) * a_px + j]
///
///   intrinsic                           instruction              Zen 5 per cycle
///   _mm256_broadcastsi128_si256(load)   VBROADCASTI128 y, m128   2 (load port)
///   _mm256_shuffle_epi8                 VPSHUFB y, y, y          2
///   _mm256_or_si256                     VPOR y, y, y             4
///   _mm256_cvtepu8_epi16                VPMOVZXBW y, x           2
///
/// Kernel row ky stands in both halves of a register; VPSHUFB moves its byte j to byte ky * row_taps + j of the taps
/// and clears the rest, so the rows are joined by OR. The 4-byte loads of the dot loop then lie inside one store,
/// which forwards to them; across two stores they would wait.
/// Kernels of more than 64 taps, 16 taps per row or 5 rows are copied row by row, 16 bytes at a time; what a copy
/// writes too much is overwritten by the next kernel row or pixel, in that order.
/// Memory: reads up to 15 bytes behind each source row; writes `step` elements per pixel, copies up to 30 bytes more.
#include "kernels/isa/x86_avx2.h"

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/firstconv/gather.h"

namespace ek {
namespace {

/// Where byte 32 * half + i of the taps comes from in kernel row ky, for VPSHUFB: j in 0..15, or -1 for another row.
EK_INLINE __m256i moves_u8x32(int32_t row_taps, int32_t ky, int32_t half) {
  const __m256i i_u8x32 = _mm256_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                           22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
  const __m256i skip_u8x32 = _mm256_set1_epi8(static_cast<int8_t>(ky * row_taps - 32 * half));
  const __m256i last_u8x32 = _mm256_set1_epi8(static_cast<int8_t>(row_taps - 1));
  const __m256i j_u8x32 = _mm256_sub_epi8(i_u8x32, skip_u8x32);  // below 0 is 128 and more
  const __m256i mine_u8x32 = _mm256_cmpeq_epi8(_mm256_min_epu8(j_u8x32, last_u8x32), j_u8x32);
  return _mm256_blendv_epi8(_mm256_set1_epi8(-1), j_u8x32, mine_u8x32);
}

template <int KH, int kHalves, bool kWiden>
void join(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, uint8_t* to) {
  const ptrdiff_t a_px = args.a_px;
  const uint8_t* from[KH];
  __m256i move_u8x32[kHalves][KH];
  EK_UNROLL
  for (int ky = 0; ky < KH; ++ky) {
    from[ky] = args.rows[ky] + first * a_px;
    EK_UNROLL
    for (int half = 0; half < kHalves; ++half) move_u8x32[half][ky] = moves_u8x32(args.row_taps, ky, half);
  }
  for (int32_t p = 0; p < count; ++p, to += step * (kWiden ? 2 : 1)) {
    __m256i v_u8x32[kHalves] = {};
    EK_UNROLL
    for (int ky = 0; ky < KH; ++ky) {
      const __m128i row_u8x16 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from[ky]));
      const __m256i both_u8x32 = _mm256_broadcastsi128_si256(row_u8x16);
      from[ky] += a_px;
      EK_UNROLL
      for (int half = 0; half < kHalves; ++half) {
        const __m256i moved_u8x32 = _mm256_shuffle_epi8(both_u8x32, move_u8x32[half][ky]);
        v_u8x32[half] = _mm256_or_si256(v_u8x32[half], moved_u8x32);
      }
    }
    __m256i* const taps = reinterpret_cast<__m256i*>(to);
    EK_UNROLL
    for (int half = 0; half < kHalves; ++half) {
      if (kWiden) {
        const __m128i high_u8x16 = _mm256_extracti128_si256(v_u8x32[half], 1);
        _mm256_store_si256(taps + 2 * half, _mm256_cvtepu8_epi16(_mm256_castsi256_si128(v_u8x32[half])));
        _mm256_store_si256(taps + 2 * half + 1, _mm256_cvtepu8_epi16(high_u8x16));
      } else {
        _mm256_store_si256(taps + half, v_u8x32[half]);
      }
    }
  }
}

/// Joins rows in registers where `join` can; false where it cannot.
template <int kHalves, bool kWiden>
bool join_rows(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, uint8_t* to) {
  if (args.row_taps > 16) return false;
  switch (args.kh) {
    case 1:
      return join<1, kHalves, kWiden>(args, first, count, step, to), true;
    case 2:
      return join<2, kHalves, kWiden>(args, first, count, step, to), true;
    case 3:
      return join<3, kHalves, kWiden>(args, first, count, step, to), true;
    case 4:
      return join<4, kHalves, kWiden>(args, first, count, step, to), true;
    case 5:
      return join<5, kHalves, kWiden>(args, first, count, step, to), true;
    default:
      return false;
  }
}

}  // namespace

void gather_u8_avx2(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, void* taps) {
  uint8_t* const to = static_cast<uint8_t*>(taps);
  if (step <= 32 && join_rows<1, false>(args, first, count, step, to)) return;
  if (step == 64 && join_rows<2, false>(args, first, count, step, to)) return;
  gather_u8(args, first, count, step, taps);
}

void gather_s16_avx2(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, void* taps) {
  if (step <= 32 && join_rows<1, true>(args, first, count, step, static_cast<uint8_t*>(taps))) return;
  if (step == 64 && join_rows<2, true>(args, first, count, step, static_cast<uint8_t*>(taps))) return;
  for (int32_t p = 0; p < count; ++p) {
    int16_t* to = static_cast<int16_t*>(taps) + ptrdiff_t{p} * step;
    for (int32_t ky = 0; ky < args.kh; ++ky, to += args.row_taps) {
      const uint8_t* from = args.rows[ky] + (first + p) * args.a_px;
      for (int32_t j = 0; j < args.row_taps; j += 16) {
        const __m128i v_u8x16 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + j));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + j), _mm256_cvtepu8_epi16(v_u8x16));
      }
    }
  }
}

}  // namespace ek
