// SPDX-License-Identifier: Apache-2.0
/// qgemm for armv8.0, which has no dot instruction: tiles of 4 pixels x 4 columns, dot products 16 deep.
///
///   sum over k of u(k) * w(k) = sum of (u(k) ^ 0x80 as s8) * w(k) + 128 * sum of w(k);  the packed bias holds the
///   second term (row field a_zero = 128), so the loop multiplies signed by signed:
///
///   intrinsic         instruction          per cycle: A53  A72   lanes
///   vmull_s8          SMULL   8h, 8b, 8b               1    1    8 products, k 0..7
///   vmlal_high_s8     SMLAL2  8h, 16b, 16b             1    1    + 8 products, k 8..15
///   vpadalq_s16       SADALP  4s, 8h                   1    1    pairs into int32
///   vld1q_x4          LD1     4 of 16b                 1/8  1/4  16 k of 4 pixels or columns
///   veorq_u8          EOR     16b                      1    2    16 k of one pixel, once for all columns
///   requantise        see isa/arm_neon.h
///
/// 16 multiply-accumulates per 3 instructions: 5.33 per cycle where one pipe does all (A53), 8 where SADALP has another
/// (A72). In the first row two products share an int16 lane: |s * w| <= 128 * 127 and 2 * 16256 = 32512 < 2^15, so
/// weights must not be -128 (`fits_no_minus_128`). The second row takes those too: it adds to int32 after each product
/// (128 * 128 = 2^14), 16 per 4 instructions. A last k group of at most 8 is half a group in both.
/// int32 lanes hold K / 8 such pair sums each: exact for K < 2^31 / 16256 = 132,104 per output.
/// Pixels are flipped and copied to the stack first (arm_pixels.h); 16 k of a tile are then 48 of these in 52
/// instructions. Registers: 16 sums, 4 of A, 4 of weights, 4 products. Memory: reads up to 15 bytes behind a tap
/// (KR - 1, times zero weights), the panel, biases and scales; writes n columns of m pixels; 17 KB of stack.
#include "kernels/isa/arm_neon.h"

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/qgemm/arm_pixels.h"
#include "kernels/qgemm/arm_tiles.h"

EK_SOURCE_ORDER

