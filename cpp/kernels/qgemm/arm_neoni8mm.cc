// SPDX-License-Identifier: Apache-2.0
/// qgemm for Arm's matrix product: tiles of 8 pixels (4 pairs) x 8 columns, k in groups of 8.
///
///   y(i, n) = requant(bias(n) + sum over taps, k of a_u8(i; tap, k) * w_s8(n; tap, k), scale(n))
///
///   intrinsic          instruction                 per cycle: N2  V1   lanes
///   vusmmlaq_s32       USMMLA  4s, 16b, 16b                   2   4    2 pixels x 2 columns, 8 k of each
///   vld1q_x4           LD1     4 of 16b                       1/2 3/4  8 k of 8 columns, or of 8 pixels
///   vzip1q, vzip2q     ZIP1, ZIP2  2d                         2   4    8 k of a pair of pixels; outside the loop
///   requantise         see isa/arm_neon.h
///
/// Why it is exact: USMMLA adds eight u8 x s8 products to an int32 lane without saturating, and takes the bytes of A as
/// they are. A lane wraps modulo 2^32; the true sum fits int32, for any weights up to K = 65793.
/// Two pixels' k groups must lie side by side, which takes a ZIP for each 16 bytes of A. Done in the loop over columns
/// that is a fifth of all that its pipes do. So the 8 pixels are paired once, with all taps behind each other, in a
/// copy on the stack, and serve the 8 tiles of a panel of 64 columns. The loop is then 16 products in 21 instructions
/// for 512 multiply-accumulates. Registers: 16 sums, 4 of A, 4 of weights. The copy is why K is bounded
/// (`kPairedDepth`), and one pixel is left to rows that do not multiply it twice. Memory: reads round_up(kc, 8) bytes
/// of each tap of each pixel, the panel, and biases and scales of its vectors; writes n columns of m pixels; 36 KB of
/// stack.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/qgemm/arm_tiles.h"

