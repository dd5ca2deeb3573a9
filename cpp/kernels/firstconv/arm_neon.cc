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
/// i % row_taps of register i / row_taps, and 0 where the index is beyond the table. A load of the dot loop then lies
/// inside one store, which forwards to it.
/// More than four rows go by fours where each four fill whole registers (10 x 4 of keyword spotting). Other kernels of
/// more than 64 taps, 16 taps per row or 4 rows are copied row by row, 16 bytes at a time.
/// Memory: reads up to 15 bytes behind each source row; writes 16-byte groups of taps below `step`, copies up to 15
/// bytes behind the last pixel's taps.
#include "kernels/isa/arm_neon.h"

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/firstconv/gather.h"

namespace ek {
namespace {

/// Where bytes 16 * part .. 16 * part + 15 of the taps stand in a table of KH registers.
template <int KH>
EK_INLINE uint8x16_t places_u8x16(int32_t row_taps, int32_t part) {
  static const uint8_t kCount[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  uint8x16_t place_u8x16 = vdupq_n_u8(255);
  for (int ky = 0; ky < KH; ++ky) {
    const uint8x16_t j_u8x16 = vaddq_u8(vld1q_u8(kCount), vdupq_n_u8(static_cast<uint8_t>(16 * part - ky * row_taps)));
    const uint8x16_t mine_u8x16 = vcltq_u8(j_u8x16, vdupq_n_u8(static_cast<uint8_t>(row_taps)));  // below 0 is large
    place_u8x16 = vbslq_u8(mine_u8x16, vaddq_u8(j_u8x16, vdupq_n_u8(static_cast<uint8_t>(16 * ky))), place_u8x16);
  }
  return place_u8x16;
}

template <int KH>
EK_INLINE uint8x16_t look_up_u8x16(const uint8x16_t (&row_u8x16)[KH], uint8x16_t place_u8x16) {
  if constexpr (KH == 1) return vqtbl1q_u8(row_u8x16[0], place_u8x16);
  if constexpr (KH == 2) return vqtbl2q_u8({{row_u8x16[0], row_u8x16[1]}}, place_u8x16);
  if constexpr (KH == 3) return vqtbl3q_u8({{row_u8x16[0], row_u8x16[1], row_u8x16[2]}}, place_u8x16);
  if constexpr (KH == 4) return vqtbl4q_u8({{row_u8x16[0], row_u8x16[1], row_u8x16[2], row_u8x16[3]}}, place_u8x16);
}

/// KH kernel rows, kParts times 16 taps.
template <int KH, int kParts>
void join(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, uint8_t* to) {
  const uint8_t* from[KH];
  uint8x16_t place_u8x16[kParts];
  for (int ky = 0; ky < KH; ++ky) from[ky] = args.rows[ky] + first * args.a_px;
  for (int part = 0; part < kParts; ++part) place_u8x16[part] = places_u8x16<KH>(args.row_taps, part);
  ptrdiff_t at = 0;
  for (int32_t p = 0; p < count; ++p, to += step, at += args.a_px) {
    uint8x16_t row_u8x16[KH];
#pragma GCC unroll 4
    for (int ky = 0; ky < KH; ++ky) row_u8x16[ky] = vld1q_u8(from[ky] + at);
#pragma GCC unroll 4
    for (int part = 0; part < kParts; ++part) {
      vst1q_u8(to + 16 * part, look_up_u8x16<KH>(row_u8x16, place_u8x16[part]));
    }
  }
}

template <int KH>
void join_parts(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, uint8_t* to) {
  switch ((KH * args.row_taps + 15) / 16) {
    case 1:
      return join<KH, 1>(args, first, count, step, to);
    case 2:
      return join<KH, 2>(args, first, count, step, to);
    case 3:
      return join<KH, 3>(args, first, count, step, to);
    default:
      return join<KH, 4>(args, first, count, step, to);
  }
}

/// Up to four kernel rows.
void join_rows(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, uint8_t* to) {
  switch (args.kh) {
    case 1:
      return join<1, 1>(args, first, count, step, to);
    case 2:
      return join_parts<2>(args, first, count, step, to);
    case 3:
      return join_parts<3>(args, first, count, step, to);
    default:
      return join_parts<4>(args, first, count, step, to);
  }
}

}  // namespace

void gather_u8_neon(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, void* taps) {
  uint8_t* const to = static_cast<uint8_t*>(taps);
  if (args.row_taps > 16 || (args.kh > 4 && args.row_taps % 4 != 0)) return gather_u8(args, first, count, step, taps);
  FirstConvArgs four = args;
  for (int32_t ky = 0; ky < args.kh; ky += 4) {
    four.rows = args.rows + ky;
    four.kh = args.kh - ky < 4 ? args.kh - ky : 4;
    join_rows(four, first, count, step, to + ky * args.row_taps);
  }
}

}  // namespace ek