namespace ek {

void qgemm_u8_4x64x16_neon(const QGemmArgs& args);
void qgemm_u8_4x32x16_neon(const QGemmArgs& args);

namespace {

/// One row of the table: whether each product is added to int32 alone.
struct Paired {
  static constexpr bool kAlone = false;
};
struct Alone {
  static constexpr bool kAlone = true;
};

/// The sum of a lane's pairs, or begins it.
template <bool kFresh>
EK_INLINE void add_pairs(int32x4_t& sum_s32x4, int16x8_t product_s16x8) {
  sum_s32x4 = kFresh ? vpaddlq_s16(product_s16x8) : vpadalq_s16(sum_s32x4, product_s16x8);
}

/// Column kColumn's share: all pixels side by side, because an in-order core waits four cycles for each product.
template <typename Row, bool kHalf, bool kFresh, int kColumn, int MR>
EK_INLINE void multiply_column(const int8x16_t (&a_s8x16)[MR], int8x16_t w_s8x16, int32x4_t (&sum_s32x4)[MR][4]) {
  int16x8_t product_s16x8[MR];
  EK_UNROLL
  for (int p = 0; p < MR; ++p) product_s16x8[p] = vmull_s8(vget_low_s8(a_s8x16[p]), vget_low_s8(w_s8x16));
  if constexpr (!kHalf) {
    EK_UNROLL
    for (int p = 0; p < MR; ++p) {
      if constexpr (Row::kAlone) {
        add_pairs<kFresh>(sum_s32x4[p][kColumn], product_s16x8[p]);
        product_s16x8[p] = vmull_high_s8(a_s8x16[p], w_s8x16);
      } else {
        product_s16x8[p] = vmlal_high_s8(product_s16x8[p], a_s8x16[p], w_s8x16);
      }
    }
  }
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    add_pairs<kFresh && (kHalf || !Row::kAlone)>(sum_s32x4[p][kColumn], product_s16x8[p]);
  }
}

/// Column kColumn's share of a whole group of 4 pixels, as below, in this order: with intrinsics GCC 12 copies or
/// spills a register in ten.
#define EK_MUL(i)   "smull %[p" #i "].8h, %[a" #i "].8b, %[w].8b\n\t"
#define EK_MUL2(i)  "smull2 %[p" #i "].8h, %[a" #i "].16b, %[w].16b\n\t"
#define EK_MLA2(i)  "smlal2 %[p" #i "].8h, %[a" #i "].16b, %[w].16b\n\t"
#define EK_BEGIN(i) "saddlp %[s" #i "].4s, %[p" #i "].8h\n\t"
#define EK_ADD(i)   "sadalp %[s" #i "].4s, %[p" #i "].8h\n\t"
#define EK_4(each)  each(0) each(1) each(2) each(3)
#define EK_COLUMN(instructions, written)                                                                      \
  __asm__(instructions                                                                                        \
          : [s0] written(sum_s32x4[0][kColumn]), [s1] written(sum_s32x4[1][kColumn]),                         \
            [s2] written(sum_s32x4[2][kColumn]), [s3] written(sum_s32x4[3][kColumn]), [p0] "=&w"(p_s16x8[0]), \
            [p1] "=&w"(p_s16x8[1]), [p2] "=&w"(p_s16x8[2]), [p3] "=&w"(p_s16x8[3])                            \
          : [a0] "w"(a_s8x16[0]), [a1] "w"(a_s8x16[1]), [a2] "w"(a_s8x16[2]), [a3] "w"(a_s8x16[3]), [w] "w"(w_s8x16))
template <typename Row, bool kFresh, int kColumn>
EK_INLINE void multiply_column_of_4(const int8x16_t (&a_s8x16)[4], int8x16_t w_s8x16, int32x4_t (&sum_s32x4)[4][4]) {
  int16x8_t p_s16x8[4];
  if constexpr (Row::kAlone && kFresh) {
    EK_COLUMN(EK_4(EK_MUL) EK_4(EK_BEGIN) EK_4(EK_MUL2) EK_4(EK_ADD), "=&w");
  } else if constexpr (Row::kAlone) {
    EK_COLUMN(EK_4(EK_MUL) EK_4(EK_ADD) EK_4(EK_MUL2) EK_4(EK_ADD), "+&w");
  } else if constexpr (kFresh) {
    EK_COLUMN(EK_4(EK_MUL) EK_4(EK_MLA2) EK_4(EK_BEGIN), "=w");
  } else {
    EK_COLUMN(EK_4(EK_MUL) EK_4(EK_MLA2) EK_4(EK_ADD), "+w");
  }
}
#undef EK_COLUMN
#undef EK_4
#undef EK_ADD
#undef EK_BEGIN
#undef EK_MLA2
#undef EK_MUL2
#undef EK_MUL

/// Adds one k group of 16, or its first 8, of MR pixels x 4 columns; moves a and w on to the next.
template <typename Row, bool kHalf, bool kFresh, int MR>
EK_INLINE void multiply_group(const uint8_t*& a, const int8_t*& w, int32x4_t (&sum_s32x4)[MR][4]) {
  int8x16_t a_s8x16[MR];
  load_a(a, a_s8x16);
  const int8x16x4_t four_s8x16 = vld1q_s8_x4(w);
  const int8x16_t w_s8x16[4] = {four_s8x16.val[0], four_s8x16.val[1], four_s8x16.val[2], four_s8x16.val[3]};
  w += 64;
  if constexpr (MR == 4 && !kHalf) {
    multiply_column_of_4<Row, kFresh, 0>(a_s8x16, w_s8x16[0], sum_s32x4);
    multiply_column_of_4<Row, kFresh, 1>(a_s8x16, w_s8x16[1], sum_s32x4);
    multiply_column_of_4<Row, kFresh, 2>(a_s8x16, w_s8x16[2], sum_s32x4);
    multiply_column_of_4<Row, kFresh, 3>(a_s8x16, w_s8x16[3], sum_s32x4);
  } else {
    multiply_column<Row, kHalf, kFresh, 0>(a_s8x16, w_s8x16[0], sum_s32x4);
    multiply_column<Row, kHalf, kFresh, 1>(a_s8x16, w_s8x16[1], sum_s32x4);
    multiply_column<Row, kHalf, kFresh, 2>(a_s8x16, w_s8x16[2], sum_s32x4);
    multiply_column<Row, kHalf, kFresh, 3>(a_s8x16, w_s8x16[3], sum_s32x4);
  }
}

/// MR pixels x 4 columns: the sums over the runs of a chunk, without what they begin with. Moves a on to the next block
/// and w to the next columns.
template <typename Row, bool kMerged, int MR>
EK_INLINE void accumulate(const Tiles& t, const uint8_t*& a, const int8_t*& w, int32x4_t (&out_s32x4)[MR][1]) {
  int32x4_t sum_s32x4[MR][4];
  int32_t left = t.full - 1, run = kMerged ? 1 : t.runs;
  if (kMerged || t.full > 0) {
    multiply_group<Row, false, true>(a, w, sum_s32x4);
  } else {
    multiply_group<Row, true, true>(a, w, sum_s32x4);
    left = 0, --run;
  }
  for (; run > 0; --run, left = t.full) {
    for (; left > 0; --left) multiply_group<Row, false, false>(a, w, sum_s32x4);
    if (!kMerged) multiply_group<Row, true, false>(a, w, sum_s32x4);
  }
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    const int32x4_t ab_s32x4 = vpaddq_s32(sum_s32x4[p][0], sum_s32x4[p][1]);
    const int32x4_t cd_s32x4 = vpaddq_s32(sum_s32x4[p][2], sum_s32x4[p][3]);
    out_s32x4[p][0] = vpaddq_s32(ab_s32x4, cd_s32x4);
  }
}

