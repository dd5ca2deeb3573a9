// SPDX-License-Identifier: Apache-2.0
/// layernorm in AVX2:
///
///   S = sum of x, Q = sum of x^2, v = c * Q - S^2;  r = 1 / sqrt(float(v) + epsilon)
///   y(i) = clip(float(c * x(i) - S) * r * g(i) + b(i)), rne, + zero
///
/// | instruction            | per cycle Zen 5, Haswell | use                                                |
/// |------------------------|--------------------------|----------------------------------------------------|
/// | vpsadbw ymm            | 2, 1                     | eight bytes of S at once                           |
/// | vpmaddwd ymm           | 2, 1                     | two squares of Q at once, exact in 16 bits         |
/// | vpmulld ymm            | 1, 0.5                   | c * x                                              |
/// | vsqrtss, vdivss        | 0.25, 0.14               | once a pixel, correctly rounded                    |
///
/// Algebra: v and c * x - S are the same whatever is added to every x, so the biased bytes serve. Bytes behind the last
/// channel are masked to 0 where they are summed.
/// Bounds: c <= 2^23, so S < 2^31, |c * x - S| < 2^31, c * Q < 2^62. A lane of squares grows by at most 4 * 255^2 a
/// block of 32 bytes, so 2^12 blocks stay below 2^31; then it is added to 64 bits.
/// Memory: reads up to 31 bytes behind the channels of a pixel (slack), constants exactly; writes c bytes of each
/// pixel. y may be x: a pixel is summed before it is written, and a block read before it is stored.
#include "kernels/isa/x86_avx2.h"

#include "kernels/layernorm/layernorm.h"

namespace ek {

void layernorm_avx2(const LayerNormArgs& args);

namespace {

constexpr int32_t kRun = 32 << 12;  // bytes whose squares fit in 32-bit lanes

alignas(64) const uint8_t kFirst[64] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
                                        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};

EK_INLINE __m256i load_u8x32(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

EK_INLINE int64_t sum_of(__m256i v_s64x4) {
  const __m128i v_s64x2 = _mm_add_epi64(_mm256_castsi256_si128(v_s64x4), _mm256_extracti128_si256(v_s64x4, 1));
  return _mm_cvtsi128_si64(_mm_add_epi64(v_s64x2, _mm_unpackhi_epi64(v_s64x2, v_s64x2)));
}

struct Sums256 {
  __m256i x_s64x4, squares_s32x8;
};

EK_INLINE void add_block(__m256i x_u8x32, Sums256& sums) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i low_s16x16 = _mm256_unpacklo_epi8(x_u8x32, zero), high_s16x16 = _mm256_unpackhi_epi8(x_u8x32, zero);
  sums.x_s64x4 = _mm256_add_epi64(sums.x_s64x4, _mm256_sad_epu8(x_u8x32, zero));
  sums.squares_s32x8 = _mm256_add_epi32(sums.squares_s32x8, _mm256_madd_epi16(low_s16x16, low_s16x16));
  sums.squares_s32x8 = _mm256_add_epi32(sums.squares_s32x8, _mm256_madd_epi16(high_s16x16, high_s16x16));
}

/// c * Q - S^2; S by reference.
EK_INLINE int64_t spread(const uint8_t* x, int32_t c, int32_t& sum) {
  const __m256i zero = _mm256_setzero_si256();
  Sums256 sums = {zero, zero};
  __m256i squares_s64x4 = zero;
  for (int32_t first = 0; first < c; first += kRun) {
    const int32_t end = c - first < kRun ? c : first + kRun;
    int32_t i = first;
    for (; i + 32 <= end; i += 32) add_block(load_u8x32(x + i), sums);
    if (i < end) add_block(_mm256_and_si256(load_u8x32(x + i), load_u8x32(kFirst + 32 - (end - i))), sums);
    squares_s64x4 = _mm256_add_epi64(squares_s64x4, _mm256_unpacklo_epi32(sums.squares_s32x8, zero));
    squares_s64x4 = _mm256_add_epi64(squares_s64x4, _mm256_unpackhi_epi32(sums.squares_s32x8, zero));
    sums.squares_s32x8 = zero;
  }
  const int64_t total = sum_of(sums.x_s64x4);
  sum = static_cast<int32_t>(total);
  return c * sum_of(squares_s64x4) - total * total;
}

EK_INLINE float reciprocal_root(float v) { return 1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(v))); }

struct Row256 {
  __m256i c_s32x8, sum_s32x8;
  __m256 r_f32x8;
};

/// Eight channels, rounded but not yet clipped below.
EK_INLINE __m256i channels_s32x8(__m128i x_u8x16, const float* g, const float* b, const Row256& k,
                                 const Requant256& r) {
  const __m256i x_s32x8 = _mm256_mullo_epi32(_mm256_cvtepu8_epi32(x_u8x16), k.c_s32x8);
  __m256 t_f32x8 = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(x_s32x8, k.sum_s32x8)), k.r_f32x8);
  t_f32x8 = _mm256_mul_ps(t_f32x8, _mm256_loadu_ps(g));
  t_f32x8 = _mm256_add_ps(t_f32x8, _mm256_loadu_ps(b));
  return _mm256_cvtps_epi32(_mm256_min_ps(t_f32x8, r.hi_f32x8));
}

EK_INLINE __m256i channels_u8x32(const uint8_t* x, const float* g, const float* b, const Row256& k,
                                 const Requant256& r) {
  const __m256i x_u8x32 = load_u8x32(x);
  const __m128i low_u8x16 = _mm256_castsi256_si128(x_u8x32), high_u8x16 = _mm256_extracti128_si256(x_u8x32, 1);
  const __m256i s0_s32x8 = channels_s32x8(low_u8x16, g, b, k, r);
  const __m256i s1_s32x8 = channels_s32x8(_mm_srli_si128(low_u8x16, 8), g + 8, b + 8, k, r);
  const __m256i s2_s32x8 = channels_s32x8(high_u8x16, g + 16, b + 16, k, r);
  const __m256i s3_s32x8 = channels_s32x8(_mm_srli_si128(high_u8x16, 8), g + 24, b + 24, k, r);
  return bytes_u8x32(s0_s32x8, s1_s32x8, s2_s32x8, s3_s32x8, r);
}

}  // namespace

void layernorm_avx2(const LayerNormArgs& args) {
  const Requant256 r = load_requant256(args.out);
  const int32_t whole = args.c & ~31;
  float last_g[32] = {}, last_b[32] = {};  // constants have no slack
  __builtin_memcpy(last_g, args.g + whole, 4 * static_cast<size_t>(args.c - whole));
  __builtin_memcpy(last_b, args.b + whole, 4 * static_cast<size_t>(args.c - whole));
  Row256 k;
  k.c_s32x8 = _mm256_set1_epi32(args.c);
  for (int32_t p = 0; p < args.pixels; ++p) {
    const uint8_t* x = args.x + p * args.x_px;
    uint8_t* y = args.y + p * args.y_px;
    int32_t sum;
    const float v = static_cast<float>(spread(x, args.c, sum));
    k.sum_s32x8 = _mm256_set1_epi32(sum);
    k.r_f32x8 = _mm256_set1_ps(reciprocal_root(v + args.epsilon));
    for (int32_t i = 0; i < whole; i += 32) store_u8x32(y + i, channels_u8x32(x + i, args.g + i, args.b + i, k, r), 32);
    if (whole == args.c) continue;
    store_u8x32(y + whole, channels_u8x32(x + whole, last_g, last_b, k, r), args.c - whole);
  }
}

}  // namespace ek
