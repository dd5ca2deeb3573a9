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
///   veorq_u8          EOR     16b                      1    2    16 k of one pixel, once per tile
///   requantise        see isa/arm_neon.h
///
/// 16 multiply-accumulates per 3 instructions: 5.33 per cycle where one pipe does all (A53), 8 where SADALP has another
/// (A72). In the first row two products share an int16 lane: |s * w| <= 128 * 127 and 2 * 16256 = 32512 < 2^15, so
/// weights must not be -128 (`fits_no_minus_128`). The second row takes those too: it adds to int32 after each product
/// (128 * 128 = 2^14), 16 per 4 instructions. A last k group of at most 8 is half a group in both.
/// int32 lanes hold K / 8 such pair sums each: exact for K < 2^31 / 16256 = 132,104 per output.
/// 16 k of a tile are 48 of these in 61 instructions. Registers: 16 sums, 4 of A, 4 of weights, 4 products, 1
/// constant. Memory: reads up to 15 bytes behind a tap (KR - 1, times zero weights), the panel, biases and scales;
/// writes n columns of m pixels.
#include "kernels/isa/arm_neon.h"

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/qgemm/arm_tiles.h"

namespace ek {

void qgemm_u8_4x16x16_neon(const QGemmArgs& args);
void qgemm_u8_4x8x16_neon(const QGemmArgs& args);

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

/// Adds one k group of 16, or its first 8, of MR pixels x 4 columns.
template <typename Row, bool kHalf, bool kFresh, int MR>
EK_INLINE void multiply_group(const uint8_t* const (&a)[MR], ptrdiff_t at, const int8_t* w,
                              int32x4_t (&sum_s32x4)[MR][4]) {
  const uint8x16_t flip_u8x16 = vdupq_n_u8(0x80);
  int8x16_t a_s8x16[MR];
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    const uint8x16_t a_u8x16 = kHalf ? vcombine_u8(vld1_u8(a[p] + at), vdup_n_u8(0)) : vld1q_u8(a[p] + at);
    a_s8x16[p] = vreinterpretq_s8_u8(veorq_u8(a_u8x16, flip_u8x16));
  }
  const int8x16x4_t four_s8x16 = vld1q_s8_x4(w);
  const int8x16_t w_s8x16[4] = {four_s8x16.val[0], four_s8x16.val[1], four_s8x16.val[2], four_s8x16.val[3]};
  multiply_column<Row, kHalf, kFresh, 0>(a_s8x16, w_s8x16[0], sum_s32x4);
  EK_UNROLL
  for (int p = 0; p < MR; ++p) after(sum_s32x4[p][0], a_s8x16[p]);
  multiply_column<Row, kHalf, kFresh, 1>(a_s8x16, w_s8x16[1], sum_s32x4);
  EK_UNROLL
  for (int p = 0; p < MR; ++p) after(sum_s32x4[p][1], a_s8x16[p]);
  multiply_column<Row, kHalf, kFresh, 2>(a_s8x16, w_s8x16[2], sum_s32x4);
  EK_UNROLL
  for (int p = 0; p < MR; ++p) after(sum_s32x4[p][2], a_s8x16[p]);
  multiply_column<Row, kHalf, kFresh, 3>(a_s8x16, w_s8x16[3], sum_s32x4);
  EK_UNROLL
  for (int p = 0; p < MR; ++p) after(sum_s32x4[p][3], a_s8x16[p]);
}

/// Adds all k groups of one tap, or begins the sums with them; returns the weights of the next.
template <typename Row, bool kFresh, int MR>
EK_INLINE const int8_t* multiply_tap(const uint8_t* const (&a)[MR], int32_t kc, const int8_t* w, ptrdiff_t group,
                                     int32x4_t (&sum_s32x4)[MR][4]) {
  const ptrdiff_t full = (kc + 7) / 16 * 16;  // a rest of more than 8 is a group
  ptrdiff_t at = 0;
  if constexpr (kFresh) {
    if (full == 0) {
      multiply_group<Row, true, true>(a, at, w, sum_s32x4);
      return w + group;
    }
    multiply_group<Row, false, true>(a, at, w, sum_s32x4);
    at += 16, w += group;
  }
  for (; at < full; at += 16, w += group) multiply_group<Row, false, false>(a, at, w, sum_s32x4);
  if (at >= kc) return w;
  multiply_group<Row, true, false>(a, at, w, sum_s32x4);
  return w + group;
}

