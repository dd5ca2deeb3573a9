// SPDX-License-Identifier: Apache-2.0
/// What the NEON rows of dwconv share: 16 sums of as many channels to bytes in memory, clipped as bytes.
///
///   byte = min(max(sat_u8(rne(float(acc) * scale) + zero), lo), hi)
///
/// Bounds: |float(acc) * scale| < 2^30 (fits), so int32 holds what is rounded; SQXTN, SQADD and SQXTUN saturate, which
/// keeps the order of values and moves none across a bound between 0 and 255. Where 16 bits hold it (narrow), its low
/// half is it: a permutation narrows two vectors.
#pragma once
#include "kernels/dwconv/dwconv.h"
#include "kernels/isa/arm_neon.h"

namespace ek {
namespace {

/// Says that `v` is in a register here, so that GCC does not carry sums through memory across the next branch.
EK_INLINE void hold(int32x4_t& v) { __asm__("" : "+w"(v)); }

/// The same, and whole: GCC would carry the low half of what is multiplied in another register from step to step.
EK_INLINE void hold(int8x16_t& v) { __asm__("" : "+w"(v)); }

EK_INLINE int32x4_t round_s32x4(int32x4_t sum_s32x4, const float* scale) {
  return ek::round_s32x4(sum_s32x4, vld1q_f32(scale));
}

/// Whether saturation to bytes is all the clipping: zero is 0 and no byte is out of bounds, what a ReLU's output has,
/// and 16 bits hold what is rounded.
EK_INLINE bool is_plain(const DwConvArgs& args) {
  return args.narrow && args.out.zero == 0 && args.out.lo <= 0.0f && args.out.hi >= 255.0f;
}

/// The low halves of a's and b's lanes.
EK_INLINE int16x8_t low_s16x8(int32x4_t a_s32x4, int32x4_t b_s32x4) {
  return vuzp1q_s16(vreinterpretq_s16_s32(a_s32x4), vreinterpretq_s16_s32(b_s32x4));
}
EK_INLINE int16x8_t low_by_turns_s16x8(int32x4_t a_s32x4, int32x4_t b_s32x4) {
  return vtrn1q_s16(vreinterpretq_s16_s32(a_s32x4), vreinterpretq_s16_s32(b_s32x4));
}

/// Four vectors of rounded products to 16 bytes, in order. The bounds are read anew: the sums of a block and its
/// weights leave no registers for them.
template <bool kPlain>
EK_INLINE uint8x16_t clipped_u8x16(const int32x4_t (&q_s32x4)[4], const ClipNeon& clip) {
  if (kPlain) {
    return vqmovun_high_s16(vqmovun_s16(low_s16x8(q_s32x4[0], q_s32x4[1])), low_s16x8(q_s32x4[2], q_s32x4[3]));
  }
  return ek::clipped_u8x16(q_s32x4[0], q_s32x4[1], q_s32x4[2], q_s32x4[3], *in_register(&clip));
}

template <bool kPlain>
EK_INLINE uint8x8_t clipped_u8x8(int32x4_t a_s32x4, int32x4_t b_s32x4, const ClipNeon& clip) {
  if (kPlain) return vqmovun_s16(low_s16x8(a_s32x4, b_s32x4));
  const ClipNeon& k = *in_register(&clip);
  const int16x8_t q_s16x8 = vqmovn_high_s32(vqmovn_s32(a_s32x4), b_s32x4);
  const uint8x8_t u_u8x8 = vqmovun_s16(vqaddq_s16(q_s16x8, k.zero_s16x8));
  return vmin_u8(vmax_u8(u_u8x8, vget_low_u8(k.lo_u8x16)), vget_low_u8(k.hi_u8x16));
}

/// Four of even ones 0..6 and 8..14 and odd ones 1..7 and 9..15.
template <bool kPlain>
EK_INLINE uint8x16_t alternating_u8x16(const int32x4_t (&q_s32x4)[4], const ClipNeon& clip) {
  if (kPlain) {
    return vqmovun_high_s16(vqmovun_s16(low_by_turns_s16x8(q_s32x4[0], q_s32x4[2])),
                            low_by_turns_s16x8(q_s32x4[1], q_s32x4[3]));
  }
  const uint8x16_t order_u8x16 = {0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15};
  return vqtbl1q_u8(clipped_u8x16<false>(q_s32x4, clip), order_u8x16);
}

}  // namespace
}  // namespace ek
