// SPDX-License-Identifier: Apache-2.0
/// dwconv for NEON with dot products: 3x3, strides 1 and 2, 16 channels at a time.
///
///   y(x, c) = requant(bias(c) + sum over ky, kx of rows[ky][(x*s + kx)*px + c] * w(ky, kx, c), scale(c))
///
///   instruction                     per cycle: A55  N1  N2    for 16 outputs, stride 1 / 2
///   EOR    16b                                  2    2   4    bytes to signed ones                  3 / 6
///   TRN1, TRN2  16b                             1    2   4    rows 0 and 1, even and odd channels   2 / 4
///   ZIP1, ZIP2  8h                              1    2   4    and row 2                             4 / 8
///   SDOT   4s, 16b, 16b                         1    2   4    3 taps of 4 channels                 12 / 12
///   SCVTF, FMUL, FCVTNS, TRN1, SQXTUN           1    2   2    requantise                           16 / 16
///   LDR, LDP, STR q                             1    2   2    rows, bias, scale, bytes              8 / 11
///
/// A lane has rows 0 and 1 of its channel, and then row 2 of an even channel and the odd one behind it, as they stand
/// in memory: each under its own place of the weights, the other under 0 (form kSignedDots). Registers hold the 12
/// vectors of weights, 8 sums under way and what one column makes of them: an interleaved column is added to every
/// output it touches. 48 and 62 instructions with steps, 48 for 8 channels; where bytes are clipped, 10 more.
/// SDOT multiplies signed by signed: u * w = (u ^ 0x80 as s8) * w + 128 * w, and the packed bias holds the second term.
/// An int32 lane wraps modulo 2^32; the true sum fits int32 (proved by the verifier).
/// Memory: reads up to 15 bytes behind a pixel's last channel (arena slack; under weights of 0, not stored), packed
/// weights, bias and scale. Writes m x c bytes.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/dwconv/arm_bytes.h"
#include "kernels/dwconv/arm_walk.h"

