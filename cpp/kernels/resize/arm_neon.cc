// SPDX-License-Identifier: Apache-2.0
/// resize in NEON (armv8.0): fixed-point bilinear crop-resize of one box of camera bytes.
///
///   h(r, x) = a*(2048 - f) + b*f of source row r;   v(y, x) = (h(j)*(2048 - g) + h(j + 1)*g + 2^21) >> 22
///
/// | instruction         | per cycle A53, A72, N1 | use                                                         |
/// |---------------------|------------------------|-------------------------------------------------------------|
/// | ldr d, ld1 {v.d}[1] | 1, 1, 1.5              | pixels i and i + 1 of 3 or 4 bytes, two output pixels       |
/// | tbl of 1            | 1, 2/3, 2              | to 16 bits in output channel order: all a, or all b         |
/// | smull, smlal 4s     | 1, 1, 1                | h of a pixel, its weight from a lane                        |
/// | mul, mla 4s         | 1, 1/2, 1/2            | v of four bytes                                             |
/// | addhn, shrn         | 1, 1, 1                | (v + 2^21) >> 16, then >> 6, both narrowing                 |
///
/// h lies dense: three int32 for a pixel of three channels. Each of its vectors is stored whole, its last lane under
/// the next pixel's first. So v is 16 bytes at a time whatever the channels, and where the output is dense it is the
/// output. Elsewhere 16 pixels are taken apart into planes, go through grey and the tables there, and are woven again.
/// Bounds: 2048 fits int16; h <= 255 * 2048 < 2^19; v before the shift <= 255 * 2^22 + 2^21 < 2^31, and grey sums are
/// at most 255 * 256 + 128 < 2^16. Memory: reads pixels 0 .. width - 1 of the rows it needs, nothing beside them: a
/// load of 8 bytes that would end behind the row starts earlier (`edge`), and a row shorter than that is copied first.
/// Writes out_w x out_h x channels bytes.
#include "kernels/isa/arm_neon.h"

#include "kernels/resize/columns.h"

