// SPDX-License-Identifier: Apache-2.0
/// dwconv for NEON with dot products: 5x5, strides 1 and 2, 8 channels at a time.
///
///   y(x, c) = requant(bias(c) + sum over ky, kx of rows[ky][(x*s + kx)*px + c] * w(ky, kx, c), scale(c))
///
///   instruction                     per cycle: A55  N1  N2    for 8 outputs, stride 1 / 2
///   LDR    d                                    1    2   2    rows                                  5 / 10
///   EOR    16b                                  2    2   4    bytes to signed ones                  3 / 6
///   ZIP1, ZIP2  16b, 8h                         1    2   4    interleave four rows, then the fifth  7 / 11
///   SDOT   4s, 16b, 16b                         1    2   4    4 taps of 4 channels                 14 / 14
///   SCVTF, FMUL, FCVTNS, UZP1, SQXTUN           1    2   2    requantise                            8 / 8
///   LDP q, STR d                                1    2   2    bias, scale, weights, bytes           4 / 4
///
/// 25 taps are 7 dots: rows 0..3 of each column, columns 1..4 of row 4, and its column 0, which is the last of the four
/// columns that end there. Row 4's bytes stand beside those of the column before, and two such pairs are the four.
/// Registers hold 12 of the 14 vectors of weights and the sums of up to 5 outputs that a column touches. 47 and 60
/// instructions with steps.
/// SDOT multiplies signed by signed: u * w = (u ^ 0x80 as s8) * w + 128 * w, and the packed bias holds the second term
/// (form kSignedDots). An int32 lane wraps modulo 2^32; the true sum fits int32 (proved by the verifier).
/// Memory: reads up to 7 bytes behind a pixel's last channel (arena slack; under weights of 0, not stored), packed
/// weights, bias and scale. Writes m x c bytes.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/dwconv/arm_bytes.h"