/// Four columns of a block to bytes, [pixel][column], or to where sums are parked.
template <typename Row, bool kMerged, int MR>
EK_INLINE void four_columns(const Tiles& t, int32_t column, const OutNeon& out, const uint8_t*& a, const int8_t*& w,
                            uint8_t* bytes) {
  int32x4_t sum_s32x4[MR][1];
  accumulate<Row, kMerged>(t, a, w, sum_s32x4);
  const int32x4_t bias_s32x4 = vld1q_s32(t.bias + column);
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    const int32x4_t start_s32x4 =
        __builtin_expect(t.start != nullptr, 0) ? vld1q_s32(t.start + MR * column + 4 * p) : bias_s32x4;
    sum_s32x4[p][0] = vaddq_s32(sum_s32x4[p][0], start_s32x4);
  }
  if (__builtin_expect(t.parked != nullptr, 0)) return park(sum_s32x4, t.parked + MR * column);
  uint8x16_t y_u8x16[1];
  requantise(t.scale + column, sum_s32x4, out, y_u8x16);
  vst1q_u8(bytes, y_u8x16[0]);
}

/// 16 columns from `column` on, of all blocks, or fewer. The bytes of a block come as four vectors
/// [column / 4][pixel][column % 4], which LD4 turns into one for each pixel.
template <typename Row, bool kMerged, int MR>
__attribute__((noinline)) void sixteen_columns(const Tiles& given, int32_t column, const OutNeon& given_out) {
  const Tiles t = given;  // a copy that no store to y can change
  const OutNeon out = {given_out.clip, given_out.moved, given_out.bounded};
  const int32_t n = t.n - column < 16 ? t.n - column : 16;
  const int8_t* const first_w = t.w + column * t.all + 4 * t.before;
  const uint8_t* a = t.copy;
  uint8_t* y = t.y + column;
  for (int32_t block = t.blocks; block > 0; --block, y += MR * t.y_px) {
    uint8_t bytes[64];
    const uint8_t* const first_a = a;
    const int8_t* w = first_w;
    for (int32_t i = 0; i < n; i += 4, w += 4 * (t.all - t.depth)) {
      a = first_a;
      four_columns<Row, kMerged, MR>(t, column + i, out, a, w, bytes + 4 * i);
    }
    if (__builtin_expect(t.parked != nullptr, 0)) continue;
    const uint32x4x4_t pixels_u32x4 = vld4q_u32(reinterpret_cast<const uint32_t*>(bytes));
    uint8x16_t y_u8x16[MR];
    EK_UNROLL
    for (int p = 0; p < MR; ++p) y_u8x16[p] = vreinterpretq_u8_u32(pixels_u32x4.val[p]);
    store_bytes<MR, 4>(y, t.y_px, n, y_u8x16);
  }
}

template <typename Row>
struct Products {
  static constexpr int32_t kKr = 16, kStep = 8;

  template <int MR>
  static EK_MEMBER void columns(const Tiles& t, const OutNeon& out) {
    for (int32_t column = 0; column < t.n; column += 16) {
      t.merged ? sixteen_columns<Row, true, MR>(t, column, out) : sixteen_columns<Row, false, MR>(t, column, out);
    }
  }
};

}  // namespace

void qgemm_u8_4x64x16_neon(const QGemmArgs& args) { run<Products<Paired>>(args); }
void qgemm_u8_4x32x16_neon(const QGemmArgs& args) { run<Products<Alone>>(args); }

}  // namespace ek
