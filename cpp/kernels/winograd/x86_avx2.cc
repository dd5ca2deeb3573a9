// SPDX-License-Identifier: Apache-2.0
/// winograd for AVX2: sixteen channels of a tile at a time, then tiles of 6 x 16 sums, channels in pairs, exact.
///
///   Y = (A' [ sum over c of (2G g 2G')(c) * (B' d B)(c) ] A) / 4, requantised; winograd.h has the matrices' names
///
///   intrinsic                   instruction           Zen 4 per cycle   Skylake      use
///   _mm256_madd_epi16           VPMADDWD y, y, y      2                 2 (p01)      2 products of 8 sums
///   _mm256_add_epi32            VPADDD y, y, y        4                 3 (p015)     adds them
///   _mm256_set1_epi32(load)     VPBROADCASTD y, m32   2 (load port)     2            two channels of a tile
///   _mm256_cvtepu8_epi16        VPMOVZXBW y, m128     2                 1            input bytes
///   requantise and store        see isa/x86_avx2.h
///
/// Why: without VNNI an exact product costs VPMADDWD and VPADDD for 16 terms; this needs 16 of them where the direct
/// sum needs 36, and its own additions are few beside them (per tile 56 operations for 16 channels of input, 150 for
/// 16 channels of output).
/// Bounds: |B' d B| <= 1020 and |2G g 2G'| <= 1152, both int16. Lanes wrap modulo 2^32; four times the true sum
/// fits int32 (kWinogradMaxChannels), so an arithmetic shift by two brings it back.
/// Registers: 12 sums, 2 weights, 1 broadcast, 1 product. Planes are the outer loop: weights of a plane (32 bytes per
/// channel) stay in L1 while all tiles of the strip pass.
/// Memory: reads 16 bytes of each pixel at a time, so up to 15 behind the last; the panel; writes v, sums and the n
/// columns of the h x w_out pixels.
#include "kernels/isa/x86_avx2.h"

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/winograd/winograd.h"

namespace ek {

void winograd_s16_6x16x2_avx2_transform(const WinogradArgs& args);
void winograd_s16_6x16x2_avx2_multiply(const WinogradArgs& args);

namespace {

constexpr int32_t kMr = 6;
constexpr int32_t kNr = 16;
constexpr int32_t kAhead = 4096;  // bytes of weights: about 500 cycles, a miss of every cache; planes and panels adjoin

/// The four vertical sums of one column of a tile: d0 - d2, d1 + d2, d2 - d1, d1 - d3.
struct Column {
  __m256i t_s16x16[4];
};

EK_INLINE Column load_column(const uint8_t* const* rows, ptrdiff_t offset) {
  __m256i d_s16x16[4];
  EK_UNROLL
  for (int y = 0; y < 4; ++y) {
    d_s16x16[y] = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[y] + offset)));
  }
  return {{_mm256_sub_epi16(d_s16x16[0], d_s16x16[2]), _mm256_add_epi16(d_s16x16[1], d_s16x16[2]),
           _mm256_sub_epi16(d_s16x16[2], d_s16x16[1]), _mm256_sub_epi16(d_s16x16[1], d_s16x16[3])}};
}

EK_INLINE void store_s16x16(int16_t* v, __m256i v_s16x16) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(v), v_s16x16);
}

