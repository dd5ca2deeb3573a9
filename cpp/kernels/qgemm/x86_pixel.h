// SPDX-License-Identifier: Apache-2.0
/// qgemm of one pixel and a panel of up to eight vectors of columns, for the two files that differ only in how wide a
/// vector is: x86_avx512vnni_m1.cc and x86_avxvnni_m1.cc. After the isa header.
///
/// `Isa` says how:  Isa::kLanes columns of a vector, 4 bytes of weights each;
///                  Isa::load, Isa::zero, Isa::add of 32-bit lanes, Isa::broadcast of 4 bytes of A;
///                  Isa::dot(sum, a, w) = sum + a . (the vector of weights at w) in every 32-bit lane;
///                  Isa::rounding(out), Isa::round(sum, scale, r) to integers not yet clipped;
///                  Isa::bytes(q, r) of four such vectors, clipped; Isa::store(args, n, bytes) from column n on.
///
/// One broadcast serves all vectors of columns, and a panel is one stream of weights. Eight sums hide the latency of
/// the dot (4 cycles, two per cycle); with fewer than six vectors of columns k is dealt to 2 or 4 chains of sums.
/// Memory: reads round_up(kc, 4) bytes of each tap, the panel, and biases and scales of its vectors; writes n bytes.
#pragma once
#include "kernels/qgemm/qgemm.h"

namespace ek {
namespace {

constexpr int chains_of(int vectors) { return vectors >= 6 ? 1 : vectors >= 3 ? 2 : 4; }

template <typename Isa, int V>
EK_INLINE void dot_pixel(const uint8_t* a, const int8_t* w, typename Isa::Vector (&sum_s32)[V]) {
  const typename Isa::Vector a_u8 = Isa::broadcast(load_s32(a));
  EK_UNROLL
  for (int v = 0; v < V; ++v) sum_s32[v] = Isa::dot(sum_s32[v], a_u8, w + 4 * Isa::kLanes * v);
}

/// The sums over all taps, in the first of the chains.
template <typename Isa, int kChains, int V>
EK_INLINE void accumulate_pixel(const QGemmArgs& args, typename Isa::Vector (&sum_s32)[kChains][V]) {
  EK_UNROLL
  for (int v = 0; v < V; ++v) {
    sum_s32[0][v] = Isa::load(args.bias + Isa::kLanes * v);
    EK_UNROLL
    for (int c = 1; c < kChains; ++c) sum_s32[c][v] = Isa::zero();
  }
  constexpr int kGroup = 4 * Isa::kLanes * V;  // bytes of weights
  const int8_t* w = static_cast<const int8_t*>(args.w);
  for (int32_t ky = 0; ky < args.kh; ++ky) {
    for (int32_t kx = 0; kx < args.kw; ++kx) {
      const uint8_t* a = args.rows[ky] + kx * args.a_kx;
      int32_t k = args.kc;
      for (; k > 4 * (kChains - 1); k -= 4 * kChains, a += 4 * kChains) {
        EK_UNROLL
        for (int c = 0; c < kChains; ++c, w += kGroup) dot_pixel<Isa>(a + 4 * c, w, sum_s32[c]);
      }
      for (; k > 0; k -= 4, a += 4, w += kGroup) dot_pixel<Isa>(a, w, sum_s32[0]);
    }
  }
  EK_UNROLL
  for (int half = kChains / 2; half > 0; half /= 2) {
    EK_UNROLL
    for (int c = 0; c < half; ++c) {
      EK_UNROLL
      for (int v = 0; v < V; ++v) sum_s32[c][v] = Isa::add(sum_s32[c][v], sum_s32[c + half][v]);
    }
  }
}

template <typename Isa, int V>
void pixel(const QGemmArgs& args) {
  constexpr int kLanes = Isa::kLanes;
  typename Isa::Vector sum_s32[chains_of(V)][V];
  accumulate_pixel<Isa>(args, sum_s32);
  const typename Isa::Rounding r = Isa::rounding(args.out);
  EK_UNROLL
  for (int v = 0; v < V; v += 4) {
    typename Isa::Vector q_s32[4];
    EK_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int from = v + i < V ? v + i : v;  // what stands in for a missing vector is not stored
      q_s32[i] = Isa::round(sum_s32[0][from], args.scale + kLanes * from, r);
    }
    const typename Isa::Vector y_u8 = Isa::bytes(q_s32, r);
    Isa::store(args, kLanes * v, y_u8);
  }
}

using PixelFn = void (*)(const QGemmArgs& args);
template <typename Isa>
constexpr PixelFn kPixels[8] = {pixel<Isa, 1>, pixel<Isa, 2>, pixel<Isa, 3>, pixel<Isa, 4>,
                                pixel<Isa, 5>, pixel<Isa, 6>, pixel<Isa, 7>, pixel<Isa, 8>};

template <typename Isa>
EK_INLINE void run_pixel(const QGemmArgs& args) {
  kPixels<Isa>[(args.n - 1) / Isa::kLanes](args);
}

}  // namespace
}  // namespace ek
