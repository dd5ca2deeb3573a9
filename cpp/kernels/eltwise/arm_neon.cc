// SPDX-License-Identifier: Apache-2.0
/// eltwise in NEON (armv8.0):
///
///   add     y = clamp((((a - za) * m + (b - zb) * n + 2^(shift-1)) >> shift) + zy, lo, hi)
///   affine  y = requant(x * w(c) + bias(c), scale(c))
///   table   y = table[x]
///   mul     y = requant((a - za) * (b - zb), m)
///
/// | instruction      | per cycle A53, A72, N1 | use                                                        |
/// |------------------|------------------------|------------------------------------------------------------|
/// | usubl 8h         | 1, 2, 2                | a - za, exact in 16 bits                                   |
/// | smlal, smull 4s  | 1, 1, 1                | (a - za) * m0, x * w + bias, (a - za) * (b - zb)           |
/// | shrn, shrn2      | 1, 1, 1                | their sum by 2^15                                          |
/// | mla 8h           | 1, 1/2, 1/2            | (a - za) * m1 + (b - zb) * n1                              |
/// | srshl 8h         | 1, 1/2, 1              | the rest of the shift, with its rounding                   |
/// | tbl, tbx of 4    | 1, 2/9, 2/3            | 64 entries of the table, 16 bytes at a time                |
///
/// Algebra of add: m = 2^15 * m1 + m0 with m0 < 2^15, n likewise, so
///   (a - za) * m + (b - zb) * n = 2^15 * ((a - za) * m1 + (b - zb) * n1) + (a - za) * m0 + (b - zb) * n0
/// where every factor fits in 16 signed bits, and the bracket too. A floor by 2^15 first changes no floor by 2^16 or
/// more, nor one whose rounding term 2^(shift-1) is a multiple of 2^15: so
///   v = ((a - za) * m1 + (b - zb) * n1) + (((a - za) * m0 + (b - zb) * n0) >> 15)
/// lies in 16 bits, and srshl by 15 - shift finishes it. Shifts of 13 to 15 go in 32 bits.
/// Two blocks of add, table and mul go side by side: a core that runs in order would wait for each result of one.
/// Bounds: m, n <= 2^21, so m1, n1 <= 64 and |(a - za) * m1 + (b - zb) * n1| <= 2 * 255 * 64 < 2^15; v is a floor of
/// (a - za) * m + (b - zb) * n by 2^15, no more than that. Products of mul and of affine are below 2^16 and exact in 32
/// bits.
/// Memory: reads up to 15 bytes behind each run of pixels (slack), constants exactly; writes c bytes of each pixel.
/// y may be a, b or x itself: a block is stored after it was read, and nothing is read twice but b of mul with b_px =
/// 0.
#include "kernels/isa/arm_neon.h"

#include "kernels/eltwise/strip.h"

