// SPDX-License-Identifier: Apache-2.0
/// qgemm for AVX-512 VNNI and one pixel (fully connected layers): 1 pixel x 128 columns, k in groups of 4.
///
///   y(n) = requant(bias(n) + sum over taps, k of a_u8(tap, k) * w_s8(n; tap, k), scale(n))
///
///   intrinsic                    instruction               Zen 5 per cycle   Zen 4
///   _mm512_dpbusd_epi32(load)    VPDPBUSD z, z, m512       2                 1
///   _mm512_set1_epi32(load)      VPBROADCASTD z, m32       2 (load port)     2
///   requantise and store         see isa/x86_avx512vnni.h
///
/// Algebra, exactness and bounds are those of x86_avx512vnni.cc; weights are the memory operand, which is the signed
/// one. What differs: with one pixel every weight is used once, so the layer lasts as long as its weights take to
/// arrive (Zen 4: 32 bytes per cycle from L2, Zen 5: 64), if nothing stands between them. One broadcast serves eight
/// vectors of columns, a panel is one stream of 512 bytes per k group, and a layer of 128 outputs is one call with one
/// way from sums to bytes, where panels of 32 columns are four. Registers: 8 sums, 1 broadcast. Eight sums hide the
/// latency of the dot (4 cycles, two per cycle); with fewer than six vectors of columns k is dealt to 2 or 4 chains of
/// sums. Memory: reads round_up(kc, 4) bytes of each tap, the panel, and biases and scales of its vectors; writes n
/// bytes.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/qgemm/x86_zmm.h"

namespace ek {

void qgemm_u8_1x128x4_avx512vnni(const QGemmArgs& args);

namespace {

constexpr int chains_of(int vectors) { return vectors >= 6 ? 1 : vectors >= 3 ? 2 : 4; }

template <int V>
EK_INLINE void dot_pixel(const uint8_t* a, const int8_t* w, __m512i (&sum_s32x16)[V]) {
  const __m512i a_u8x64 = _mm512_set1_epi32(load_s32(a));
  EK_UNROLL
  for (int v = 0; v < V; ++v) {
    sum_s32x16[v] = _mm512_dpbusd_epi32(sum_s32x16[v], a_u8x64, _mm512_loadu_si512(w + 64 * v));
  }
}

/// The sums over all taps, in the first of the chains.
template <int kChains, int V>
EK_INLINE void accumulate(const QGemmArgs& args, __m512i (&sum_s32x16)[kChains][V]) {
  EK_UNROLL
  for (int v = 0; v < V; ++v) {
    sum_s32x16[0][v] = _mm512_loadu_si512(args.bias + 16 * v);
    EK_UNROLL
    for (int c = 1; c < kChains; ++c) sum_s32x16[c][v] = _mm512_setzero_si512();
  }
  const int8_t* w = static_cast<const int8_t*>(args.w);
  for (int32_t ky = 0; ky < args.kh; ++ky) {
    for (int32_t kx = 0; kx < args.kw; ++kx) {
      const uint8_t* a = args.rows[ky] + kx * args.a_kx;
      int32_t k = args.kc;
      for (; k > 4 * (kChains - 1); k -= 4 * kChains, a += 4 * kChains) {
        EK_UNROLL
        for (int c = 0; c < kChains; ++c, w += 64 * V) dot_pixel(a + 4 * c, w, sum_s32x16[c]);
      }
      for (; k > 0; k -= 4, a += 4, w += 64 * V) dot_pixel(a, w, sum_s32x16[0]);
    }
  }
  EK_UNROLL
  for (int half = kChains / 2; half > 0; half /= 2) {
    EK_UNROLL
    for (int c = 0; c < half; ++c) {
      EK_UNROLL
      for (int v = 0; v < V; ++v) sum_s32x16[c][v] = _mm512_add_epi32(sum_s32x16[c][v], sum_s32x16[c + half][v]);
    }
  }
}

template <int V>
void pixel(const QGemmArgs& args) {
  __m512i sum_s32x16[chains_of(V)][V];
  accumulate(args, sum_s32x16);
  const Requant512 r = load_requant512(args.out);
  EK_UNROLL
  for (int v = 0; v < V; v += 4) {
    __m512i q_s32x16[4];
    EK_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int from = v + i < V ? v + i : v;  // what stands in for a missing vector is not stored
      q_s32x16[i] = round_s32x16(sum_s32x16[0][from], _mm512_loadu_ps(args.scale + 16 * from));
    }
    const __m512i y_u8x64 = bytes_u8x64(q_s32x16[0], q_s32x16[1], q_s32x16[2], q_s32x16[3], r);
    _mm512_mask_storeu_epi8(args.y + 16 * v, first_bits(args.n - 16 * v), y_u8x64);
  }
}

using PixelFn = void (*)(const QGemmArgs& args);
constexpr PixelFn kPixels[8] = {pixel<1>, pixel<2>, pixel<3>, pixel<4>, pixel<5>, pixel<6>, pixel<7>, pixel<8>};

}  // namespace

void qgemm_u8_1x128x4_avx512vnni(const QGemmArgs& args) { kPixels[(args.n - 1) / 16](args); }

}  // namespace ek
