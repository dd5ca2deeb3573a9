// SPDX-License-Identifier: Apache-2.0
/// dwconv for armv8.0 NEON, 3x3, strides 1 and 2: taps multiplied as bytes, by pairs, 16 channels at a time.
///
///   y(x, c) = requant(bias(c) + sum over ky, kx of rows[ky][(x*s + kx)*px + c] * w(ky, kx, c), scale(c))
///
///   instruction                        per cycle: A53  A72    for 16 outputs, stride 1 / 2
///   EOR    16b                                      1    2    bytes to signed ones                   3 / 6
///   ZIP1, ZIP2  16b                                 1    2    two taps of a channel side by side     4 / 6
///   SMULL, SMULL2   8h, 8b, 8b                      1    1    eight products                        10 / 10
///   SMLAL, SMLAL2   8h, 8b, 8b                      1    1    eight more, added                      8 / 8
///   SADALP 4s, 8h                                   1    1    both taps of four channels, added      8 / 8
///   SADDW, SADDW2   4s, 4s, 4h                      1    2    the ninth tap                          4 / 4
///   SCVTF, FMUL, FCVTNS .. SQXTUN2                  1    2    requantise                            18 / 18
///
/// Of nine taps, eight are two groups of four: a column's rows 0 and 1 are a pair, and so are row 2's first two
/// columns. A lane of 16 bits adds two products, SADALP two such lanes: four taps of four channels in three
/// instructions. The pairs of a column stay in registers for all outputs that it touches.
///
/// Signed by signed: u * w = (u ^ 0x80 as s8) * w + 128 * w, and the packed bias holds the second term (form
/// kBytePairs). Bounds: |s * w| <= 128 * 127 without weights of -128 (fits), and 2 * 16256 = 32512 < 2^15. An int32
/// lane wraps modulo 2^32; the true sum fits int32 (proved by the verifier). Memory: reads up to 15 bytes behind a
/// pixel's last channel (arena slack; under weights of 0, not stored), packed weights, bias and scale. Writes m x c
/// bytes.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/dwconv/arm_bytes.h"

namespace ek {

void dwconv_u8_3x3_neon(const DwConvArgs& args);

namespace {

constexpr int kBlock = 16;

/// Rows 0 and 1 of channels 0..7 and of 8..15, alternating, and row 2.
struct Column {
  int8x16_t pair_s8x16[2], last_s8x16;
};

struct Weights {
  int8x16_t column_s8x16[3][2];  ///< rows 0 and 1 of each column
  int8x16_t row_s8x16[2];        ///< columns 0 and 1 of row 2
  int8x16_t last_s8x16;          ///< its column 2
};

/// Where a block of channels is in its row.
struct Block {
  const uint8_t* row[3];
  ptrdiff_t in_px;
  const int32_t* bias;
  const float* scale;
  uint8_t* y;
  ptrdiff_t y_px;
  int32_t valid;  ///< channels to store
};

EK_INLINE Weights load_weights(const DwConvArgs& args, int32_t first) {
  const int8_t* packed = static_cast<const int8_t*>(args.w) + first * 2 * 5;  // 5 pairs of each channel
  Weights w;
  EK_UNROLL
  for (int i = 0; i < 6; ++i) w.column_s8x16[i / 2][i % 2] = vld1q_s8(packed + 16 * i);
  w.row_s8x16[0] = vld1q_s8(packed + 96);
  w.row_s8x16[1] = vld1q_s8(packed + 112);
  w.last_s8x16 = vuzp1q_s8(vld1q_s8(packed + 128), vld1q_s8(packed + 144));  // the other of each pair is 0
  return w;
}

EK_INLINE Block block_at(const DwConvArgs& args, int32_t first) {
  return {{args.rows[0] + first, args.rows[1] + first, args.rows[2] + first},
          args.in_px,
          args.bias + first,
          args.scale + first,
          args.y + first,
          args.y_px,
          args.c - first};
}

/// Column kRel, counted from the first tap of the next output.
template <int kRel>
EK_INLINE Column load_column(const Block& b) {
  int8x16_t row_s8x16[3];
  EK_UNROLL
  for (int ky = 0; ky < 3; ++ky) {
    row_s8x16[ky] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(b.row[ky] + kRel * b.in_px), vdupq_n_u8(0x80)));
  }
  return {{vzip1q_s8(row_s8x16[0], row_s8x16[1]), vzip2q_s8(row_s8x16[0], row_s8x16[1])}, row_s8x16[2]};
}

/// Half j % 2 of a vector times the same half of the weights.
EK_INLINE int16x8_t products(int8x16_t a_s8x16, int8x16_t w_s8x16, int j) {
  return j % 2 == 0 ? vmull_s8(vget_low_s8(a_s8x16), vget_low_s8(w_s8x16)) : vmull_high_s8(a_s8x16, w_s8x16);
}

EK_INLINE int16x8_t add_products(int16x8_t sum_s16x8, int8x16_t a_s8x16, int8x16_t w_s8x16, int j) {
  return j % 2 == 0 ? vmlal_s8(sum_s16x8, vget_low_s8(a_s8x16), vget_low_s8(w_s8x16))
                    : vmlal_high_s8(sum_s16x8, a_s8x16, w_s8x16);
}

