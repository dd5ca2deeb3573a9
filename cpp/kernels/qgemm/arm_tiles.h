// SPDX-License-Identifier: Apache-2.0
/// What the Arm rows of qgemm share: sums of a tile to bytes in memory.
///
/// A tile is MR pixels x V vectors of 4 columns. Four vectors become 16 bytes together (isa/arm_neon.h: 18 to 22
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

/// Says that p is known no earlier than here, so that compilers neither load ahead nor keep addresses derived from it.
template <typename T>
EK_INLINE T* fresh(T* p) {
  __asm__ volatile("" : "+r"(p));
  return p;
}

/// The sums of a tile begin with the bias, loaded anew for each pixel, two registers at a time: as if memory had
/// changed.
template <int MR, int V>
EK_INLINE void load_bias(const int32_t* bias, int32x4_t (&sum_s32x4)[MR][V]) {
  EK_UNROLL
  for (int p = 0; p < MR; ++p) {
    __asm__ volatile("" : : : "memory");
    EK_UNROLL
    for (int v = 0; v < V; ++v) sum_s32x4[p][v] = vld1q_s32(bias + 4 * v);
  }
}

/// The sums of a tile where another chunk of k goes on with them.
template <int MR, int V>
EK_INLINE void park(const int32x4_t (&sum_s32x4)[MR][V], int32_t* parked) {
  int32_t* const to = fresh(parked);
  EK_UNROLL
  for (int i = 0; i < MR * V; ++i) vst1q_s32(to + 4 * i, sum_s32x4[i / V][i % V]);
}

template <int MR, int V>
EK_INLINE void load_parked(const int32_t* parked, int32x4_t (&sum_s32x4)[MR][V]) {
  const int32_t* const from = fresh(parked);
  EK_UNROLL
  for (int i = 0; i < MR * V; ++i) sum_s32x4[i / V][i % V] = vld1q_s32(from + 4 * i);
}

/// One of the pixels that share a vector of bytes; its columns are all there.
template <int V>
EK_INLINE void store_part(uint8_t* y, uint8x16_t y_u8x16, int part) {
  if constexpr (V == 1) {
    const uint32x4_t y_u32x4 = vreinterpretq_u32_u8(y_u8x16);
    const uint32_t four = part == 0   ? vgetq_lane_u32(y_u32x4, 0)
                          : part == 1 ? vgetq_lane_u32(y_u32x4, 1)
                          : part == 2 ? vgetq_lane_u32(y_u32x4, 2)
                                      : vgetq_lane_u32(y_u32x4, 3);
    __builtin_memcpy(y, &four, 4);
  } else if constexpr (V == 2) {
    const uint64x2_t y_u64x2 = vreinterpretq_u64_u8(y_u8x16);
    const uint64_t eight = part == 0 ? vgetq_lane_u64(y_u64x2, 0) : vgetq_lane_u64(y_u64x2, 1);
    __builtin_memcpy(y, &eight, 8);
  } else {
    vst1q_u8(y, y_u8x16);
  }
}

/// Stores n bytes, at most 16, of each of `pixels` pixels, `pitch` bytes from one to the next. Reads 16 of each.
__attribute__((noinline)) void store_pieces(uint8_t* y, ptrdiff_t y_px, int32_t n, const uint8_t* bytes, int32_t pixels,
                                            ptrdiff_t pitch) {
  for (; pixels > 0; --pixels, y += y_px, bytes += pitch) store_u8x16(y, vld1q_u8(bytes), n);
}

/// How a call's outputs are clipped, made once and kept in memory: the loop over k needs the registers.
struct OutNeon {
  const ClipNeon& clip;
  bool moved, bounded;  ///< zero is not 0; some byte is out of bounds. Without either, saturating is all there is to do
};

EK_INLINE OutNeon out_neon(const Requant& out, const ClipNeon& clip) {
  const int32_t lo = static_cast<int32_t>(out.lo) + out.zero, hi = static_cast<int32_t>(out.hi) + out.zero;
  return {clip, out.zero != 0, lo > 0 || hi < 255};
}