namespace ek {

void dwconv_u8_5x5_neondot(const DwConvArgs& args);

namespace {

constexpr int kBlock = 8, kDots = 7;

/// Channels 0..3 and 4..7.
struct Lanes {
  int32x4_t v[2];
};
struct Taps {
  int8x16_t v[2];
};

/// Where a block of channels is in its row, its constants, and what row 4 had in the columns before.
struct Block {
  const uint8_t* row[5];
  ptrdiff_t at, in_px;
  const int32_t* bias;
  const float* scale;
  uint8_t* y;
  ptrdiff_t y_px;
  int32_t valid;  ///< channels to store
  Taps w[kDots - 1];
  const int8_t* alone;  ///< the weights of row 4's column 0, for which registers are too few
};

/// Row 4, modulo the columns of a turn: a column's bytes, and beside those of the column before.
template <int S>
struct Past {
  static constexpr int kLive = S == 1 ? 5 : 3;  ///< outputs that one column touches
  static constexpr int kColumns = S * kLive;
  int8x16_t one_s8x16[kColumns], pair_s8x16[kColumns];
};

EK_INLINE int8x16_t eight_s8x16(const uint8_t* p) { return vreinterpretq_s8_u8(vcombine_u8(vld1_u8(p), vdup_n_u8(0))); }

EK_INLINE int8x16_t flipped(int8x16_t u_u8x16) { return veorq_s8(u_u8x16, vdupq_n_s8(-128)); }

EK_INLINE Taps interleaved(int8x16_t low_s8x16, int8x16_t high_s8x16) {
  const int16x8_t low_s16x8 = vreinterpretq_s16_s8(low_s8x16), high_s16x8 = vreinterpretq_s16_s8(high_s8x16);
  return {{vreinterpretq_s8_s16(vzip1q_s16(low_s16x8, high_s16x8)),
           vreinterpretq_s8_s16(vzip2q_s16(low_s16x8, high_s16x8))}};
}

/// Adds column kRel, counted from the first tap of the next output, to the outputs it touches, and goes on to the next.
/// The sum of the next output is sum[kPhase]; the sums of those behind it follow, modulo kLive. kStart: there may be no
/// columns before; what stands for them has weights of 0.
template <int S, int kRel, int kPhase, bool kStart = false>
EK_INLINE void add_column(Lanes (&sum)[Past<S>::kLive], Past<S>& past, Block& b) {
  constexpr int kLive = Past<S>::kLive, kColumn = kRel + S * kPhase + Past<S>::kColumns;
  constexpr int kNow = kColumn % Past<S>::kColumns;
  constexpr int kBefore = kStart && kRel < 1 ? kNow : (kColumn - 1) % Past<S>::kColumns;
  constexpr int kPair = kStart && kRel < 2 ? kNow : (kColumn - 2) % Past<S>::kColumns;
  past.one_s8x16[kNow] = flipped(eight_s8x16(b.row[4] + b.at));
  if (kRel % S == 0) {
    past.pair_s8x16[kNow] = vzip1q_s8(past.one_s8x16[kBefore], past.one_s8x16[kNow]);
    const Taps fifth = interleaved(past.pair_s8x16[kPair], past.pair_s8x16[kNow]);
    EK_UNROLL
    for (int j = 0; j < 2; ++j) {
      int32x4_t& first_s32x4 = sum[(kRel / S + kPhase) % kLive].v[j];
      first_s32x4 = vdotq_s32(vld1q_s32(b.bias + 4 * j), fifth.v[j], vld1q_s8(b.alone + 16 * j));
      int32x4_t& last_s32x4 = sum[kPhase].v[j];
      if (kRel == 4) last_s32x4 = vdotq_s32(last_s32x4, fifth.v[j], b.w[5].v[j]);
      __asm__("" : "+r"(b.at), "+w"(first_s32x4));  // row 4 is done before the others take registers
    }
  }
  const int8x16_t first_s8x16 = vzip1q_s8(eight_s8x16(b.row[0] + b.at), eight_s8x16(b.row[1] + b.at));
  const int8x16_t second_s8x16 = vzip1q_s8(eight_s8x16(b.row[2] + b.at), eight_s8x16(b.row[3] + b.at));
  const Taps column = interleaved(flipped(first_s8x16), flipped(second_s8x16));
  EK_UNROLL
  for (int j = 0; j < 2; ++j) {
    EK_UNROLL
    for (int o = 0; o < kLive; ++o) {
      const int kx = kRel - o * S;
      if (kx < 0 || kx >= 5) continue;
      int32x4_t& acc_s32x4 = sum[(o + kPhase) % kLive].v[j];
      acc_s32x4 = vdotq_s32(acc_s32x4, column.v[j], b.w[kx].v[j]);
    }
  }
  b.at = in_register(b.at + b.in_px);
}

template <bool kWhole, bool kPlain>
EK_INLINE void finish(Block& b, const Lanes& sum, const ClipNeon& clip) {
  const int32x4_t low_s32x4 = round_s32x4(sum.v[0], b.scale), high_s32x4 = round_s32x4(sum.v[1], b.scale + 4);
  store_u8x8(b.y, clipped_u8x8<kPlain>(low_s32x4, high_s32x4, clip), kWhole ? kBlock : b.valid);
  b.y = in_register(b.y + b.y_px);
}

/// Finishes the next output, whose columns but the last S are in its sum; then those behind it, kLive or `count` in
/// all, so that the sums are back in place.
template <int S, int kPhase, bool kWhole, bool kPlain>
EK_INLINE void steps(Lanes (&sum)[Past<S>::kLive], Past<S>& past, Block& b, const ClipNeon& clip, int32_t count) {
  if (count <= kPhase) return;
  if constexpr (S == 2) add_column<2, 3, kPhase>(sum, past, b);
  add_column<S, 4, kPhase>(sum, past, b);
  finish<kWhole, kPlain>(b, sum[kPhase], clip);
  EK_UNROLL
  for (int o = 1; o < Past<S>::kLive; ++o) {
    hold(sum[(o + kPhase) % Past<S>::kLive].v[0]);
    hold(sum[(o + kPhase) % Past<S>::kLive].v[1]);
  }
  if constexpr (kPhase + 1 < Past<S>::kLive) steps<S, kPhase + 1, kWhole, kPlain>(sum, past, b, clip, count);
}

EK_INLINE Block block_at(const DwConvArgs& args, int32_t first) {
  Block b;
  EK_UNROLL
  for (int ky = 0; ky < 5; ++ky) b.row[ky] = args.rows[ky];
  b.at = first;
  b.in_px = args.in_px;
  b.bias = args.bias + first;
  b.scale = args.scale + first;
  b.y = args.y + first;
  b.y_px = args.y_px;
  b.valid = args.c - first;
  const int8_t* packed = static_cast<const int8_t*>(args.w) + first * 4 * kDots;
  EK_UNROLL
  for (int i = 0; i < 2 * kDots - 2; ++i) b.w[i / 2].v[i % 2] = vld1q_s8(packed + 16 * i);
  b.alone = packed + 32 * (kDots - 1);
  return b;
}

/// One block of one row.
template <int S, bool kWhole, bool kPlain>
EK_INLINE void block(const DwConvArgs& args, int32_t first) {
  const ClipNeon clip = load_clip_neon(args.out);
  Block b = block_at(args, first);
  Past<S> past;
  Lanes sum[Past<S>::kLive];
  add_column<S, 0, 0, true>(sum, past, b);
  add_column<S, 1, 0, true>(sum, past, b);
  add_column<S, 2, 0, true>(sum, past, b);
  if constexpr (S == 1) add_column<S, 3, 0, true>(sum, past, b);
  int32_t left = args.m;
  for (; left >= Past<S>::kLive; left -= Past<S>::kLive)
    steps<S, 0, kWhole, kPlain>(sum, past, b, clip, Past<S>::kLive);
  steps<S, 0, kWhole, kPlain>(sum, past, b, clip, left);
}

template <int S, bool kPlain>
void channels(const DwConvArgs& args) {
  int32_t first = 0;
  for (; args.c - first >= kBlock; first += kBlock) block<S, true, kPlain>(args, first);
  if (first < args.c) block<S, false, false>(args, first);
}

}  // namespace

void dwconv_u8_5x5_neondot(const DwConvArgs& args) {
  const bool plain = is_plain(args);
  if (args.sx == 2) return plain ? channels<2, true>(args) : channels<2, false>(args);
  return plain ? channels<1, true>(args) : channels<1, false>(args);
}

}  // namespace ek
