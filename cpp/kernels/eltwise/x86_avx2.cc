// SPDX-License-Identifier: Apache-2.0
/// eltwise in AVX2:
///
///   add     y = clamp((((a - za) * m + (b - zb) * n + 2^(shift-1)) >> shift) + zy, lo, hi)
///   affine  y = requant(x * w(c) + bias(c), scale(c))
///   table   y = table[x]
///   mul     y = requant((a - za) * (b - zb), m)
///
/// | instruction            | per cycle Zen 5, Haswell | use                                                |
/// |------------------------|--------------------------|----------------------------------------------------|
/// | vpmaddwd ymm           | 2, 1                     | a * m + b * n, both products at once               |
/// | vpmullw ymm            | 2, 1                     | x * w, exact in 16 bits                            |
/// | vpmul{l,h}w ymm        | 2, 1                     | both halves of a product of 16 bits (mul)          |
/// | vpshufb ymm            | 2, 1                     | 16 entries of the table, 32 bytes at a time        |
/// | vpsubsb ymm            | 4, 2                     | steps the index to the next 16 entries             |
///
/// Algebra of add: m = 2048 * m1 + m0, n likewise, so
///   a * m + b * n = a * m0 + b * n0 + (128 a) * (16 m1) + (128 b) * (16 n1)
/// where every factor fits in 16 signed bits: two vpmaddwd, no vpmulld. One constant holds both zero points and the
/// rounding term. Packing to 16 bits saturates; it keeps the order, so what it changes is clamped away after it.
/// Algebra of table: vpshufb answers 0 where bit 7 of an index is set. With x - 16 i as index, part i answers for
/// x >= 16 i alone (saturation keeps what is negative negative), and the exclusive-or of the parts t(i) ^ t(i-1) up to
/// x / 16 is t(x / 16). Bytes from 128 on do the same with x - 128 on the upper eight parts.
/// Algebra of mul: factors of 9 signed bits; vpunpck{l,h}wd joins the low and the high halves of their products to 32
/// bits, in an order that the packing undoes.
/// Bounds: m, n <= 2^21, so 16 m1 <= 2^14, 128 a < 2^15, and every sum stays below 2^31; |x * w| <= 255 * 128 < 2^15.
/// Memory: reads up to 31 bytes behind each run of pixels (slack), constants exactly; writes c bytes of each pixel.
/// y may be a, b or x itself: a block is stored after it was read, and nothing is read twice but b of mul with b_px =
/// 0.
#include "kernels/isa/x86_avx2.h"

#include "kernels/eltwise/strip.h"

