// SPDX-License-Identifier: Apache-2.0
/// dwconv for armv8.0 NEON, 5x5, strides 1 and 2: taps multiplied as bytes, by pairs, 8 channels at a time.
///
///   y(x, c) = requant(bias(c) + sum over ky, kx of rows[ky][(x*s + kx)*px + c] * w(ky, kx, c), scale(c))
///
///   instruction                        per cycle: A53  A72    for 8 outputs, stride 1 / 2
///   LDR    d                                        1    1    rows                                   5 / 10
///   EOR    16b                                      1    2    bytes to signed ones                   3 / 6
///   ZIP1   16b                                      1    2    two taps of a channel side by side     3 / 5
///   SMULL, SMULL2   8h, 8b, 8b                      1    1    eight products                        13 / 13
///   SMLAL, SMLAL2   8h, 8b, 8b                      1    1    eight more, added                     12 / 12
///   SADALP 4s, 8h                                   1    1    both taps of four channels, added     12 / 12
///   SADDW, SADDW2   4s, 4s, 4h                      1    2    the last tap                           2 / 2
///   SCVTF, FMUL, FCVTNS, UZP1, SQXTUN               1    2    requantise                             8 / 8
///
/// 24 of 25 taps are six groups of four: rows 0 to 3 of each column, and columns 0 to 3 of row 4, whose bytes stand
/// beside those of the column before. A lane of 16 bits adds two products, SADALP two such lanes. 73 and 84
/// instructions with loads and steps: half of what arm_neon.cc takes.
///
/// Signed by signed: u * w = (u ^ 0x80 as s8) * w + 128 * w, and the packed bias holds the second term (form
/// kBytePairs). Bounds: |s * w| <= 128 * 127 without weights of -128 (fits), and 2 * 16256 = 32512 < 2^15. An int32
/// lane wraps modulo 2^32; the true sum fits int32 (proved by the verifier). Memory: reads up to 7 bytes behind a
/// pixel's last channel (arena slack; under weights of 0, not stored), packed weights, bias and scale. Writes m x c
/// bytes.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/dwconv/arm_walk_5x5.h"

namespace ek {

void dwconv_u8_5x5_neon(const DwConvArgs& args);

namespace {

/// Half j of two pairs times the same half of their weights, added: four taps of four channels in two lanes each.
EK_INLINE int16x8_t four_taps_s16x8(int8x16_t a_s8x16, int8x16_t aw_s8x16, int8x16_t b_s8x16, int8x16_t bw_s8x16,
                                    int j) {
  if (j == 0) {
    const int16x8_t products_s16x8 = vmull_s8(vget_low_s8(a_s8x16), vget_low_s8(aw_s8x16));
    return vmlal_s8(products_s16x8, vget_low_s8(b_s8x16), vget_low_s8(bw_s8x16));
  }
  return vmlal_high_s8(vmull_high_s8(a_s8x16, aw_s8x16), b_s8x16, bw_s8x16);
}

/// A block's weights: rows 0, 1 and rows 2, 3 of columns 0 to 3. Those of column 4 and of row 4 are read for each
/// output: registers are too few.
struct Pairs {
  static constexpr int kBytes = 2 * 13;
  int8x16_t w[4][2];
  const int8_t *column, *fifth;

  EK_MEMBER void load(const int8_t* packed) {
    EK_UNROLL
    for (int i = 0; i < 8; ++i) w[i / 2][i % 2] = vld1q_s8(packed + 16 * i);
    column = packed + 128;
    fifth = packed + 160;
  }

  /// Columns 0 to 3 of row 4, the last of which is here.
  static EK_MEMBER void add_fifth(Lanes& sum, int8x16_t first_s8x16, int8x16_t second_s8x16, const int8_t* w) {
    const int8x16_t w_s8x16[2] = {vld1q_s8(w), vld1q_s8(w + 16)};
    EK_UNROLL
    for (int j = 0; j < 2; ++j) {
      sum.v[j] = vpadalq_s16(sum.v[j], four_taps_s16x8(first_s8x16, w_s8x16[0], second_s8x16, w_s8x16[1], j));
    }
  }

