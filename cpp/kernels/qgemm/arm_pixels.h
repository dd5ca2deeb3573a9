// SPDX-License-Identifier: Apache-2.0
/// How the Arm rows that multiply signed bytes walk a call: by blocks of up to 4 pixels, copied once for all columns.
///
///   copy[k / 16][pixel][16] = (a ^ 0x80) of one chunk of k, taps behind each other, each rounded up to 16
///
/// A copy takes 11 instructions for 16 k of 4 pixels. It makes one load of the 4 loads and 4 flips of each tile, one
/// loop of all taps that need no padding, and one pointer of four. As many blocks as fit the copy go together, for each
/// 16 columns all of them: the weights of those stay in L1 as well.
///
/// A call whose k is longer than the copy goes in chunks of k, between which the sums of a block are parked. Memory:
/// reads round_up(kc, kr) bytes of each tap of each pixel; 16 KB of stack for the copy and 1 KB for parked sums.
#pragma once
#include "kernels/qgemm/arm_tiles.h"

namespace ek {
namespace {

constexpr int32_t kColumns = 64;  // of a panel
constexpr int32_t kCopyBytes = 16384;  // of pixels: beside the weights of 16 columns they fit an L1 of 32 KB
constexpr int32_t kChunk = kCopyBytes / 4;  // of k, of one block

/// What the tiles of a batch work on: some blocks of pixels, one chunk of k, all columns.
struct Tiles {
  const uint8_t* copy;
  int32_t blocks;  ///< of pixels
  int32_t runs;  ///< of k, in the copy
  int32_t full, rest;  ///< of a run: whole vectors of 16, elements of one more, by Row::kStep
  bool merged;  ///< one run without a rest
  const int8_t* w;  ///< the panel
  ptrdiff_t depth, all;  ///< of a column: k of this chunk and of all, in the panel
  ptrdiff_t before;  ///< and of the chunks that are done
  const int32_t* bias;
  const int32_t* start;  ///< parked sums to begin with, null in the first chunk: the bias
  int32_t* parked;  ///< where sums go, null in the last chunk: they become bytes
  const float* scale;
  uint8_t* y;
  ptrdiff_t y_px;
  int32_t n;
};

/// Some taps of all channels, or a part of one tap.
struct Span {
  int32_t ky, kx, k;  ///< where it begins
  int32_t taps, kc;
};

/// Rounds up what is not negative.
template <int32_t kStep>
EK_INLINE int32_t up(int32_t value) {
  return (value + kStep - 1) & -kStep;
}

/// Loads `groups` (1..3) groups of 4, no byte more.
EK_INLINE uint8x16_t load_groups_u8x16(const uint8_t* a, int32_t groups) {
  uint32_t part[3] = {};
  __builtin_memcpy(part, a, 4);
  if (groups > 1) __builtin_memcpy(part + 1, a + 4, 4);
  if (groups > 2) __builtin_memcpy(part + 2, a + 8, 4);
  return vcombine_u8(vcreate_u8(part[0] | uint64_t{part[1]} << 32), vcreate_u8(part[2]));
}

EK_INLINE void store_vectors(uint8_t* to, const uint8x16_t (&v_u8x16)[1]) { vst1q_u8(to, v_u8x16[0]); }
EK_INLINE void store_vectors(uint8_t* to, const uint8x16_t (&v_u8x16)[2]) {
  const uint8x16x2_t two_u8x16 = {{v_u8x16[0], v_u8x16[1]}};
  vst1q_u8_x2(to, two_u8x16);
}
EK_INLINE void store_vectors(uint8_t* to, const uint8x16_t (&v_u8x16)[3]) {
  const uint8x16x3_t three_u8x16 = {{v_u8x16[0], v_u8x16[1], v_u8x16[2]}};
  vst1q_u8_x3(to, three_u8x16);
}
EK_INLINE void store_vectors(uint8_t* to, const uint8x16_t (&v_u8x16)[4]) {
  const uint8x16x4_t four_u8x16 = {{v_u8x16[0], v_u8x16[1], v_u8x16[2], v_u8x16[3]}};
  vst1q_u8_x4(to, four_u8x16);
}

/// Copies the first `whole` bytes of MR pixels, and the rest of `kc` by groups.
template <int MR>
EK_INLINE void copy_block(const uint8_t* from, ptrdiff_t a_px, ptrdiff_t whole, ptrdiff_t kc, uint8_t* to) {
  const uint8x16_t flip_u8x16 = vdupq_n_u8(0x80);
  const uint8_t* a[MR];
  EK_UNROLL
  for (int p = 0; p < MR; ++p) a[p] = from + p * a_px;
  ptrdiff_t at = 0;
  for (; at < whole; at += 16, to += 16 * MR) {
    uint8x16_t v_u8x16[MR];
    EK_UNROLL
    for (int p = 0; p < MR; ++p) v_u8x16[p] = veorq_u8(vld1q_u8(a[p] + at), flip_u8x16);
    store_vectors(to, v_u8x16);
  }
  if (at >= kc) return;
  for (int p = 0; p < MR; ++p) {
    const uint8x16_t rest_u8x16 = load_groups_u8x16(from + p * a_px + at, static_cast<int32_t>(kc - at + 3) / 4);
    vst1q_u8(to + 16 * p, veorq_u8(rest_u8x16, flip_u8x16));
  }
}

/// 16 k of all pixels, by one instruction; a moves on to the next.
EK_INLINE void load_a(const uint8_t*& a, int8x16_t (&a_s8x16)[1]) {
  a_s8x16[0] = vreinterpretq_s8_u8(vld1q_u8(a)), a += 16;
}
EK_INLINE void load_a(const uint8_t*& a, int8x16_t (&a_s8x16)[2]) {
  const uint8x16x2_t two_u8x16 = vld1q_u8_x2(a);
  a_s8x16[0] = vreinterpretq_s8_u8(two_u8x16.val[0]), a_s8x16[1] = vreinterpretq_s8_u8(two_u8x16.val[1]), a += 32;
}
EK_INLINE void load_a(const uint8_t*& a, int8x16_t (&a_s8x16)[3]) {
  const uint8x16x3_t three_u8x16 = vld1q_u8_x3(a);
  EK_UNROLL
  for (int p = 0; p < 3; ++p) a_s8x16[p] = vreinterpretq_s8_u8(three_u8x16.val[p]);
  a += 48;
}
EK_INLINE void load_a(const uint8_t*& a, int8x16_t (&a_s8x16)[4]) {
  const uint8x16x4_t four_u8x16 = vld1q_u8_x4(a);
  EK_UNROLL
  for (int p = 0; p < 4; ++p) a_s8x16[p] = vreinterpretq_s8_u8(four_u8x16.val[p]);
  a += 64;
}

/// Copies `blocks` blocks of MR pixels from `first` on, tap by tap. Behind a tap stands what the next pixels begin
/// with, so all but the strip's last pixels go by whole vectors.
template <int kKr, int MR>
__attribute__((noinline)) void copy_blocks(const QGemmArgs& args, int32_t first, int32_t blocks, const Span& span,
                                           uint8_t* to) {
  const ptrdiff_t a_px = args.a_px, kc = span.kc, wide = up<16>(span.kc), block = MR * wide * span.taps;
  const uint8_t* const* row = args.rows + span.ky;
  int32_t kx = span.kx;
  for (int32_t left = span.taps; left > 0; --left, to += MR * wide) {
    const uint8_t* from = *row + kx * args.a_kx + first * a_px + span.k;
    const uint8_t* const last = from + (args.m - first - MR) * a_px;
    uint8_t* at = to;
    for (int32_t b = blocks; b > 0; --b, from += MR * a_px, at += block) {
      copy_block<MR>(from, a_px, kKr == 16 || last - from >= 12 ? wide : (kc + kKr - 1) & -16, kc, at);
    }
    if (++kx == args.kw) kx = 0, ++row;
  }
}

/// The tiles of `blocks` blocks of MR pixels from `first` on, over one span.
template <typename Row, int MR>
EK_INLINE void multiply_span(const QGemmArgs& args, int32_t first, const Span& span, uint8_t* copy, const OutNeon& out,
                             Tiles& t) {
  constexpr int kKr = Row::kKr;
  copy_blocks<kKr, MR>(args, first, t.blocks, span, copy);
  const int32_t used = up<Row::kStep>(span.kc);
  t.merged = (used & 15) == 0;
  t.runs = t.merged ? 1 : span.taps;
  t.full = (t.merged ? span.taps * used : used) >> 4;
  t.rest = t.merged ? 0 : used & 15;
  t.depth = ptrdiff_t{span.taps} * up<kKr>(span.kc);
  t.y = args.y + first * args.y_px;
  Row::template columns<MR>(t, out);
}

/// A block whose k is too long for the copy, chunk by chunk.
template <typename Row, int MR>
EK_INLINE void chunks(const QGemmArgs& args, int32_t first, uint8_t* copy, const OutNeon& out, Tiles& t) {
  int32_t parked[4 * kColumns];
  const int32_t wide = up<16>(args.kc), together = wide < kChunk ? kChunk / wide : 1;
  Span span = {0, 0, 0, 0, 0};
  t.blocks = 1;
  t.before = 0, t.start = nullptr;
  while (span.ky < args.kh) {
    const int32_t left = (args.kh - span.ky) * args.kw - span.kx;
    span.kc = args.kc - span.k < kChunk ? args.kc - span.k : kChunk;
    span.taps = left < together ? left : together;
    Span next = span;
    next.k += span.kc;
    if (next.k == args.kc) {
      next.k = 0;
      next.ky += (span.kx + span.taps) / args.kw, next.kx = (span.kx + span.taps) % args.kw;
    }
    t.parked = next.ky < args.kh ? parked : nullptr;
    multiply_span<Row, MR>(args, first, span, copy, out, t);
    t.before += t.depth, t.start = parked;
    span = next;
  }
}

template <typename Row>
__attribute__((noinline)) void run_deep(const QGemmArgs& args, uint8_t* copy, const OutNeon& out, Tiles t) {
  int32_t first = 0;
  for (; first + 4 <= args.m; first += 4) chunks<Row, 4>(args, first, copy, out, t);
  for (; first < args.m; ++first) chunks<Row, 1>(args, first, copy, out, t);
}

template <typename Row>
EK_INLINE void run(const QGemmArgs& args) {
  alignas(64) uint8_t copy[kCopyBytes];
  const ClipNeon clip = load_clip_neon(args.out);
  const OutNeon out = out_neon(args.out, clip);
  const int32_t taps = args.kh * args.kw;
  const int64_t depth = int64_t{taps} * up<16>(args.kc);
  Tiles t;
  t.copy = copy;
  t.w = static_cast<const int8_t*>(args.w);
  t.all = ptrdiff_t{taps} * up<Row::kKr>(args.kc);
  t.before = 0;
  t.bias = args.bias, t.start = nullptr, t.parked = nullptr;
  t.scale = args.scale;
  t.y_px = args.y_px;
  t.n = args.n;
  if (depth > kChunk) return run_deep<Row>(args, copy, out, t);
  const Span span = {0, 0, 0, taps, args.kc};
  const int32_t most = kChunk / static_cast<int32_t>(depth);
  int32_t first = 0;
  for (int32_t left = args.m >> 2; left > 0; left -= t.blocks) {
    t.blocks = left < most ? left : most;
    multiply_span<Row, 4>(args, first, span, copy, out, t);
    first += 4 * t.blocks;
  }
  t.blocks = 1;
  switch (args.m - first) {
    case 3:
      return multiply_span<Row, 3>(args, first, span, copy, out, t);
    case 2:
      return multiply_span<Row, 2>(args, first, span, copy, out, t);
    case 1:
      return multiply_span<Row, 1>(args, first, span, copy, out, t);
    default:
      return;
  }
}

}  // namespace
}  // namespace ek
