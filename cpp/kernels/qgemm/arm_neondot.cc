// SPDX-License-Identifier: Apache-2.0
/// qgemm for Arm's dot product: tiles of 4 pixels x 16 columns, or 8 x 8 where a panel has no more; k in groups of 4.
///
///   sum over k of u(k) * w(k) = sum of (u(k) ^ 0x80 as s8) * w(k) + 128 * sum of w(k);  the packed bias holds the
///   second term (row field a_zero = 128), so the loop multiplies signed by signed:
///
///   intrinsic          instruction              per cycle: A55  A76  N1  N2   lanes
///   vdotq_laneq_s32    SDOT    4s, 16b, 4b[i]              1    2    2   2    4 columns x 4 k, 4 k of one pixel
///   veorq_u8           EOR     16b                         1    2    2   2    16 k of one pixel, once per tile
///   vld1q_s8_x4        LD1     4 of 16b                    1/8  1/4  1/2 1/2  4 k of 16 columns
///   requantise         see isa/arm_neon.h
///
/// Why it is exact: SDOT adds four s8 x s8 products to an int32 lane without saturating. A lane wraps modulo 2^32; the
/// true sum fits int32, for any weights up to K = 65793.
/// 16 k of a full tile are 64 dots in 79 instructions (8 x 8: 89) for 1024 multiply-accumulates. Registers: 16 sums,
/// 4 of A (8), 4 to 8 of weights, 1 constant. With fewer than eight sums k is dealt to 2 or 4 chains, so one pixel of
/// 16 columns has eight. Memory: reads round_up(kc, 4) bytes of each tap of each pixel, the panel, and biases and
/// scales of its vectors; writes n columns of m pixels.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/qgemm/arm_tiles.h"

