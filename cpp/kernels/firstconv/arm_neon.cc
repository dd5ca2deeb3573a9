// SPDX-License-Identifier: Apache-2.0
/// firstconv's gather for NEON: 16 taps at a time are put together in one register and stored once.
///
///   taps[p * step + ky * row_taps + j] = rows[ky][(first + p) * a_px + j]
///
///   intrinsic          instruction                          per cycle: A53   A72   N1
///   vqtbl{1..4}q_u8    TBL 16b, {16b x 1..4}, 16b               1..1/4  1..1/4    2..1
///   vld1q_u8           LDR q                                         1     1     2
///
/// TBL looks each of 16 bytes up in up to four registers, which hold that many kernel rows: byte i of the taps is byte
/// i % row_taps of register i / row_taps. Where two neighbours' taps lie within 16 bytes of a row, the same registers
/// serve both pixels. A load of the dot loop then lies inside one store, which forwards to it.
/// More than four rows go by fours where each four fill whole registers (10 x 4 of keyword spotting). Other kernels of
/// more than 16 taps per row or 4 rows are copied row by row, 16 bytes at a time.
/// Memory: reads up to 15 bytes behind each source row; writes 16-byte groups of taps below `step`, copies up to 15
/// bytes behind the last pixel's taps.
#include "kernels/isa/arm_neon.h"

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/firstconv/gather.h"

namespace ek {
namespace {

/// What is gathered: up to four kernel rows of `count` pixels.
struct Gather {
  const uint8_t* const* rows;
  int32_t row_taps;
  ptrdiff_t a_px;
  int32_t first, count;
  ptrdiff_t step;
  uint8_t* to;
};

/// Where bytes 16 * part .. 16 * part + 15 of the taps stand in a table of KH registers: byte i in register
/// i / row_taps, so 16 - row_taps further for each register before it. Bytes behind the taps get any place.
template <int KH>
EK_INLINE uint8x16_t places_u8x16(int32_t row_taps, int32_t part) {
  static const uint8_t kCount[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const uint8x16_t i_u8x16 = vaddq_u8(vld1q_u8(kCount), vdupq_n_u8(static_cast<uint8_t>(16 * part)));
  const uint8x16_t gap_u8x16 = vdupq_n_u8(static_cast<uint8_t>(16 - row_taps));
  uint8x16_t place_u8x16 = i_u8x16;
  EK_UNROLL
  for (int ky = 1; ky < KH; ++ky) {
    const uint8x16_t behind_u8x16 = vcgeq_u8(i_u8x16, vdupq_n_u8(static_cast<uint8_t>(ky * row_taps)));
    place_u8x16 = vmlsq_u8(place_u8x16, behind_u8x16, gap_u8x16);  // a comparison answers -1
  }
  return place_u8x16;
}

/// 16 bytes of KH kernel rows, as one table from the start: GCC copies registers into it otherwise.
template <int KH>
EK_INLINE auto load_rows(const uint8_t* const (&from)[KH], ptrdiff_t at) {
  if constexpr (KH == 1) return vld1q_u8(from[0] + at);
  if constexpr (KH == 2) return uint8x16x2_t{{vld1q_u8(from[0] + at), vld1q_u8(from[1] + at)}};
  if constexpr (KH == 3) {
    return uint8x16x3_t{{vld1q_u8(from[0] + at), vld1q_u8(from[1] + at), vld1q_u8(from[2] + at)}};
  }
  if constexpr (KH == 4) {
    return uint8x16x4_t{
        {vld1q_u8(from[0] + at), vld1q_u8(from[1] + at), vld1q_u8(from[2] + at), vld1q_u8(from[3] + at)}};
  }
}

EK_INLINE uint8x16_t look_up(uint8x16_t rows, uint8x16_t place_u8x16) { return vqtbl1q_u8(rows, place_u8x16); }
EK_INLINE uint8x16_t look_up(const uint8x16x2_t& rows, uint8x16_t place_u8x16) { return vqtbl2q_u8(rows, place_u8x16); }
EK_INLINE uint8x16_t look_up(const uint8x16x3_t& rows, uint8x16_t place_u8x16) { return vqtbl3q_u8(rows, place_u8x16); }
EK_INLINE uint8x16_t look_up(const uint8x16x4_t& rows, uint8x16_t place_u8x16) { return vqtbl4q_u8(rows, place_u8x16); }

/// KH kernel rows, kParts times 16 taps, kPixels pixels from the same registers.
template <int KH, int kParts, int kPixels>
EK_INLINE void join(const Gather& g) {
  const ptrdiff_t a_px = g.a_px, step = g.step;
  const uint8_t* from[KH];
  uint8x16_t place_u8x16[kPixels][kParts];
  EK_UNROLL
  for (int ky = 0; ky < KH; ++ky) from[ky] = g.rows[ky] + g.first * a_px;
  EK_UNROLL
  for (int part = 0; part < kParts; ++part) {
    place_u8x16[0][part] = places_u8x16<KH>(g.row_taps, part);
    EK_UNROLL
    for (int p = 1; p < kPixels; ++p) {
      place_u8x16[p][part] = vaddq_u8(place_u8x16[p - 1][part], vdupq_n_u8(static_cast<uint8_t>(a_px)));
    }
  }
  uint8_t* to = g.to;
  ptrdiff_t at = 0;
  int32_t left = g.count;
  const auto pixels = [&](int count) __attribute__((always_inline)) {
    const auto rows = load_rows(from, at);
    EK_UNROLL
    for (int p = 0; p < count; ++p) {
      EK_UNROLL
      for (int part = 0; part < kParts; ++part) {
        vst1q_u8(to + 16 * part, look_up(rows, place_u8x16[p][part]));
      }
      to += step;
    }
    at += count * a_px;
  };
  for (; left >= kPixels; left -= kPixels) pixels(kPixels);
  if (kPixels > 1 && left != 0) pixels(1);
}

template <int KH, int kParts>
void join_pixels(const Gather& g) {
  g.a_px >= 0 && g.a_px + g.row_taps <= 16 ? join<KH, kParts, 2>(g) : join<KH, kParts, 1>(g);
}

/// By kernel rows and groups of 16 taps.
constexpr void (*kJoin[4][4])(const Gather& g) = {
    {join_pixels<1, 1>},
    {join_pixels<2, 1>, join_pixels<2, 2>},
    {join_pixels<3, 1>, join_pixels<3, 2>, join_pixels<3, 3>},
    {join_pixels<4, 1>, join_pixels<4, 2>, join_pixels<4, 3>, join_pixels<4, 4>},
};

}  // namespace

void gather_u8_neon(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, void* taps) {
  const int32_t kh = args.kh, row_taps = args.row_taps;
  if (row_taps > 16 || (kh > 4 && row_taps % 4 != 0)) return gather_u8(args, first, count, step, taps);
  uint8_t* const to = static_cast<uint8_t*>(taps);
  for (int32_t ky = 0; ky < kh; ky += 4) {
    const int32_t rows = kh - ky < 4 ? kh - ky : 4;
    kJoin[rows - 1][(rows * row_taps - 1) / 16](
        {args.rows + ky, row_taps, args.a_px, first, count, step, to + ky * row_taps});
  }
}

}  // namespace ek