/// The output of three columns, 16 channels.
template <bool kWhole, bool kPlain>
EK_INLINE void finish(const Block& b, const Weights& w, const Column& left, const Column& mid, const Column& right,
                      const ClipNeon& bounds) {
  const int8x16_t row_s8x16[2] = {vzip1q_s8(left.last_s8x16, mid.last_s8x16),
                                  vzip2q_s8(left.last_s8x16, mid.last_s8x16)};
  int32x4_t q_s32x4[4];
  EK_UNROLL
  for (int j = 0; j < 4; ++j) {
    const int h = j / 2;
    const int16x8_t last_s16x8 = products(right.last_s8x16, w.last_s8x16, h);
    int16x8_t four_s16x8 = products(left.pair_s8x16[h], w.column_s8x16[0][h], j);
    four_s16x8 = add_products(four_s16x8, mid.pair_s8x16[h], w.column_s8x16[1][h], j);
    int32x4_t sum_s32x4 = vpadalq_s16(vld1q_s32(b.bias + 4 * j), four_s16x8);
    four_s16x8 = products(right.pair_s8x16[h], w.column_s8x16[2][h], j);
    four_s16x8 = add_products(four_s16x8, row_s8x16[h], w.row_s8x16[h], j);
    sum_s32x4 = vpadalq_s16(sum_s32x4, four_s16x8);
    sum_s32x4 = j % 2 == 0 ? vaddw_s16(sum_s32x4, vget_low_s16(last_s16x8)) : vaddw_high_s16(sum_s32x4, last_s16x8);
    q_s32x4[j] = round_s32x4(sum_s32x4, b.scale + 4 * j);
  }
  store_u8x16(b.y, clipped_u8x16<kPlain>(q_s32x4, bounds), kWhole ? kBlock : b.valid);
}

/// Says that `v` is whole in a register here: GCC would carry its low half in another from step to step.
EK_INLINE void hold(int8x16_t& v) { __asm__("" : "+w"(v)); }

/// Outputs one after the other, until `count` or until the columns are back in their places.
template <int S, int kPhase, bool kWhole, bool kPlain>
EK_INLINE void steps(Block& b, Weights& w, Column (&column)[3], const ClipNeon& bounds, int32_t count) {
  constexpr int kPhases = S == 1 ? 3 : 2;
  constexpr int kLeft = S == 1 ? kPhase : 2 * kPhase, kRight = S == 1 ? (kPhase + 2) % 3 : 2 - kLeft;
  constexpr int kMid = 3 - kLeft - kRight;
  if (count <= kPhase) return;
  if (S == 2) column[kMid] = load_column<1>(b);
  column[kRight] = load_column<2>(b);
  finish<kWhole, kPlain>(b, w, column[kLeft], column[kMid], column[kRight], bounds);
  EK_UNROLL
  for (int ky = 0; ky < 3; ++ky) b.row[ky] = in_register(b.row[ky] + S * b.in_px);
  b.y = in_register(b.y + b.y_px);
  b.bias = in_register(b.bias);
  b.scale = in_register(b.scale);
  EK_UNROLL
  for (int i = 0; i < 6; ++i) hold(w.column_s8x16[i / 2][i % 2]), hold(column[i / 2].pair_s8x16[i % 2]);
  EK_UNROLL
  for (int h = 0; h < 2; ++h) hold(w.row_s8x16[h]);
  EK_UNROLL
  for (int i = 0; i < 3; ++i) hold(column[i].last_s8x16);
  hold(w.last_s8x16);
  if constexpr (kPhase + 1 < kPhases) steps<S, kPhase + 1, kWhole, kPlain>(b, w, column, bounds, count);
}

/// One block of one row.
template <int S, bool kWhole, bool kPlain>
void block(const DwConvArgs& args, int32_t first) {
  constexpr int32_t kPhases = S == 1 ? 3 : 2;
  const ClipNeon bounds = load_clip_neon(args.out);
  Weights w = load_weights(args, first);
  Block b = block_at(args, first);
  Column column[3];
  column[0] = load_column<0>(b);
  if (S == 1) column[1] = load_column<1>(b);
  int32_t left = args.m;
  for (; left >= kPhases; left -= kPhases) steps<S, 0, kWhole, kPlain>(b, w, column, bounds, kPhases);
  steps<S, 0, kWhole, kPlain>(b, w, column, bounds, left);
}

/// 8 channels without gaps at stride 1: two pixels are one of 16 channels at stride 2 (pack.cc repeats the channels).
/// Of an odd number the last pair starts one pixel earlier.
template <bool kPlain>
void two_pixels(const DwConvArgs& args) {
  if (args.in_px != args.c || args.y_px != args.c || args.m < 2) return block<1, false, kPlain>(args, 0);
  DwConvArgs two = args;
  two.m = args.m / 2;
  two.y_px = 2 * args.y_px;
  block<2, true, kPlain>(two, 0);
  if (args.m % 2 == 0) return;
  const ptrdiff_t x = args.m - 2;
  const uint8_t* const rows[3] = {args.rows[0] + 8 * x, args.rows[1] + 8 * x, args.rows[2] + 8 * x};
  two.rows = rows;
  two.y = args.y + 8 * x;
  two.m = 1;
  block<2, true, kPlain>(two, 0);
}

template <int S, bool kPlain>
void channels(const DwConvArgs& args) {
  if (S == 1 && args.c == 8) return two_pixels<kPlain>(args);
  int32_t first = 0;
  for (; args.c - first >= kBlock; first += kBlock) block<S, true, kPlain>(args, first);
  if (first < args.c) block<S, false, false>(args, first);
}

}  // namespace

void dwconv_u8_3x3_neon(const DwConvArgs& args) {
  const bool plain = is_plain(args.out);
  if (args.sx == 1) return plain ? channels<1, true>(args) : channels<1, false>(args);
  return plain ? channels<2, true>(args) : channels<2, false>(args);
}

}  // namespace ek
