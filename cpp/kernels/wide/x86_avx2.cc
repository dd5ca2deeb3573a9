// SPDX-License-Identifier: Apache-2.0
/// wide in AVX2, what multiplies:
///
///   conv, dwconv  high = sum(hi * w), low = sum(lo * w) + bias; t = (float(high) * 256 + float(low)) * m
///                 of bytes: t = float(sum((u - zero) * w) + bias) * m
///                 y = int(rne(clip(t, lo, hi))) + zero
///
/// | instruction    | per cycle Zen 5, Haswell | use                                                  |
/// |----------------|--------------------------|------------------------------------------------------|
/// | vpmaddwd ymm   | 2, 1                     | two elements of a window by eight columns            |
/// | vpmovsxbw ymm  | 2, 1                     | weights of a panel, or of sixteen channels, to int16 |
/// | vpmullw ymm    | 2, 1                     | a tap by sixteen channels                            |
/// | vpmovsxwd ymm  | 2, 1                     | its products to the int32 sums                       |
/// | vcvtps2dq ymm  | 2, 1                     | rounds to nearest, ties to even                      |
///
/// A panel holds pairs of elements: [k / 2][16 columns][2], so that vpmaddwd of a broadcast pair is two steps of k.
/// Exactness: |hi| <= 128, lo <= 255 and |u - zero| <= 255 against |w| <= 128 give products of at most 32640, which
/// int16 holds (vpmullw), and pairs that int32 holds; the verifier bounds the sums. The float operations are those of
/// scalar.cc in its order; clipping stands before vcvtps2dq, so no float reaches it that int32 cannot hold.
/// Memory: writes c (conv: n) elements of each pixel; reads planes of whole pairs, and of a depthwise input up to 32
/// bytes behind the last channel, which the arena allows.
#include "kernels/isa/x86_avx2.h"

#include "kernels/wide/wide.h"

