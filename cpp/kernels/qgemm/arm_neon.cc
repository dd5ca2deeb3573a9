// SPDX-License-Identifier: Apache-2.0
/// qgemm, armv8.0 NEON: dot products 16 deep, without a dot instruction.
///
///   sum over k of u(k) * w(k) = sum of (u(k) ^ 0x80 as s8) * w(k) + 128 * sum of w(k);  the packed bias holds the
///   second term (row field a_zero = 128), so the loop multiplies signed by signed:
///
///   intrinsic         instruction          per cycle: A53  A72   lanes
///   vmull_s8          SMULL   8h, 8b, 8b               1    1    8 products, k 0..7
///   vmlal_high_s8     SMLAL2  8h, 16b, 16b             1    1    + 8 products, k 8..15
///   vpadalq_s16       SADALP  4s, 8h                   1    1    pairs into int32
///
/// 16 multiply-accumulates per 3 instructions. Two products share an int16 lane: |s * w| <= 128 * 127 and
/// 2 * 16256 = 32512 < 2^15, so weights must not be -128 (`fits_no_minus_128`).
/// int32 lanes hold K / 8 such pair sums each: exact for K < 2^31 / 16256 = 132,104 per output.
/// Reads up to 15 bytes behind a tap (KR - 1, times zero weights); writes m x n bytes.
#include "kernels/isa/arm_neon.h"

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/qgemm/qgemm.h"

namespace ek {

void qgemm_u8_4x8x16_neon(const QGemmArgs& args);

namespace {

/// Adds one k group of MR pixels x 4 columns.
template <int MR>
EK_INLINE void accumulate(const uint8_t* a, ptrdiff_t a_px, const int8_t* w, int32x4_t (&sum_s32x4)[MR][4]) {
  int8x16_t w_s8x16[4];
#pragma GCC unroll 4
  for (int n = 0; n < 4; ++n) w_s8x16[n] = vld1q_s8(w + 16 * n);
#pragma GCC unroll 4
  for (int i = 0; i < MR; ++i) {
    const int8x16_t a_s8x16 = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(a + i * a_px), vdupq_n_u8(0x80)));
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) {
      int16x8_t pair_s16x8 = vmull_s8(vget_low_s8(a_s8x16), vget_low_s8(w_s8x16[n]));
      pair_s16x8 = vmlal_high_s8(pair_s16x8, a_s8x16, w_s8x16[n]);
      sum_s32x4[i][n] = vpadalq_s16(sum_s32x4[i][n], pair_s16x8);
    }
  }
}

/// MR pixels x columns [column, column + 4), all of k. Returns one requantised vector of 4 columns per pixel.
template <int MR>
EK_INLINE void tile(const QGemmArgs& args, ptrdiff_t pixel, int32_t column, const RequantNeon& r,
                    int32x4_t (&out_s32x4)[MR]) {
  int32x4_t sum_s32x4[MR][4];
#pragma GCC unroll 4
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) sum_s32x4[i][n] = vdupq_n_s32(0);
  const int32_t group = args.n > 4 ? 128 : 64;  // bytes of one k group of the panel
  const int8_t* w = static_cast<const int8_t*>(args.w) + 16 * column;
  for (int32_t ky = 0; ky < args.kh; ++ky) {
    for (int32_t kx = 0; kx < args.kw; ++kx) {
      const uint8_t* a = args.rows[ky] + kx * args.a_kx + pixel * args.a_px;
      for (int32_t k = 0; k < args.kc; k += 16, w += group) accumulate<MR>(a + k, args.a_px, w, sum_s32x4);
    }
  }
  const int32x4_t bias_s32x4 = vld1q_s32(args.bias + column);
  const float32x4_t scale_f32x4 = vld1q_f32(args.scale + column);
#pragma GCC unroll 4
  for (int i = 0; i < MR; ++i) {
    const int32x4_t ab_s32x4 = vpaddq_s32(sum_s32x4[i][0], sum_s32x4[i][1]);
    const int32x4_t cd_s32x4 = vpaddq_s32(sum_s32x4[i][2], sum_s32x4[i][3]);
    out_s32x4[i] = requantise_s32x4(vaddq_s32(vpaddq_s32(ab_s32x4, cd_s32x4), bias_s32x4), scale_f32x4, r);
  }
}

EK_INLINE void store_column_tail(uint8_t* y, uint32_t bytes, int32_t n) {
  for (int32_t i = 0; i < n; ++i) y[i] = static_cast<uint8_t>(bytes >> (8 * i));
}

EK_INLINE void store_pixel(uint8_t* y, uint32_t bytes, int32_t n) {
  if (n == 4) {
    __builtin_memcpy(y, &bytes, 4);
  } else {
    store_column_tail(y, bytes, n);
  }
}

/// MR pixels x all columns of the panel.
template <int MR>
EK_INLINE void pixels(const QGemmArgs& args, ptrdiff_t pixel, const RequantNeon& r) {
  for (int32_t column = 0; column < args.n; column += 4) {
    int32x4_t out_s32x4[MR];
    tile<MR>(args, pixel, column, r, out_s32x4);
    const int32_t n = args.n - column < 4 ? args.n - column : 4;
    uint8_t* y = args.y + pixel * args.y_px + column;
#pragma GCC unroll 4
    for (int i = 0; i < MR; ++i, y += args.y_px) {
      const uint8x16_t bytes = bytes_u8x16(out_s32x4[i], out_s32x4[i], out_s32x4[i], out_s32x4[i]);
      store_pixel(y, vgetq_lane_u32(vreinterpretq_u32_u8(bytes), 0), n);
    }
  }
}

}  // namespace

void qgemm_u8_4x8x16_neon(const QGemmArgs& args) {
  const RequantNeon r = load_requant_neon(args.out);
  int32_t pixel = 0;
  for (; pixel + 4 <= args.m; pixel += 4) pixels<4>(args, pixel, r);
  switch (args.m - pixel) {
    case 3:
      return pixels<3>(args, pixel, r);
    case 2:
      return pixels<2>(args, pixel, r);
    case 1:
      return pixels<1>(args, pixel, r);
    default:
      return;
  }
}

}  // namespace ek