  /// Its column 4. Of each pair of weights the other is 0.
  static EK_MEMBER void add_last(Lanes& sum, int8x16_t one_s8x16, const int8_t* w) {
    const int8x8_t w_s8x8 = vmovn_s16(vreinterpretq_s16_s8(vld1q_s8(w)));
    const int16x8_t last_s16x8 = vmull_s8(vget_low_s8(one_s8x16), w_s8x8);
    sum.v[0] = vaddw_s16(sum.v[0], vget_low_s16(last_s16x8));
    sum.v[1] = vaddw_high_s16(sum.v[1], last_s16x8);
  }

  template <int S, int kRel, int kPhase, bool kStart>
  static EK_MEMBER void add_column(Lanes (&sum)[Past<S>::kLive], Past<S>& past, Block<Pairs>& b) {
    constexpr int kLive = Past<S>::kLive, kNow = Past<S>::template at<kRel, kPhase, 0>();
    constexpr int kBefore = kStart && kRel < 1 ? kNow : Past<S>::template at<kRel, kPhase, 1>();
    constexpr int kTwo = Past<S>::template at<kRel, kPhase, 2>();
    constexpr bool kPaired = S == 1 || kRel % 2 != 0;
    past.one_s8x16[kNow] = flipped(eight_s8x16(b.row[4] + b.at));
    if (kPaired) past.pair_s8x16[kNow] = vzip1q_s8(past.one_s8x16[kBefore], past.one_s8x16[kNow]);
    if constexpr (kRel >= 3 && kPaired) {
      Lanes& to = sum[((kRel - 3) / S + kPhase) % kLive];
      add_fifth(to, past.pair_s8x16[kTwo], past.pair_s8x16[kNow], b.w.fifth);
      __asm__("" : "+r"(b.at), "+w"(to.v[0]), "+w"(to.v[1]));  // row 4 is done before the others take registers
    }
    if constexpr (kRel == 4) {
      add_last(sum[kPhase], past.one_s8x16[kNow], b.w.fifth + 32);
      __asm__("" : "+r"(b.at), "+w"(sum[kPhase].v[0]), "+w"(sum[kPhase].v[1]));
    }
    const int8x16_t first_s8x16 = flipped(vzip1q_s8(eight_s8x16(b.row[0] + b.at), eight_s8x16(b.row[1] + b.at)));
    const int8x16_t second_s8x16 = flipped(vzip1q_s8(eight_s8x16(b.row[2] + b.at), eight_s8x16(b.row[3] + b.at)));
    EK_UNROLL
    for (int o = 0; o < kLive; ++o) {
      const int kx = kRel - o * S;
      if (kx < 0 || kx >= 5) continue;
      Lanes& to = sum[(o + kPhase) % kLive];
      const int8x16_t first_w_s8x16 = kx == 4 ? vld1q_s8(b.w.column) : b.w.w[kx % 4][0];
      const int8x16_t second_w_s8x16 = kx == 4 ? vld1q_s8(b.w.column + 16) : b.w.w[kx % 4][1];
      EK_UNROLL
      for (int j = 0; j < 2; ++j) {
        if (kx == 0) to.v[j] = vld1q_s32(b.bias + 4 * j);
        to.v[j] = vpadalq_s16(to.v[j], four_taps_s16x8(first_s8x16, first_w_s8x16, second_s8x16, second_w_s8x16, j));
      }
    }
    EK_UNROLL
    for (int i = 0; i < 8; ++i) hold(b.w.w[i / 2][i % 2]);
    if (kPaired) hold(past.pair_s8x16[kNow]);
    b.at = in_register(b.at + b.in_px);
  }
};

}  // namespace

void dwconv_u8_5x5_neon(const DwConvArgs& args) { row_5x5<Pairs>(args); }

}  // namespace ek
