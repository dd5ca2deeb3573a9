// SPDX-License-Identifier: Apache-2.0
/// layernorm in NEON (armv8.0):
///
///   S = sum of x, Q = sum of x^2, v = c * Q - S^2;  r = 1 / sqrt(float(v) + epsilon)
///   y(i) = clip(float(c * x(i) - S) * r * g(i) + b(i)), rne, + zero
///
/// | instruction            | per cycle A53, A72, N1 | use                                                  |
/// |------------------------|------------------------|------------------------------------------------------|
/// | umull 8h               | 1, 1, 1                | squares, exact in 16 bits                            |
/// | uadalp 4s              | 1, 1, 1                | pairs of squares, or of sums of x, to 32 bits        |
/// | umlal 4s               | 1, 1, 1                | c * x - S, where c fits in 16 bits                   |
/// | fsqrt, fdiv s          | once a pixel           | correctly rounded                                    |
///
/// Algebra: v and c * x - S are the same whatever is added to every x, so the biased bytes serve. Bytes behind the last
/// channel are masked to 0 where they are summed.
/// Bounds: c <= 2^23, so S < 2^31, |c * x - S| < 2^31, c * Q < 2^62; sums wrap modulo 2^32 on their way. A lane of
/// squares grows by at most 4 * 255^2 a block of 16 bytes, so 2^13 blocks stay below 2^32; then it is added to 64 bits.
/// Memory: reads up to 15 bytes behind the channels of a pixel (slack), constants exactly; writes c bytes of each
/// pixel. y may be x: a pixel is summed before it is written, and a block read before it is stored.
#include "kernels/isa/arm_neon.h"

#include "kernels/layernorm/layernorm.h"

namespace ek {

void layernorm_neon(const LayerNormArgs& args);

namespace {

constexpr int32_t kBytes = 16;
constexpr int32_t kRun = kBytes << 13;  // bytes whose squares fit in 32-bit lanes

alignas(32) const uint8_t kFirst[32] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};

/// S, Q of one pixel, in 32-bit lanes.
struct Sums {
  uint32x4_t x_u32x4, square_u32x4;
};

EK_INLINE void add(uint8x16_t x_u8x16, Sums& s) {
  s.x_u32x4 = vpadalq_u16(s.x_u32x4, vpaddlq_u8(x_u8x16));
  s.square_u32x4 = vpadalq_u16(s.square_u32x4, vmull_u8(vget_low_u8(x_u8x16), vget_low_u8(x_u8x16)));
  s.square_u32x4 = vpadalq_u16(s.square_u32x4, vmull_high_u8(x_u8x16, x_u8x16));
}

/// c * Q - S^2; S by reference.
EK_INLINE int64_t spread(const uint8_t* x, int32_t c, int32_t& sum) {
  int64_t squares = 0;
  Sums s = {vdupq_n_u32(0), vdupq_n_u32(0)};
  for (int32_t first = 0; first < c; first += kRun) {
    const int32_t end = c - first < kRun ? c : first + kRun;
    s.square_u32x4 = vdupq_n_u32(0);
    int32_t i = first;
    for (; i + kBytes <= end; i += kBytes) add(vld1q_u8(x + i), s);
    if (i < end) add(vandq_u8(vld1q_u8(x + i), vld1q_u8(kFirst + kBytes - (end - i))), s);
    squares += static_cast<int64_t>(vaddlvq_u32(s.square_u32x4));
  }
  sum = static_cast<int32_t>(vaddvq_u32(s.x_u32x4));
  return c * squares - int64_t{sum} * sum;
}

/// What all channels of a pixel meet.
struct Pixel {
  uint16x8_t c_u16x8;
  uint32x4_t c_u32x4, minus_sum_u32x4;
  float32x4_t r_f32x4;
  ClipNeon clip;
};

/// Four channels, rounded: kNarrow where c fits in 16 bits.
template <bool kNarrow>
EK_INLINE int32x4_t normalised_s32x4(uint16x4_t x_u16x4, const float* g, const float* b, const Pixel& k) {
  const uint32x4_t d_u32x4 = kNarrow ? vmlal_u16(k.minus_sum_u32x4, x_u16x4, vget_low_u16(k.c_u16x8))
                                     : vmlaq_u32(k.minus_sum_u32x4, vmovl_u16(x_u16x4), k.c_u32x4);
  float32x4_t t_f32x4 = vmulq_f32(vcvtq_f32_s32(vreinterpretq_s32_u32(d_u32x4)), k.r_f32x4);
  t_f32x4 = vaddq_f32(vmulq_f32(t_f32x4, vld1q_f32(g)), vld1q_f32(b));
  return vcvtnq_s32_f32(t_f32x4);
}

template <bool kNarrow>
EK_INLINE uint8x16_t normalised_u8x16(uint8x16_t x_u8x16, const float* g, const float* b, const Pixel& k) {
  const uint16x8_t low_u16x8 = vmovl_u8(vget_low_u8(x_u8x16)), high_u16x8 = vmovl_high_u8(x_u8x16);
  return clipped_u8x16(normalised_s32x4<kNarrow>(vget_low_u16(low_u16x8), g, b, k),
                       normalised_s32x4<kNarrow>(vget_high_u16(low_u16x8), g + 4, b + 4, k),
                       normalised_s32x4<kNarrow>(vget_low_u16(high_u16x8), g + 8, b + 8, k),
                       normalised_s32x4<kNarrow>(vget_high_u16(high_u16x8), g + 12, b + 12, k), k.clip);
}

/// The constants of the last, partial block of channels, zero padded: constants have no slack.
struct LastChannels {
  float g[kBytes], b[kBytes];
};

template <bool kNarrow>
EK_INLINE void normalise(const LayerNormArgs& args) {
  const int32_t channels = args.c, whole = channels & ~(kBytes - 1);
  const float *g = args.g, *b = args.b;
  LastChannels last = {};
  __builtin_memcpy(last.g, g + whole, sizeof(float) * static_cast<size_t>(channels - whole));
  __builtin_memcpy(last.b, b + whole, sizeof(float) * static_cast<size_t>(channels - whole));
  Pixel k = {vdupq_n_u16(static_cast<uint16_t>(channels)), vdupq_n_u32(static_cast<uint32_t>(channels)), vdupq_n_u32(0),
             vdupq_n_f32(0.0f), load_clip_neon(args.out)};
  for (int32_t p = 0; p < args.pixels; ++p) {
    const uint8_t* x = args.x + p * args.x_px;
    uint8_t* y = args.y + p * args.y_px;
    int32_t sum;
    const float v = static_cast<float>(spread(x, channels, sum));
    k.r_f32x4 = vdupq_n_f32(1.0f / __builtin_sqrtf(v + args.epsilon));
    k.minus_sum_u32x4 = vdupq_n_u32(0u - static_cast<uint32_t>(sum));
    int32_t c = 0;
    for (; c < whole; c += kBytes) vst1q_u8(y + c, normalised_u8x16<kNarrow>(vld1q_u8(x + c), g + c, b + c, k));
    if (c < channels) store_u8x16(y + c, normalised_u8x16<kNarrow>(vld1q_u8(x + c), last.g, last.b, k), channels - c);
  }
}

}  // namespace

void layernorm_neon(const LayerNormArgs& args) { args.c < 1 << 16 ? normalise<true>(args) : normalise<false>(args); }

}  // namespace ek
