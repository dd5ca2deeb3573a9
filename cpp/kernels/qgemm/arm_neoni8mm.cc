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
/// that is a fifth of all that its pipes do. So pixels are paired once, with all taps behind each other, in a copy on
/// the stack, and serve the 16 tiles of a panel of 128 columns; as many blocks of 8 pixels as fit 32 KB go together,
/// for each 8 columns all of them. The loop is then 16 products in 20 instructions for 512 multiply-accumulates.
/// Registers: 16 sums, 4 of A, 4 of weights. The copy is why K is bounded (`kPairedDepth`), and one pixel is left to
/// rows that do not multiply it twice. Memory: reads round_up(kc, 8) bytes of each tap of each pixel, the panel, and
/// biases and scales of its vectors; writes n columns of m pixels; 36 KB of stack.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/qgemm/arm_tiles.h"

namespace ek {

void qgemm_u8_8x128x8_neoni8mm(const QGemmArgs& args);

namespace {

constexpr int32_t kGroups = 512;  // of 8 k, of all blocks that are copied together: 32 KB

/// What the tiles of some blocks of pixels work on.
struct Tiles {
  const uint8_t* paired;
  int32_t blocks;
  ptrdiff_t groups;  ///< of 8 k, of all taps
  const uint8_t* w;
  const int32_t* bias;
  const float* scale;
  uint8_t* y;
  ptrdiff_t y_px;
  int32_t n;
  bool odd;  ///< the last pair is one pixel twice, stored once
};

/// Copies one tap of kPairs pairs of pixels, [k / 8][pair][pixel][8].
template <int kPairs>
EK_INLINE void pair_tap(const uint8_t* const (&a)[2 * kPairs], ptrdiff_t groups, uint8_t* paired) {
  constexpr int kGroup = 16 * kPairs;
  const ptrdiff_t full = groups / 2 * 16;
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
  if (groups % 2 == 0) return;
  EK_UNROLL
  for (int p = 0; p < kPairs; ++p) {
    vst1q_u8(paired + 16 * p, vcombine_u8(vld1_u8(a[2 * p] + at), vld1_u8(a[2 * p + 1] + at)));
  }
}

/// Copies all taps of `blocks` blocks of kPairs pairs of pixels from `first` on, tap by tap.
template <int kPairs>
__attribute__((noinline)) void pair_pixels(const QGemmArgs& args, int32_t first, const Tiles& t, uint8_t* paired) {
  const ptrdiff_t a_px = args.a_px, groups = (args.kc + 7) >> 3, block = t.groups * (16 * kPairs);
  const bool odd = t.odd;
  for (int32_t ky = 0; ky < args.kh; ++ky) {
    for (int32_t kx = 0; kx < args.kw; ++kx, paired += groups * (16 * kPairs)) {
      const uint8_t* from = args.rows[ky] + first * a_px + kx * args.a_kx;
      uint8_t* to = paired;
      for (int32_t b = t.blocks; b > 0; --b, from += 2 * kPairs * a_px, to += block) {
        const uint8_t* a[2 * kPairs];
        EK_UNROLL
        for (int p = 0; p < 2 * kPairs; ++p) a[p] = from + p * a_px;
        if (odd) a[2 * kPairs - 1] = a[2 * kPairs - 2];
        pair_tap<kPairs>(a, groups, to);
      }
    }
  }
}

/// Vectors from p on, by one instruction.
EK_INLINE void load_vectors(const uint8_t* p, uint8x16_t (&a_u8x16)[1]) { a_u8x16[0] = vld1q_u8(p); }
EK_INLINE void load_vectors(const uint8_t* p, uint8x16_t (&a_u8x16)[2]) {
  const uint8x16x2_t v_u8x16 = vld1q_u8_x2(p);
  a_u8x16[0] = v_u8x16.val[0], a_u8x16[1] = v_u8x16.val[1];
}
EK_INLINE void load_vectors(const uint8_t* p, uint8x16_t (&a_u8x16)[3]) {
  const uint8x16x3_t v_u8x16 = vld1q_u8_x3(p);
  a_u8x16[0] = v_u8x16.val[0], a_u8x16[1] = v_u8x16.val[1], a_u8x16[2] = v_u8x16.val[2];
}
EK_INLINE void load_vectors(const uint8_t* p, uint8x16_t (&a_u8x16)[4]) {
  const uint8x16x4_t v_u8x16 = vld1q_u8_x4(p);
  a_u8x16[0] = v_u8x16.val[0], a_u8x16[1] = v_u8x16.val[1];
  a_u8x16[2] = v_u8x16.val[2], a_u8x16[3] = v_u8x16.val[3];
}

/// Adds all k groups, one at least, of kPairs pairs of pixels x 2 * C columns; moves `paired` on to the next block.
template <int kPairs, int C>
EK_INLINE void multiply(const Tiles& t, const uint8_t*& paired, const uint8_t* w, int32x4_t (&sum_s32x4)[kPairs][C]) {
  const uint8_t* const end = paired + t.groups * (16 * kPairs);
  do {
    uint8x16_t a_u8x16[kPairs], w_u8x16[C];
    load_vectors(paired, a_u8x16);
    load_vectors(w, w_u8x16);
    paired += 16 * kPairs, w += 16 * C;
    EK_UNROLL
    for (int c = 0; c < C; ++c) {
      const int8x16_t w_s8x16 = vreinterpretq_s8_u8(w_u8x16[c]);
      EK_UNROLL
      for (int p = 0; p < kPairs; ++p) sum_s32x4[p][c] = vusmmlaq_s32(sum_s32x4[p][c], a_u8x16[p], w_s8x16);
    }
  } while (paired != end);
}

/// Stores n columns of a tile. Bytes come as pairs of columns whose pixels alternate; unzipping 16-bit lanes parts even
/// pixels from odd ones.
template <int kPairs, int C, bool kWhole, int kVectors>
EK_INLINE void store(const Tiles& t, uint8_t* y, int32_t n, const uint8x16_t (&y_u8x16)[kVectors]) {
  constexpr int kBytes = 2 * C, kTogether = 16 / kBytes;  // of a pixel; pairs in a vector of even or odd pixels
  EK_UNROLL
  for (int p = 0; p < kPairs; p += kTogether) {
    const int first = p * C / 4, second = first + 1 < kVectors ? first + 1 : first;
    const uint16x8_t x_u16x8 = vreinterpretq_u16_u8(y_u8x16[first]), z_u16x8 = vreinterpretq_u16_u8(y_u8x16[second]);
    const uint8x16_t part_u8x16[2] = {vreinterpretq_u8_u16(vuzp1q_u16(x_u16x8, z_u16x8)),
                                      vreinterpretq_u8_u16(vuzp2q_u16(x_u16x8, z_u16x8))};
    EK_UNROLL
    for (int i = 0; i < 2 * kTogether; ++i, y += t.y_px) {
      if (2 * p + i >= 2 * kPairs) return;
      if (2 * p + i == 2 * kPairs - 1 && __builtin_expect(t.odd, 0)) return;
      if (kWhole || n >= kBytes) {
        store_part<C / 2>(y, part_u8x16[i % 2], i / 2);
      } else {
        uint8_t bytes[32];
        vst1q_u8(bytes, part_u8x16[i % 2]);
        store_pieces(y, 0, n, bytes + kBytes * (i / 2), 1, 0);
      }
    }
  }
}

/// 2 * C columns from `column` on, of all blocks. kWhole: all columns are there.
template <int kPairs, int C, bool kWhole>
EK_INLINE void column_tiles(const Tiles& t, int32_t column, const OutNeon& out) {
  constexpr int kVectors = (kPairs * C + 3) / 4;  // of bytes
  const uint8_t* paired = t.paired;
  const uint8_t* const w = t.w + 8 * column * t.groups;
  uint8_t* y = t.y + column;
  int32_t start[4 * C];  // pairs of columns, for both pixels of a pair
  float scale[4 * C];
  EK_UNROLL
  for (int c = 0; c < C; ++c) {
    const int32x2_t bias_s32x2 = vld1_s32(t.bias + column + 2 * c);
    const float32x2_t scale_f32x2 = vld1_f32(t.scale + column + 2 * c);
    vst1q_s32(start + 4 * c, vcombine_s32(bias_s32x2, bias_s32x2));
    vst1q_f32(scale + 4 * c, vcombine_f32(scale_f32x2, scale_f32x2));
  }
  for (int32_t block = t.blocks; block > 0; --block, y += 2 * kPairs * t.y_px) {
    int32x4_t sum_s32x4[kPairs][C];
    load_bias(fresh(&start[0]), sum_s32x4);
    multiply(t, paired, w, sum_s32x4);
    int32x4_t q_s32x4[kVectors][4];
    EK_UNROLL
    for (int i = 0; i < 4 * kVectors; ++i) {
      const int p = i / C, c = i % C;
      q_s32x4[i / 4][i % 4] =
          p < kPairs ? round_s32x4(sum_s32x4[p < kPairs ? p : 0][c], vld1q_f32(scale + 4 * c)) : q_s32x4[0][0];
    }
    uint8x16_t y_u8x16[kVectors];
    bytes_of(q_s32x4, out, y_u8x16);
    store<kPairs, C, kWhole>(t, y, t.n - column, y_u8x16);
  }
}

/// As many columns by 8 as there are. Returns how many they are.
template <int kPairs>
__attribute__((noinline)) int32_t whole_tiles(const Tiles& given, const OutNeon& given_out) {
  const Tiles t = given;  // a copy that no store to y can change
  const OutNeon out = given_out;
  int32_t column = 0;
  for (; column + 8 <= t.n; column += 8) column_tiles<kPairs, 4, true>(t, column, out);
  return column;
}

/// The columns that are left.
template <int kPairs, int C>
__attribute__((noinline)) void last_tiles(const Tiles& given, int32_t column, const OutNeon& given_out) {
  const Tiles t = given;
  const OutNeon out = given_out;
  column_tiles<kPairs, C, false>(t, column, out);
}

/// t.blocks blocks of kPairs pairs from `first` on.
template <int kPairs>
EK_INLINE void blocks(const QGemmArgs& args, int32_t first, uint8_t* paired, const OutNeon& out, Tiles& t) {
  pair_pixels<kPairs>(args, first, t, paired);
  t.y = args.y + first * args.y_px;
  const int32_t column = t.n < 8 ? 0 : whole_tiles<kPairs>(t, out);
  if (t.n - column > 4) return last_tiles<kPairs, 4>(t, column, out);
  if (t.n > column) last_tiles<kPairs, 2>(t, column, out);
}

}  // namespace

void qgemm_u8_8x128x8_neoni8mm(const QGemmArgs& args) {
  alignas(64) uint8_t paired[8 * kPairedDepth];
  const ClipNeon clip = load_clip_neon(args.out);
  const OutNeon out = out_neon(args.out, clip);
  Tiles t;
  t.paired = paired;
  t.groups = ptrdiff_t{args.kh} * args.kw * ((args.kc + 7) >> 3);
  t.w = static_cast<const uint8_t*>(args.w);
  t.bias = args.bias, t.scale = args.scale;
  t.y_px = args.y_px;
  t.n = args.n;
  t.odd = false;
  const int32_t fit = kGroups / static_cast<int32_t>(t.groups), most = fit > 0 ? fit : 1;
  int32_t first = 0;
  for (int32_t left = args.m >> 3; left > 0; left -= t.blocks) {
    t.blocks = left < most ? left : most;
    blocks<4>(args, first, paired, out, t);
    first += 8 * t.blocks;
  }
  const int32_t left = args.m - first;
  t.blocks = 1;
  t.odd = left % 2 != 0;
  switch ((left + 1) >> 1) {
    case 4:
      return blocks<4>(args, first, paired, out, t);
    case 3:
      return blocks<3>(args, first, paired, out, t);
    case 2:
      return blocks<2>(args, first, paired, out, t);
    case 1:
      return blocks<1>(args, first, paired, out, t);
    default:
      return;
  }
}

}  // namespace ek
