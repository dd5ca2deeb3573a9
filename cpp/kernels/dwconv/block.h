// SPDX-License-Identifier: Apache-2.0
/// The loop of dwconv that x86_avxvnni.cc and x86_avx512vnni.cc share: 3x3 and 5x5, strides 1 and 2,
/// from NHWC rows; one block of channels. rows.h cuts a row into blocks.
///
///   y(x, c) = requant(bias(c) + sum over ky, kx of rows[ky][(x*S + kx)*px + c] * w(ky, kx, c), scale(c))
///
/// A dot sums 4 taps of one channel in each 32-bit lane, once their bytes stand side by side there. The taps of a
/// column go together; of 5x5 one row is left over, which is taken 4 columns at a time:
///
///   3x3   a dot per column                         3 dots
///   5x5   rows 0..3 per column; row 4: 1-4, 0      7 dots, not 10
///
/// An interleaved column is added to every output it touches while it is in registers: kLive sums are under way, and
/// with stride 1 each column is interleaved once.
///
/// `Isa` says how:
///   Vector, Mask, Rounding           types: 32-bit lanes, channels to store, the requantisation's constants
///   kLanes                           of a vector
///   kHolds                           registers are enough for the weights of a block
///   interleave<K>(rows, taps)        4 pointers to bytes of N * kLanes channels -> Taps<N>, N = 1 or 4
///   vector(taps, j)                  their vector j
///   dot, load, round, store          one instruction or a few each; store_half writes half the channels of N = 4
/// N = 4: vector j has channel 16l + 4j + k in lane 4l + k, what unpack instructions make of 16-byte lanes and pack
/// instructions undo. N = 1: in order.
///
/// Memory: reads behind a pixel's last channel (arena slack; their weights are 0 and their results are not stored)
/// up to kLanes - 1 bytes, 2 * kLanes where half of a block of four vectors is used (rows.h); packed weights, bias
/// and scale. Writes m x c bytes.
#pragma once
#include "kernels/dwconv/dwconv.h"

namespace ek {
namespace {

constexpr int kTaps = 4;  ///< of a dot

template <typename Isa, int N>
struct Lanes {
  typename Isa::Vector v[N];
};

/// One block of N * kLanes channels: its constants, and where it is in its row.
template <typename Isa, int K, int N>
struct Block {
  static constexpr bool kLastRow = K > kTaps;  ///< one row is left over
  static constexpr int kGroups = K + (kLastRow ? (K - 1) / kTaps + 1 : 0);
  static constexpr bool kHeld = Isa::kHolds;

  const typename Isa::Vector* w;                 ///< [kGroups][N]
  Lanes<Isa, N> held[kHeld ? kGroups : 1];
  const int32_t* bias;
  const float* scale;
  const uint8_t* row[K];                         ///< first tap of the next output
  ptrdiff_t in_px;
  uint8_t* y;
  ptrdiff_t y_px;
  typename Isa::Mask valid;                      ///< channels to store

