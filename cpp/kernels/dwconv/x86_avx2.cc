// SPDX-License-Identifier: Apache-2.0
/// dwconv for AVX2: 3x3 and 5x5, strides 1 and 2, in two loops: sums of 8 channels at a time into a buffer in L1, then
/// requantisation from there, 32 bytes at a time.
///
///   y(x, c) = requant(bias(c) + sum over ky, kx of rows[ky][(x*S + kx)*px + c] * w(ky, kx, c), scale(c))
///
///   instruction                   per cycle, Zen 4 / Haswell    for 32 outputs of 3x3, stride 1 / 2
///   VPUNPCKLBW           x, x, m128       3 / 1     taps side by side                6 / 12
///   VPMOVZXBW            y, x             2 / 1     ... as 16 bits                   6 / 12
///   VPMADDWD             y, y, y          2 / 1     2 taps of 8 channels            20 / 20
///   VPADDD               y, y, y          4 / 2                                     20 / 20
///   VMOVDQA              m256, y          1 / 1     sums                             4 /  4
///   VCVTDQ2PS .. VPERMD  y                2 / 1     requantise                      20 / 20
///
/// Two loops, since one keeps neither its weights in registers nor its requantisation, some 20 cycles from sum to byte,
/// out of the way of the next products.
///
/// Algebra: rows go two at a time, a column of both to a 32-bit lane; of the row left over, two neighbouring columns.
/// A step takes two columns, near and far, to every output they touch, so at stride 1 each is interleaved once. Where
/// an output has one of the two only, the other's weight is 0 (pack.cc).
/// Why not VPMADDUBSW: it saturates where 255 * (w0 + w1) leaves int16.
///
/// Bounds: VPMADDWD of bytes and int8 weights, or sums of up to three, is exact. Sums wrap modulo 2^32; the true
/// sum fits int32 (proved by the verifier). Products are below 2^30 (fits), so they are clipped after the conversion to
/// int32: saturation on the way to bytes keeps their order.
/// Memory: reads up to 15 bytes behind a pixel's last channel (arena slack), packed weights, bias and scale; 8 kB of
/// stack; writes m x c bytes.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/dwconv/x86_finish.h"

namespace ek {

void dwconv_u8_3x3_avx2(const DwConvArgs& args);
void dwconv_u8_5x5_avx2(const DwConvArgs& args);

namespace {

constexpr int32_t kSums = 2048;  ///< of the buffer
constexpr int32_t kFill = 1024;  ///< sums of a turn, where a block has fewer, so that the buffer takes little of L1

template <int K, int S>
struct Shape {
  static constexpr int kPairs = K / 2;  ///< of rows
  static constexpr int kLive = (K + 1) / S;  ///< outputs that two columns touch
  static constexpr int kDone = 2 / S;  ///< outputs that they finish
  static constexpr int kGroups = kPairs * K + kLive;
  static constexpr int32_t kPixels = 64 / S;  ///< at once, so that rows stay in L1 from block to block
  static constexpr bool kHeld = K == 3;  ///< registers are enough for the weights
};

/// 8 channels: their constants, and where they are in their rows.
template <int K, int S>
struct Block {
  const uint8_t* row[K];  ///< next near column
  ptrdiff_t px;
  const __m256i* w;  ///< [kGroups]
  const int32_t* bias;
  __m256i held[Shape<K, S>::kHeld ? Shape<K, S>::kGroups : 1];

  template <bool kHeld>
  EK_MEMBER __m256i weights(int group) const {
    return kHeld ? held[kHeld ? group : 0] : load256(w + group);
  }
};

/// 8 channels of two pixels, side by side.
EK_INLINE __m256i taps_s16x16(const uint8_t* a, const uint8_t* b) {
  const __m128i a_u8x8 = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(a));
  const __m128i b_u8x16 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b));
  return _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a_u8x8, b_u8x16));
}

EK_INLINE __m256i dot(__m256i sum_s32x8, __m256i taps_s16x16, __m256i w_s16x16) {
  return _mm256_add_epi32(sum_s32x8, _mm256_madd_epi16(taps_s16x16, w_s16x16));
}

/// Adds the next two columns, or one of them, to the outputs kFrom..kTo - 1 of those they touch. Output 0 is the next
/// to finish; those that begin start with the bias.
template <int kFrom, int kTo, bool kNear, bool kFar, bool kHeld, int K, int S, int kLive>
EK_INLINE void add_columns(__m256i (&sum_s32x8)[kLive], Block<K, S>& b) {
  constexpr int kPairs = Shape<K, S>::kPairs;
  __m256i near[kPairs], far[kPairs];
  EK_UNROLL
  for (int i = 0; i < kPairs; ++i) {
    if (kNear) near[i] = taps_s16x16(b.row[2 * i], b.row[2 * i + 1]);
    if (kFar) far[i] = taps_s16x16(b.row[2 * i] + b.px, b.row[2 * i + 1] + b.px);
  }
  const __m256i last = taps_s16x16(b.row[K - 1] + (kNear ? 0 : b.px), b.row[K - 1] + (kFar ? b.px : 0));
  EK_UNROLL
  for (int o = kFrom; o < kTo; ++o) {
    const int kx = K - S - S * o;  // of the near column
    __m256i acc_s32x8 = kx < 1 ? load256(b.bias) : sum_s32x8[o];
    EK_UNROLL
    for (int i = 0; i < kPairs; ++i) {
      if (kNear && kx >= 0) acc_s32x8 = dot(acc_s32x8, near[i], b.template weights<kHeld>(kx * kPairs + i));
      if (kFar && kx + 1 < K) acc_s32x8 = dot(acc_s32x8, far[i], b.template weights<kHeld>((kx + 1) * kPairs + i));
    }
    sum_s32x8[o] = dot(acc_s32x8, last, b.template weights<kHeld>(kPairs * K + kLive - 1 - o));
  }
}

