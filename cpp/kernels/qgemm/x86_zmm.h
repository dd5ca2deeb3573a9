// SPDX-License-Identifier: Apache-2.0
/// What the AVX-512 tiles of qgemm share: one k group, and the way from its sums to memory.
#pragma once
// clang-format off: x86_tiles.h builds on what the isa header defines
#include "kernels/isa/x86_avx512vnni.h"
#include "kernels/qgemm/x86_tiles.h"
// clang-format on

namespace ek {
namespace {

/// One k group: sum[p][v] += a(p) . w(v) for MR pixels, `stride` bytes apart, and V vectors of columns. Pixels are
/// reached from a third of them as [p], [p + s] and [p + 2s]: twelve pointers would not leave registers for the rest.
template <int MR, int V>
EK_INLINE void dot_group(const uint8_t* const (&a)[(MR + 2) / 3], ptrdiff_t offset, ptrdiff_t stride, const int8_t* w,
                         __m512i (&sum_s32x16)[MR][V]) {
  __m512i w_s8x64[V];
  EK_UNROLL
  for (int v = 0; v < V; ++v) {
    w_s8x64[v] = _mm512_loadu_si512(w + 64 * v);
    hold(w_s8x64[v]);
  }
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    const __m512i a_u8x64 = _mm512_set1_epi32(load_s32(a[p / 3] + offset + p % 3 * stride));
    EK_UNROLL
    for (int v = 0; v < V; ++v) sum_s32x16[p][v] = _mm512_dpbusd_epi32(sum_s32x16[p][v], a_u8x64, w_s8x64[v]);
  }
}

template <int MR, int V>
EK_INLINE void hold_sums(__m512i (&sum_s32x16)[MR][V]) {
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    EK_UNROLL
    for (int v = 0; v < V; ++v) hold(sum_s32x16[p][v]);
  }
}

/// Requantisation and destination of a call, in registers.
template <int V>
struct Output {
  Requant512 r;
  __m512 scale_f32x16[V];
  int32_t n;
  ptrdiff_t y_px;
};

template <int V>
EK_INLINE Output<V> load_output(const QGemmArgs& args) {
  Output<V> out;
  out.r = load_requant512(args.out);
  EK_UNROLL
  for (int v = 0; v < V; ++v) out.scale_f32x16[v] = _mm512_loadu_ps(args.scale + 16 * v);
  out.n = args.n;
  out.y_px = args.y_px;
  return out;
}

/// Requantises and stores a tile as NHWC bytes, four vectors (four or two pixels) at a time.
template <int MR, int V>
EK_INLINE void store(const Output<V>& out, uint8_t* y, const __m512i (&sum_s32x16)[MR][V]) {
  EK_UNROLL
  for (int p = 0; p < MR; p += 4 / V, y += 4 / V * out.y_px) {
    __m512i q_s32x16[4];
    EK_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int pixel = p + i / V < MR ? p + i / V : p;
      q_s32x16[i] = round_s32x16(sum_s32x16[pixel][i % V], out.scale_f32x16[i % V]);
    }
    const __m512i y_u8x64 = bytes_u8x64(q_s32x16[0], q_s32x16[1], q_s32x16[2], q_s32x16[3], out.r);
    if (V == 2) {
      store_u8x32(y, _mm512_castsi512_si256(y_u8x64), out.n);
      if (p + 1 < MR) store_u8x32(y + out.y_px, _mm512_extracti64x4_epi64(y_u8x64, 1), out.n);
    } else {
      store_u8x16(y, _mm512_castsi512_si128(y_u8x64), out.n);
      if (p + 1 < MR) store_u8x16(y + out.y_px, _mm512_extracti32x4_epi32(y_u8x64, 1), out.n);
      if (p + 2 < MR) store_u8x16(y + 2 * out.y_px, _mm512_extracti32x4_epi32(y_u8x64, 2), out.n);
      if (p + 3 < MR) store_u8x16(y + 3 * out.y_px, _mm512_extracti32x4_epi32(y_u8x64, 3), out.n);
    }
  }
}

}  // namespace
}  // namespace ek
