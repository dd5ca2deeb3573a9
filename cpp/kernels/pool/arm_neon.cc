// SPDX-License-Identifier: Apache-2.0
/// pool in NEON (armv8.0):
///
///   max      y = clamp(max of the window's pixels)
///   average  y = clamp(S / n, half away from the origin)       equal quantisation in and out, bytes less the origin
///            y = clamp(rne(float(S - n * zx) * m(n)) + zy)     otherwise, m(n) = s_in / (s_out * n)
///   mean     the second form over all pixels, with m from the file
///
/// | instruction     | per cycle A53, A72, N1 | use                                        |
/// |-----------------|------------------------|--------------------------------------------|
/// | umax 16b        | 1, 2, 2                | max of 16 channels                         |
/// | uaddw 8h        | 1, 2, 2                | sums of up to 257 pixels                   |
/// | umull 4s        | 1, 1, 1                | S / n by a reciprocal in whole numbers     |
///
/// Algebra: windows.h cuts sums into parts that fit in 16 bits.
/// With T the sum of the raw bytes of all n pixels, half away from origin o is
///   y = floor((T + floor(n / 2) - d) / n), d = 1 where n is even and T < n * o, else 0:
/// below the origin a tie rounds down, and where n is odd there is none. For n <= 128 the numerator is below 2^15, and
/// with 2^k <= n < 2^(k+1) and M = ceil(2^(16+k) / n) the quotient is (numerator * M) >> (16 + k): M * n exceeds
/// 2^(16+k) by less than 2^(k+1), which adds less than 1 / n. A power of two takes k - 1, so that M is below 2^16.
/// Larger n, and 1, divide one by one.
/// Memory: reads up to 31 bytes behind a pixel's channels (slack); writes c bytes of each output pixel.
#include "kernels/isa/arm_neon.h"

#include "kernels/pool/windows.h"

