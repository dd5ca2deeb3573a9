// SPDX-License-Identifier: Apache-2.0
/// qgemm for AVX-VNNI and one pixel (fully connected layers): 1 pixel x 64 columns, k in groups of 4.
///
///   y(n) = requant(bias(n) + sum over taps, k of a_u8(tap, k) * w_s8(n; tap, k), scale(n))
///
///   intrinsic                        instruction                 Zen 5 per cycle   Golden Cove
///   _mm256_dpbusd_avx_epi32(load)    {vex} VPDPBUSD y, y, m256   2                 2 (p01)
///   _mm256_set1_epi32(load)          VPBROADCASTD y, m32         2 (load port)     3
///   requantise and store             see isa/x86_avx2.h
///
/// Algebra, exactness and bounds are those of x86_avxvnni.cc; weights are the memory operand, which is the signed one.
/// What differs: see x86_avx512vnni_m1.cc. A k group of 64 columns is 8 dots (4 cycles) against 9 loads (3 or 4.5),
/// where panels of 16 columns need 12 loads and four calls. Registers: 8 sums, 1 broadcast. With fewer than six vectors
/// of columns k is dealt to 2 or 4 chains of sums. Memory: reads round_up(kc, 4) bytes of each tap, the panel, and
/// biases and scales of its vectors; writes n bytes.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/qgemm/x86_ymm.h"

namespace ek {

void qgemm_u8_1x64x4_avxvnni(const QGemmArgs& args);

namespace {

constexpr int chains_of(int vectors) { return vectors >= 6 ? 1 : vectors >= 3 ? 2 : 4; }

EK_INLINE __m256i load_x32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

template <int V>
EK_INLINE void dot_pixel(const uint8_t* a, const int8_t* w, __m256i (&sum_s32x8)[V]) {
  const __m256i a_u8x32 = _mm256_set1_epi32(load_s32(a));
  EK_UNROLL
  for (int v = 0; v < V; ++v) sum_s32x8[v] = _mm256_dpbusd_avx_epi32(sum_s32x8[v], a_u8x32, load_x32(w + 32 * v));
}

/// The sums over all taps, in the first of the chains.
template <int kChains, int V>
EK_INLINE void accumulate_pixel(const QGemmArgs& args, __m256i (&sum_s32x8)[kChains][V]) {
  EK_UNROLL
  for (int v = 0; v < V; ++v) {
    sum_s32x8[0][v] = load_x32(args.bias + 8 * v);
    EK_UNROLL
    for (int c = 1; c < kChains; ++c) sum_s32x8[c][v] = _mm256_setzero_si256();
  }
  const int8_t* w = static_cast<const int8_t*>(args.w);
  for (int32_t ky = 0; ky < args.kh; ++ky) {
    for (int32_t kx = 0; kx < args.kw; ++kx) {
      const uint8_t* a = args.rows[ky] + kx * args.a_kx;
      int32_t k = args.kc;
      for (; k > 4 * (kChains - 1); k -= 4 * kChains, a += 4 * kChains) {
        EK_UNROLL
        for (int c = 0; c < kChains; ++c, w += 32 * V) dot_pixel(a + 4 * c, w, sum_s32x8[c]);
      }
      for (; k > 0; k -= 4, a += 4, w += 32 * V) dot_pixel(a, w, sum_s32x8[0]);
    }
  }
  EK_UNROLL
  for (int half = kChains / 2; half > 0; half /= 2) {
    EK_UNROLL
    for (int c = 0; c < half; ++c) {
      EK_UNROLL
      for (int v = 0; v < V; ++v) sum_s32x8[c][v] = _mm256_add_epi32(sum_s32x8[c][v], sum_s32x8[c + half][v]);
    }
  }
}

template <int V>
void pixel(const QGemmArgs& args) {
  __m256i sum_s32x8[chains_of(V)][V];
  accumulate_pixel(args, sum_s32x8);
  const Requant256 r = load_requant256(args.out);
  EK_UNROLL
  for (int v = 0; v < V; v += 4) {
    __m256i q_s32x8[4];
    EK_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int from = v + i < V ? v + i : v;  // what stands in for a missing vector is not stored
      q_s32x8[i] = round_s32x8(sum_s32x8[0][from], _mm256_loadu_ps(args.scale + 8 * from), r);
    }
    store_u8x32(args.y + 8 * v, bytes_u8x32(q_s32x8[0], q_s32x8[1], q_s32x8[2], q_s32x8[3], r), args.n - 8 * v);
  }
}

using PixelFn = void (*)(const QGemmArgs& args);
constexpr PixelFn kPixels[8] = {pixel<1>, pixel<2>, pixel<3>, pixel<4>, pixel<5>, pixel<6>, pixel<7>, pixel<8>};

}  // namespace

void qgemm_u8_1x64x4_avxvnni(const QGemmArgs& args) { kPixels[(args.n - 1) / 8](args); }

}  // namespace ek
