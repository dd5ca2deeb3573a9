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

#include "kernels/dwconv/arm_walk_5x5.h"

namespace ek {

void dwconv_u8_5x5_neondot(const DwConvArgs& args);

namespace {

/// Channels 0..3 and 4..7.
struct Taps {
  int8x16_t v[2];
};

EK_INLINE Taps interleaved(int8x16_t low_s8x16, int8x16_t high_s8x16) {
  const int16x8_t low_s16x8 = vreinterpretq_s16_s8(low_s8x16), high_s16x8 = vreinterpretq_s16_s8(high_s8x16);
  return {{vreinterpretq_s8_s16(vzip1q_s16(low_s16x8, high_s16x8)),
           vreinterpretq_s8_s16(vzip2q_s16(low_s16x8, high_s16x8))}};
}

/// A block's weights: rows 0..3 of each column, columns 1..4 of row 4.
struct Dots {
  static constexpr int kBytes = 4 * 7;
  Taps w[6];
  const int8_t* alone;  ///< of row 4's column 0, for which registers are too few

  EK_MEMBER void load(const int8_t* packed) {
    EK_UNROLL
    for (int i = 0; i < 12; ++i) w[i / 2].v[i % 2] = vld1q_s8(packed + 16 * i);
    alone = packed + 192;
  }

  template <int S, int kRel, int kPhase, bool kStart>
  static EK_MEMBER void add_column(Lanes (&sum)[Past<S>::kLive], Past<S>& past, Block<Dots>& b) {
    constexpr int kLive = Past<S>::kLive, kNow = Past<S>::template at<kRel, kPhase, 0>();
    constexpr int kBefore = kStart && kRel < 1 ? kNow : Past<S>::template at<kRel, kPhase, 1>();
    constexpr int kPair = kStart && kRel < 2 ? kNow : Past<S>::template at<kRel, kPhase, 2>();
    past.one_s8x16[kNow] = flipped(eight_s8x16(b.row[4] + b.at));
    if (kRel % S == 0) {
      past.pair_s8x16[kNow] = vzip1q_s8(past.one_s8x16[kBefore], past.one_s8x16[kNow]);
      const Taps fifth = interleaved(past.pair_s8x16[kPair], past.pair_s8x16[kNow]);
      EK_UNROLL
      for (int j = 0; j < 2; ++j) {
        int32x4_t& first_s32x4 = sum[(kRel / S + kPhase) % kLive].v[j];
        first_s32x4 = vdotq_s32(vld1q_s32(b.bias + 4 * j), fifth.v[j], vld1q_s8(b.w.alone + 16 * j));
        int32x4_t& last_s32x4 = sum[kPhase].v[j];
        if (kRel == 4) last_s32x4 = vdotq_s32(last_s32x4, fifth.v[j], b.w.w[5].v[j]);
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
        acc_s32x4 = vdotq_s32(acc_s32x4, column.v[j], b.w.w[kx].v[j]);
      }
    }
    b.at = in_register(b.at + b.in_px);
  }
};

}  // namespace

void dwconv_u8_5x5_neondot(const DwConvArgs& args) { row_5x5<Dots>(args); }

}  // namespace ek