namespace ek {

void qgemm_u8_4x16x4_neondot(const QGemmArgs& args);

namespace {

/// kGroups k groups of one pixel, flipped to signed.
template <int kGroups>
EK_INLINE int8x16_t load_a(const uint8_t* a) {
  uint8x16_t a_u8x16;
  if constexpr (kGroups == 4) {
    a_u8x16 = vld1q_u8(a);
  } else if constexpr (kGroups == 2) {
    a_u8x16 = vcombine_u8(vld1_u8(a), vdup_n_u8(0));
  } else {
    uint32_t four;
    __builtin_memcpy(&four, a, 4);
    a_u8x16 = vreinterpretq_u8_u32(vdupq_n_u32(four));
  }
  return vreinterpretq_s8_u8(veorq_u8(a_u8x16, vdupq_n_u8(0x80)));
}

/// A vector of weights for each four columns, by one instruction where there are three or four; w moves on to the next.
EK_INLINE void load_w(const int8_t*& w, int8x16_t (&w_s8x16)[1]) { w_s8x16[0] = vld1q_s8(w), w += 16; }
EK_INLINE void load_w(const int8_t*& w, int8x16_t (&w_s8x16)[2]) {
  w_s8x16[0] = vld1q_s8(w), w_s8x16[1] = vld1q_s8(w + 16), w += 32;
}
EK_INLINE void load_w(const int8_t*& w, int8x16_t (&w_s8x16)[3]) {
  const int8x16x3_t three_s8x16 = vld1q_s8_x3(w);
  w_s8x16[0] = three_s8x16.val[0], w_s8x16[1] = three_s8x16.val[1], w_s8x16[2] = three_s8x16.val[2], w += 48;
}
EK_INLINE void load_w(const int8_t*& w, int8x16_t (&w_s8x16)[4]) {
  const int8x16x4_t four_s8x16 = vld1q_s8_x4(w);
  w_s8x16[0] = four_s8x16.val[0], w_s8x16[1] = four_s8x16.val[1];
  w_s8x16[2] = four_s8x16.val[2], w_s8x16[3] = four_s8x16.val[3], w += 64;
}

/// One k group of all pixels, lane kLane of the vectors of A.
template <int kLane, int MR, int V>
EK_INLINE void dot_group(const int8x16_t (&a_s8x16)[MR], const int8_t*& w, int32x4_t (&sum_s32x4)[MR][V]) {
  int8x16_t w_s8x16[V];
  load_w(w, w_s8x16);
  if constexpr (V != 2) {
    EK_UNROLL
    for (int i = MR / 2 * V; i < MR * V; ++i) after(sum_s32x4[i / V][i % V], w);
  }
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    EK_UNROLL
    for (int v = 0; v < V; ++v) sum_s32x4[p][v] = vdotq_laneq_s32(sum_s32x4[p][v], w_s8x16[v], a_s8x16[p], kLane);
  }
  if constexpr (V != 2) {
    EK_UNROLL
    for (int i = 0; i < MR / 2 * V; ++i) after(sum_s32x4[i / V][i % V], w);
  }
}

/// kGroups k groups of all pixels, dealt to the chains of sums in turn.
template <int kGroups, int kChains, int MR, int V>
EK_INLINE void dot_groups(const uint8_t* const (&a)[MR], ptrdiff_t at, const int8_t*& w,
                          int32x4_t (&sum_s32x4)[kChains][MR][V]) {
  int8x16_t a_s8x16[MR];
  EK_UNROLL
  for (int p = 0; p < MR; ++p) a_s8x16[p] = load_a<kGroups>(a[p] + at);
  dot_group<0>(a_s8x16, w, sum_s32x4[0]);
  if constexpr (kGroups > 1) dot_group<1>(a_s8x16, w, sum_s32x4[1 % kChains]);
  if constexpr (kGroups > 2) {
    dot_group<2>(a_s8x16, w, sum_s32x4[2 % kChains]);
    dot_group<3>(a_s8x16, w, sum_s32x4[3 % kChains]);
  }
}

/// Adds all k groups of one tap; moves w on to the next.
template <int kChains, int MR, int V>
EK_INLINE void dot_tap(const uint8_t* const (&a)[MR], int32_t kc, const int8_t*& w,
                       int32x4_t (&sum_s32x4)[kChains][MR][V]) {
  const int32_t groups = (kc + 3) / 4;
  const ptrdiff_t full = groups / 4 * 16;
  ptrdiff_t at = 0;
  for (; at < full; at += 16) dot_groups<4>(a, at, w, sum_s32x4);
  if (groups & 2) {
    dot_groups<2>(a, at, w, sum_s32x4);
    at += 8;
  }
  if (groups & 1) dot_groups<1>(a, at, w, sum_s32x4);
}

/// The sums of one tile, over all taps.
template <bool kOneTap, int MR, int V>
EK_INLINE void accumulate(const QGemmArgs& args, int32_t first, int32x4_t (&sum_s32x4)[MR][V]) {
  constexpr int kChains = MR * V >= 8 ? 1 : MR * V >= 4 ? 2 : 4;
  int32x4_t chain_s32x4[kChains][MR][V];
  load_bias(args, 0, chain_s32x4[0]);
  EK_UNROLL
  for (int c = MR * V; c < kChains * MR * V; ++c) chain_s32x4[c / (MR * V)][c / V % MR][c % V] = vdupq_n_s32(0);
  const int8_t* w = static_cast<const int8_t*>(args.w);
  const uint8_t* a[MR];
  if constexpr (kOneTap) {
    point_at(args, first, 0, 0, a);
    dot_tap(a, args.kc, w, chain_s32x4);
  } else {
    for (int32_t ky = 0; ky < args.kh; ++ky) {
      for (int32_t kx = 0; kx < args.kw; ++kx) {
        point_at(args, first, ky, kx, a);
        dot_tap(a, args.kc, w, chain_s32x4);
      }
    }
  }
  EK_UNROLL
  for (int i = 0; i < MR * V; ++i) {
    int32x4_t& sum = sum_s32x4[i / V][i % V];
    sum = chain_s32x4[0][i / V][i % V];
    EK_UNROLL
    for (int c = 1; c < kChains; ++c) sum = vaddq_s32(sum, chain_s32x4[c][i / V][i % V]);
  }
}

/// Tiles of MR pixels as long as pixels are left for one. Returns the pixels done.
template <bool kOneTap, int MR, int V>
int32_t tiles(const QGemmArgs& given, int32_t first) {
  const QGemmArgs args = given;  // a copy that no store to y can change
  ClipNeon clip = load_clip_neon(args.out);
  for (; first + MR <= args.m; first += MR) {
    int32x4_t sum_s32x4[MR][V];
    accumulate<kOneTap>(args, first, sum_s32x4);
    in_memory(clip);
    store_tile(args, args.y + first * args.y_px, 0, args.n, sum_s32x4, clip);
  }
  return first;
}

template <bool kOneTap, int V>
void strip(const QGemmArgs& args) {
  int32_t first = 0;
  if constexpr (V < 3) first = tiles<kOneTap, 8, V>(args, first);
  first = tiles<kOneTap, 4, V>(args, first);
  switch (args.m - first) {
    case 3:
      tiles<kOneTap, 3, V>(args, first);
      return;
    case 2:
      tiles<kOneTap, 2, V>(args, first);
      return;
    case 1:
      tiles<kOneTap, 1, V>(args, first);
      return;
    default:
      return;
  }
}

using StripFn = void (*)(const QGemmArgs& args);
constexpr StripFn kStrips[2][4] = {
    {strip<false, 1>, strip<false, 2>, strip<false, 3>, strip<false, 4>},
    {strip<true, 1>, strip<true, 2>, strip<true, 3>, strip<true, 4>},
};

}  // namespace

void qgemm_u8_4x16x4_neondot(const QGemmArgs& args) { kStrips[args.kh * args.kw == 1][(args.n - 1) / 4](args); }

}  // namespace ek