/// One plane of MR tiles by one panel: sums[tile][16].
template <int MR>
void multiply_tiles(const int16_t* v, const int16_t* w, int32_t kc, int32_t* sums) {
  __m256i sum_s32x8[MR][2];
  EK_UNROLL
  for (int t = 0; t < MR; ++t) sum_s32x8[t][0] = sum_s32x8[t][1] = _mm256_setzero_si256();
  const int16_t* a[2] = {v, v + ptrdiff_t{3} * kc};  // six pointers would not leave registers for the rest
  for (int32_t k = 0; k < kc; k += 2, w += 2 * kNr) {
    __m256i w0_s16x16 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
    __m256i w1_s16x16 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + kNr));
    hold(w0_s16x16);
    hold(w1_s16x16);
    _mm_prefetch(reinterpret_cast<const char*>(w) + kAhead, _MM_HINT_T0);
    EK_UNROLL
    for (int t = 0; t < MR; ++t) {
      const __m256i a_s16x16 = _mm256_set1_epi32(load_s32(a[t / 3] + ptrdiff_t{t % 3} * kc + k));
      sum_s32x8[t][0] = _mm256_add_epi32(sum_s32x8[t][0], _mm256_madd_epi16(a_s16x16, w0_s16x16));
      sum_s32x8[t][1] = _mm256_add_epi32(sum_s32x8[t][1], _mm256_madd_epi16(a_s16x16, w1_s16x16));
    }
  }
  EK_UNROLL
  for (int t = 0; t < MR; ++t) {
    EK_UNROLL
    for (int i = 0; i < 2; ++i) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + kNr * t + 8 * i), sum_s32x8[t][i]);
    }
  }
}

using MultiplyFn = void (*)(const int16_t* v, const int16_t* w, int32_t kc, int32_t* sums);
constexpr MultiplyFn kMultiply[kMr] = {multiply_tiles<1>, multiply_tiles<2>, multiply_tiles<3>,
                                       multiply_tiles<4>, multiply_tiles<5>, multiply_tiles<6>};

EK_INLINE __m256i load_sums(const int32_t* sums, ptrdiff_t plane, int i) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums + i * plane));
}

/// A' m A / 4 of eight columns of a tile: its four outputs, row by row.
EK_INLINE void transform_sums(const int32_t* sums, ptrdiff_t plane, __m256i (&out_s32x8)[4]) {
  __m256i top_s32x8[4], low_s32x8[4];
  EK_UNROLL
  for (int x = 0; x < 4; ++x) {
    const __m256i m1_s32x8 = load_sums(sums, plane, 4 + x), m2_s32x8 = load_sums(sums, plane, 8 + x);
    top_s32x8[x] = _mm256_add_epi32(_mm256_add_epi32(load_sums(sums, plane, x), m1_s32x8), m2_s32x8);
    low_s32x8[x] = _mm256_sub_epi32(_mm256_sub_epi32(m1_s32x8, m2_s32x8), load_sums(sums, plane, 12 + x));
  }
  out_s32x8[0] = _mm256_add_epi32(_mm256_add_epi32(top_s32x8[0], top_s32x8[1]), top_s32x8[2]);
  out_s32x8[1] = _mm256_sub_epi32(_mm256_sub_epi32(top_s32x8[1], top_s32x8[2]), top_s32x8[3]);
  out_s32x8[2] = _mm256_add_epi32(_mm256_add_epi32(low_s32x8[0], low_s32x8[1]), low_s32x8[2]);
  out_s32x8[3] = _mm256_sub_epi32(_mm256_sub_epi32(low_s32x8[1], low_s32x8[2]), low_s32x8[3]);
  EK_UNROLL
  for (int i = 0; i < 4; ++i) out_s32x8[i] = _mm256_srai_epi32(out_s32x8[i], 2);
}

/// The sums of one tile to bytes. `right` and `below` say whether the second column and row are in the picture.
EK_INLINE void store_tile(const WinogradArgs& args, const int32_t* sums, ptrdiff_t plane, const Requant256& r,
                          uint8_t* y, bool right, bool below) {
  __m256i q_s32x8[2][4];
  EK_UNROLL
  for (int v = 0; v < 2; ++v) {
    const __m256i bias_s32x8 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(args.bias + 8 * v));
    const __m256 scale_f32x8 = _mm256_loadu_ps(args.scale + 8 * v);
    transform_sums(sums + 8 * v, plane, q_s32x8[v]);
    EK_UNROLL
    for (int i = 0; i < 4; ++i) {
      q_s32x8[v][i] = round_s32x8(_mm256_add_epi32(q_s32x8[v][i], bias_s32x8), scale_f32x8, r);
    }
  }
  EK_UNROLL
  for (int i = 0; i < 2; ++i, y += args.y_row) {
    if (i == 1 && !below) return;
    const __m256i y_u8x32 =
        bytes_u8x32(q_s32x8[0][2 * i], q_s32x8[1][2 * i], q_s32x8[0][2 * i + 1], q_s32x8[1][2 * i + 1], r);
    store_u8x16(y, _mm256_castsi256_si128(y_u8x32), args.n);
    if (right) store_u8x16(y + args.y_px, _mm256_extracti128_si256(y_u8x32, 1), args.n);
  }
}

