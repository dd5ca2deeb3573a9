// SPDX-License-Identifier: Apache-2.0
/// The 256-bit tile of qgemm, 6 pixels x 16 columns, for the two files that differ only in how they multiply:
/// x86_avx2.cc and x86_avxvnni.cc. In both a k group is 4 bytes of A (4 u8 or 2 s16) and a vector of weights for each
/// 8 columns. x86_avx2_inner.cc shares its store and the cutting of a strip.
///
/// `Dot` says how:  Dot::kElements of A per k group;  Dot::kSums sums that must be in flight to hide the latency;
///                  Dot::weights(w) = the vector at w, Dot::kWeights bytes before the next;
///                  Dot::kAhead = bytes of weights fetched ahead of their use, 0: none;
///                  Dot::kSpare = whether a register is left beside sums, weights and broadcast;
///                  Dot::add(sum, a, w) = sum + a . w in every 32-bit lane.
///
/// Registers: 12 sums, 2 weights, 1 broadcast, 1 product (AVX2) = 16. A strip of one tap is a loop of full tiles, 6 x
/// 16 or 12 x 8, and a rest; others are cut into tiles that differ by at most one pixel. With fewer sums than kSums, k
/// is dealt to 2 or 4 chains of sums. Memory: reads 4 bytes per started k group of each tap of each pixel, the panel,
/// and biases and scales of its vectors; writes n columns of m pixels. Weights behind the panel may be fetched ahead,
/// which never faults.
#pragma once
// clang-format off: x86_tiles.h builds on what the isa header defines
#include "kernels/isa/x86_avx2.h"
#include "kernels/qgemm/x86_tiles.h"
// clang-format on

namespace ek {
namespace {

constexpr int kFetched = 3072;       // bytes of int16 weights ahead: from L3 to L1 at 64 bytes per 4 to 8 cycles
constexpr int32_t kNearDepth = 128;  // K of a panel of 4 KB: what lies behind it would only push activations out of L1

template <int MR, int V>
EK_INLINE void hold_all(__m256i (&v)[MR][V]) {
  EK_UNROLL
  for (int i = 0; i < MR * V; ++i) hold(v[i / V][i % V]);
}

/// One k group: sum[p][v] += a(p) . w(v) for MR pixels, `stride` bytes apart, and V vectors of columns.
template <typename Dot, int MR, int V>
EK_INLINE void dot_group(const uint8_t* const (&a)[(MR + 2) / 3], ptrdiff_t offset, ptrdiff_t stride, const uint8_t* w,
                         __m256i (&sum_s32x8)[MR][V]) {
  __m256i w_x8[V];
  if constexpr (Dot::kAhead != 0) _mm_prefetch(reinterpret_cast<const char*>(w + Dot::kAhead), _MM_HINT_T0);
  EK_UNROLL
  for (int v = 0; v < V; ++v) {
    w_x8[v] = Dot::weights(w + Dot::kWeights * v);
    hold(w_x8[v]);
  }
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    const __m256i a_x8 = _mm256_set1_epi32(load_s32(a[p / 3] + offset + p % 3 * stride));
    Dot::add(sum_s32x8[p], a_x8, w_x8);
  }
}

/// The sums of one tile, over all taps. Pixels are reached from a third of them as [p], [p + s] and [p + 2s].
template <typename Dot, int MR, int V>
EK_INLINE void accumulate(const QGemmArgs& args, int32_t first, __m256i (&sum_s32x8)[MR][V]) {
  constexpr int kChains = MR * V >= Dot::kSums ? 1 : 2 * MR * V >= Dot::kSums ? 2 : 4;
  constexpr int kBases = (MR + 2) / 3;
  constexpr int kStep = Dot::kElements;
  __m256i chain_s32x8[kChains][MR][V];
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    EK_UNROLL
    for (int v = 0; v < V; ++v) {
      chain_s32x8[0][p][v] = load256(args.bias + 8 * v);
      EK_UNROLL
      for (int c = 1; c < kChains; ++c) chain_s32x8[c][p][v] = _mm256_setzero_si256();
    }
  }
  const uint8_t* w = static_cast<const uint8_t*>(args.w);
  for (int32_t ky = 0; ky < args.kh; ++ky) {
    for (int32_t kx = 0; kx < args.kw; ++kx) {
      const uint8_t* a[kBases];
      EK_UNROLL
      for (int b = 0; b < kBases; ++b) a[b] = args.rows[ky] + (first + 3 * b) * args.a_px + kx * args.a_kx;
      int32_t k = args.kc;
      for (; k > kStep * (kChains - 1); k -= kStep * kChains) {
        EK_UNROLL
        for (int c = 0; c < kChains; ++c, w += Dot::kWeights * V)
          dot_group<Dot>(a, 4 * c, args.a_px, w, chain_s32x8[c]);
        EK_UNROLL
        for (int b = 0; b < kBases; ++b) a[b] += 4 * kChains;
      }
      for (; k > 0; k -= kStep, w += Dot::kWeights * V) {
        dot_group<Dot>(a, 0, args.a_px, w, chain_s32x8[0]);
        EK_UNROLL
        for (int b = 0; b < kBases; ++b) a[b] += 4;
      }
    }
  }
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    EK_UNROLL
    for (int v = 0; v < V; ++v) {
      sum_s32x8[p][v] = chain_s32x8[0][p][v];
      EK_UNROLL
      for (int c = 1; c < kChains; ++c) sum_s32x8[p][v] = _mm256_add_epi32(sum_s32x8[p][v], chain_s32x8[c][p][v]);
      hold(sum_s32x8[p][v]);
    }
  }
}

