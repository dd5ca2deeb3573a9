// SPDX-License-Identifier: Apache-2.0
/// How the 3x3 NEON rows of dwconv go along a row: blocks of 16 channels, and in each so many outputs a turn that what
/// one leaves to the next is back in its registers.
///
/// Pointers to the columns and outputs of a turn stay where they are, and one offset for all moves: two additions a
/// turn in place of four an output.
#pragma once
#include "kernels/dwconv/arm_bytes.h"

namespace ek {
namespace {

constexpr int kBlock = 16;

/// Where the columns and outputs of one turn of the loop are, kLive outputs, and how many turns there are. Pointers
/// stay, and one offset for all moves: by a turn at stride 1, by an output at stride 2.
template <int S>
struct Walk {
  static constexpr int kLive = 4 - S;  ///< outputs that one column touches
  static constexpr int kSets = S == 1 ? kLive : 2;

  const uint8_t* row[3];
  const uint8_t* next[kSets][3];  ///< columns 3 - S and on
  uint8_t* y[kLive];
  ptrdiff_t in_step, y_step;
  int32_t turns, rest;
};

/// A block of channels on its way.
struct Block {
  ptrdiff_t at, y_at;
  const int32_t* bias;
  const float* scale;
  int32_t valid;  ///< channels to store
};

template <int S>
EK_INLINE Walk<S> walk_of(const DwConvArgs& args) {
  Walk<S> k;
  EK_UNROLL
  for (int ky = 0; ky < 3; ++ky) {
    k.row[ky] = args.rows[ky];
    EK_UNROLL
    for (int i = 0; i < Walk<S>::kSets; ++i) k.next[i][ky] = in_register(args.rows[ky] + (3 - S + i) * args.in_px);
  }
  EK_UNROLL
  for (int o = 0; o < Walk<S>::kLive; ++o) k.y[o] = in_register(args.y + o * args.y_px);
  k.in_step = (S == 1 ? Walk<S>::kLive : 2) * args.in_px;
  k.y_step = Walk<S>::kLive * args.y_px;
  k.turns = args.m / Walk<S>::kLive;
  k.rest = args.m % Walk<S>::kLive;
  return k;
}

EK_INLINE Block block_at(const DwConvArgs& args, int32_t first) {
  return {first, first, args.bias + first, args.scale + first, args.c - first};
}

/// Behind output kPhase of a turn.
template <int kPhase, int S>
EK_INLINE void advance(Block& b, const Walk<S>& k) {
  if (S == 2 || kPhase + 1 == Walk<S>::kLive) b.at = in_register(b.at + k.in_step);
  if (kPhase + 1 == Walk<S>::kLive) b.y_at = in_register(b.y_at + k.y_step);
}

EK_INLINE int8x16_t flipped(const uint8_t* p) { return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(p), vdupq_n_u8(0x80))); }

/// All blocks of a row of pixels. `Row` has block<S, kWhole, kPlain>(args, walk, first) for one, and
/// eight<kPlain>(args) for 8 channels at stride 1, two pixels at a time.
template <typename Row, int S, bool kPlain>
void channels(const DwConvArgs& args) {
  const Walk<S> k = walk_of<S>(args);
  int32_t first = 0;
  for (; args.c - first >= kBlock; first += kBlock) Row::template block<S, true, kPlain>(args, k, first);
  if (first < args.c) Row::template block<S, false, false>(args, k, first);
}

template <typename Row>
EK_INLINE void row_3x3(const DwConvArgs& args) {
  const bool plain = is_plain(args);
  if (args.sx == 2) return plain ? channels<Row, 2, true>(args) : channels<Row, 2, false>(args);
  if (args.c == 8) return plain ? Row::template eight<true>(args) : Row::template eight<false>(args);
  return plain ? channels<Row, 1, true>(args) : channels<Row, 1, false>(args);
}

}  // namespace
}  // namespace ek