/// MR pixels x columns [column, column + 4): the sums of all taps. `a` are the pixels where there is one tap.
template <typename Row, bool kOneTap, int MR>
EK_INLINE void accumulate(const QGemmArgs& args, int32_t first, const uint8_t* const (&a)[MR], int32_t column,
                          int32x4_t (&out_s32x4)[MR][1]) {
  int32x4_t sum_s32x4[MR][4];
  const ptrdiff_t group = 16 * ptrdiff_t{(args.n + 3) / 4 * 4};  // bytes of a k group of the panel
  const int8_t* w = static_cast<const int8_t*>(args.w) + 16 * column;
  if constexpr (kOneTap) {
    multiply_tap<Row, true>(a, args.kc, w, group, sum_s32x4);
  } else {
    EK_UNROLL
    for (int i = 0; i < MR * 4; ++i) sum_s32x4[i / 4][i % 4] = vdupq_n_s32(0);
    for (int32_t ky = 0; ky < args.kh; ++ky) {
      for (int32_t kx = 0; kx < args.kw; ++kx) {
        const uint8_t* tap[MR];
        point_at(args, first, ky, kx, tap);
        w = multiply_tap<Row, false>(tap, args.kc, w, group, sum_s32x4);
      }
    }
  }
  const int32x4_t bias_s32x4 = vld1q_s32(args.bias + column);
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    const int32x4_t ab_s32x4 = vpaddq_s32(sum_s32x4[p][0], sum_s32x4[p][1]);
    const int32x4_t cd_s32x4 = vpaddq_s32(sum_s32x4[p][2], sum_s32x4[p][3]);
    out_s32x4[p][0] = vaddq_s32(vpaddq_s32(ab_s32x4, cd_s32x4), bias_s32x4);
  }
}

/// Tiles of MR pixels x all columns as long as pixels are left for one. Returns the pixels done.
template <typename Row, bool kOneTap, int MR>
int32_t tiles(const QGemmArgs& given, int32_t first) {
  const QGemmArgs args = given;  // a copy that no store to y can change
  ClipNeon clip = load_clip_neon(args.out);
  for (; first + MR <= args.m; first += MR) {
    uint8_t* y = args.y + first * args.y_px;
    const uint8_t* a[MR];
    point_at(args, first, 0, 0, a);
    for (int32_t column = 0; column < args.n; column += 4, y += 4) {
      int32x4_t sum_s32x4[MR][1];
      accumulate<Row, kOneTap>(args, first, a, column, sum_s32x4);
      in_memory(clip);
      store_tile(args, y, column, args.n - column, sum_s32x4, clip);
    }
  }
  return first;
}

template <typename Row, bool kOneTap>
void strip(const QGemmArgs& args) {
  const int32_t first = tiles<Row, kOneTap, 4>(args, 0);
  switch (args.m - first) {
    case 3:
      tiles<Row, kOneTap, 3>(args, first);
      return;
    case 2:
      tiles<Row, kOneTap, 2>(args, first);
      return;
    case 1:
      tiles<Row, kOneTap, 1>(args, first);
      return;
    default:
      return;
  }
}

template <typename Row>
EK_INLINE void run(const QGemmArgs& args) {
  args.kh* args.kw == 1 ? strip<Row, true>(args) : strip<Row, false>(args);
}

}  // namespace

void qgemm_u8_4x16x16_neon(const QGemmArgs& args) { run<Paired>(args); }
void qgemm_u8_4x8x16_neon(const QGemmArgs& args) { run<Alone>(args); }

}  // namespace ek