/// Requantises and stores a tile as NHWC bytes, four vectors (four or two pixels) at a time.
template <int MR, int V>
EK_INLINE void store(const QGemmArgs& args, int32_t first, const __m256i (&sum_s32x8)[MR][V]) {
  const Requant256 r = load_requant256(args.out);
  const int32_t n = args.n;
  const ptrdiff_t y_px = args.y_px;
  uint8_t* y = args.y + first * y_px;
  __m256 scale_f32x8[V];
  EK_UNROLL
  for (int v = 0; v < V; ++v) scale_f32x8[v] = _mm256_loadu_ps(args.scale + 8 * v);
  EK_UNROLL
  for (int p = 0; p < MR; p += 4 / V, y += 4 / V * y_px) {
    __m256i q_s32x8[4];
    EK_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int pixel = p + i / V < MR ? p + i / V : p;
      q_s32x8[i] = round_s32x8(sum_s32x8[pixel][i % V], scale_f32x8[i % V], r);
    }
    const __m256i y_u8x32 = bytes_u8x32(q_s32x8[0], q_s32x8[1], q_s32x8[2], q_s32x8[3], r);
    const __m128i low_u8x16 = _mm256_castsi256_si128(y_u8x32), high_u8x16 = _mm256_extracti128_si256(y_u8x32, 1);
    if (V == 2) {
      store_u8x16(y, low_u8x16, n);
      if (p + 1 < MR) store_u8x16(y + y_px, high_u8x16, n);
    } else {
      store_u8x8(y, low_u8x16, n);
      if (p + 1 < MR) store_u8x8(y + y_px, _mm_unpackhi_epi64(low_u8x16, low_u8x16), n);
      if (p + 2 < MR) store_u8x8(y + 2 * y_px, high_u8x16, n);
      if (p + 3 < MR) store_u8x8(y + 3 * y_px, _mm_unpackhi_epi64(high_u8x16, high_u8x16), n);
    }
  }
}

template <typename Dot, int MR, int V>
void tile(const QGemmArgs& args, int32_t first) {
  __m256i sum_s32x8[MR][V];
  accumulate<Dot>(args, first, sum_s32x8);
  store(args, first, sum_s32x8);
}

template <typename Dot>
constexpr TileFn kTiles[2][6] = {
    {tile<Dot, 1, 1>, tile<Dot, 2, 1>, tile<Dot, 3, 1>, tile<Dot, 4, 1>, tile<Dot, 5, 1>, tile<Dot, 6, 1>},
    {tile<Dot, 1, 2>, tile<Dot, 2, 2>, tile<Dot, 3, 2>, tile<Dot, 4, 2>, tile<Dot, 5, 2>, tile<Dot, 6, 2>},
};

/// The full tiles of a strip of one tap. All are one loop, so that the core overlaps the requantisation of one with the
/// dots of the next, which lie too far down the instruction stream behind a call. Returns the pixels done.
template <typename Dot, int MR, int V>
int32_t full_tiles(const QGemmArgs& args) {
  constexpr int kBases = (MR + 2) / 3;
  const uint8_t* a[kBases];
  EK_UNROLL
  for (int b = 0; b < kBases; ++b) a[b] = args.rows[0] + 3 * b * args.a_px;
  const ptrdiff_t end = ptrdiff_t{args.kc} * (4 / Dot::kElements);  // bytes of A
  int32_t first = 0;
  for (; first + MR <= args.m; first += MR) {
    __m256i sum_s32x8[MR][V];
    EK_UNROLL
    for (int i = 0; i < MR * V; ++i) {
      sum_s32x8[i / V][i % V] = load256(args.bias + 8 * (i % V));
    }
    const uint8_t* w = static_cast<const uint8_t*>(args.w);
    for (ptrdiff_t at = 0; at < end; at += 4, w += Dot::kWeights * V) {
      dot_group<Dot>(a, at, args.a_px, w, sum_s32x8);
      if constexpr (Dot::kSpare) hold_all(sum_s32x8);
    }
    hold_all(sum_s32x8);
    store(args, first, sum_s32x8);
    EK_UNROLL
    for (int b = 0; b < kBases; ++b) a[b] += MR * args.a_px;
  }
  return first;
}

template <typename Dot>
EK_INLINE void run(const QGemmArgs& args) {
  const TileFn(&tiles)[6] = kTiles<Dot>[args.n > 8];
  if (args.kh * args.kw > 1 || args.m < 12) return run_tiles(args, tiles);
  int32_t first = args.n > 8 ? full_tiles<Dot, 6, 2>(args) : full_tiles<Dot, 12, 1>(args);
  for (; first < args.m; first += 6) tiles[args.m - first < 6 ? args.m - first - 1 : 5](args, first);
}

}  // namespace
}  // namespace ek
