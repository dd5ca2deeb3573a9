// SPDX-License-Identifier: Apache-2.0
/// qgemm for AVX-512 VNNI: tile of 12 pixels x 32 columns, k in groups of 4.
///
///   y(i, n) = requant(bias(n) + sum over taps, k of a_u8(i; tap, k) * w_s8(n; tap, k), scale(n))
///
///   intrinsic                   instruction              Zen 5 per cycle   Ice Lake server
///   _mm512_dpbusd_epi32         VPDPBUSD z, z, z         2                 2 (p05; client: 1)
///   _mm512_set1_epi32(load)     VPBROADCASTD z, m32      2 (load port)     2
///   _mm512_loadu_si512          VMOVDQU32 z, m512        2                 2
///   requantise and store        see isa/x86_avx512vnni.h
///
/// Why it is exact: VPDPBUSD multiplies unsigned bytes of its first factor with signed bytes of the second and adds
/// four products to an int32 lane without saturating. Activations are biased bytes, so they are the unsigned factor
/// as they lie in memory; the bias by 128 and the zero point are folded into `bias` by the packer.
/// Bounds: a lane wraps modulo 2^32; the true sum fits int32 (proved by the verifier), for any weights up to
/// K = 2^31 / (255 * 128) = 65793. No product with the scale reaches 2^30 (`fits`; isa/x86_avx512vnni.h says why).
/// Registers: 24 sums, 2 weights, 1 broadcast. A k group of a full tile is 24 dots (12 cycles) against 14 loads (7).
/// A strip is cut into tiles that differ by at most one pixel (25 = 9 + 8 + 8), so no tile is left with few sums.
/// Below eight sums the latency of the dot (4 cycles) would show: then k is dealt to 2 or 4 chains.
/// Memory: reads round_up(kc, 4) bytes of each tap of each pixel, the panel, and biases and scales of its vectors;
/// writes n columns of m pixels.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/qgemm/x86_zmm.h"

namespace ek {

void qgemm_u8_12x32x4_avx512vnni(const QGemmArgs& args);

namespace {

constexpr int32_t kMr = 12;

/// The sums of one tile, over all taps.
template <int MR, int V>
EK_INLINE void accumulate(const QGemmArgs& args, int32_t first, __m512i (&sum_s32x16)[MR][V]) {
  constexpr int kChains = MR * V >= 8 ? 1 : MR * V >= 4 ? 2 : 4;
  constexpr int kBases = (MR + 2) / 3;
  __m512i chain_s32x16[kChains][MR][V];
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    EK_UNROLL
    for (int v = 0; v < V; ++v) {
      chain_s32x16[0][p][v] = _mm512_loadu_si512(args.bias + 16 * v);
      EK_UNROLL
      for (int c = 1; c < kChains; ++c) chain_s32x16[c][p][v] = _mm512_setzero_si512();
    }
  }
  const int8_t* w = static_cast<const int8_t*>(args.w);
  for (int32_t ky = 0; ky < args.kh; ++ky) {
    for (int32_t kx = 0; kx < args.kw; ++kx) {
      const uint8_t* a[kBases];
      EK_UNROLL
      for (int b = 0; b < kBases; ++b) a[b] = args.rows[ky] + (first + 3 * b) * args.a_px + kx * args.a_kx;
      int32_t k = args.kc;
      for (; k > 4 * (kChains - 1); k -= 4 * kChains) {
        EK_UNROLL
        for (int c = 0; c < kChains; ++c, w += 64 * V) dot_group<MR, V>(a, 4 * c, args.a_px, w, chain_s32x16[c]);
        EK_UNROLL
        for (int b = 0; b < kBases; ++b) a[b] += 4 * kChains;
      }
      for (; k > 0; k -= 4, w += 64 * V) {
        dot_group<MR, V>(a, 0, args.a_px, w, chain_s32x16[0]);
        EK_UNROLL
        for (int b = 0; b < kBases; ++b) a[b] += 4;
      }
    }
  }
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    EK_UNROLL
    for (int v = 0; v < V; ++v) {
      sum_s32x16[p][v] = chain_s32x16[0][p][v];
      EK_UNROLL
      for (int c = 1; c < kChains; ++c) sum_s32x16[p][v] = _mm512_add_epi32(sum_s32x16[p][v], chain_s32x16[c][p][v]);
    }
  }
  hold_sums(sum_s32x16);
}

template <int MR, int V>
void tile(const QGemmArgs& args, int32_t first) {
  __m512i sum_s32x16[MR][V];
  accumulate<MR, V>(args, first, sum_s32x16);
  const Output<V> out = load_output<V>(args);
  uint8_t* const y = args.y + first * args.y_px;
  store(out, y, sum_s32x16);
}

constexpr TileFn kTiles[2][kMr] = {
    {tile<1, 1>, tile<2, 1>, tile<3, 1>, tile<4, 1>, tile<5, 1>, tile<6, 1>, tile<7, 1>, tile<8, 1>, tile<9, 1>,
     tile<10, 1>, tile<11, 1>, tile<12, 1>},
    {tile<1, 2>, tile<2, 2>, tile<3, 2>, tile<4, 2>, tile<5, 2>, tile<6, 2>, tile<7, 2>, tile<8, 2>, tile<9, 2>,
     tile<10, 2>, tile<11, 2>, tile<12, 2>},
};

}  // namespace

void qgemm_u8_12x32x4_avx512vnni(const QGemmArgs& args) { run_tiles(args, kTiles[args.n > 16]); }

}  // namespace ek
