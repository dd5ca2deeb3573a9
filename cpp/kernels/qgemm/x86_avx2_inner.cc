// SPDX-License-Identifier: Apache-2.0
/// qgemm for AVX2 by Winograd's inner product: tile of 4 pixels x 16 columns, k in groups of 4, half the
/// multiplications.
///
///   a0 w0 + a2 w2 = (a0 + w2) (a2 + w0) - a0 a2 - w0 w2
///
/// What holds A alone is a number per pixel, what holds the weights alone one per column: `a_terms_avx2`
/// (x86_avx2_terms.cc) adds the first up once for all columns, the packer folds the second into the bias, and a k group
/// of 8 columns is left with
///
///   sum += (a0 + w2, a1 + w3) . (a2 + w0, a3 + w1)
///
///   intrinsic                   instruction           Zen 4 per cycle   Skylake      Haswell   for 32 products
///   _mm256_add_epi16            VPADDW y, y, y        4                 3 (p015)     2 (p15)      2
///   _mm256_madd_epi16           VPMADDWD y, y, y      2                 2 (p01)      1 (p0)       1
///   _mm256_add_epi32            VPADDD y, y, y        4                 3            2            1
///   _mm256_set1_epi32(load)     VPBROADCASTD y, m32   2 (load port)     2            2
///   requantise and store        see isa/x86_avx2.h
///
/// As many operations as two VPMADDWD and two VPADDD, but one multiplication instead of two: multipliers are the fewer
/// ports. Alone, in registers: 29.3 MAC per cycle against 25.9 on Zen 4; Haswell's bound is 21 against 16.
/// Bounds: |a + w| <= 383, so two products stay below 2^19. All else is modulo 2^32, where the identity holds exactly;
/// the true sum fits int32.
/// Registers: 8 sums, 4 weights, 2 broadcasts, 2 factors. A k group of a full tile is 32 operations (8 cycles) against
/// 12 loads (6).
///
/// Memory: as x86_ymm.h, but 8 bytes per started k group. Elements behind a tap meet weights of 0, and `a_terms` takes
/// away what is left of them; they must be bytes or 0, or a sum would leave int16.
///
/// Source: S. Winograd, A New Algorithm for Inner Product, IEEE Transactions on Computers C-17 (1968).
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/qgemm/x86_ymm.h"

namespace ek {

void qgemm_s16_4x16x4_avx2(const QGemmArgs& args);

namespace {

constexpr int kMost = 4;  // pixels of a tile
constexpr int32_t kGroup = 4;  // elements

EK_INLINE __m256i broadcast_pair(const uint8_t* a) { return _mm256_set1_epi32(load_s32(a)); }

/// One k group: sum[p][v] += a(p) . w(v). Weights: the first pairs of all columns, then the second ones.
template <int MR, int V>
EK_INLINE void inner_group(const uint8_t* const (&a)[MR], ptrdiff_t at, const uint8_t* w, __m256i (&sum_s32x8)[MR][V]) {
  __m256i w_s16x16[2][V];
  EK_UNROLL
  for (int i = 0; i < 2 * V; ++i) {
    w_s16x16[i / V][i % V] = load256(w + 32 * i);
    hold(w_s16x16[i / V][i % V]);
  }
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    const __m256i a01_s16x16 = broadcast_pair(a[p] + at), a23_s16x16 = broadcast_pair(a[p] + at + 4);
    EK_UNROLL
    for (int v = 0; v < V; ++v) {
      const __m256i left_s16x16 = _mm256_add_epi16(a01_s16x16, w_s16x16[1][v]);
      const __m256i right_s16x16 = _mm256_add_epi16(a23_s16x16, w_s16x16[0][v]);
      sum_s32x8[p][v] = _mm256_add_epi32(sum_s32x8[p][v], _mm256_madd_epi16(left_s16x16, right_s16x16));
    }
  }
}

/// All k groups of a tap; returns the weights behind them.
template <bool kFetch, int MR, int V>
EK_INLINE const uint8_t* inner_tap(const uint8_t* const (&a)[MR], int32_t kc, const uint8_t* w,
                                   __m256i (&sum_s32x8)[MR][V]) {
  const ptrdiff_t end = 2 * ptrdiff_t{kc};
  for (ptrdiff_t at = 0; at < end; at += 2 * kGroup, w += 64 * V) {
    if constexpr (kFetch) {
      _mm_prefetch(reinterpret_cast<const char*>(w + kFetched), _MM_HINT_T0);
      if (V == 2) _mm_prefetch(reinterpret_cast<const char*>(w + kFetched + 64), _MM_HINT_T0);
    }
    inner_group(a, at, w, sum_s32x8);
  }
  return w;
}

template <int MR, int V>
EK_INLINE void start_sums(const QGemmArgs& args, int32_t first, __m256i (&sum_s32x8)[MR][V]) {
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    const __m256i a_s32x8 = _mm256_set1_epi32(args.a_terms[first + p]);
    EK_UNROLL
    for (int v = 0; v < V; ++v) {
      const __m256i bias_s32x8 = load256(args.bias + 8 * v);
      sum_s32x8[p][v] = _mm256_sub_epi32(bias_s32x8, a_s32x8);
    }
  }
}