namespace ek {

void pool_max_neon(const PoolArgs& args);
void pool_average_neon(const PoolArgs& args);
void pool_mean_neon(const MeanArgs& args);

namespace {

constexpr int32_t kExactCount = 128;  // for the reciprocal

/// visit(address) for each pixel of a window of kRows x kColumns; 0: as many as the window says.
template <int32_t kRows, int32_t kColumns, class Visit>
EK_INLINE void each_pixel(const Window& in, int32_t c, const Visit& visit) {
  if (kRows != 0) {
    EK_UNROLL
    for (int32_t ky = 0; ky < kRows; ++ky) {
      EK_UNROLL
      for (int32_t kx = 0; kx < kColumns; ++kx) visit(in.top[ky] + c + kx * in.px);
    }
    return;
  }
  for (int32_t ky = 0; ky < in.row_count; ++ky) {
    const uint8_t* pixel = in.rows[ky] + in.first + c;
    if (kColumns != 0) {
      EK_UNROLL
      for (int32_t kx = 0; kx < kColumns; ++kx) visit(pixel + kx * in.px);
      continue;
    }
    int32_t left = in.columns;
    for (; left >= 4; left -= 4, pixel += 4 * in.px) {
      visit(pixel);
      visit(pixel + in.px);
      visit(pixel + 2 * in.px);
      visit(pixel + 3 * in.px);
    }
    if (left & 2) {
      visit(pixel);
      visit(pixel + in.px);
      pixel += 2 * in.px;
    }
    if (left & 1) visit(pixel);
  }
}

/// make_u8x16(c) to channels c .. c + 15; the last ones apart, so that the loop has one end.
template <class Make>
EK_INLINE void store_channels(uint8_t* y, int32_t channels, const Make& make_u8x16) {
  int32_t c = 0;
  for (; c + 16 <= channels; c += 16) vst1q_u8(y + c, make_u8x16(c));
  if (c < channels) store_u8x16(y + c, make_u8x16(c), channels - c);
}

// ---- max ---------------------------------------------------------------------------------------------------------

template <int32_t kRows, int32_t kColumns>
EK_INLINE void max_pixel(const PoolArgs& args, const Window& in, uint8_t* y) {
  const uint8x16_t lo_u8x16 = vdupq_n_u8(args.lo), hi_u8x16 = vdupq_n_u8(args.hi);
  const int32_t channels = args.c;
  int32_t c = 0;
  for (; c + 16 < channels; c += 32) {
    uint8x16_t low_u8x16 = lo_u8x16, high_u8x16 = lo_u8x16;
    each_pixel<kRows, kColumns>(in, c, [&](const uint8_t* x) __attribute__((always_inline)) {
      low_u8x16 = vmaxq_u8(low_u8x16, vld1q_u8(x));
      high_u8x16 = vmaxq_u8(high_u8x16, vld1q_u8(x + 16));
    });
    vst1q_u8(y + c, vminq_u8(low_u8x16, hi_u8x16));
    store_u8x16(y + c + 16, vminq_u8(high_u8x16, hi_u8x16), channels - c - 16);
  }
  if (c >= channels) return;
  uint8x16_t top_u8x16 = lo_u8x16;
  each_pixel<kRows, kColumns>(
      in, c, [&](const uint8_t* x) __attribute__((always_inline)) { top_u8x16 = vmaxq_u8(top_u8x16, vld1q_u8(x)); });
  store_u8x16(y + c, vminq_u8(top_u8x16, hi_u8x16), channels - c);
}

// ---- average -----------------------------------------------------------------------------------------------------

/// 16 sums in 16 bits.
struct Sums16 {
  uint16x8_t low_u16x8, high_u16x8;
};

/// Adds a window of at most kExactPixels pixels.
template <int32_t kRows, int32_t kColumns>
EK_INLINE Sums16 sums_u16x16(const Window& in, int32_t c) {
  Sums16 s = {vdupq_n_u16(0), vdupq_n_u16(0)};
  each_pixel<kRows, kColumns>(in, c, [&](const uint8_t* x) __attribute__((always_inline)) {
    const uint8x16_t x_u8x16 = vld1q_u8(x);
    s.low_u16x8 = vaddw_u8(s.low_u16x8, vget_low_u8(x_u8x16));
    s.high_u16x8 = vaddw_high_u8(s.high_u16x8, x_u8x16);
  });
  return s;
}

/// 16 sums: channels 0-3, 4-7, 8-11, 12-15.
struct Sums {
  int32x4_t s32x4[4];
};

EK_INLINE void widen_add(Sums& sums, const Sums16& s) {
  const auto add = [](int32x4_t sum_s32x4, uint16x4_t s_u16x4) __attribute__((always_inline)) {
    return vreinterpretq_s32_u32(vaddw_u16(vreinterpretq_u32_s32(sum_s32x4), s_u16x4));
  };
  sums.s32x4[0] = add(sums.s32x4[0], vget_low_u16(s.low_u16x8));
  sums.s32x4[1] = add(sums.s32x4[1], vget_high_u16(s.low_u16x8));
  sums.s32x4[2] = add(sums.s32x4[2], vget_low_u16(s.high_u16x8));
  sums.s32x4[3] = add(sums.s32x4[3], vget_high_u16(s.high_u16x8));
}

/// Adds a window's 16 channels from channel c on, of any number of pixels.
EK_INLINE void add_window(Sums& sums, const Window& in, int32_t c) {
  each_part(in,
            [&](const Window& part) __attribute__((always_inline)) { widen_add(sums, sums_u16x16<0, 0>(part, c)); });
}

EK_INLINE Sums all_sums(int32_t value) {
  const int32x4_t value_s32x4 = vdupq_n_s32(value);
  return {{value_s32x4, value_s32x4, value_s32x4, value_s32x4}};
}

/// 16 bytes of u = rne(float(sum) * m) + zero, clipped.
EK_INLINE uint8x16_t scaled_u8x16(const Sums& sums, float m, const ClipNeon& k) {
  const float32x4_t m_f32x4 = vdupq_n_f32(m);
  return clipped_u8x16(round_s32x4(sums.s32x4[0], m_f32x4), round_s32x4(sums.s32x4[1], m_f32x4),
                       round_s32x4(sums.s32x4[2], m_f32x4), round_s32x4(sums.s32x4[3], m_f32x4), k);
}

/// What makes a sum of n <= kExactCount pixels their average.
struct Divisor {
  uint16x8_t add_u16x8;     ///< floor(n / 2), and what the pad pixels add
  uint16x8_t origin_u16x8;  ///< sums below it round ties down
  uint16x8_t m_u16x8;
  int16x8_t shift_s16x8;    ///< to the left, so below 0
  uint8x16_t lo_u8x16, hi_u8x16;
};

EK_INLINE Divisor divisor(const PoolArgs& args, int32_t count, int32_t pads) {
  int32_t k = 31 - __builtin_clz(static_cast<uint32_t>(count));
  if ((count & (count - 1)) == 0) --k;
  const uint32_t m = ((1u << (16 + k)) + static_cast<uint32_t>(count) - 1) / static_cast<uint32_t>(count);
  const int32_t origin = count % 2 == 0 && count * args.origin > pads ? count * args.origin - pads : 0;
  return {vdupq_n_u16(static_cast<uint16_t>(count / 2 + pads)),
          vdupq_n_u16(static_cast<uint16_t>(origin)),
          vdupq_n_u16(static_cast<uint16_t>(m)),
          vdupq_n_s16(static_cast<int16_t>(-k)),
          vdupq_n_u8(args.lo),
          vdupq_n_u8(args.hi)};
}

EK_INLINE uint16x8_t quotient_u16x8(uint16x8_t s_u16x8, const Divisor& d) {
  const uint16x8_t less_u16x8 = vcgtq_u16(d.origin_u16x8, s_u16x8);  // -1 where a tie rounds down
  const uint16x8_t n_u16x8 = vaddq_u16(vaddq_u16(s_u16x8, d.add_u16x8), less_u16x8);
  const uint32x4_t low_u32x4 = vmull_u16(vget_low_u16(n_u16x8), vget_low_u16(d.m_u16x8));
  const uint32x4_t high_u32x4 = vmull_high_u16(n_u16x8, d.m_u16x8);
  return vshlq_u16(vuzp2q_u16(vreinterpretq_u16_u32(low_u32x4), vreinterpretq_u16_u32(high_u32x4)), d.shift_s16x8);
}

EK_INLINE uint8x16_t divided_u8x16(const Sums16& s, const Divisor& d) {
  const uint16x8_t low_u16x8 = quotient_u16x8(s.low_u16x8, d), high_u16x8 = quotient_u16x8(s.high_u16x8, d);
  const uint8x16_t y_u8x16 = vuzp1q_u8(vreinterpretq_u8_u16(low_u16x8), vreinterpretq_u8_u16(high_u16x8));
  return vminq_u8(vmaxq_u8(y_u8x16, d.lo_u8x16), d.hi_u8x16);
}

template <int32_t kRows, int32_t kColumns>
EK_INLINE void divided_pixel(const PoolArgs& args, const Window& in, const Divisor& d, uint8_t* y) {
  store_channels(y, args.c, [&](int32_t c) __attribute__((always_inline)) {
    return divided_u8x16(sums_u16x16<kRows, kColumns>(in, c), d);
  });
}

/// Of any number of pixels; `offset` is what the origin and the pad pixels add to each sum.
void divided_one_by_one(const PoolArgs& args, const Window& in, int32_t offset, int32_t count, uint8_t* y) {
  for (int32_t c = 0; c < args.c; c += 16) {
    Sums sums = all_sums(-offset);
    add_window(sums, in, c);
    int32_t s[16];
    EK_UNROLL
    for (int i = 0; i < 4; ++i) vst1q_s32(s + 4 * i, sums.s32x4[i]);
    for (int32_t i = 0; i < 16 && c + i < args.c; ++i) {
      const int32_t u = (s[i] + (s[i] < 0 ? -(count / 2) : count / 2)) / count + args.origin;
      y[c + i] = static_cast<uint8_t>(u < args.lo ? args.lo : u > args.hi ? args.hi : u);
    }
  }
}

}  // namespace

void pool_max_neon(const PoolArgs& args) {
  each_window(args, [&](const Window& in, uint8_t* y) __attribute__((always_inline)) {
    if (in.columns == 5) return max_pixel<0, 5>(args, in, y);
    by_size(in, [&](auto size) __attribute__((always_inline)) { max_pixel<size.kRows, size.kColumns>(args, in, y); });
  });
}

void pool_average_neon(const PoolArgs& args) {
  const ClipNeon clip = load_clip_neon(
      {static_cast<float>(args.lo - args.zero_out), static_cast<float>(args.hi - args.zero_out), args.zero_out});
  each_window(args, [&](const Window& in, uint8_t* y) __attribute__((always_inline)) {
    const Count n = count_of(args, in);
    if (!args.same_scale) {
      const float m = args.s_in / (args.s_out * static_cast<float>(n.all));
      store_channels(y, args.c, [&](int32_t c) __attribute__((always_inline)) {
        Sums sums = all_sums(-n.inside * args.zero_in);
        add_window(sums, in, c);
        return scaled_u8x16(sums, m, clip);
      });
    } else if (n.all > kExactCount || n.all == 1) {  // pad pixels add their zero point
      const int32_t offset = n.inside * args.origin - (n.all - n.inside) * (args.zero_in - args.origin);
      divided_one_by_one(args, in, offset, n.all, y);
    } else {
      const Divisor d = divisor(args, n.all, (n.all - n.inside) * args.zero_in);
      by_size(in, [&](auto size)
                      __attribute__((always_inline)) { divided_pixel<size.kRows, size.kColumns>(args, in, d, y); });
    }
  });
}

void pool_mean_neon(const MeanArgs& args) {
  const ClipNeon clip = load_clip_neon(args.out);
  const Nhwc& x = args.shape;
  for (int32_t c = 0; c < x.c; c += 16) {
    Sums sums = all_sums(-x.h * x.w * args.zero_in);
    each_row(args, [&](const Window& row) __attribute__((always_inline)) { add_window(sums, row, c); });
    store_u8x16(args.y + c, scaled_u8x16(sums, args.m, clip), x.c - c);
  }
}

}  // namespace ek
