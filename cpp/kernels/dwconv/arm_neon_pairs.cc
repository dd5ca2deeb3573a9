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
///   SCVTF, FMUL, FCVTNS, UZP1, SQXTUN               1    2    requantise                            16 / 16
///
/// Of nine taps, eight are two groups of four: a column's rows 0 and 1 are a pair, and so are row 2's first two
/// columns. A lane of 16 bits adds two products, SADALP two such lanes: four taps of four channels in three
/// instructions. The pairs of a column stay in registers for all outputs that it touches, and so do the scales. 64 and
/// 73 instructions with loads and steps, 66 for 8 channels; where bytes are clipped, 7 more.
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
#include "kernels/dwconv/arm_walk.h"

namespace ek {

void dwconv_u8_3x3_neon(const DwConvArgs& args);

namespace {

/// Rows 0 and 1 of channels 0..7 and of 8..15, alternating, and row 2.
struct Column {
  int8x16_t pair_s8x16[2], last_s8x16;
};

struct Weights {
  int8x16_t column_s8x16[3][2];  ///< rows 0 and 1 of each column
  int8x16_t row_s8x16[2];        ///< columns 0 and 1 of row 2
  int8x16_t last_s8x16;          ///< its column 2
  float32x4_t scale_f32x4[4];
};

EK_INLINE Weights load_weights(const DwConvArgs& args, int32_t first) {
  const int8_t* packed = static_cast<const int8_t*>(args.w) + first * 2 * 5;  // 5 pairs of each channel
  Weights w;
  EK_UNROLL
  for (int i = 0; i < 6; ++i) w.column_s8x16[i / 2][i % 2] = vld1q_s8(packed + 16 * i);
  w.row_s8x16[0] = vld1q_s8(packed + 96);
  w.row_s8x16[1] = vld1q_s8(packed + 112);
  w.last_s8x16 = vuzp1q_s8(vld1q_s8(packed + 128), vld1q_s8(packed + 144));  // the other of each pair is 0
  EK_UNROLL
  for (int j = 0; j < 4; ++j) w.scale_f32x4[j] = vld1q_f32(args.scale + first + 4 * j);
  return w;
}

EK_INLINE Column load_column(const uint8_t* const (&row)[3], ptrdiff_t at) {
  const int8x16_t first_s8x16 = flipped(row[0] + at), second_s8x16 = flipped(row[1] + at);
  return {{vzip1q_s8(first_s8x16, second_s8x16), vzip2q_s8(first_s8x16, second_s8x16)}, flipped(row[2] + at)};
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
EK_INLINE void finish(uint8_t* y, const Block& b, const Weights& w, const Column& left, const Column& mid,
                      const Column& right, const ClipNeon& clip) {
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
    q_s32x4[j] = ek::round_s32x4(sum_s32x4, w.scale_f32x4[j]);
  }
  store_u8x16(y, clipped_u8x16<kPlain>(q_s32x4, clip), kWhole ? kBlock : b.valid);
}

EK_INLINE void hold(Column& column) {
  hold(column.pair_s8x16[0]);
  hold(column.pair_s8x16[1]);
  hold(column.last_s8x16);
}

EK_INLINE void hold(Weights& w) {
  EK_UNROLL
  for (int i = 0; i < 6; ++i) hold(w.column_s8x16[i / 2][i % 2]);
  hold(w.row_s8x16[0]);
  hold(w.row_s8x16[1]);
  hold(w.last_s8x16);
}

/// Outputs one after the other, until `count` or until the columns are back in their places.
template <int S, int kPhase, bool kWhole, bool kPlain>
EK_INLINE void steps(Block& b, const Walk<S>& k, Weights& w, Column (&column)[3], const ClipNeon& clip, int32_t count) {
  constexpr int kLeft = S == 1 ? kPhase : 2 * kPhase, kRight = S == 1 ? (kPhase + 2) % 3 : 2 - kLeft;
  constexpr int kMid = 3 - kLeft - kRight;
  if (count <= kPhase) return;
  if (S == 2) column[kMid] = load_column(k.next[0], b.at);
  column[kRight] = load_column(k.next[S == 1 ? kPhase : 1], b.at);
  finish<kWhole, kPlain>(k.y[kPhase] + b.y_at, b, w, column[kLeft], column[kMid], column[kRight], clip);
  advance<kPhase>(b, k);
  hold(w);
  EK_UNROLL
  for (int i = 0; i < 3; ++i) hold(column[i]);
  if constexpr (kPhase + 1 < Walk<S>::kLive) steps<S, kPhase + 1, kWhole, kPlain>(b, k, w, column, clip, count);
}

/// Two pixels of 8 channels: the column one pixel further has the second of one vector and the first of the next.
template <bool kPlain>
EK_INLINE void finish_two(uint8_t* y, const Block& b, Weights& w, const Column& left, Column& right,
                          const ClipNeon& clip) {
  hold(right);
  const Column mid = {{left.pair_s8x16[1], right.pair_s8x16[0]}, vextq_s8(left.last_s8x16, right.last_s8x16, 8)};
  finish<true, kPlain>(y, b, w, left, mid, right, clip);
  hold(w);
}

struct Pairs {
  /// One block of one row.
  template <int S, bool kWhole, bool kPlain>
  static EK_MEMBER void block(const DwConvArgs& args, const Walk<S>& k, int32_t first) {
    const ClipNeon clip = load_clip_neon(args.out);
    Weights w = load_weights(args, first);
    Block b = block_at(args, first);
    Column column[3];
    column[0] = load_column(k.row, first);
    if (S == 1) column[1] = load_column(k.row, first + args.in_px);
    for (int32_t turns = k.turns; turns > 0; --turns)
      steps<S, 0, kWhole, kPlain>(b, k, w, column, clip, Walk<S>::kLive);
    steps<S, 0, kWhole, kPlain>(b, k, w, column, clip, k.rest);
  }

  /// 8 channels at stride 1 without gaps, two pixels at a time; of an odd number the last two start one earlier.
  /// pack.cc has the channels twice.
  template <bool kPlain>
  static void eight(const DwConvArgs& args) {
    if (args.in_px != 8 || args.y_px != 8 || args.m < 2) return channels<Pairs, 1, false>(args);
    const ClipNeon clip = load_clip_neon(args.out);
    Weights w = load_weights(args, 0);
    const Block b = block_at(args, 0);
    const uint8_t* const row[3] = {args.rows[0], args.rows[1], args.rows[2]};
    uint8_t* const y = args.y;
    const ptrdiff_t last = 8 * ptrdiff_t{args.m - 2};
    Column even = load_column(row, 0), odd;
    ptrdiff_t at = 0;
    for (; at + 16 <= last; at += 32) {
      odd = load_column(row, at + 16);
      finish_two<kPlain>(y + at, b, w, even, odd, clip);
      even = load_column(row, at + 32);
      finish_two<kPlain>(y + at + 16, b, w, odd, even, clip);
    }
    if (at <= last) {
      odd = load_column(row, at + 16);
      finish_two<kPlain>(y + at, b, w, even, odd, clip);
      at += 16;
    }
    if (at - 16 == last) return;
    odd = load_column(row, last + 16);
    finish_two<kPlain>(y + last, b, w, load_column(row, last), odd, clip);
  }
};

}  // namespace

void dwconv_u8_3x3_neon(const DwConvArgs& args) { row_3x3<Pairs>(args); }

}  // namespace ek
