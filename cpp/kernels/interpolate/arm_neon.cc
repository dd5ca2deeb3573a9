// SPDX-License-Identifier: Apache-2.0
/// interpolate in NEON (armv8.0), sixteen channels of an output pixel at a time:
///
///   h = x[i] * (2048 - f) + x[i + 1] * f of both rows;   y = (h_top * (2048 - g) + h_bottom * g + 2^21) >> 22
///
/// | instruction      | per cycle A53, A72, N1 | use                                                        |
/// |------------------|------------------------|------------------------------------------------------------|
/// | uxtl 8h          | 1, 2, 1                | eight bytes to 16 bits                                     |
/// | umull, umlal 4s  | 1, 1, 1                | h: both products and their sum                             |
/// | mul, mla 4s      | 1, 1/2, 1/2            | h times the weight of its row                              |
/// | addhn, shrn      | 1, 1, 1                | (v + 2^21) >> 16, then >> 6, both narrowing                |
///
/// A row of weight 0, and a right pixel of weight 0, is not read.
/// Bounds: h <= 255 * 2048 < 2^19; the sum before the shift <= 255 * 2^22 + 2^21 < 2^31, and after it a byte.
/// Memory: reads up to 15 bytes behind the channels of a pixel (slack); writes c bytes of each output pixel.
#include "kernels/isa/arm_neon.h"

#include "kernels/interpolate/interpolate.h"

namespace ek {

void interpolate_neon(const InterpolateArgs& args);

namespace {

constexpr int32_t kBytes = 16;

/// Sixteen h: channels 0-3, 4-7, 8-11, 12-15.
struct Line {
  uint32x4_t s0_u32x4, s4_u32x4, s8_u32x4, s12_u32x4;
};

/// Of the pixel at `left` and, for kMixed, the one after it.
template <bool kMixed>
EK_INLINE Line line_of(const uint8_t* left, const uint8_t* right, uint16x8_t f0_u16x8, uint16x8_t f1_u16x8) {
  const uint8x16_t a_u8x16 = vld1q_u8(left);
  const uint16x8_t a0_u16x8 = vmovl_u8(vget_low_u8(a_u8x16)), a8_u16x8 = vmovl_high_u8(a_u8x16);
  if (!kMixed) {
    return {vshll_n_u16(vget_low_u16(a0_u16x8), 11), vshll_high_n_u16(a0_u16x8, 11),
            vshll_n_u16(vget_low_u16(a8_u16x8), 11), vshll_high_n_u16(a8_u16x8, 11)};
  }
  const uint8x16_t b_u8x16 = vld1q_u8(right);
  const uint16x8_t b0_u16x8 = vmovl_u8(vget_low_u8(b_u8x16)), b8_u16x8 = vmovl_high_u8(b_u8x16);
  const uint16x4_t f0_u16x4 = vget_low_u16(f0_u16x8), f1_u16x4 = vget_low_u16(f1_u16x8);
  return {vmlal_u16(vmull_u16(vget_low_u16(a0_u16x8), f0_u16x4), vget_low_u16(b0_u16x8), f1_u16x4),
          vmlal_high_u16(vmull_high_u16(a0_u16x8, f0_u16x8), b0_u16x8, f1_u16x8),
          vmlal_u16(vmull_u16(vget_low_u16(a8_u16x8), f0_u16x4), vget_low_u16(b8_u16x8), f1_u16x4),
          vmlal_high_u16(vmull_high_u16(a8_u16x8, f0_u16x8), b8_u16x8, f1_u16x8)};
}

struct Weights {
  uint16x8_t f0_u16x8, f1_u16x8;  ///< 2048 - f, f
  uint32x4_t g0_u32x4, g1_u32x4;  ///< 2048 - g, g
};

EK_INLINE uint16x4_t blend_u16x4(uint32x4_t top_u32x4, uint32x4_t bottom_u32x4, const Weights& k) {
  return vaddhn_u32(vmlaq_u32(vmulq_u32(top_u32x4, k.g0_u32x4), bottom_u32x4, k.g1_u32x4), vdupq_n_u32(1 << 21));
}

EK_INLINE uint8x16_t blend_u8x16(const Line& t, const Line& b, const Weights& k) {
  const uint16x8_t low_u16x8 =
      vcombine_u16(blend_u16x4(t.s0_u32x4, b.s0_u32x4, k), blend_u16x4(t.s4_u32x4, b.s4_u32x4, k));
  const uint16x8_t high_u16x8 =
      vcombine_u16(blend_u16x4(t.s8_u32x4, b.s8_u32x4, k), blend_u16x4(t.s12_u32x4, b.s12_u32x4, k));
  return vshrn_high_n_u16(vshrn_n_u16(low_u16x8, 6), high_u16x8, 6);
}

/// Of one row alone: (h + 2^10) >> 11.
EK_INLINE uint8x16_t rounded_u8x16(const Line& t) {
  const uint16x8_t low_u16x8 = vrshrn_high_n_u32(vrshrn_n_u32(t.s0_u32x4, 11), t.s4_u32x4, 11);
  const uint16x8_t high_u16x8 = vrshrn_high_n_u32(vrshrn_n_u32(t.s8_u32x4, 11), t.s12_u32x4, 11);
  return vmovn_high_u16(vmovn_u16(low_u16x8), high_u16x8);
}

template <bool kColumns, bool kRows>
EK_INLINE void pixel(const uint8_t* top, const uint8_t* bottom, ptrdiff_t right, int32_t channels, const Weights& k,
                     uint8_t* y) {
  for (int32_t c = 0; c < channels; c += kBytes) {
    uint8x16_t y_u8x16;
    if (!kColumns && !kRows) {
      y_u8x16 = vld1q_u8(top + c);
    } else {
      const Line t = line_of<kColumns>(top + c, top + right + c, k.f0_u16x8, k.f1_u16x8);
      y_u8x16 = kRows ? blend_u8x16(t, line_of<kColumns>(bottom + c, bottom + right + c, k.f0_u16x8, k.f1_u16x8), k)
                      : rounded_u8x16(t);
    }
    store_u8x16(y + c, y_u8x16, channels - c);
  }
}

}  // namespace

void interpolate_neon(const InterpolateArgs& args) {
  const int32_t g = args.weight, channels = args.c;
  Weights k = {vdupq_n_u16(0), vdupq_n_u16(0), vdupq_n_u32(static_cast<uint32_t>(2048 - g)),
               vdupq_n_u32(static_cast<uint32_t>(g))};
  uint8_t* y = args.y;
  for (int32_t j = 0; j < args.m; ++j, y += args.y_px) {
    const int32_t f = args.columns[j] & 2047;
    const ptrdiff_t left = ptrdiff_t{args.columns[j] >> 11} * args.x_px, right = args.x_px;
    const uint8_t *top = args.top + left, *bottom = args.bottom + left;
    k.f0_u16x8 = vdupq_n_u16(static_cast<uint16_t>(2048 - f));
    k.f1_u16x8 = vdupq_n_u16(static_cast<uint16_t>(f));
    if (f != 0) {
      g != 0 ? pixel<true, true>(top, bottom, right, channels, k, y)
             : pixel<true, false>(top, bottom, right, channels, k, y);
    } else {
      g != 0 ? pixel<false, true>(top, bottom, right, channels, k, y)
             : pixel<false, false>(top, bottom, right, channels, k, y);
    }
  }
}

}  // namespace ek
