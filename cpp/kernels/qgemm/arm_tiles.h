// SPDX-License-Identifier: Apache-2.0
/// What the Arm rows of qgemm share: sums of a tile to bytes in memory.
///
/// A tile is MR pixels x V vectors of 4 columns. Four vectors become 16 bytes together (isa/arm_neon.h: 22
/// instructions): one pixel of 16 columns, two of 8 or four of 4. Stores are whole vectors, halves or quarters of them;
/// only a panel whose columns end within a vector stores by pieces. Memory: reads biases and scales of V vectors,
/// writes n columns of MR pixels.
#pragma once
#include "kernels/isa/arm_neon.h"
#include "kernels/qgemm/qgemm.h"

namespace ek {
namespace {

/// Says that w is not known before the sum is. Without it compilers load all weights first and run out of
/// registers.
EK_INLINE void after(int32x4_t& sum_s32x4, const int8_t*& w) { __asm__("" : "+r"(w), "+w"(sum_s32x4)); }

/// The same of weights already loaded: keeps apart what is multiplied by one vector and by the next.
EK_INLINE void after(int32x4_t& sum_s32x4, int8x16_t& w_s8x16) { __asm__("" : "+w"(w_s8x16), "+w"(sum_s32x4)); }

/// Every pixel's sums begin with the bias.
template <int MR, int V>
EK_INLINE void load_bias(const QGemmArgs& args, int32_t column, int32x4_t (&sum_s32x4)[MR][V]) {
  EK_UNROLL
  for (int v = 0; v < V; ++v) {
    const int32x4_t bias_s32x4 = vld1q_s32(args.bias + column + 4 * v);
    EK_UNROLL
    for (int p = 0; p < MR; ++p) sum_s32x4[p][v] = bias_s32x4;
  }
}

/// Where tap (ky, kx) of MR pixels begins.
template <int MR>
EK_INLINE void point_at(const QGemmArgs& args, int32_t first, int32_t ky, int32_t kx, const uint8_t* (&a)[MR]) {
  EK_UNROLL
  for (int p = 0; p < MR; ++p) a[p] = args.rows[ky] + (first + p) * args.a_px + kx * args.a_kx;
}

/// Says that `clip` is in memory here: it is made once, and its registers are free in the loop over k.
EK_INLINE void in_memory(ClipNeon& clip) { __asm__("" : "+m"(clip)); }

/// One of the pixels that share a vector of bytes; its columns are all there.
template <int V, int kPart>
EK_INLINE void store_part(uint8_t* y, uint8x16_t y_u8x16) {
  if constexpr (V == 1) {
    const uint32_t four = vgetq_lane_u32(vreinterpretq_u32_u8(y_u8x16), kPart);
    __builtin_memcpy(y, &four, 4);
  } else if constexpr (V == 2) {
    const uint64_t eight = vgetq_lane_u64(vreinterpretq_u64_u8(y_u8x16), kPart);
    __builtin_memcpy(y, &eight, 8);
  } else {
    vst1q_u8(y, y_u8x16);
  }
}

/// The same where columns end within a vector.
template <int V>
EK_INLINE void store_piece(uint8_t* y, uint8x16_t y_u8x16, int part, int32_t n) {
  uint8_t bytes[16];
  vst1q_u8(bytes, y_u8x16);
  const uint8_t* from = bytes + (V < 3 ? 4 * V * part : 0);
  if (V > 2 && n & 8) {
    __builtin_memcpy(y, from, 8);
    y += 8, from += 8;
  }
  if (V > 1 && n & 4) {
    __builtin_memcpy(y, from, 4);
    y += 4, from += 4;
  }
  if (n & 2) {
    __builtin_memcpy(y, from, 2);
    y += 2, from += 2;
  }
  if (n & 1) *y = *from;
}

/// Requantises and stores a tile at y, which is its first pixel's first column, n columns of it.
template <int MR, int V>
EK_INLINE void store_tile(const QGemmArgs& args, uint8_t* y, int32_t column, int32_t n,
                          const int32x4_t (&sum_s32x4)[MR][V], const ClipNeon& clip) {
  constexpr int kTogether = V < 3 ? 4 / V : 1;  // pixels of a vector of bytes
  constexpr int kBytes = (MR + kTogether - 1) / kTogether;
  float32x4_t scale_f32x4[V];
  EK_UNROLL
  for (int v = 0; v < V; ++v) scale_f32x4[v] = vld1q_f32(args.scale + column + 4 * v);
  uint8x16_t y_u8x16[kBytes];
  EK_UNROLL
  for (int b = 0; b < kBytes; ++b) {
    int32x4_t q_s32x4[4];
    EK_UNROLL
    for (int i = 0; i < 4; ++i) {
      // What stands in for a missing pixel or vector is not stored.
      const int p = b * kTogether + (V < 3 ? i / V : 0), v = V < 3 ? i % V : i;
      q_s32x4[i] = p < MR && v < V ? round_s32x4(sum_s32x4[p < MR ? p : 0][v < V ? v : 0], scale_f32x4[v < V ? v : 0])
                                   : q_s32x4[i - 1];
    }
    y_u8x16[b] = clipped_u8x16(q_s32x4[0], q_s32x4[1], q_s32x4[2], q_s32x4[3], clip);
  }
  const ptrdiff_t y_px = args.y_px;
  if (n >= 4 * V && V != 3) {
    EK_UNROLL
    for (int b = 0; b < kBytes; ++b) {
      store_part<V, 0>(y, y_u8x16[b]);
      y += y_px;
      if constexpr (V < 3) {
        if (b * kTogether + 1 < MR) store_part<V, 1>(y, y_u8x16[b]);
        y += y_px;
      }
      if constexpr (V == 1) {
        if (b * kTogether + 2 < MR) store_part<V, 2>(y, y_u8x16[b]);
        y += y_px;
        if (b * kTogether + 3 < MR) store_part<V, 3>(y, y_u8x16[b]);
        y += y_px;
      }
    }
    return;
  }
  EK_UNROLL
  for (int p = 0; p < MR; ++p, y += y_px) store_piece<V>(y, y_u8x16[p / kTogether], p % kTogether, n);
}

}  // namespace
}  // namespace ek