namespace ek {

void dwconv_u8_3x3_neondot(const DwConvArgs& args);

namespace {

/// A vector of each: even channels 0..6 and 8..14, odd channels 1..7 and 9..15.
struct Lanes {
  int32x4_t v[4];
};
struct Column {
  int8x16_t v[4];
};

EK_INLINE Column load_column(const uint8_t* const (&row)[3], ptrdiff_t at) {
  const int8x16_t first_s8x16 = flipped(row[0] + at), second_s8x16 = flipped(row[1] + at);
  const int16x8_t third_s8x16 = vreinterpretq_s16_s8(flipped(row[2] + at));
  const int16x8_t even_s8x16 = vreinterpretq_s16_s8(vtrn1q_s8(first_s8x16, second_s8x16));
  const int16x8_t odd_s8x16 = vreinterpretq_s16_s8(vtrn2q_s8(first_s8x16, second_s8x16));
  return {{vreinterpretq_s8_s16(vzip1q_s16(even_s8x16, third_s8x16)),
           vreinterpretq_s8_s16(vzip2q_s16(even_s8x16, third_s8x16)),
           vreinterpretq_s8_s16(vzip1q_s16(odd_s8x16, third_s8x16)),
           vreinterpretq_s8_s16(vzip2q_s16(odd_s8x16, third_s8x16))}};
}

/// Adds column kRel, counted from the first tap of the next output, to the outputs it touches. The sum of the next
/// output is sum[kPhase]; the sums of those behind it follow, modulo kLive.
template <int S, int kRel, int kPhase, int kLive>
EK_INLINE void add_column(Lanes (&sum)[kLive], const Block& b, const Column& column, const Column (&w)[3]) {
  EK_UNROLL
  for (int j = 0; j < 4; ++j) {
    EK_UNROLL
    for (int o = 0; o < kLive; ++o) {
      const int kx = kRel - o * S;
      if (kx < 0 || kx >= 3) continue;
      int32x4_t& acc_s32x4 = sum[(o + kPhase) % kLive].v[j];
      if (kx == 0) acc_s32x4 = vld1q_s32(b.bias + 4 * j);
      acc_s32x4 = vdotq_s32(acc_s32x4, column.v[j], w[kx].v[j]);
    }
  }
}

template <bool kWhole, bool kPlain>
EK_INLINE void finish(uint8_t* y, const Lanes& sum, const Block& b, const ClipNeon& clip) {
  int32x4_t q_s32x4[4];
  EK_UNROLL
  for (int j = 0; j < 4; ++j) q_s32x4[j] = round_s32x4(sum.v[j], b.scale + 4 * j);
  store_u8x16(y, alternating_u8x16<kPlain>(q_s32x4, clip), kWhole ? kBlock : b.valid);
}

/// Finishes the next output, whose columns but the last S are in its sum; then those behind it, kLive or `count` in
/// all, so that the sums are back in place.
template <int S, int kPhase, bool kWhole, bool kPlain, int kLive>
EK_INLINE void steps(Lanes (&sum)[kLive], Block& b, const Walk<S>& k, const Column (&w)[3], const ClipNeon& clip,
                     int32_t count) {
  if (count <= kPhase) return;
  if constexpr (S == 1) {
    add_column<1, 2, kPhase>(sum, b, load_column(k.next[kPhase], b.at), w);
  } else {
    add_column<2, 1, kPhase>(sum, b, load_column(k.next[0], b.at), w);
    add_column<2, 2, kPhase>(sum, b, load_column(k.next[1], b.at), w);
  }
  finish<kWhole, kPlain>(k.y[kPhase] + b.y_at, sum[kPhase], b, clip);
  EK_UNROLL
  for (int o = 1; o < kLive; ++o) {
    EK_UNROLL
    for (int j = 0; j < 4; ++j) hold(sum[(o + kPhase) % kLive].v[j]);
  }
  advance<kPhase>(b, k);
  if constexpr (kPhase + 1 < kLive) steps<S, kPhase + 1, kWhole, kPlain>(sum, b, k, w, clip, count);
}

/// 8 channels at stride 1 without gaps: two pixels are a vector, and both have the same weights.
struct TwoPixels {
  int8x16_t w[3][2];  ///< of even and odd channels
  float32x4_t scale[2];
  const int32_t* bias;
};

/// The taps of the two pixels that lie one further are the second of one vector and the first of the next.
template <bool kPlain>
EK_INLINE void finish_two(uint8_t* y, const Column& left, const Column& right, const TwoPixels& k,
                          const ClipNeon& clip) {
  const Column mid = {{left.v[1], right.v[0], left.v[3], right.v[2]}};
  int32x4_t q_s32x4[4];
  EK_UNROLL
  for (int j = 0; j < 4; ++j) {
    int32x4_t sum_s32x4 = vdotq_s32(vld1q_s32(k.bias + 4 * j), left.v[j], k.w[0][j / 2]);
    sum_s32x4 = vdotq_s32(sum_s32x4, mid.v[j], k.w[1][j / 2]);
    sum_s32x4 = vdotq_s32(sum_s32x4, right.v[j], k.w[2][j / 2]);
    q_s32x4[j] = ek::round_s32x4(sum_s32x4, k.scale[j / 2]);
  }
  vst1q_u8(y, alternating_u8x16<kPlain>(q_s32x4, clip));
}

struct Dots {
  /// One block of one row.
  template <int S, bool kWhole, bool kPlain>
  static EK_MEMBER void block(const DwConvArgs& args, const Walk<S>& k, int32_t first) {
    const ClipNeon clip = load_clip_neon(args.out);
    const int8_t* packed = static_cast<const int8_t*>(args.w) + first * 12;
    Column w[3];
    EK_UNROLL
    for (int i = 0; i < 12; ++i) w[i / 4].v[i % 4] = vld1q_s8(packed + 16 * i);
    Block b = block_at(args, first);
    Lanes sum[Walk<S>::kLive];
    add_column<S, 0, 0>(sum, b, load_column(k.row, first), w);
    if constexpr (S == 1) add_column<S, 1, 0>(sum, b, load_column(k.row, first + args.in_px), w);
    for (int32_t turns = k.turns; turns > 0; --turns) steps<S, 0, kWhole, kPlain>(sum, b, k, w, clip, Walk<S>::kLive);
    steps<S, 0, kWhole, kPlain>(sum, b, k, w, clip, k.rest);
  }

  /// Two pixels at a time; of an odd number the last two start one earlier. pack.cc has the channels twice.
  template <bool kPlain>
  static void eight(const DwConvArgs& args) {
    if (args.in_px != 8 || args.y_px != 8 || args.m < 2) return channels<Dots, 1, false>(args);
    const ClipNeon clip = load_clip_neon(args.out);
    const int8_t* packed = static_cast<const int8_t*>(args.w);
    TwoPixels k;
    EK_UNROLL
    for (int i = 0; i < 6; ++i) k.w[i / 2][i % 2] = vld1q_s8(packed + 32 * i);
    EK_UNROLL
    for (int i = 0; i < 2; ++i) k.scale[i] = vld1q_f32(args.scale + 8 * i);
    k.bias = args.bias;
    const uint8_t* const row[3] = {args.rows[0], args.rows[1], args.rows[2]};
    const ptrdiff_t last = 8 * ptrdiff_t{args.m - 2};
    Column even = load_column(row, 0);
    ptrdiff_t at = 0;
    for (; at + 16 <= last; at += 32) {
      const Column odd = load_column(row, at + 16);
      finish_two<kPlain>(args.y + at, even, odd, k, clip);
      even = load_column(row, at + 32);
      finish_two<kPlain>(args.y + at + 16, odd, even, k, clip);
    }
    if (at <= last) {
      finish_two<kPlain>(args.y + at, even, load_column(row, at + 16), k, clip);
      at += 16;
    }
    if (at - 16 != last)
      finish_two<kPlain>(args.y + last, load_column(row, last), load_column(row, last + 16), k, clip);
  }
};

}  // namespace

void dwconv_u8_3x3_neondot(const DwConvArgs& args) { row_3x3<Dots>(args); }

}  // namespace ek
