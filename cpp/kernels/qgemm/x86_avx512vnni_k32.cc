// SPDX-License-Identifier: Apache-2.0
/// qgemm for AVX-512 VNNI and short k: one tap (1x1, or merged) of at most 32; tile of 4 pixels x 32 columns.
///
///   y(i, n) = requant(bias(n) + sum over k < kc of a_u8(i; k) * w_s8(n; k), scale(n))
///
/// Instructions, algebra, bounds and packed panel are those of x86_avx512vnni.cc. What differs: with K = 16 a tile of
/// 12 pixels spends half its time requantising, during which the multipliers rest, because its sums arrive all at
/// once and the dots of the next tile are too far down the instruction stream. Here k is unrolled at compile time,
/// the tile is small and the strip is one loop, so that the core overlaps the requantisation of one tile with the
/// dots of the next.
/// A strip that is no multiple of 4 ends with a tile that repeats up to 3 pixels (the same bytes are written again);
/// one of less than 4 goes to the 12 x 32 row, whose panel this is.
/// Memory: reads round_up(kc, 4) bytes of each pixel, the panel, and biases and scales of its vectors; writes n columns
/// of m pixels.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/qgemm/x86_zmm.h"

namespace ek {

void qgemm_u8_12x32x4_avx512vnni(const QGemmArgs& args);
void qgemm_u8_4x32x4_avx512vnni(const QGemmArgs& args);

namespace {

constexpr int32_t kMr = 4;

template <int kGroups, int V>
void strip(const QGemmArgs& args) {
  const Output<V> out = load_output<V>(args);
  const int8_t* const w = static_cast<const int8_t*>(args.w);
  const ptrdiff_t a_px = args.a_px;
  const uint8_t* a[2] = {args.rows[0], args.rows[0] + 3 * a_px};
  uint8_t* y = args.y;
  __m512i bias_s32x16[V];
  EK_UNROLL
  for (int v = 0; v < V; ++v) bias_s32x16[v] = _mm512_loadu_si512(args.bias + 16 * v);
  for (int32_t rest = args.m - kMr;;) {  // pixels behind this tile
    __m512i sum_s32x16[kMr][V];
    EK_UNROLL
    for (int p = 0; p < kMr; ++p) {
      EK_UNROLL
      for (int v = 0; v < V; ++v) sum_s32x16[p][v] = bias_s32x16[v];
    }
    EK_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      dot_group(a, 4 * g, a_px, w + 64 * V * g, sum_s32x16);
      hold_sums(sum_s32x16);  // keeps clang from finishing two pixels first and spilling the others' operands
    }
    store(out, y, sum_s32x16);
    if (rest == 0) return;
    const int32_t step = rest < kMr ? rest : kMr;
    EK_UNROLL
    for (int b = 0; b < 2; ++b) a[b] += step * a_px;
    y += step * out.y_px;
    rest -= step;
  }
}

using StripFn = void (*)(const QGemmArgs& args);
template <int V>
constexpr StripFn kStrips[8] = {strip<1, V>, strip<2, V>, strip<3, V>, strip<4, V>,
                                strip<5, V>, strip<6, V>, strip<7, V>, strip<8, V>};

}  // namespace

void qgemm_u8_4x32x4_avx512vnni(const QGemmArgs& args) {
  if (args.m < kMr) return qgemm_u8_12x32x4_avx512vnni(args);
  const int32_t groups = (args.kc + 3) / 4;
  (args.n > 16 ? kStrips<2> : kStrips<1>)[groups - 1](args);
}

}  // namespace ek