/// Sixteen channels of a row of tiles: two columns are new in each tile.
void transform_row(const WinogradArgs& args, const uint8_t* const* rows, int32_t k, int16_t* v) {
  const ptrdiff_t plane = args.v_plane;
  Column left[2] = {load_column(rows, k), load_column(rows, args.in_px + k)};
  for (int32_t x = 0; x < args.tile_columns; ++x, v += args.kc) {
    const int32_t third = 2 * x + 2 < args.columns ? 2 * x + 2 : args.columns - 1;
    const int32_t fourth = 2 * x + 3 < args.columns ? 2 * x + 3 : args.columns - 1;
    const Column c2 = load_column(rows, third * args.in_px + k), c3 = load_column(rows, fourth * args.in_px + k);
    EK_UNROLL
    for (int y = 0; y < 4; ++y) {
      const __m256i d0_s16x16 = left[0].t_s16x16[y], d1_s16x16 = left[1].t_s16x16[y];
      store_s16x16(v + 4 * y * plane, _mm256_sub_epi16(d0_s16x16, c2.t_s16x16[y]));
      store_s16x16(v + (4 * y + 1) * plane, _mm256_add_epi16(d1_s16x16, c2.t_s16x16[y]));
      store_s16x16(v + (4 * y + 2) * plane, _mm256_sub_epi16(c2.t_s16x16[y], d1_s16x16));
      store_s16x16(v + (4 * y + 3) * plane, _mm256_sub_epi16(d1_s16x16, c3.t_s16x16[y]));
    }
    left[0] = c2, left[1] = c3;
  }
}

}  // namespace

void winograd_s16_6x16x2_avx2_transform(const WinogradArgs& args) {
  for (int32_t y = 0; y < args.tile_rows; ++y) {
    int16_t* const v = args.v + ptrdiff_t{y} * args.tile_columns * args.kc;
    for (int32_t k = 0; k < args.kc; k += 16) transform_row(args, args.rows + 2 * y, k, v + k);
  }
}

void winograd_s16_6x16x2_avx2_multiply(const WinogradArgs& args) {
  const int32_t tiles = args.tile_rows * args.tile_columns, kc = args.kc;
  const int32_t blocks = (tiles + kMr - 1) / kMr;
  const int32_t size = tiles / blocks, longer = tiles % blocks;  // the first `longer` blocks have one tile more
  const ptrdiff_t plane = ptrdiff_t{tiles} * kNr;
  for (int32_t i = 0; i < 16; ++i) {
    const int16_t* v = args.v + i * args.v_plane;
    const int16_t* w = args.w + i * ptrdiff_t{kc} * kNr;
    int32_t* sums = args.sums + i * plane;
    for (int32_t b = 0; b < blocks; ++b) {
      const int32_t count = size + (b < longer);
      kMultiply[count - 1](v, w, kc, sums);
      v += ptrdiff_t{count} * kc;
      sums += count * kNr;
    }
  }
  const Requant256 r = load_requant256(args.out);
  const int32_t* sums = args.sums;
  for (int32_t y = 0; y < args.h; y += 2) {
    uint8_t* row = args.y + y * args.y_row;
    for (int32_t x = 0; x < args.w_out; x += 2, sums += kNr, row += 2 * args.y_px) {
      store_tile(args, sums, plane, r, row, x + 1 < args.w_out, y + 1 < args.h);
    }
  }
}

}  // namespace ek