template <bool kFetch, int MR, int V>
void tile(const QGemmArgs& args, int32_t first) {
  __m256i sum_s32x8[MR][V];
  start_sums(args, first, sum_s32x8);
  const uint8_t* w = static_cast<const uint8_t*>(args.w);
  for (int32_t ky = 0; ky < args.kh; ++ky) {
    for (int32_t kx = 0; kx < args.kw; ++kx) {
      const uint8_t* a[MR];
      EK_UNROLL
      for (int p = 0; p < MR; ++p) a[p] = in_register(args.rows[ky] + (first + p) * args.a_px + kx * args.a_kx);
      w = inner_tap<kFetch>(a, args.kc, w, sum_s32x8);
    }
  }
  hold_all(sum_s32x8);
  store(args, first, sum_s32x8);
}

/// As `full_tiles` of x86_ymm.h.
template <bool kFetch, int V>
int32_t full_inner_tiles(const QGemmArgs& args) {
  const uint8_t* a[kMost];
  EK_UNROLL
  for (int p = 0; p < kMost; ++p) a[p] = args.rows[0] + p * args.a_px;
  int32_t first = 0;
  for (; first + kMost <= args.m; first += kMost) {
    __m256i sum_s32x8[kMost][V];
    start_sums(args, first, sum_s32x8);
    inner_tap<kFetch>(a, args.kc, static_cast<const uint8_t*>(args.w), sum_s32x8);
    hold_all(sum_s32x8);
    store(args, first, sum_s32x8);
    EK_UNROLL
    for (int p = 0; p < kMost; ++p) a[p] = in_register(a[p] + kMost * args.a_px);
  }
  return first;
}

template <bool kFetch>
constexpr TileFn kInnerTiles[2][kMost] = {
    {tile<kFetch, 1, 1>, tile<kFetch, 2, 1>, tile<kFetch, 3, 1>, tile<kFetch, 4, 1>},
    {tile<kFetch, 1, 2>, tile<kFetch, 2, 2>, tile<kFetch, 3, 2>, tile<kFetch, 4, 2>},
};

template <bool kFetch>
EK_INLINE void run_inner(const QGemmArgs& args) {
  const TileFn(&tiles)[kMost] = kInnerTiles<kFetch>[args.n > 8];
  if (args.kh * args.kw > 1 || args.m < 2 * kMost) return run_tiles(args, tiles);
  const int32_t first = args.n > 8 ? full_inner_tiles<kFetch, 2>(args) : full_inner_tiles<kFetch, 1>(args);
  if (first < args.m) tiles[args.m - first - 1](args, first);
}

}  // namespace

void qgemm_s16_4x16x4_avx2(const QGemmArgs& args) {
  if (args.kh * args.kw * args.kc > kNearDepth) return run_inner<true>(args);
  run_inner<false>(args);
}

}  // namespace ek
