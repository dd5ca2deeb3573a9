// SPDX-License-Identifier: Apache-2.0
/// qgemm for Arm's dot product: tiles of 4 pixels x 16 columns; k in groups of 4.
///
///   sum over k of u(k) * w(k) = sum of (u(k) ^ 0x80 as s8) * w(k) + 128 * sum of w(k);  the packed bias holds the
///   second term (row field a_zero = 128), so the loop multiplies signed by signed:
///
///   intrinsic          instruction              per cycle: A55  A76  N1  N2   lanes
///   vdotq_laneq_s32    SDOT    4s, 16b, 4b[i]              1    2    2   2    4 columns x 4 k, 4 k of one pixel
///   vld1q_x4           LD1     4 of 16b                    1/8  1/4  1/2 1/2  4 k of 16 columns; 16 k of 4 pixels
///   veorq_u8           EOR     16b                         1    2    2   2    16 k of one pixel, once for all columns
///   requantise         see isa/arm_neon.h
///
/// Why it is exact: SDOT adds four s8 x s8 products to an int32 lane without saturating. A lane wraps modulo 2^32; the
/// true sum fits int32, for any weights up to K = 65793.
/// Pixels are flipped and copied to the stack first (arm_pixels.h). 16 k of a full tile are then 64 dots in 71
/// instructions for 1024 multiply-accumulates. Registers: 16 sums, 4 of A, 4 of weights. With fewer than eight sums k
/// is dealt to 2 or 4 chains, so one pixel of 16 columns has eight. Memory: reads round_up(kc, 4) bytes of each tap of
/// each pixel, the panel, and biases and scales of its vectors; writes n columns of m pixels; 17 KB of stack.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/qgemm/arm_pixels.h"
#include "kernels/qgemm/arm_tiles.h"