namespace ek {

void eltwise_add_avx2(const AddArgs& args);
void eltwise_affine_avx2(const AffineArgs& args);
void eltwise_table_avx2(const TableArgs& args);
void eltwise_mul_avx2(const MulArgs& args);

namespace {

EK_INLINE __m128i load_u8x16(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

EK_INLINE __m256i load_u8x32(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

// ---- add ---------------------------------------------------------------------------------------------------------

struct Add256 {
  __m256i high_s16x16, low_s16x16;  ///< pairs (16 m1, 16 n1) and (m0, n0)
  __m256i rest_s32x8;               ///< 2^(shift-1) - za * m - zb * n
  __m256i zy_s16x16, lo_u8x32, hi_u8x32;
  __m128i shift;
};

EK_INLINE Add256 load_add256(const AddArgs& args) {
  Add256 k;
  k.high_s16x16 = _mm256_set1_epi32((args.n >> 11) << 20 | (args.m >> 11) << 4);
  k.low_s16x16 = _mm256_set1_epi32((args.n & 2047) << 16 | (args.m & 2047));
  k.rest_s32x8 = _mm256_set1_epi32((1 << (args.shift - 1)) - args.za * args.m - args.zb * args.n);
  k.zy_s16x16 = _mm256_set1_epi16(static_cast<int16_t>(args.zy));
  k.lo_u8x32 = _mm256_set1_epi8(static_cast<int8_t>(args.lo));
  k.hi_u8x32 = _mm256_set1_epi8(static_cast<int8_t>(args.hi));
  k.shift = _mm_cvtsi32_si128(args.shift);
  return k;
}

/// Eight sums, shifted, of eight pairs.
EK_INLINE __m256i add_s32x8(__m256i ab_s16x16, const Add256& k) {
  const __m256i high_s32x8 = _mm256_madd_epi16(_mm256_slli_epi16(ab_s16x16, 7), k.high_s16x16);
  const __m256i low_s32x8 = _mm256_add_epi32(_mm256_madd_epi16(ab_s16x16, k.low_s16x16), k.rest_s32x8);
  return _mm256_sra_epi32(_mm256_add_epi32(high_s32x8, low_s32x8), k.shift);
}

EK_INLINE __m256i add_u8x32(__m256i a_u8x32, __m256i b_u8x32, const Add256& k) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i ab0_u8x32 = _mm256_unpacklo_epi8(a_u8x32, b_u8x32), ab1_u8x32 = _mm256_unpackhi_epi8(a_u8x32, b_u8x32);
  const __m256i s0_s32x8 = add_s32x8(_mm256_unpacklo_epi8(ab0_u8x32, zero), k);
  const __m256i s1_s32x8 = add_s32x8(_mm256_unpackhi_epi8(ab0_u8x32, zero), k);
  const __m256i s2_s32x8 = add_s32x8(_mm256_unpacklo_epi8(ab1_u8x32, zero), k);
  const __m256i s3_s32x8 = add_s32x8(_mm256_unpackhi_epi8(ab1_u8x32, zero), k);
  const __m256i s01_s16x16 = _mm256_adds_epi16(_mm256_packs_epi32(s0_s32x8, s1_s32x8), k.zy_s16x16);
  const __m256i s23_s16x16 = _mm256_adds_epi16(_mm256_packs_epi32(s2_s32x8, s3_s32x8), k.zy_s16x16);
  const __m256i y_u8x32 = _mm256_packus_epi16(s01_s16x16, s23_s16x16);  // undoes the order of the unpacking
  return _mm256_min_epu8(_mm256_max_epu8(y_u8x32, k.lo_u8x32), k.hi_u8x32);
}

// ---- affine ------------------------------------------------------------------------------------------------------

/// Sixteen channels, rounded but not yet clipped below.
EK_INLINE void affine_s32x16(const uint8_t* x, const int8_t* w, const int32_t* bias, const float* scale,
                             const Requant256& r, __m256i& low_s32x8, __m256i& high_s32x8) {
  const __m256i x_s16x16 = _mm256_cvtepu8_epi16(load_u8x16(x));
  const __m256i w_s16x16 = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
  const __m256i product_s16x16 = _mm256_mullo_epi16(x_s16x16, w_s16x16);
  const __m256i* bias_s32x8 = reinterpret_cast<const __m256i*>(bias);
  low_s32x8 =
      _mm256_add_epi32(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(product_s16x16)), _mm256_loadu_si256(bias_s32x8));
  high_s32x8 = _mm256_add_epi32(_mm256_cvtepi16_epi32(_mm256_extracti128_si256(product_s16x16, 1)),
                                _mm256_loadu_si256(bias_s32x8 + 1));
  low_s32x8 = round_s32x8(low_s32x8, _mm256_loadu_ps(scale), r);
  high_s32x8 = round_s32x8(high_s32x8, _mm256_loadu_ps(scale + 8), r);
}

EK_INLINE __m256i affine_u8x32(const uint8_t* x, const int8_t* w, const int32_t* bias, const float* scale,
                               const Requant256& r) {
  __m256i s0_s32x8, s1_s32x8, s2_s32x8, s3_s32x8;
  affine_s32x16(x, w, bias, scale, r, s0_s32x8, s1_s32x8);
  affine_s32x16(x + 16, w + 16, bias + 16, scale + 16, r, s2_s32x8, s3_s32x8);
  return bytes_u8x32(s0_s32x8, s1_s32x8, s2_s32x8, s3_s32x8, r);
}

// ---- table -------------------------------------------------------------------------------------------------------

/// Part i is entries 16 i to 16 i + 15, in both halves, exclusive-or part i - 1 (parts 0 and 8: alone).
struct Table256 {
  __m256i part_u8x32[16];
};

EK_INLINE Table256 load_table256(const uint8_t* bytes) {
  Table256 table;
  for (int i = 0; i < 16; ++i) {
    const __m128i own_u8x16 = load_u8x16(bytes + 16 * i);
    const __m128i last_u8x16 = i % 8 == 0 ? _mm_setzero_si128() : load_u8x16(bytes + 16 * i - 16);
    table.part_u8x32[i] = _mm256_broadcastsi128_si256(_mm_xor_si128(own_u8x16, last_u8x16));
  }
  return table;
}

EK_INLINE __m256i lookup_u8x32(__m256i x_u8x32, const Table256& table) {
  const __m256i step_s8x32 = _mm256_set1_epi8(16);
  __m256i lower_s8x32 = x_u8x32;
  __m256i upper_s8x32 = _mm256_xor_si256(x_u8x32, _mm256_set1_epi8(-128));
  __m256i y_u8x32 = _mm256_setzero_si256(), z_u8x32 = _mm256_setzero_si256();
  EK_UNROLL
  for (int i = 0; i < 8; ++i) {
    y_u8x32 = _mm256_xor_si256(y_u8x32, _mm256_shuffle_epi8(table.part_u8x32[i], lower_s8x32));
    z_u8x32 = _mm256_xor_si256(z_u8x32, _mm256_shuffle_epi8(table.part_u8x32[8 + i], upper_s8x32));
    lower_s8x32 = _mm256_subs_epi8(lower_s8x32, step_s8x32);
    upper_s8x32 = _mm256_subs_epi8(upper_s8x32, step_s8x32);
  }
  return _mm256_xor_si256(y_u8x32, z_u8x32);
}

// ---- mul ---------------------------------------------------------------------------------------------------------

struct Mul256 {
  __m256i za_s16x16, zb_s16x16;
  __m256 m_f32x8;
  Requant256 r;
};

EK_INLINE Mul256 load_mul256(const MulArgs& args) {
  Mul256 k;
  k.za_s16x16 = _mm256_set1_epi16(static_cast<int16_t>(args.za));
  k.zb_s16x16 = _mm256_set1_epi16(static_cast<int16_t>(args.zb));
  k.m_f32x8 = _mm256_set1_ps(args.m);
  k.r = load_requant256(args.out);
  return k;
}

/// Sixteen products, rounded but not yet clipped below: the first and the last four of each half.
EK_INLINE void mul_s32x16(__m256i a_s16x16, __m256i b_s16x16, const Mul256& k, __m256i& first_s32x8,
                          __m256i& last_s32x8) {
  a_s16x16 = _mm256_sub_epi16(a_s16x16, k.za_s16x16);
  b_s16x16 = _mm256_sub_epi16(b_s16x16, k.zb_s16x16);
  const __m256i low_u16x16 = _mm256_mullo_epi16(a_s16x16, b_s16x16);
  const __m256i high_s16x16 = _mm256_mulhi_epi16(a_s16x16, b_s16x16);
  first_s32x8 = round_s32x8(_mm256_unpacklo_epi16(low_u16x16, high_s16x16), k.m_f32x8, k.r);
  last_s32x8 = round_s32x8(_mm256_unpackhi_epi16(low_u16x16, high_s16x16), k.m_f32x8, k.r);
}

EK_INLINE __m256i mul_u8x32(__m256i a_u8x32, __m256i b_u8x32, const Mul256& k) {
  const __m256i zero = _mm256_setzero_si256();
  __m256i s0_s32x8, s1_s32x8, s2_s32x8, s3_s32x8;
  mul_s32x16(_mm256_unpacklo_epi8(a_u8x32, zero), _mm256_unpacklo_epi8(b_u8x32, zero), k, s0_s32x8, s1_s32x8);
  mul_s32x16(_mm256_unpackhi_epi8(a_u8x32, zero), _mm256_unpackhi_epi8(b_u8x32, zero), k, s2_s32x8, s3_s32x8);
  return bytes_in_lanes_u8x32(s0_s32x8, s1_s32x8, s2_s32x8, s3_s32x8, k.r);
}

}  // namespace

void eltwise_add_avx2(const AddArgs& args) {
  const Add256 k = load_add256(args);
  const int32_t length = args.c;
  each_pair(args, [&](const uint8_t* a, const uint8_t* b, uint8_t* y) __attribute__((always_inline)) {
    for (int32_t i = 0; i < length; i += 32)
      store_u8x32(y + i, add_u8x32(load_u8x32(a + i), load_u8x32(b + i), k), length - i);
  });
}

void eltwise_affine_avx2(const AffineArgs& args) {
  const Requant256 r = load_requant256(args.out);
  each_block<32>(args,
                 [&](const uint8_t* x, const int8_t* w, const int32_t* bias, const float* scale, uint8_t* y, int32_t n)
                     __attribute__((always_inline)) { store_u8x32(y, affine_u8x32(x, w, bias, scale, r), n); });
}

void eltwise_table_avx2(const TableArgs& args) {
  const Table256 table = load_table256(args.table);
  const int32_t length = args.c;
  each_pixel(args, [&](const uint8_t* x, uint8_t* y) __attribute__((always_inline)) {
    for (int32_t i = 0; i < length; i += 32) store_u8x32(y + i, lookup_u8x32(load_u8x32(x + i), table), length - i);
  });
}

void eltwise_mul_avx2(const MulArgs& args) {
  const Mul256 k = load_mul256(args);
  each_pair(args, [&](const uint8_t* a, const uint8_t* b, uint8_t* y) __attribute__((always_inline)) {
    for (int32_t c = 0; c < args.c; c += 32) {
      store_u8x32(y + c, mul_u8x32(load_u8x32(a + c), load_u8x32(b + c), k), args.c - c);
    }
  });
}

}  // namespace ek