/// Four vectors of rounded outputs each to 16 bytes. The branches cost less than what they leave out: most layers end
/// in a ReLU at byte 0, or have no bounds at all.
template <int kBytes>
EK_INLINE void bytes_of(const int32x4_t (&q_s32x4)[kBytes][4], const OutNeon& out, uint8x16_t (&y_u8x16)[kBytes]) {
  int16x8_t q_s16x8[kBytes][2];
  EK_UNROLL
  for (int i = 0; i < 2 * kBytes; ++i) {
    const int32x4_t(&four)[4] = q_s32x4[i / 2];
    q_s16x8[i / 2][i % 2] = vqmovn_high_s32(vqmovn_s32(four[i % 2 * 2]), four[i % 2 * 2 + 1]);
  }
  if (__builtin_expect(out.moved, 1)) {
    EK_UNROLL
    for (int i = 0; i < 2 * kBytes; ++i) {
      q_s16x8[i / 2][i % 2] = vqaddq_s16(q_s16x8[i / 2][i % 2], out.clip.zero_s16x8);
    }
  }
  EK_UNROLL
  for (int b = 0; b < kBytes; ++b) y_u8x16[b] = vqmovun_high_s16(vqmovun_s16(q_s16x8[b][0]), q_s16x8[b][1]);
  if (out.bounded) {
    EK_UNROLL
    for (int b = 0; b < kBytes; ++b) {
      y_u8x16[b] = vminq_u8(vmaxq_u8(y_u8x16[b], out.clip.lo_u8x16), out.clip.hi_u8x16);
    }
  }
}

/// Stores a tile whose columns are all there.
template <int MR, int V, int kBytes>
EK_INLINE void store_whole(uint8_t* y, ptrdiff_t y_px, const uint8x16_t (&y_u8x16)[kBytes]) {
  constexpr int kTogether = V < 3 ? 4 / V : 1;
  EK_UNROLL
  for (int p = 0; p < MR; p += 2, y += 2 * y_px) {
    store_part<V>(y, y_u8x16[p / kTogether], p % kTogether);
    if (p + 1 < MR) store_part<V>(y + y_px, y_u8x16[(p + 1) / kTogether], (p + 1) % kTogether);
  }
}

/// Stores n columns of a tile.
template <int MR, int V, int kBytes>
EK_INLINE void store_bytes(uint8_t* y, ptrdiff_t y_px, int32_t n, const uint8x16_t (&y_u8x16)[kBytes]) {
  if (n >= 4 * V && V != 3) return store_whole<MR, V>(y, y_px, y_u8x16);
  uint8_t bytes[16 * kBytes + 16];
  EK_UNROLL
  for (int b = 0; b < kBytes; ++b) vst1q_u8(bytes + 16 * b, y_u8x16[b]);
  store_pieces(y, y_px, n < 4 * V ? n : 4 * V, bytes, MR, V < 3 ? 4 * V : 16);
}

/// Requantises a tile: vectors of bytes, each 16 columns of one pixel, 8 of two or 4 of four.
template <int MR, int V, int kBytes>
EK_INLINE void requantise(const float* scale, const int32x4_t (&sum_s32x4)[MR][V], const OutNeon& out,
                          uint8x16_t (&y_u8x16)[kBytes]) {
  constexpr int kTogether = V < 3 ? 4 / V : 1;  // pixels of a vector of bytes
  float32x4_t scale_f32x4[V];
  EK_UNROLL
  for (int v = 0; v < V; ++v) scale_f32x4[v] = vld1q_f32(scale + 4 * v);
  int32x4_t q_s32x4[kBytes][4];
  EK_UNROLL
  for (int i = 0; i < 4 * kBytes; ++i) {
    // What stands in for a missing pixel or vector is not stored.
    const int b = i / 4, at = i % 4;
    const int p = b * kTogether + (V < 3 ? at / V : 0), v = V < 3 ? at % V : at;
    q_s32x4[b][at] = p < MR && v < V ? round_s32x4(sum_s32x4[p < MR ? p : 0][v < V ? v : 0], scale_f32x4[v < V ? v : 0])
                                     : q_s32x4[b][at - 1];
  }
  bytes_of(q_s32x4, out, y_u8x16);
}

}  // namespace
}  // namespace ek
