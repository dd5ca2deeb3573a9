// SPDX-License-Identifier: Apache-2.0
/// eltwise in AVX-512 with VNNI (affine and mul: the AVX2 functions):
///
///   add     y = clamp((((a - za) * m + (b - zb) * n + 2^(shift-1)) >> shift) + zy, lo, hi)
///   table   y = table[x]
///
/// | instruction       | per cycle Zen 5, Ice Lake | use                                                     |
/// |-------------------|---------------------------|---------------------------------------------------------|
/// | vpdpwssd zmm      | 2, 1                      | sum += a * m + b * n, 16 pairs of 16 bits               |
/// | vpunpck{l,h}bw    | 2, 1                      | bytes of a and b to pairs, pairs to 16 bits             |
/// | vpack{ss,us} zmm  | 2, 1                      | back to bytes; undoes the order of the unpacking        |
/// | vpshufb zmm       | 2, 1                      | 16 entries of the table, 64 bytes at a time             |
///
/// Algebra of add: m = 2048 * m1 + m0, n likewise, so
///   a * m + b * n = a * m0 + b * n0 + (128 a) * (16 m1) + (128 b) * (16 n1)
/// where every factor fits in 16 signed bits: two vpdpwssd, no vpmulld. One constant holds both zero points and the
/// rounding term. Packing to 16 bits saturates; it keeps the order, so what it changes is clamped away after it.
/// Algebra of table: as in x86_avx2.cc; the 16 parts stay in registers.
/// Bounds: m, n <= 2^21, so 16 m1 <= 2^14, 128 a < 2^15, and every sum stays below 2^31.
/// Memory: reads and writes exactly c bytes of each pixel. y may be a, b or x itself.
#include "kernels/isa/x86_avx512vnni.h"

#include "kernels/eltwise/strip.h"

