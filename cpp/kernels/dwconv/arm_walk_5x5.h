// SPDX-License-Identifier: Apache-2.0
/// How the 5x5 NEON rows of dwconv go along a row, 8 channels at a time: a column is added to the sums of all outputs
/// that it touches.
///
/// `Row` holds the weights of a block and says how:
///   kBytes                                   of packed weights, of a channel
///   load(packed)                             the weights of a block
///   add_column<S, kRel, kPhase, kStart>(sum, past, block)
///       adds column kRel, counted from the first tap of the next output, to the outputs it touches. The sum of the
///       next output is sum[kPhase]; the sums of those behind it follow, modulo kLive. kStart: there may be no columns
///       before; what stands for them has weights of 0.
#pragma once
#include "kernels/dwconv/arm_bytes.h"

namespace ek {
namespace {

constexpr int kBlock = 8;

/// Channels 0..3 and 4..7.
struct Lanes {
  int32x4_t v[2];
};

/// Where a block of channels is in its row, and its weights.
template <class Row>
struct Block {
  const uint8_t* row[5];
  ptrdiff_t at, in_px;
  const int32_t* bias;
  const float* scale;
  uint8_t* y;
  ptrdiff_t y_px;
  int32_t valid;  ///< channels to store
  Row w;
};

/// Row 4, modulo the columns of a turn: a column's bytes, and beside those of the column before.
template <int S>
struct Past {
  static constexpr int kLive = S == 1 ? 5 : 3;  ///< outputs that one column touches
  static constexpr int kColumns = S * kLive;
  int8x16_t one_s8x16[kColumns], pair_s8x16[kColumns];

  /// Place of column kRel, or of the one `kBack` before it.
  template <int kRel, int kPhase, int kBack>
  static constexpr int at() {
    return (kRel + S * kPhase + kColumns - kBack) % kColumns;
  }
};

EK_INLINE int8x16_t eight_s8x16(const uint8_t* p) { return vreinterpretq_s8_u8(vcombine_u8(vld1_u8(p), vdup_n_u8(0))); }

EK_INLINE int8x16_t flipped(int8x16_t u_u8x16) { return veorq_s8(u_u8x16, vdupq_n_s8(-128)); }

template <bool kWhole, bool kPlain, class Row>
EK_INLINE void finish(Block<Row>& b, const Lanes& sum, const ClipNeon& clip) {
  const int32x4_t low_s32x4 = round_s32x4(sum.v[0], b.scale), high_s32x4 = round_s32x4(sum.v[1], b.scale + 4);
  store_u8x8(b.y, clipped_u8x8<kPlain>(low_s32x4, high_s32x4, clip), kWhole ? kBlock : b.valid);
  b.y = in_register(b.y + b.y_px);
}

/// Finishes the next output, whose columns but the last S are in its sum; then those behind it, kLive or `count` in
/// all, so that the sums are back in place.
template <int S, int kPhase, bool kWhole, bool kPlain, class Row>
EK_INLINE void steps(Lanes (&sum)[Past<S>::kLive], Past<S>& past, Block<Row>& b, const ClipNeon& clip, int32_t count) {
  if (count <= kPhase) return;
  if constexpr (S == 2) Row::template add_column<2, 3, kPhase, false>(sum, past, b);
  Row::template add_column<S, 4, kPhase, false>(sum, past, b);
  finish<kWhole, kPlain>(b, sum[kPhase], clip);
  EK_UNROLL
  for (int o = 1; o < Past<S>::kLive; ++o) {
    hold(sum[(o + kPhase) % Past<S>::kLive].v[0]);
    hold(sum[(o + kPhase) % Past<S>::kLive].v[1]);
  }
  if constexpr (kPhase + 1 < Past<S>::kLive) steps<S, kPhase + 1, kWhole, kPlain>(sum, past, b, clip, count);
}

template <class Row>
EK_INLINE Block<Row> block_at(const DwConvArgs& args, int32_t first) {
  Block<Row> b;
  EK_UNROLL
  for (int ky = 0; ky < 5; ++ky) b.row[ky] = args.rows[ky];
  b.at = first;
  b.in_px = args.in_px;
  b.bias = args.bias + first;
  b.scale = args.scale + first;
  b.y = args.y + first;
  b.y_px = args.y_px;
  b.valid = args.c - first;
  b.w.load(static_cast<const int8_t*>(args.w) + first * Row::kBytes);
  return b;
}

/// One block of one row.
template <class Row, int S, bool kWhole, bool kPlain>
EK_INLINE void block(const DwConvArgs& args, int32_t first) {
  const ClipNeon clip = load_clip_neon(args.out);
  Block<Row> b = block_at<Row>(args, first);
  Past<S> past;
  Lanes sum[Past<S>::kLive];
  Row::template add_column<S, 0, 0, true>(sum, past, b);
  Row::template add_column<S, 1, 0, true>(sum, past, b);
  Row::template add_column<S, 2, 0, true>(sum, past, b);
  if constexpr (S == 1) Row::template add_column<S, 3, 0, true>(sum, past, b);
  int32_t left = args.m;
  for (; left >= Past<S>::kLive; left -= Past<S>::kLive) {
    steps<S, 0, kWhole, kPlain>(sum, past, b, clip, Past<S>::kLive);
  }
  steps<S, 0, kWhole, kPlain>(sum, past, b, clip, left);
}

template <class Row, int S, bool kPlain>
void channels(const DwConvArgs& args) {
  int32_t first = 0;
  for (; args.c - first >= kBlock; first += kBlock) block<Row, S, true, kPlain>(args, first);
  if (first < args.c) block<Row, S, false, false>(args, first);
}

template <class Row>
EK_INLINE void row_5x5(const DwConvArgs& args) {
  const bool plain = is_plain(args);
  if (args.sx == 2) return plain ? channels<Row, 2, true>(args) : channels<Row, 2, false>(args);
  return plain ? channels<Row, 1, true>(args) : channels<Row, 1, false>(args);
}

}  // namespace
}  // namespace ek