namespace ek {

void qgemm_u8_8x64x8_neoni8mm(const QGemmArgs& args);

namespace {

/// Copies one tap of kPairs pairs of pixels, [k / 8][pair][pixel][8]; returns where the next begins.
template <int kPairs>
EK_INLINE uint8_t* pair_tap(const uint8_t* const (&a)[2 * kPairs], int32_t kc, uint8_t* paired) {
  constexpr int kGroup = 16 * kPairs;
  const ptrdiff_t groups = (kc + 7) / 8, full = groups / 2 * 16;
  ptrdiff_t at = 0;
  for (; at < full; at += 16, paired += 2 * kGroup) {
    EK_UNROLL
    for (int p = 0; p < kPairs; ++p) {
      const uint64x2_t even_u64x2 = vreinterpretq_u64_u8(vld1q_u8(a[2 * p] + at));
      const uint64x2_t odd_u64x2 = vreinterpretq_u64_u8(vld1q_u8(a[2 * p + 1] + at));
      vst1q_u8(paired + 16 * p, vreinterpretq_u8_u64(vzip1q_u64(even_u64x2, odd_u64x2)));
      vst1q_u8(paired + kGroup + 16 * p, vreinterpretq_u8_u64(vzip2q_u64(even_u64x2, odd_u64x2)));
    }
  }
  if (groups % 2 == 0) return paired;
  EK_UNROLL
  for (int p = 0; p < kPairs; ++p) {
    vst1q_u8(paired + 16 * p, vcombine_u8(vld1_u8(a[2 * p] + at), vld1_u8(a[2 * p + 1] + at)));
  }
  return paired + kGroup;
}

/// Copies all taps of pixels first..; those from `m` on repeat the last and are not stored. Returns the k groups.
template <int kPairs>
__attribute__((noinline)) ptrdiff_t pair_pixels(const QGemmArgs& args, int32_t first, uint8_t* paired) {
  uint8_t* end = paired;
  for (int32_t ky = 0; ky < args.kh; ++ky) {
    for (int32_t kx = 0; kx < args.kw; ++kx) {
      const uint8_t* a[2 * kPairs];
      point_at(args, first, ky, kx, a);
      if (first + 2 * kPairs > args.m) a[2 * kPairs - 1] = a[2 * kPairs - 2];
      end = pair_tap<kPairs>(a, args.kc, end);
    }
  }
  return (end - paired) / (16 * kPairs);
}

/// Vectors from p on, by one instruction.
EK_INLINE void load_vectors(const uint8_t* p, uint8x16_t (&a_u8x16)[1]) { a_u8x16[0] = vld1q_u8(p); }
EK_INLINE void load_vectors(const uint8_t* p, uint8x16_t (&a_u8x16)[2]) {
  const uint8x16x2_t v_u8x16 = vld1q_u8_x2(p);
  a_u8x16[0] = v_u8x16.val[0], a_u8x16[1] = v_u8x16.val[1];
}
EK_INLINE void load_vectors(const uint8_t* p, uint8x16_t (&a_u8x16)[4]) {
  const uint8x16x4_t v_u8x16 = vld1q_u8_x4(p);
  a_u8x16[0] = v_u8x16.val[0], a_u8x16[1] = v_u8x16.val[1];
  a_u8x16[2] = v_u8x16.val[2], a_u8x16[3] = v_u8x16.val[3];
}

/// kPairs pairs of pixels x 2 * C columns from `column` on: sum[p][c] = [pixel 2p: 2 columns | pixel 2p + 1: the same].
template <int kPairs, int C>
EK_INLINE void multiply(const QGemmArgs& args, int32_t column, const uint8_t* paired, ptrdiff_t groups,
                        int32x4_t (&sum_s32x4)[kPairs][C]) {
  EK_UNROLL
  for (int c = 0; c < C; ++c) {
    const int32x2_t bias_s32x2 = vld1_s32(args.bias + column + 2 * c);
    EK_UNROLL
    for (int p = 0; p < kPairs; ++p) sum_s32x4[p][c] = vcombine_s32(bias_s32x2, bias_s32x2);
  }
  const ptrdiff_t group = 8 * ptrdiff_t{(args.n + 3) / 4 * 4};  // bytes of weights
  const uint8_t* w = static_cast<const uint8_t*>(args.w) + 8 * column;
  for (; groups > 0; --groups, paired += 16 * kPairs, w += group) {
    uint8x16_t a_u8x16[kPairs], w_u8x16[C];
    load_vectors(paired, a_u8x16);
    load_vectors(w, w_u8x16);
    EK_UNROLL
    for (int c = 0; c < C; ++c) {
      const int8x16_t w_s8x16 = vreinterpretq_s8_u8(w_u8x16[c]);
      EK_UNROLL
      for (int p = 0; p < kPairs; ++p) sum_s32x4[p][c] = vusmmlaq_s32(sum_s32x4[p][c], a_u8x16[p], w_s8x16);
    }
  }
}

/// Requantises and stores a tile at y, n columns of `pixels` pixels. Bytes come out as pairs of columns whose pixels
/// alternate; unzipping 16-bit lanes parts even pixels from odd ones.
template <int kPairs, int C>
EK_INLINE void store(const QGemmArgs& args, uint8_t* y, int32_t column, int32_t n, int32_t pixels,
                     const int32x4_t (&sum_s32x4)[kPairs][C], const ClipNeon& clip) {
  constexpr int kVectors = (kPairs * C + 3) / 4;  // of bytes
  float32x4_t scale_f32x4[C];
  EK_UNROLL
  for (int c = 0; c < C; ++c) {
    const float32x2_t scale_f32x2 = vld1_f32(args.scale + column + 2 * c);
    scale_f32x4[c] = vcombine_f32(scale_f32x2, scale_f32x2);
  }
  uint16x8_t pairs_u16x8[(kVectors + 1) / 2 * 2];
  EK_UNROLL
  for (int b = 0; b < kVectors; ++b) {
    int32x4_t q_s32x4[4];
    EK_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int p = (4 * b + i) / C, c = (4 * b + i) % C;
      q_s32x4[i] = p < kPairs ? round_s32x4(sum_s32x4[p < kPairs ? p : 0][c], scale_f32x4[c]) : q_s32x4[0];
    }
    pairs_u16x8[b] = vreinterpretq_u16_u8(clipped_u8x16(q_s32x4[0], q_s32x4[1], q_s32x4[2], q_s32x4[3], clip));
  }
  if (kVectors % 2 != 0) pairs_u16x8[kVectors] = pairs_u16x8[kVectors - 1];
  const ptrdiff_t y_px = args.y_px;
  constexpr int kBytes = 2 * C, kTogether = 16 / kBytes;  // of a pixel; pairs in a vector of even or odd pixels
  EK_UNROLL
  for (int p = 0; p < kPairs; p += kTogether) {
    const uint16x8_t x_u16x8 = pairs_u16x8[p * C / 4], z_u16x8 = pairs_u16x8[p * C / 4 + 1];
    const uint8x16_t part_u8x16[2] = {vreinterpretq_u8_u16(vuzp1q_u16(x_u16x8, z_u16x8)),
                                      vreinterpretq_u8_u16(vuzp2q_u16(x_u16x8, z_u16x8))};
    EK_UNROLL
    for (int i = 0; i < 2 * kTogether; ++i, y += y_px) {
      if (2 * p + i >= 2 * kPairs - 1 && 2 * p + i >= pixels) return;
      if (n < kBytes) {
        uint8_t bytes[32];
        vst1q_u8(bytes, part_u8x16[i % 2]);
        store_pieces(y, 0, n, bytes + kBytes * (i / 2), 1, 0);
      } else if (i / 2 == 0) {
        store_part<C / 2>(y, part_u8x16[i % 2], 0);
      } else if (i / 2 == 1) {
        store_part<C / 2>(y, part_u8x16[i % 2], 1);
      } else if constexpr (C == 2) {
        store_part<1>(y, part_u8x16[i % 2], i / 2);
      }
    }
  }
}

/// One tile.
template <int kPairs, int C>
EK_INLINE void tile(const QGemmArgs& args, int32_t first, int32_t column, const uint8_t* paired, ptrdiff_t groups,
                    ClipNeon& clip) {
  int32x4_t sum_s32x4[kPairs][C];
  multiply(args, column, paired, groups, sum_s32x4);
  in_memory(clip);
  store(args, args.y + first * args.y_px + column, column, args.n - column, args.m - first, sum_s32x4, clip);
}

/// Blocks of kPairs pairs as long as pixels are left for one, the last of which may lack its second pixel. Returns the
/// pixels done.
template <int kPairs>
int32_t blocks(const QGemmArgs& args, int32_t first, uint8_t* paired) {
  ClipNeon clip = load_clip_neon(args.out);
  for (; first + 2 * kPairs <= args.m + 1 && first < args.m; first += 2 * kPairs) {
    const ptrdiff_t groups = pair_pixels<kPairs>(args, first, paired);
    int32_t column = 0;
    for (; column + 4 < args.n; column += 8) tile<kPairs, 4>(args, first, column, paired, groups, clip);
    if (column < args.n) tile<kPairs, 2>(args, first, column, paired, groups, clip);
  }
  return first;
}

}  // namespace

void qgemm_u8_8x64x8_neoni8mm(const QGemmArgs& args) {
  alignas(64) uint8_t paired[8 * kPairedDepth];
  int32_t first = blocks<4>(args, 0, paired);
  first = blocks<2>(args, first, paired);
  blocks<1>(args, first, paired);
}

}  // namespace ek