namespace ek {

void eltwise_add_neon(const AddArgs& args);
void eltwise_affine_neon(const AffineArgs& args);
void eltwise_table_neon(const TableArgs& args);
void eltwise_mul_neon(const MulArgs& args);

namespace {

constexpr int32_t kBytes = 16;

/// make_u8x16(offset) to y, two at a time: two chains for cores that run in order.
template <class Make>
EK_INLINE void store_all(uint8_t* y, int32_t length, const Make& make_u8x16) {
  int32_t i = 0;
  for (; i + 2 * kBytes <= length; i += 2 * kBytes) {
    const uint8x16_t first_u8x16 = make_u8x16(i), second_u8x16 = make_u8x16(i + kBytes);
    vst1q_u8(y + i, first_u8x16);
    vst1q_u8(y + i + kBytes, second_u8x16);
  }
  for (; i < length; i += kBytes) store_u8x16(y + i, make_u8x16(i), length - i);
}

// ---- add ---------------------------------------------------------------------------------------------------------

struct AddNeon {
  uint8x8_t za_u8x8, zb_u8x8;
  int16x8_t m1_s16x8, n1_s16x8, m0_s16x8, n0_s16x8;
  int32x4_t shift_s32x4;  ///< to the left, so below 0
  int16x8_t rest_s16x8;  ///< of the shift, after 15
  ClipNeon clip;
};

EK_INLINE int16x8_t dup_s16x8(int32_t value) { return vdupq_n_s16(static_cast<int16_t>(value)); }
EK_INLINE uint8x8_t dup_u8x8(int32_t value) { return vdup_n_u8(static_cast<uint8_t>(value)); }

EK_INLINE AddNeon load_add(const AddArgs& args) {
  return {dup_u8x8(args.za),
          dup_u8x8(args.zb),
          dup_s16x8(args.m >> 15),
          dup_s16x8(args.n >> 15),
          dup_s16x8(args.m & 0x7fff),
          dup_s16x8(args.n & 0x7fff),
          vdupq_n_s32(-args.shift),
          dup_s16x8(15 - args.shift),
          {dup_s16x8(args.zy), vdupq_n_u8(static_cast<uint8_t>(args.lo)), vdupq_n_u8(static_cast<uint8_t>(args.hi))}};
}

/// Eight sums, shifted by 16 or more.
EK_INLINE int16x8_t add_s16x8(int16x8_t a_s16x8, int16x8_t b_s16x8, const AddNeon& k) {
  int32x4_t low_s32x4 = vmull_s16(vget_low_s16(a_s16x8), vget_low_s16(k.m0_s16x8));
  int32x4_t top_s32x4 = vmull_high_s16(a_s16x8, k.m0_s16x8);
  low_s32x4 = vmlal_s16(low_s32x4, vget_low_s16(b_s16x8), vget_low_s16(k.n0_s16x8));
  top_s32x4 = vmlal_high_s16(top_s32x4, b_s16x8, k.n0_s16x8);
  int16x8_t sum_s16x8 = vshrn_high_n_s32(vshrn_n_s32(low_s32x4, 15), top_s32x4, 15);
  sum_s16x8 = vmlaq_s16(vmlaq_s16(sum_s16x8, a_s16x8, k.m1_s16x8), b_s16x8, k.n1_s16x8);
  return vrshlq_s16(sum_s16x8, k.rest_s16x8);
}

/// Eight sums, shifted by less, saturated to 16 bits.
EK_INLINE int16x8_t add_large_s16x8(int16x8_t a_s16x8, int16x8_t b_s16x8, const AddNeon& k) {
  const int16x8_t high_s16x8 = vmlaq_s16(vmulq_s16(a_s16x8, k.m1_s16x8), b_s16x8, k.n1_s16x8);
  int32x4_t low_s32x4 = vshll_n_s16(vget_low_s16(high_s16x8), 15);
  int32x4_t top_s32x4 = vshll_high_n_s16(high_s16x8, 15);
  low_s32x4 = vmlal_s16(low_s32x4, vget_low_s16(a_s16x8), vget_low_s16(k.m0_s16x8));
  top_s32x4 = vmlal_high_s16(top_s32x4, a_s16x8, k.m0_s16x8);
  low_s32x4 = vmlal_s16(low_s32x4, vget_low_s16(b_s16x8), vget_low_s16(k.n0_s16x8));
  top_s32x4 = vmlal_high_s16(top_s32x4, b_s16x8, k.n0_s16x8);
  return vqmovn_high_s32(vqmovn_s32(vrshlq_s32(low_s32x4, k.shift_s32x4)), vrshlq_s32(top_s32x4, k.shift_s32x4));
}

EK_INLINE int16x8_t low_less_s16x8(uint8x16_t x_u8x16, uint8x8_t zero_u8x8) {
  return vreinterpretq_s16_u16(vsubl_u8(vget_low_u8(x_u8x16), zero_u8x8));
}

EK_INLINE int16x8_t high_less_s16x8(uint8x16_t x_u8x16, uint8x8_t zero_u8x8) {
  return vreinterpretq_s16_u16(vsubl_high_u8(x_u8x16, vcombine_u8(zero_u8x8, zero_u8x8)));
}

/// kLarge: shifted by less than 16. kPlain: saturation is all the clipping.
template <bool kLarge, bool kPlain>
EK_INLINE uint8x16_t add_u8x16(const uint8_t* a, const uint8_t* b, const AddNeon& k) {
  const uint8x16_t a_u8x16 = vld1q_u8(a), b_u8x16 = vld1q_u8(b);
  const int16x8_t a0_s16x8 = low_less_s16x8(a_u8x16, k.za_u8x8), a8_s16x8 = high_less_s16x8(a_u8x16, k.za_u8x8);
  const int16x8_t b0_s16x8 = low_less_s16x8(b_u8x16, k.zb_u8x8), b8_s16x8 = high_less_s16x8(b_u8x16, k.zb_u8x8);
  const int16x8_t low_s16x8 = kLarge ? add_large_s16x8(a0_s16x8, b0_s16x8, k) : add_s16x8(a0_s16x8, b0_s16x8, k);
  const int16x8_t high_s16x8 = kLarge ? add_large_s16x8(a8_s16x8, b8_s16x8, k) : add_s16x8(a8_s16x8, b8_s16x8, k);
  if (!kPlain) return clipped_u8x16(low_s16x8, high_s16x8, k.clip);
  const int16x8_t low_y_s16x8 = vqaddq_s16(low_s16x8, k.clip.zero_s16x8);
  return vqmovun_high_s16(vqmovun_s16(low_y_s16x8), vqaddq_s16(high_s16x8, k.clip.zero_s16x8));
}

template <bool kLarge, bool kPlain>
EK_INLINE void add_all(const AddArgs& args) {
  const AddNeon k = load_add(args);
  const int32_t length = args.c;
  each_pair(args, [&](const uint8_t* a, const uint8_t* b, uint8_t* y) __attribute__((always_inline)) {
    store_all(y, length,
              [&](int32_t i) __attribute__((always_inline)) { return add_u8x16<kLarge, kPlain>(a + i, b + i, k); });
  });
}

// ---- affine ------------------------------------------------------------------------------------------------------

EK_INLINE uint8x16_t affine_u8x16(const uint8_t* x, const int8_t* w, const int32_t* bias, const float* scale,
                                  const ClipNeon& k) {
  const uint8x16_t x_u8x16 = vld1q_u8(x);
  const int8x16_t w_s8x16 = vld1q_s8(w);
  const int16x8_t x0_s16x8 = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x_u8x16)));
  const int16x8_t x8_s16x8 = vreinterpretq_s16_u16(vmovl_high_u8(x_u8x16));
  const int16x8_t w0_s16x8 = vmovl_s8(vget_low_s8(w_s8x16)), w8_s16x8 = vmovl_high_s8(w_s8x16);
  const int32x4_t s0_s32x4 = vmlal_s16(vld1q_s32(bias), vget_low_s16(x0_s16x8), vget_low_s16(w0_s16x8));
  const int32x4_t s4_s32x4 = vmlal_high_s16(vld1q_s32(bias + 4), x0_s16x8, w0_s16x8);
  const int32x4_t s8_s32x4 = vmlal_s16(vld1q_s32(bias + 8), vget_low_s16(x8_s16x8), vget_low_s16(w8_s16x8));
  const int32x4_t s12_s32x4 = vmlal_high_s16(vld1q_s32(bias + 12), x8_s16x8, w8_s16x8);
  return clipped_u8x16(round_s32x4(s0_s32x4, vld1q_f32(scale)), round_s32x4(s4_s32x4, vld1q_f32(scale + 4)),
                       round_s32x4(s8_s32x4, vld1q_f32(scale + 8)), round_s32x4(s12_s32x4, vld1q_f32(scale + 12)), k);
}