namespace ek {

void resize_neon(const ResizeArgs& args);

namespace {

constexpr int32_t kGroup = 16;  ///< pixels of one turn where the output is not dense

/// A load to 16-bit lanes, by tbl: four of the first pixel of a pair and four of the one after it.
struct Shuffle {
  uint8x16_t a_u8x16, b_u8x16;
};

/// int32 of h for a pixel: its output channels; R, G, B for grey; 1 of a grey source.
int32_t lanes_of(const ResizeArgs& args) { return args.src_channels == 1 ? 1 : args.gray ? 3 : args.channels; }

/// Shuffle of two loads that begin `back` bytes before their pixels. An index beyond 15 gives 0.
Shuffle shuffle_of(const ResizeArgs& args, int32_t back) {
  uint8_t a[16], b[16];
  for (int32_t n = 0; n < 8; ++n) {
    const int32_t channel = n % 4 < lanes_of(args) ? n % 4 : 0;
    const int32_t at = n / 4 * kLoad + back + args.order[channel];
    a[2 * n] = static_cast<uint8_t>(at);
    b[2 * n] = static_cast<uint8_t>(at + args.src_channels);
    a[2 * n + 1] = b[2 * n + 1] = 0xff;
  }
  return {vld1q_u8(a), vld1q_u8(b)};
}

/// h of two output pixels, their weights from lane kFirst on.
template <int kFirst>
EK_INLINE int32x4x2_t two_pixels(const uint8_t* first, const uint8_t* second, int16x8_t w_s16x8, const Shuffle& s) {
  const uint8x16_t px_u8x16 = vcombine_u8(vld1_u8(first), vld1_u8(second));
  const int16x8_t a_s16x8 = vreinterpretq_s16_u8(vqtbl1q_u8(px_u8x16, s.a_u8x16));
  const int16x8_t b_s16x8 = vreinterpretq_s16_u8(vqtbl1q_u8(px_u8x16, s.b_u8x16));
  const int32x4_t h0_s32x4 = vmull_laneq_s16(vget_low_s16(a_s16x8), w_s16x8, kFirst);
  const int32x4_t h1_s32x4 = vmull_high_laneq_s16(a_s16x8, w_s16x8, kFirst + 2);
  return {{vmlal_laneq_s16(h0_s32x4, vget_low_s16(b_s16x8), w_s16x8, kFirst + 1),
           vmlal_high_laneq_s16(h1_s32x4, b_s16x8, w_s16x8, kFirst + 3)}};
}

/// One source row of 3 or 4 bytes a pixel. The last columns, whose loads start early, are made twice.
template <int kLanes>
EK_INLINE void interpolate_colour(const Columns<Shuffle>& columns, int32_t out_w, const uint8_t* source, int32_t* h) {
  const int32_t *offset = columns.offset, *weight = columns.weight;
  const Shuffle inside = columns.inside, at_edge = columns.at_edge;
  for (int32_t x = 0; x < out_w; x += 4) {
    const int16x8_t w_s16x8 = vreinterpretq_s16_s32(vld1q_s32(weight + x));
    const int32_t* at = offset + x;
    int32_t* to = h + kLanes * x;
    const int32x4x2_t h0 = two_pixels<0>(source + at[0], source + at[1], w_s16x8, inside);
    const int32x4x2_t h2 = two_pixels<4>(source + at[2], source + at[3], w_s16x8, inside);
    vst1q_s32(to, h0.val[0]);
    vst1q_s32(to + kLanes, h0.val[1]);
    vst1q_s32(to + 2 * kLanes, h2.val[0]);
    vst1q_s32(to + 3 * kLanes, h2.val[1]);
  }
  for (int32_t x = columns.edge; x < out_w; ++x) {
    const uint8x16_t px_u8x16 = vcombine_u8(vld1_u8(source + offset[x]), vdup_n_u8(0));
    const int16x4_t a_s16x4 = vget_low_s16(vreinterpretq_s16_u8(vqtbl1q_u8(px_u8x16, at_edge.a_u8x16)));
    const int16x4_t b_s16x4 = vget_low_s16(vreinterpretq_s16_u8(vqtbl1q_u8(px_u8x16, at_edge.b_u8x16)));
    const int16x4_t w_s16x4 = vreinterpret_s16_s32(vdup_n_s32(weight[x]));
    const int32x4_t h_s32x4 = vmlal_lane_s16(vmull_lane_s16(a_s16x4, w_s16x4, 0), b_s16x4, w_s16x4, 1);
    vst1q_s32(h + kLanes * x, h_s32x4);
  }
}

/// One source row of 1 byte a pixel.
EK_INLINE void interpolate_grey(const Columns<Shuffle>& columns, int32_t out_w, const uint8_t* source, int32_t* h) {
  const int32_t* offset = columns.offset;
  int32_t x = 0;
  for (; x + 8 <= out_w; x += 8) {
    uint16_t pairs[8];
    EK_UNROLL
    for (int32_t i = 0; i < 8; ++i) __builtin_memcpy(pairs + i, source + offset[x + i], 2);
    const uint16x8_t ab_u16x8 = vld1q_u16(pairs);
    const int16x8_t a_s16x8 = vreinterpretq_s16_u16(vandq_u16(ab_u16x8, vdupq_n_u16(0xff)));
    const int16x8_t b_s16x8 = vreinterpretq_s16_u16(vshrq_n_u16(ab_u16x8, 8));
    const int16x8_t w0_s16x8 = vreinterpretq_s16_s32(vld1q_s32(columns.weight + x));
    const int16x8_t w4_s16x8 = vreinterpretq_s16_s32(vld1q_s32(columns.weight + x + 4));
    const int16x8_t wa_s16x8 = vuzp1q_s16(w0_s16x8, w4_s16x8), wb_s16x8 = vuzp2q_s16(w0_s16x8, w4_s16x8);
    const int32x4_t h0_s32x4 = vmull_s16(vget_low_s16(a_s16x8), vget_low_s16(wa_s16x8));
    const int32x4_t h4_s32x4 = vmull_high_s16(a_s16x8, wa_s16x8);
    vst1q_s32(h + x, vmlal_s16(h0_s32x4, vget_low_s16(b_s16x8), vget_low_s16(wb_s16x8)));
    vst1q_s32(h + x + 4, vmlal_high_s16(h4_s32x4, b_s16x8, wb_s16x8));
  }
  interpolate_last_grey(columns, x, out_w, source, h);
}

void interpolate(const ResizeArgs& args, const Columns<Shuffle>& columns, int32_t row, int32_t* h) {
  uint8_t copy[kLoad] = {};
  const uint8_t* source = source_row(args, row, copy);
  const int32_t lanes = lanes_of(args);
  if (args.src_channels == 1) return interpolate_grey(columns, args.out_w, source, h);
  lanes == 4   ? interpolate_colour<4>(columns, args.out_w, source, h)
  : lanes == 3 ? interpolate_colour<3>(columns, args.out_w, source, h)
               : interpolate_colour<1>(columns, args.out_w, source, h);
}

/// Two interpolated rows and their weights.
struct RowPair {
  const int32_t *h0, *h1;
  int32x4_t g0_s32x4, g1_s32x4;
};

/// (h0 * (2048 - g) + h1 * g + 2^21) >> 16 of four lanes.
EK_INLINE uint16x4_t blend_u16x4(const RowPair& rows, int32_t at) {
  const int32x4_t h0_s32x4 = vld1q_s32(rows.h0 + at), h1_s32x4 = vld1q_s32(rows.h1 + at);
  const int32x4_t v_s32x4 = vmlaq_s32(vmulq_s32(h0_s32x4, rows.g0_s32x4), h1_s32x4, rows.g1_s32x4);
  return vreinterpret_u16_s16(vaddhn_s32(v_s32x4, vdupq_n_s32(1 << 21)));
}

/// v of 16 lanes from lane `at` on.
EK_INLINE uint8x16_t blend_u8x16(const RowPair& rows, int32_t at) {
  const uint16x8_t low_u16x8 = vcombine_u16(blend_u16x4(rows, at), blend_u16x4(rows, at + 4));
  const uint16x8_t high_u16x8 = vcombine_u16(blend_u16x4(rows, at + 8), blend_u16x4(rows, at + 12));
  return vshrn_high_n_u16(vshrn_n_u16(low_u16x8, 6), high_u16x8, 6);
}

EK_INLINE uint8x16_t through_u8x16(uint8x16_t x_u8x16, const uint8_t* table) {
  return lookup_u8x16(x_u8x16, load_u8x64(table), load_u8x64(table + 64), load_u8x64(table + 128),
                      load_u8x64(table + 192));
}

/// 16 pixels as planes, from pixel x on: output channels, or R, G, B for grey.
EK_INLINE uint8x16x4_t planes_of(const RowPair& rows, int32_t lanes, int32_t x) {
  uint8_t bytes[4 * kGroup];
  for (int32_t i = 0; i < lanes; ++i) vst1q_u8(bytes + 16 * i, blend_u8x16(rows, lanes * x + 16 * i));
  if (lanes == 4) return vld4q_u8(bytes);
  if (lanes == 3) {
    const uint8x16x3_t rgb = vld3q_u8(bytes);
    return {{rgb.val[0], rgb.val[1], rgb.val[2], rgb.val[2]}};
  }
  const uint8x16_t one_u8x16 = vld1q_u8(bytes);
  return {{one_u8x16, one_u8x16, one_u8x16, one_u8x16}};
}

EK_INLINE uint8x8_t luma_u8x8(uint8x8_t r_u8x8, uint8x8_t g_u8x8, uint8x8_t b_u8x8) {
  const uint16x8_t sum_u16x8 = vmlal_u8(vmull_u8(r_u8x8, vdup_n_u8(77)), g_u8x8, vdup_n_u8(150));
  return vrshrn_n_u16(vmlal_u8(sum_u16x8, b_u8x8, vdup_n_u8(29)), 8);
}

EK_INLINE uint8x16_t luma_u8x16(const uint8x16x4_t& p) {
  return vcombine_u8(luma_u8x8(vget_low_u8(p.val[0]), vget_low_u8(p.val[1]), vget_low_u8(p.val[2])),
                     luma_u8x8(vget_high_u8(p.val[0]), vget_high_u8(p.val[1]), vget_high_u8(p.val[2])));
}

/// The first n of 16 pixels of kChannels.
template <int kChannels>
EK_INLINE void store_pixels(const ResizeArgs& args, uint8_t* y, const uint8x16x4_t& p, int32_t n) {
  const bool dense = n == kGroup && args.y_px == kChannels;
  if (dense && kChannels == 1) return vst1q_u8(y, p.val[0]);
  const uint8x16x3_t three = {{p.val[0], p.val[1], p.val[2]}};  // clang's stores are macros, which braces would cut up
  if (dense && kChannels == 3) return vst3q_u8(y, three);
  if (dense) return vst4q_u8(y, p);
  uint8_t bytes[4 * kGroup];
  vst4q_u8(bytes, p);
  for (int32_t i = 0; i < n; ++i, y += args.y_px) __builtin_memcpy(y, bytes + 4 * i, kChannels);
}

/// A row that is more than its interpolation: grey, through tables, or with gaps.
void output_planes(const ResizeArgs& args, const RowPair& rows, uint8_t* y) {
  const int32_t lanes = lanes_of(args);
  for (int32_t x = 0; x < args.out_w; x += kGroup, y += kGroup * args.y_px) {
    uint8x16x4_t p = planes_of(rows, lanes, x);
    if (args.gray && lanes == 3) p.val[0] = luma_u8x16(p);
    if (args.table) {
      EK_UNROLL
      for (int c = 0; c < 4; ++c) {
        if (c < args.channels) p.val[c] = through_u8x16(p.val[c], args.table + 256 * c);
      }
    }
    const int32_t n = args.out_w - x < kGroup ? args.out_w - x : kGroup;
    args.channels == 1   ? store_pixels<1>(args, y, p, n)
    : args.channels == 3 ? store_pixels<3>(args, y, p, n)
                         : store_pixels<4>(args, y, p, n);
  }
}

void output_dense(const RowPair& rows, int32_t bytes, uint8_t* y) {
  int32_t i = 0;
  for (; i + 32 <= bytes; i += 32) {  // two chains for cores that run in order
    const uint8x16_t first_u8x16 = blend_u8x16(rows, i), second_u8x16 = blend_u8x16(rows, i + 16);
    vst1q_u8(y + i, first_u8x16);
    vst1q_u8(y + i + 16, second_u8x16);
  }
  for (; i < bytes; i += 16) store_u8x16(y + i, blend_u8x16(rows, i), bytes - i);
}

}  // namespace

void resize_neon(const ResizeArgs& args) {
  const Columns<Shuffle> columns = find_columns(args, shuffle_of);
  const int32_t lanes = lanes_of(args);
  const bool dense = !args.gray && !args.table && args.channels == lanes && args.y_px == lanes;
  resize_walk(
      args, [&](int32_t row, int32_t* h) { interpolate(args, columns, row, h); },
      [&](int32_t y, const int32_t* h0, const int32_t* h1, int32_t g) {
        const RowPair rows = {h0, h1, vdupq_n_s32(2048 - g), vdupq_n_s32(g)};
        uint8_t* to = args.y + y * args.y_row;
        dense ? output_dense(rows, lanes * args.out_w, to) : output_planes(args, rows, to);
      });
}

}  // namespace ek