namespace ek {

void eltwise_add_avx512vnni(const AddArgs& args);
void eltwise_table_avx512vnni(const TableArgs& args);

namespace {

EK_INLINE __m512i pair_s16x32(int32_t first, int32_t second) { return _mm512_set1_epi32(second << 16 | first); }

// ---- add ---------------------------------------------------------------------------------------------------------

struct Add512 {
  __m512i low_s16x32, high_s16x32;  ///< pairs (m0, n0) and (16 m1, 16 n1)
  __m512i rest_s32x16;              ///< 2^(shift-1) - za * m - zb * n
  __m512i zy_s16x32, lo_u8x64, hi_u8x64;
  __m128i shift;
};

EK_INLINE Add512 load_add512(const AddArgs& args) {
  Add512 k;
  k.low_s16x32 = pair_s16x32(args.m & 2047, args.n & 2047);
  k.high_s16x32 = pair_s16x32((args.m >> 11) << 4, (args.n >> 11) << 4);
  k.rest_s32x16 = _mm512_set1_epi32((1 << (args.shift - 1)) - args.za * args.m - args.zb * args.n);
  k.zy_s16x32 = _mm512_set1_epi16(static_cast<int16_t>(args.zy));
  k.lo_u8x64 = _mm512_set1_epi8(static_cast<int8_t>(args.lo));
  k.hi_u8x64 = _mm512_set1_epi8(static_cast<int8_t>(args.hi));
  k.shift = _mm_cvtsi32_si128(args.shift);
  return k;
}

/// Sixteen sums, shifted, of sixteen pairs.
EK_INLINE __m512i add_s32x16(__m512i ab_s16x32, const Add512& k) {
  __m512i sum_s32x16 = _mm512_dpwssd_epi32(k.rest_s32x16, ab_s16x32, k.low_s16x32);
  sum_s32x16 = _mm512_dpwssd_epi32(sum_s32x16, _mm512_slli_epi16(ab_s16x32, 7), k.high_s16x32);
  return _mm512_sra_epi32(sum_s32x16, k.shift);
}

EK_INLINE __m512i add_u8x64(__m512i a_u8x64, __m512i b_u8x64, const Add512& k) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i ab0_u8x64 = _mm512_unpacklo_epi8(a_u8x64, b_u8x64), ab1_u8x64 = _mm512_unpackhi_epi8(a_u8x64, b_u8x64);
  const __m512i s0_s32x16 = add_s32x16(_mm512_unpacklo_epi8(ab0_u8x64, zero), k);
  const __m512i s1_s32x16 = add_s32x16(_mm512_unpackhi_epi8(ab0_u8x64, zero), k);
  const __m512i s2_s32x16 = add_s32x16(_mm512_unpacklo_epi8(ab1_u8x64, zero), k);
  const __m512i s3_s32x16 = add_s32x16(_mm512_unpackhi_epi8(ab1_u8x64, zero), k);
  const __m512i s01_s16x32 = _mm512_adds_epi16(_mm512_packs_epi32(s0_s32x16, s1_s32x16), k.zy_s16x32);
  const __m512i s23_s16x32 = _mm512_adds_epi16(_mm512_packs_epi32(s2_s32x16, s3_s32x16), k.zy_s16x32);
  const __m512i y_u8x64 = _mm512_packus_epi16(s01_s16x32, s23_s16x32);
  return _mm512_min_epu8(_mm512_max_epu8(y_u8x64, k.lo_u8x64), k.hi_u8x64);
}

// ---- table -------------------------------------------------------------------------------------------------------

/// Part i is entries 16 i to 16 i + 15, in every 128 bits, exclusive-or part i - 1 (parts 0 and 8: alone).
struct Table512 {
  __m512i part_u8x64[16];
};

EK_INLINE Table512 load_table512(const uint8_t* bytes) {
  Table512 table;
  EK_UNROLL
  for (int i = 0; i < 16; ++i) {
    const __m128i* part = reinterpret_cast<const __m128i*>(bytes + 16 * i);
    const __m128i last_u8x16 = i % 8 == 0 ? _mm_setzero_si128() : _mm_loadu_si128(part - 1);
    table.part_u8x64[i] = _mm512_broadcast_i32x4(_mm_xor_si128(_mm_loadu_si128(part), last_u8x16));
  }
  return table;
}

EK_INLINE __m512i lookup_u8x64(__m512i x_u8x64, const Table512& table) {
  const __m512i step_s8x64 = _mm512_set1_epi8(16);
  __m512i lower_s8x64 = x_u8x64;
  __m512i upper_s8x64 = _mm512_xor_si512(x_u8x64, _mm512_set1_epi8(-128));
  __m512i y_u8x64 = _mm512_setzero_si512(), z_u8x64 = _mm512_setzero_si512();
  EK_UNROLL
  for (int i = 0; i < 8; ++i) {
    y_u8x64 = _mm512_xor_si512(y_u8x64, _mm512_shuffle_epi8(table.part_u8x64[i], lower_s8x64));
    z_u8x64 = _mm512_xor_si512(z_u8x64, _mm512_shuffle_epi8(table.part_u8x64[8 + i], upper_s8x64));
    lower_s8x64 = _mm512_subs_epi8(lower_s8x64, step_s8x64);
    upper_s8x64 = _mm512_subs_epi8(upper_s8x64, step_s8x64);
  }
  return _mm512_xor_si512(y_u8x64, z_u8x64);
}

}  // namespace

void eltwise_add_avx512vnni(const AddArgs& args) {
  const Add512 k = load_add512(args);
  const int32_t length = args.c;
  const int32_t whole = length & ~63;
  const __mmask64 rest = first_bits(length - whole);
  each_pair(args, [&](const uint8_t* a, const uint8_t* b, uint8_t* y) __attribute__((always_inline)) {
    for (int32_t i = 0; i < whole; i += 64) {
      _mm512_storeu_si512(y + i, add_u8x64(_mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i), k));
    }
    if (whole == length) return;
    const __m512i a_u8x64 = _mm512_maskz_loadu_epi8(rest, a + whole);
    const __m512i b_u8x64 = _mm512_maskz_loadu_epi8(rest, b + whole);
    _mm512_mask_storeu_epi8(y + whole, rest, add_u8x64(a_u8x64, b_u8x64, k));
  });
}

void eltwise_table_avx512vnni(const TableArgs& args) {
  const Table512 table = load_table512(args.table);
  const int32_t length = args.c;
  const int32_t whole = length & ~63;
  const __mmask64 rest = first_bits(length - whole);
  each_pixel(args, [&](const uint8_t* x, uint8_t* y) __attribute__((always_inline)) {
    for (int32_t i = 0; i < whole; i += 64) {
      _mm512_storeu_si512(y + i, lookup_u8x64(_mm512_loadu_si512(x + i), table));
    }
    if (whole == length) return;
    _mm512_mask_storeu_epi8(y + whole, rest, lookup_u8x64(_mm512_maskz_loadu_epi8(rest, x + whole), table));
  });
}

}  // namespace ek
