// SPDX-License-Identifier: Apache-2.0
/// dwconv, armv8.0 NEON: 3x3 and 5x5, strides 1 and 2, from NHWC rows, 8 channels at a time.
///
///   out(x, c) = requant(bias(c) + sum over ky, kx of in(ky, x*s + kx; c) * w(ky, kx, c), scale(c))
///
///   intrinsic        instruction              per cycle: A53  A72
///   vmovl_u8         USHLL  8h, 8b                         1    1    bytes to 16 bits, once per loaded column
///   vmlal_s16        SMLAL  4s, 4h, 4h                     1    1
///   vmlal_high_s16   SMLAL2 4s, 8h, 8h                     1    1
///
/// 8 multiply-accumulates per 2 instructions, exact for every int8 weight: |u * w| <= 255 * 128 in int32.
/// Four output pixels share what they load: a 3x3 stride-1 tile loads 18 vectors instead of 36.
/// Reads 8 channels at a time, so up to 7 bytes behind a pixel (arena slack); writes m x c bytes.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/dwconv/arm_bytes.h"

namespace ek {

void dwconv_u8_nhwc_neon(const DwConvArgs& args);

namespace {

/// P output pixels x 8 channels.
template <int K, int S, int P>
EK_INLINE void tile(const DwConvArgs& args, int32_t x, int32_t c, const ClipNeon& clip) {
  const int32_t lanes = (args.c + 7) / 8 * 8;
  const int8_t* w = static_cast<const int8_t*>(args.w) + c;
  int32x4_t low_s32x4[P], high_s32x4[P];
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
    low_s32x4[p] = vld1q_s32(args.bias + c);
    high_s32x4[p] = vld1q_s32(args.bias + c + 4);
  }
  for (int ky = 0; ky < K; ++ky) {
    const uint8_t* row = args.rows[ky] + x * S * args.in_px + c;
    int16x8_t w_s16x8[K];
#pragma GCC unroll 5
    for (int kx = 0; kx < K; ++kx) w_s16x8[kx] = vmovl_s8(vld1_s8(w + (ky * K + kx) * lanes));
#pragma GCC unroll 16
    for (int column = 0; column < (P - 1) * S + K; ++column) {
      const int16x8_t in_s16x8 = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(row + column * args.in_px)));
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        const int kx = column - p * S;
        if (kx < 0 || kx >= K) continue;
        low_s32x4[p] = vmlal_s16(low_s32x4[p], vget_low_s16(in_s16x8), vget_low_s16(w_s16x8[kx]));
        high_s32x4[p] = vmlal_high_s16(high_s32x4[p], in_s16x8, w_s16x8[kx]);
      }
    }
  }
  const float32x4_t scale_low_f32x4 = vld1q_f32(args.scale + c), scale_high_f32x4 = vld1q_f32(args.scale + c + 4);
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
    const int32x4_t low_q_s32x4 = ek::round_s32x4(low_s32x4[p], scale_low_f32x4);
    const int32x4_t high_q_s32x4 = ek::round_s32x4(high_s32x4[p], scale_high_f32x4);
    store_u8x8(args.y + (x + p) * args.y_px + c, clipped_u8x8<false>(low_q_s32x4, high_q_s32x4, clip), args.c - c);
  }
}

template <int K, int S>
void row(const DwConvArgs& args) {
  const ClipNeon clip = load_clip_neon(args.out);
  for (int32_t c = 0; c < args.c; c += 8) {
    int32_t x = 0;
    for (; x + 4 <= args.m; x += 4) tile<K, S, 4>(args, x, c, clip);
    for (; x < args.m; ++x) tile<K, S, 1>(args, x, c, clip);
  }
}

}  // namespace

void dwconv_u8_nhwc_neon(const DwConvArgs& args) {
  if (args.kw == 3) return args.sx == 1 ? row<3, 1>(args) : row<3, 2>(args);
  return args.sx == 1 ? row<5, 1>(args) : row<5, 2>(args);
}

}  // namespace ek
