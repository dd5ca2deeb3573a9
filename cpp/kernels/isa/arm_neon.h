// SPDX-License-Identifier: Apache-2.0
/// NEON: from int32 accumulators to bytes in memory. For arm_neon*.cc only.
///
///   byte = rne(min(max(float(acc) * m, lo), hi)) + zero          (kernel.h's Requant)
///
/// fcvtns rounds to nearest, ties to even, whatever FPCR says; fmul and scvtf use FPCR, which the session sets.
#pragma once
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/isa/compiler.h"
#include "kernels/kernel.h"

namespace ek {

/// Clipping and zero point by whole numbers alone: lo and hi are whole, so a clip after rounding is one before it. What
/// is too great for 16 bits saturates on its way, which keeps the order, and is clipped after it.
struct ClipNeon {
  int16x8_t zero_s16x8;
  uint8x16_t lo_u8x16, hi_u8x16;
};

EK_INLINE ClipNeon load_clip_neon(const Requant& out) {
  return {vdupq_n_s16(static_cast<int16_t>(out.zero)),
          vdupq_n_u8(static_cast<uint8_t>(static_cast<int32_t>(out.lo) + out.zero)),
          vdupq_n_u8(static_cast<uint8_t>(static_cast<int32_t>(out.hi) + out.zero))};
}

/// rne(float(acc) * m), neither clipped nor moved to the zero point.
EK_INLINE int32x4_t round_s32x4(int32x4_t acc_s32x4, float32x4_t scale_f32x4) {
  return vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(acc_s32x4), scale_f32x4));
}

EK_INLINE uint8x16_t clipped_u8x16(int16x8_t ab_s16x8, int16x8_t cd_s16x8, const ClipNeon& k) {
  ab_s16x8 = vqaddq_s16(ab_s16x8, k.zero_s16x8);
  cd_s16x8 = vqaddq_s16(cd_s16x8, k.zero_s16x8);
  const uint8x16_t u_u8x16 = vqmovun_high_s16(vqmovun_s16(ab_s16x8), cd_s16x8);
  return vminq_u8(vmaxq_u8(u_u8x16, k.lo_u8x16), k.hi_u8x16);
}

/// Four vectors of rounded outputs to 16 bytes: [a0..a3 | b0..b3 | c0..c3 | d0..d3].
EK_INLINE uint8x16_t clipped_u8x16(int32x4_t a_s32x4, int32x4_t b_s32x4, int32x4_t c_s32x4, int32x4_t d_s32x4,
                                   const ClipNeon& k) {
  return clipped_u8x16(vqmovn_high_s32(vqmovn_s32(a_s32x4), b_s32x4), vqmovn_high_s32(vqmovn_s32(c_s32x4), d_s32x4), k);
}

EK_INLINE uint8x16x4_t load_u8x64(const uint8_t* p) {
  return {{vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)}};
}

/// 16 bytes through a table of 256: four variables, since GCC keeps an array or a struct of them in memory. An index
/// beyond 63 makes tbl answer 0 and tbx leave what is there, so each look-up of 64 entries takes the index less its
/// first entry, modulo 256.
EK_INLINE uint8x16_t lookup_u8x16(uint8x16_t x_u8x16, const uint8x16x4_t& from0_u8x64, const uint8x16x4_t& from64_u8x64,
                                  const uint8x16x4_t& from128_u8x64, const uint8x16x4_t& from192_u8x64) {
  uint8x16_t y_u8x16 = vqtbl4q_u8(from0_u8x64, x_u8x16);
  y_u8x16 = vqtbx4q_u8(y_u8x16, from64_u8x64, vsubq_u8(x_u8x16, vdupq_n_u8(64)));
  y_u8x16 = vqtbx4q_u8(y_u8x16, from128_u8x64, vsubq_u8(x_u8x16, vdupq_n_u8(128)));
  return vqtbx4q_u8(y_u8x16, from192_u8x64, vsubq_u8(x_u8x16, vdupq_n_u8(192)));
}

/// Stores the first n bytes (1..8), no other.
EK_INLINE void store_u8x8(uint8_t* y, uint8x8_t v_u8x8, int32_t n) {
  if (n >= 8) return vst1_u8(y, v_u8x8);
  if (n & 4) {
    const uint32_t four = vget_lane_u32(vreinterpret_u32_u8(v_u8x8), 0);
    __builtin_memcpy(y, &four, 4);
    v_u8x8 = vext_u8(v_u8x8, v_u8x8, 4);
    y += 4;
  }
  if (n & 2) {
    const uint16_t two = vget_lane_u16(vreinterpret_u16_u8(v_u8x8), 0);
    __builtin_memcpy(y, &two, 2);
    v_u8x8 = vext_u8(v_u8x8, v_u8x8, 2);
    y += 2;
  }
  if (n & 1) *y = vget_lane_u8(v_u8x8, 0);
}

/// Stores the first n bytes (1..), at most 16 and no other.
EK_INLINE void store_u8x16(uint8_t* y, uint8x16_t v_u8x16, int32_t n) {
  if (n >= 16) return vst1q_u8(y, v_u8x16);
  if (n > 8) vst1_u8(y, vget_low_u8(v_u8x16));
  n > 8 ? store_u8x8(y + 8, vget_high_u8(v_u8x16), n - 8) : store_u8x8(y, vget_low_u8(v_u8x16), n);
}

}  // namespace ek