namespace ek {

void qgemm_u8_4x64x4_neondot(const QGemmArgs& args);

namespace {

/// A vector of weights for each four columns, by one instruction; w moves on to the next.
EK_INLINE void load_w(const int8_t*& w, int8x16_t (&w_s8x16)[1]) { w_s8x16[0] = vld1q_s8(w), w += 16; }
EK_INLINE void load_w(const int8_t*& w, int8x16_t (&w_s8x16)[2]) {
  const int8x16x2_t two_s8x16 = vld1q_s8_x2(w);
  w_s8x16[0] = two_s8x16.val[0], w_s8x16[1] = two_s8x16.val[1], w += 32;
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
  EK_UNROLL
  for (int i = MR / 2 * V; i < MR * V; ++i) after(sum_s32x4[i / V][i % V], w);
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    EK_UNROLL
    for (int v = 0; v < V; ++v) sum_s32x4[p][v] = vdotq_laneq_s32(sum_s32x4[p][v], w_s8x16[v], a_s8x16[p], kLane);
  }
  EK_UNROLL
  for (int i = 0; i < MR / 2 * V; ++i) after(sum_s32x4[i / V][i % V], w);
}

/// Adds the runs of a chunk to the sums of one tile, k groups dealt to the chains in turn; moves a on to the next
/// block. kMerged: they are one run without a rest.
template <bool kMerged, int kChains, int MR, int V>
EK_INLINE void dot_runs(const Tiles& t, const uint8_t*& a, const int8_t* w, int32x4_t (&sum_s32x4)[kChains][MR][V]) {
  const ptrdiff_t full = ptrdiff_t{t.full} * (16 * MR);
  int8x16_t a_s8x16[MR];
  for (int32_t run = kMerged ? 1 : t.runs; run > 0; --run) {
    const uint8_t* const end = a + full;
    for (bool more = kMerged || a != end; more; more = a != end) {
      load_a(a, a_s8x16);
      dot_group<0>(a_s8x16, w, sum_s32x4[0]);
      dot_group<1>(a_s8x16, w, sum_s32x4[1 % kChains]);
      dot_group<2>(a_s8x16, w, sum_s32x4[2 % kChains]);
      dot_group<3>(a_s8x16, w, sum_s32x4[3 % kChains]);
    }
    if (kMerged || t.rest == 0) continue;
    load_a(a, a_s8x16);
    dot_group<0>(a_s8x16, w, sum_s32x4[0]);
    if (t.rest > 4) dot_group<1>(a_s8x16, w, sum_s32x4[1 % kChains]);
    if (t.rest > 8) dot_group<2>(a_s8x16, w, sum_s32x4[2 % kChains]);
  }
}

/// V vectors of columns from `column` on, of all blocks. kWhole: all columns are there.
template <int MR, int V, bool kWhole, bool kMerged>
EK_INLINE void column_tiles(const Tiles& t, int32_t column, const OutNeon& out) {
  constexpr int kChains = MR * V >= 8 ? 1 : MR * V >= 4 ? 2 : 4;
  constexpr int kBytes = V < 3 ? (MR * V + 3) / 4 : MR;
  const int8_t* const w = t.w + column * t.all + 4 * V * t.before;
  const uint8_t* a = t.copy;
  uint8_t* y = t.y + column;
  for (int32_t block = t.blocks; block > 0; --block, y += MR * t.y_px) {
    int32x4_t chain_s32x4[kChains][MR][V];
    if (__builtin_expect(t.start == nullptr, 1)) {
      load_bias(t.bias + column, chain_s32x4[0]);
    } else {
      load_parked(t.start + MR * column, chain_s32x4[0]);
    }
    EK_UNROLL
    for (int c = MR * V; c < kChains * MR * V; ++c) chain_s32x4[c / (MR * V)][c / V % MR][c % V] = vdupq_n_s32(0);
    dot_runs<kMerged>(t, a, w, chain_s32x4);
    int32x4_t sum_s32x4[MR][V];
    EK_UNROLL
    for (int i = 0; i < MR * V; ++i) {
      int32x4_t& sum = sum_s32x4[i / V][i % V];
      sum = chain_s32x4[0][i / V][i % V];
      EK_UNROLL
      for (int c = 1; c < kChains; ++c) sum = vaddq_s32(sum, chain_s32x4[c][i / V][i % V]);
    }
    if (__builtin_expect(t.parked != nullptr, 0)) {
      park(sum_s32x4, t.parked + MR * column);
      continue;
    }
    uint8x16_t y_u8x16[kBytes];
    requantise(t.scale + column, sum_s32x4, out, y_u8x16);
    if (kWhole) {
      store_whole<MR, V>(y, t.y_px, y_u8x16);
    } else {
      store_bytes<MR, V>(y, t.y_px, t.n - column, y_u8x16);
    }
  }
}

/// As many columns by 16 as there are. Returns how many they are.
template <int MR, bool kMerged>
__attribute__((noinline)) int32_t whole_tiles(const Tiles& given, const OutNeon& given_out) {
  const Tiles t = given;  // a copy that no store to y can change
  const OutNeon out = given_out;
  int32_t column = 0;
  for (; column + 16 <= t.n; column += 16) column_tiles<MR, 4, true, kMerged>(t, column, out);
  return column;
}

/// The columns that are left.
template <int MR, int V>
__attribute__((noinline)) void last_tiles(const Tiles& given, int32_t column, const OutNeon& given_out) {
  const Tiles t = given;
  const OutNeon out = given_out;
  column_tiles<MR, V, false, false>(t, column, out);
}

struct Dot {
  static constexpr int32_t kKr = 4, kStep = 4;

  template <int MR>
  static EK_MEMBER void columns(const Tiles& t, const OutNeon& out) {
    const int32_t column = t.n < 16 ? 0 : t.merged ? whole_tiles<MR, true>(t, out) : whole_tiles<MR, false>(t, out);
    switch ((t.n - column + 3) >> 2) {
      case 4:
        return last_tiles<MR, 4>(t, column, out);
      case 3:
        return last_tiles<MR, 3>(t, column, out);
      case 2:
        return last_tiles<MR, 2>(t, column, out);
      case 1:
        return last_tiles<MR, 1>(t, column, out);
      default:
        return;
    }
  }
};

}  // namespace

void qgemm_u8_4x64x4_neondot(const QGemmArgs& args) { run<Dot>(args); }

}  // namespace ek