// ---- mul ---------------------------------------------------------------------------------------------------------

struct MulNeon {
  uint8x8_t za_u8x8, zb_u8x8;
  float32x4_t m_f32x4;
  ClipNeon clip;
};

EK_INLINE uint8x16_t mul_u8x16(const uint8_t* a, const uint8_t* b, const MulNeon& k) {
  const uint8x16_t a_u8x16 = vld1q_u8(a), b_u8x16 = vld1q_u8(b);
  const int16x8_t a0_s16x8 = low_less_s16x8(a_u8x16, k.za_u8x8), a8_s16x8 = high_less_s16x8(a_u8x16, k.za_u8x8);
  const int16x8_t b0_s16x8 = low_less_s16x8(b_u8x16, k.zb_u8x8), b8_s16x8 = high_less_s16x8(b_u8x16, k.zb_u8x8);
  return clipped_u8x16(round_s32x4(vmull_s16(vget_low_s16(a0_s16x8), vget_low_s16(b0_s16x8)), k.m_f32x4),
                       round_s32x4(vmull_high_s16(a0_s16x8, b0_s16x8), k.m_f32x4),
                       round_s32x4(vmull_s16(vget_low_s16(a8_s16x8), vget_low_s16(b8_s16x8)), k.m_f32x4),
                       round_s32x4(vmull_high_s16(a8_s16x8, b8_s16x8), k.m_f32x4), k.clip);
}

}  // namespace

void eltwise_add_neon(const AddArgs& args) {
  const bool plain = args.lo <= 0 && args.hi >= 255;
  args.shift < 16 ? add_all<true, false>(args) : plain ? add_all<false, true>(args) : add_all<false, false>(args);
}

void eltwise_affine_neon(const AffineArgs& args) {
  const ClipNeon k = load_clip_neon(args.out);
  each_block<kBytes>(
      args, [&](const uint8_t* x, const int8_t* w, const int32_t* bias, const float* scale, uint8_t* y, int32_t n)
                __attribute__((always_inline)) { store_u8x16(y, affine_u8x16(x, w, bias, scale, k), n); });
}

void eltwise_table_neon(const TableArgs& args) {
  const uint8x16x4_t t0_u8x64 = load_u8x64(args.table), t64_u8x64 = load_u8x64(args.table + 64);
  const uint8x16x4_t t128_u8x64 = load_u8x64(args.table + 128), t192_u8x64 = load_u8x64(args.table + 192);
  const int32_t length = args.c;
  each_pixel(args, [&](const uint8_t* x, uint8_t* y) __attribute__((always_inline)) {
    store_all(y, length, [&](int32_t i) __attribute__((always_inline)) {
      return lookup_u8x16(vld1q_u8(x + i), t0_u8x64, t64_u8x64, t128_u8x64, t192_u8x64);
    });
  });
}

void eltwise_mul_neon(const MulArgs& args) {
  const MulNeon k = {dup_u8x8(args.za), dup_u8x8(args.zb), vdupq_n_f32(args.m), load_clip_neon(args.out)};
  const int32_t length = args.c;
  each_pair(args, [&](const uint8_t* a, const uint8_t* b, uint8_t* y) __attribute__((always_inline)) {
    store_all(y, length, [&](int32_t i) __attribute__((always_inline)) { return mul_u8x16(a + i, b + i, k); });
  });
}

}  // namespace ek