namespace ek {

void wide_conv_avx2(const WideConvArgs& args);
void wide_dwconv_avx2(const WideDwConvArgs& args);

namespace {

constexpr int32_t kColumns = 16;
static_assert(kColumns == kWideLanes, "a block of channels is a panel's width");

EK_INLINE __m256i load_s32x8(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

EK_INLINE __m256i widened_s16x16(const void* p) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}

/// Eight results, rounded, before the zero point.
template <bool kTwo>
EK_INLINE __m256i rounded_s32x8(__m256i high_s32x8, __m256i low_s32x8, const float* scale, const Requant& to) {
  __m256 t_f32x8 = _mm256_cvtepi32_ps(low_s32x8);
  if (kTwo) {
    const __m256 high_f32x8 = _mm256_mul_ps(_mm256_cvtepi32_ps(high_s32x8), _mm256_set1_ps(256.0f));
    t_f32x8 = _mm256_add_ps(high_f32x8, t_f32x8);
  }
  t_f32x8 = _mm256_mul_ps(t_f32x8, _mm256_loadu_ps(scale));
  t_f32x8 = _mm256_max_ps(t_f32x8, _mm256_set1_ps(to.lo));
  return _mm256_cvtps_epi32(_mm256_min_ps(t_f32x8, _mm256_set1_ps(to.hi)));
}

/// The first n of sixteen results.
template <bool kTwo>
EK_INLINE void store_16(const __m256i (&high_s32x8)[2], const __m256i (&low_s32x8)[2], const float* scale,
                        const WideOut& out, int32_t n, uint8_t* y) {
  const __m256i a_s32x8 = rounded_s32x8<kTwo>(high_s32x8[0], low_s32x8[0], scale, out.to);
  const __m256i b_s32x8 = rounded_s32x8<kTwo>(high_s32x8[1], low_s32x8[1], scale + 8, out.to);
  const __m256i mixed_s16x16 = _mm256_packs_epi32(a_s32x8, b_s32x8);
  const __m256i q_s16x16 = _mm256_permute4x64_epi64(mixed_s16x16, 0xd8);
  if (out.s16) return store_u8x32(y, q_s16x16, 2 * n);
  const __m256i u_s16x16 = _mm256_add_epi16(q_s16x16, _mm256_set1_epi16(static_cast<int16_t>(out.to.zero)));
  const __m128i first_s16x8 = _mm256_castsi256_si128(u_s16x16), second_s16x8 = _mm256_extracti128_si256(u_s16x16, 1);
  store_u8x16(y, _mm_packus_epi16(first_s16x8, second_s16x8), n);
}

/// kPixels pixels by all columns of the panel.
template <int kPixels, bool kTwo>
EK_INLINE void tile(const WideConvArgs& args, int32_t i) {
  const ptrdiff_t k = args.k;
  const int16_t *high = args.high + i * k, *low = kTwo ? args.low + i * k : high;
  __m256i high_s32x8[kPixels][2], low_s32x8[kPixels][2];
  EK_UNROLL
  for (int p = 0; p < kPixels; ++p) {
    EK_UNROLL
    for (int h = 0; h < 2; ++h) {
      high_s32x8[p][h] = _mm256_setzero_si256();
      low_s32x8[p][h] = load_s32x8(args.bias + 8 * h);
    }
  }
  const int8_t* w = args.w;
  for (ptrdiff_t j = 0; j < k; j += 2, w += 2 * kColumns) {
    const __m256i w_s16x16[2] = {widened_s16x16(w), widened_s16x16(w + kColumns)};
    EK_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      const __m256i low_s16x16 = _mm256_set1_epi32(load_s32(low + p * k + j));
      const __m256i high_s16x16 = kTwo ? _mm256_set1_epi32(load_s32(high + p * k + j)) : low_s16x16;
      EK_UNROLL
      for (int h = 0; h < 2; ++h) {
        low_s32x8[p][h] = _mm256_add_epi32(low_s32x8[p][h], _mm256_madd_epi16(low_s16x16, w_s16x16[h]));
        if (kTwo) high_s32x8[p][h] = _mm256_add_epi32(high_s32x8[p][h], _mm256_madd_epi16(high_s16x16, w_s16x16[h]));
      }
    }
  }
  EK_UNROLL
  for (int p = 0; p < kPixels; ++p) {
    store_16<kTwo>(high_s32x8[p], low_s32x8[p], args.scale, args.out, args.n, args.y + (i + p) * args.y_px);
  }
}

template <bool kTwo>
EK_INLINE void conv(const WideConvArgs& args) {
  int32_t i = 0;
  for (; i + 2 <= args.m; i += 2) tile<2, kTwo>(args, i);
  if (i < args.m) tile<1, kTwo>(args, i);
}

/// Adds sixteen int16 products to their sums.
EK_INLINE void add_products(__m256i p_s16x16, __m256i (&sum_s32x8)[2]) {
  sum_s32x8[0] = _mm256_add_epi32(sum_s32x8[0], _mm256_cvtepi16_epi32(_mm256_castsi256_si128(p_s16x16)));
  sum_s32x8[1] = _mm256_add_epi32(sum_s32x8[1], _mm256_cvtepi16_epi32(_mm256_extracti128_si256(p_s16x16, 1)));
}

/// Channels c to c + 15 of output pixel i.
template <bool kTwo>
EK_INLINE void dwconv_block(const WideDwConvArgs& args, int32_t i, int32_t c) {
  const ptrdiff_t lanes = round_up(args.c, kWideLanes), elem = kTwo ? 2 : 1;
  const __m256i zero_s16x16 = _mm256_set1_epi16(static_cast<int16_t>(args.zero));
  __m256i high_s32x8[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  __m256i low_s32x8[2] = {load_s32x8(args.bias + c), load_s32x8(args.bias + c + 8)};
  const int8_t* w = args.w + c;
  for (int32_t ky = 0; ky < args.kh; ++ky) {
    const uint8_t* in = args.rows[ky] + i * args.sx + c * elem;
    for (int32_t kx = 0; kx < args.kw; ++kx, in += args.dx, w += lanes) {
      const __m256i w_s16x16 = widened_s16x16(w);
      if (kTwo) {
        const __m256i x_s16x16 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in));
        const __m256i low_s16x16 = _mm256_and_si256(x_s16x16, _mm256_set1_epi16(255));
        add_products(_mm256_mullo_epi16(_mm256_srai_epi16(x_s16x16, 8), w_s16x16), high_s32x8);
        add_products(_mm256_mullo_epi16(low_s16x16, w_s16x16), low_s32x8);
      } else {
        const __m256i u_s16x16 = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in)));
        add_products(_mm256_mullo_epi16(_mm256_sub_epi16(u_s16x16, zero_s16x16), w_s16x16), low_s32x8);
      }
    }
  }
  const int32_t n = args.c - c < kWideLanes ? args.c - c : kWideLanes;
  uint8_t* y = args.y + i * args.y_px + c * (args.out.s16 ? 2 : 1);
  store_16<kTwo>(high_s32x8, low_s32x8, args.scale + c, args.out, n, y);
}

template <bool kTwo>
EK_INLINE void dwconv(const WideDwConvArgs& args) {
  for (int32_t i = 0; i < args.m; ++i) {
    for (int32_t c = 0; c < args.c; c += kWideLanes) dwconv_block<kTwo>(args, i, c);
  }
}

}  // namespace

void wide_conv_avx2(const WideConvArgs& args) { args.low == nullptr ? conv<false>(args) : conv<true>(args); }

void wide_dwconv_avx2(const WideDwConvArgs& args) { args.s16 ? dwconv<true>(args) : dwconv<false>(args); }

}  // namespace ek
