// SPDX-License-Identifier: Apache-2.0
/// What the NEON rows of dwconv share: 16 sums of as many channels to bytes in memory, clipped as bytes.
///
///   byte = min(max(sat_u8(rne(float(acc) * scale) + zero), lo), hi)
///
/// Bounds: |float(acc) * scale| < 2^30 (fits), so int32 holds what is rounded; SQXTN, SQADD and SQXTUN saturate, which
/// keeps the order of values and moves none across a bound between 0 and 255.
#pragma once
#include "kernels/dwconv/dwconv.h"
#include "kernels/isa/arm_neon.h"

#ifndef EK_MEMBER
#define EK_MEMBER inline __attribute__((always_inline))
#endif
#ifndef EK_UNROLL
#if defined(__clang__)
#define EK_UNROLL _Pragma("clang loop unroll(full)")
#else
#define EK_UNROLL _Pragma("GCC unroll 16")  // unrolled before arrays of vectors become registers
#endif
#endif

namespace ek {
namespace {

/// Says that `v` is in a register here, so that GCC does not carry sums through memory across the next branch.
EK_INLINE void hold(int32x4_t& v) { __asm__("" : "+w"(v)); }

/// Says that `p` is in a register here, so that compilers do not derive the addresses of unrolled steps all ahead.
template <typename T>
EK_INLINE T* in_register(T* p) {
  __asm__("" : "+r"(p));
  return p;
}

struct ByteBoundsNeon {
  int16x8_t zero_s16x8;
  uint8x16_t lo_u8x16, hi_u8x16;
};

EK_INLINE ByteBoundsNeon load_byte_bounds_neon(const Requant& out) {
  const auto lo = static_cast<int32_t>(out.lo) + out.zero, hi = static_cast<int32_t>(out.hi) + out.zero;
  return {vdupq_n_s16(static_cast<int16_t>(out.zero)), vdupq_n_u8(static_cast<uint8_t>(lo)),
          vdupq_n_u8(static_cast<uint8_t>(hi))};
}

EK_INLINE int32x4_t round_s32x4(int32x4_t sum_s32x4, const float* scale) {
  return vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sum_s32x4), vld1q_f32(scale)));
}

/// Whether saturation is all the clipping: zero is 0 and no byte is out of bounds, what a ReLU's output has.
EK_INLINE bool is_plain(const Requant& out) { return out.zero == 0 && out.lo <= 0.0f && out.hi >= 255.0f; }

/// Four vectors of rounded products to 16 bytes, in order. The bounds are read anew: the sums of a block and its
/// weights leave no registers for them.
template <bool kPlain>
EK_INLINE uint8x16_t clipped_u8x16(const int32x4_t (&q_s32x4)[4], const ByteBoundsNeon& bounds) {
  int16x8_t ab_s16x8 = vqmovn_high_s32(vqmovn_s32(q_s32x4[0]), q_s32x4[1]);
  int16x8_t cd_s16x8 = vqmovn_high_s32(vqmovn_s32(q_s32x4[2]), q_s32x4[3]);
  if (kPlain) return vqmovun_high_s16(vqmovun_s16(ab_s16x8), cd_s16x8);
  const ByteBoundsNeon* r = in_register(&bounds);
  ab_s16x8 = vqaddq_s16(ab_s16x8, r->zero_s16x8);
  cd_s16x8 = vqaddq_s16(cd_s16x8, r->zero_s16x8);
  const uint8x16_t u_u8x16 = vqmovun_high_s16(vqmovun_s16(ab_s16x8), cd_s16x8);
  return vminq_u8(vmaxq_u8(u_u8x16, r->lo_u8x16), r->hi_u8x16);
}

/// Stores the first n bytes (1 or more), no other.
EK_INLINE void store_u8x16(uint8_t* y, uint8x16_t v_u8x16, int32_t n) {
  if (n >= 16) return vst1q_u8(y, v_u8x16);
  if (n <= 8) return store_u8x8(y, vget_low_u8(v_u8x16), n);
  vst1_u8(y, vget_low_u8(v_u8x16));
  store_u8x8(y + 8, vget_high_u8(v_u8x16), n - 8);
}

}  // namespace
}  // namespace ek