/// Moves on by two columns.
template <int K, int S, int kLive>
EK_INLINE void advance(__m256i (&sum_s32x8)[kLive], Block<K, S>& b) {
  constexpr int kDone = Shape<K, S>::kDone;
  EK_UNROLL
  for (int o = kDone; o < kLive; ++o) sum_s32x8[o - kDone] = sum_s32x8[o];
  EK_UNROLL
  for (int ky = 0; ky < K; ++ky) b.row[ky] = in_register(b.row[ky] + 2 * b.px);
  b.bias = in_register(b.bias);
  if (!Shape<K, S>::kHeld) b.w = in_register(b.w);
}

template <int kDone, int kLive>
EK_INLINE int32_t* put(int32_t* to, const __m256i (&sum_s32x8)[kLive]) {
  EK_UNROLL
  for (int o = 0; o < kDone; ++o) _mm256_store_si256(reinterpret_cast<__m256i*>(to) + o, sum_s32x8[o]);
  return to + kLanes * kDone;
}

/// The sums of m outputs of one block, to[m][kLanes]. At stride 2 the near column of the first step is left of the row.
template <int K, int S>
EK_INLINE void add_block(Block<K, S> b, int32_t m, int32_t* to) {
  using Of = Shape<K, S>;
  constexpr int kLive = Of::kLive, kDone = Of::kDone;
  __m256i sum_s32x8[kLive] = {};  // of the first step `advance` takes some that no column has reached
  add_columns<K / 2 * kDone, kLive, S == 1, true, false>(sum_s32x8, b);
  advance(sum_s32x8, b);
  if (K == 5) {
    add_columns<kDone, kLive, true, true, false>(sum_s32x8, b);
    advance(sum_s32x8, b);
  }
  if (Of::kHeld) {
    EK_UNROLL
    for (int i = 0; i < Of::kGroups; ++i) b.held[i] = load256(b.w + i);
  }
  for (; m > kDone; m -= kDone) {
    add_columns<0, kLive, true, true, Of::kHeld>(sum_s32x8, b);
    to = put<kDone>(to, sum_s32x8);
    advance(sum_s32x8, b);
  }
  if (m == kDone) {
    add_columns<0, kDone, true, true, false>(sum_s32x8, b);
    put<kDone>(to, sum_s32x8);
  } else {
    add_columns<0, 1, true, false, false>(sum_s32x8, b);
    put<1>(to, sum_s32x8);
  }
}

/// Sums of channels first..end - 1 of m outputs from x on, to[block][m][kLanes]. A function of its own, as is `finish`,
/// so that GCC allots its registers alone.
template <int K, int S>
__attribute__((noinline)) void add_up(const DwConvArgs& args, int32_t x, int32_t m, int32_t first, int32_t end,
                                      int32_t* to) {
  constexpr int kGroups = Shape<K, S>::kGroups;
  Block<K, S> b;
  b.px = args.in_px;
  b.w = static_cast<const __m256i*>(args.w) + first / kLanes * kGroups;
  b.bias = args.bias + first;
  EK_UNROLL
  for (int ky = 0; ky < K; ++ky) b.row[ky] = args.rows[ky] + first + (S == 1 ? x : 2 * x - 1) * b.px;
  for (; first < end; first += kLanes, to += kLanes * m) {
    add_block(b, m, to);
    EK_UNROLL
    for (int ky = 0; ky < K; ++ky) b.row[ky] = in_register(b.row[ky] + kLanes);
    b.w += kGroups;
    b.bias += kLanes;
  }
}

template <int K, int S>
void row(const DwConvArgs& args) {
  alignas(32) int32_t sums[kSums];
  const ByteBounds256 r = load_byte_bounds256(args.out);
  const bool plain = args.out.zero == 0 && args.out.lo == 0.0f && args.out.hi == 255.0f;
  const auto to_bytes = plain ? finish<true> : finish<false>;
  for (int32_t x = 0, m; x < args.m; x += m) {
    m = args.m - x < Shape<K, S>::kPixels ? args.m - x : Shape<K, S>::kPixels;
    const int32_t channels = 32 * m < kFill ? kFill / (32 * m) * 32 : 32;
    for (int32_t c = 0, end; c < args.c; c = end) {
      end = args.c - c < channels ? args.c : c + channels;
      add_up<K, S>(args, x, m, c, end, sums);
      to_bytes(args, x, m, c, end, sums, r);
    }
  }
}

}  // namespace

void dwconv_u8_3x3_avx2(const DwConvArgs& args) { args.sx == 1 ? row<3, 1>(args) : row<3, 2>(args); }

void dwconv_u8_5x5_avx2(const DwConvArgs& args) { args.sx == 1 ? row<5, 1>(args) : row<5, 2>(args); }

}  // namespace ek