  EK_MEMBER typename Isa::Vector weights(int group, int j) const {
    return kHeld ? held[kHeld ? group : 0].v[j] : Isa::load(w + group * N + j);
  }
};

template <typename Isa, int K, int N>
EK_INLINE Block<Isa, K, N> load_block(const DwConvArgs& args, int32_t first) {
  Block<Isa, K, N> b;
  b.w = static_cast<const typename Isa::Vector*>(args.w) + first / Isa::kLanes * b.kGroups;
  if (b.kHeld) {
    EK_UNROLL
    for (int i = 0; i < b.kGroups * N; ++i) b.held[i / N].v[i % N] = Isa::load(b.w + i);
  }
  b.bias = args.bias + first;
  b.scale = args.scale + first;
  EK_UNROLL
  for (int ky = 0; ky < K; ++ky) b.row[ky] = args.rows[ky] + first;
  b.in_px = args.in_px;
  b.y = args.y + first;
  b.y_px = args.y_px;
  b.valid = Isa::first(args.c - first);
  return b;
}

/// Taps of column kRel, counted from the first tap of the next output.
template <typename Isa, int K, int N>
struct Column {
  typename Isa::template Taps<N> column;    ///< of 3x3 one tap comes twice, the second time under weight 0
  typename Isa::template Taps<N> last_row;  ///< columns kRel - kTaps + 1 .. kRel; left of the row column 0, unused
};

template <int kRel, typename Isa, int K, int N>
EK_INLINE Column<Isa, K, N> load_column(const Block<Isa, K, N>& b) {
  Column<Isa, K, N> taken;
  const uint8_t* taps[kTaps];
  EK_UNROLL
  for (int i = 0; i < kTaps; ++i) taps[i] = b.row[i < K ? i : K - 1] + kRel * b.in_px;
  Isa::template interleave<K>(taps, taken.column);
  if constexpr (Block<Isa, K, N>::kLastRow) {
    EK_UNROLL
    for (int i = 0; i < kTaps; ++i) {
      const int back = kTaps - 1 - i;
      taps[i] = b.row[K - 1] + (kRel < back ? 0 : kRel - back) * b.in_px;
    }
    Isa::template interleave<K>(taps, taken.last_row);
  }
  return taken;
}

/// Adds vector j of column kRel to the outputs it touches. The sum of the next output is sum[kPhase]; the sums of
/// those behind it follow, modulo kLive.
template <int S, int kRel, int kPhase, typename Isa, int K, int N, int kLive>
EK_INLINE void add_vector(Lanes<Isa, N> (&sum)[kLive], const Block<Isa, K, N>& b, const Column<Isa, K, N>& taken,
                          int j) {
  EK_UNROLL
  for (int o = 0; o < kLive; ++o) {
    const int kx = kRel - o * S;
    if (kx < 0 || kx >= K) continue;
    typename Isa::Vector& acc_s32 = sum[(o + kPhase) % kLive].v[j];
    if (kx == 0) acc_s32 = Isa::load(b.bias + Isa::kLanes * j);
    acc_s32 = Isa::dot(acc_s32, Isa::vector(taken.column, j), b.weights(kx, j));
    if (b.kLastRow && (K - 1 - kx) % kTaps == 0) {
      acc_s32 = Isa::dot(acc_s32, Isa::vector(taken.last_row, j), b.weights(K + (K - 1 - kx) / kTaps, j));
    }
  }
}

template <int S, int kRel, int kPhase, typename Isa, int K, int N, int kLive>
EK_INLINE void add_column(Lanes<Isa, N> (&sum)[kLive], const Block<Isa, K, N>& b) {
  const Column<Isa, K, N> taken = load_column<kRel>(b);
  EK_UNROLL
  for (int j = 0; j < N; ++j) add_vector<S, kRel, kPhase>(sum, b, taken, j);
}

/// Finishes the next output, whose columns but the last S are in its sum; then those behind it, kLive or `count` in
/// all, so that the sums are back in place.
template <int S, int kPhase, typename Isa, int K, int N, int kLive>
EK_INLINE void steps(Lanes<Isa, N> (&sum)[kLive], Block<Isa, K, N>& b, const typename Isa::Rounding& r, int32_t count) {
  if (count <= kPhase) return;
  if constexpr (S == 2) add_column<S, K - 2, kPhase>(sum, b);
  const Column<Isa, K, N> taken = load_column<K - 1>(b);
  Lanes<Isa, N> q;
  EK_UNROLL
  for (int j = 0; j < N; ++j) {
    add_vector<S, K - 1, kPhase>(sum, b, taken, j);
    q.v[j] = Isa::round(sum[kPhase].v[j], b.scale + Isa::kLanes * j, r);
  }
  Isa::store(b.y, b.valid, q.v, r);
  EK_UNROLL
  for (int o = 1; o < kLive; ++o) {
    EK_UNROLL
    for (int j = 0; j < N; ++j) hold(sum[(o + kPhase) % kLive].v[j]);
  }
  EK_UNROLL
  for (int ky = 0; ky < K; ++ky) b.row[ky] = in_register(b.row[ky] + S * b.in_px);
  b.y = in_register(b.y + b.y_px);
  if constexpr (kPhase + 1 < kLive) steps<S, kPhase + 1>(sum, b, r, count);
}

/// One block of one row.
template <typename Isa, int K, int S, int N>
void block(const DwConvArgs& args, int32_t first) {
  constexpr int kLive = (K + S - 1) / S;  // outputs that one column touches
  const typename Isa::Rounding r = Isa::rounding(args.out);
  Block<Isa, K, N> b = load_block<Isa, K, N>(args, first);
  Lanes<Isa, N> sum[kLive];
  add_column<S, 0, 0>(sum, b);
  if constexpr (K - S > 1) add_column<S, 1, 0>(sum, b);
  if constexpr (K - S > 2) add_column<S, 2, 0>(sum, b);
  if constexpr (K - S > 3) add_column<S, 3, 0>(sum, b);
  int32_t left = args.m;
  for (; left >= kLive; left -= kLive) steps<S, 0>(sum, b, r, kLive);
  steps<S, 0>(sum, b, r, left);
}

}  // namespace
}  // namespace ek
