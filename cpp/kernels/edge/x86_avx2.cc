// SPDX-License-Identifier: Apache-2.0
/// edge in AVX2:
///
///   quantise    u = clamp(rne(x / s) + zero, 0, 255); NaN gives 0
///   dequantise  x = float(u - zero) * s
///
/// | instruction    | per cycle Zen 5, Haswell | use                                        |
/// |----------------|--------------------------|--------------------------------------------|
/// | vdivps ymm     | 1/5, 1/14                | x / s, a true division                     |
/// | vcvtps2dq ymm  | 2, 1                     | rounds to nearest, ties to even            |
/// | vpmovzxbd ymm  | 2, 1                     | 8 bytes to 32 bits                         |
///
/// 32 elements at a time. Strided operands and the last, partial block go through a local array, so that only the
/// elements named are touched. Clipping: vmaxps with the bound as second operand answers the bound for NaN; it comes
/// before rounding, so no float reaches vcvtps2dq that int32 cannot hold.
/// Memory: reads and writes exactly the elements named; floats need no alignment.
#include "kernels/isa/x86_avx2.h"

#include "kernels/edge/run.h"

namespace ek {

void edge_quantise_avx2(const EdgeRun& run);
void edge_dequantise_avx2(const EdgeRun& run);

namespace {

constexpr ptrdiff_t kBlock = 32;
constexpr ptrdiff_t kFloat = sizeof(float);

EK_INLINE __m256i quantise_u8x32(const uint8_t* x, float scale, int32_t zero) {
  const __m256 scale_f32x8 = _mm256_set1_ps(scale);
  const __m256 lo_f32x8 = _mm256_set1_ps(static_cast<float>(-zero));
  const __m256 hi_f32x8 = _mm256_set1_ps(static_cast<float>(255 - zero));
  __m256i q_s32x8[4];
  EK_UNROLL
  for (int i = 0; i < 4; ++i) {
    __m256 t_f32x8 = _mm256_castsi256_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x) + i));
    t_f32x8 = _mm256_max_ps(_mm256_div_ps(t_f32x8, scale_f32x8), lo_f32x8);
    q_s32x8[i] = _mm256_cvtps_epi32(_mm256_min_ps(t_f32x8, hi_f32x8));
  }
  const __m256i zero_s16x16 = _mm256_set1_epi16(static_cast<int16_t>(zero));
  const __m256i q01_s16x16 = _mm256_add_epi16(_mm256_packs_epi32(q_s32x8[0], q_s32x8[1]), zero_s16x16);
  const __m256i q23_s16x16 = _mm256_add_epi16(_mm256_packs_epi32(q_s32x8[2], q_s32x8[3]), zero_s16x16);
  const __m256i mixed_u8x32 = _mm256_packus_epi16(q01_s16x16, q23_s16x16);
  return _mm256_permutevar8x32_epi32(mixed_u8x32, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

EK_INLINE void dequantise_f32x32(const uint8_t* u, float scale, int32_t zero, uint8_t* x) {
  const __m256 scale_f32x8 = _mm256_set1_ps(scale);
  const __m256i zero_s32x8 = _mm256_set1_epi32(zero);
  EK_UNROLL
  for (int i = 0; i < 4; ++i) {
    const __m128i u_u8x8 = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(u + 8 * i));
    const __m256i q_s32x8 = _mm256_sub_epi32(_mm256_cvtepu8_epi32(u_u8x8), zero_s32x8);
    const __m256 x_f32x8 = _mm256_mul_ps(_mm256_cvtepi32_ps(q_s32x8), scale_f32x8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(x) + i, _mm256_castps_si256(x_f32x8));
  }
}

/// n elements of `size` bytes from a strided to a dense place, or back.
EK_INLINE void copy_elements(const uint8_t* from, ptrdiff_t from_step, uint8_t* to, ptrdiff_t to_step, ptrdiff_t n,
                             size_t size) {
  for (ptrdiff_t i = 0; i < n; ++i) __builtin_memcpy(to + i * to_step, from + i * from_step, size);
}

}  // namespace

void edge_quantise_avx2(const EdgeRun& run) {
  for (ptrdiff_t i = 0; i < run.n; i += kBlock) {
    const ptrdiff_t n = run.n - i < kBlock ? run.n - i : kBlock;
    const uint8_t* x = run.x + i * run.x_step;
    uint8_t* y = run.y + i * run.y_step;
    alignas(32) uint8_t gathered[kBlock * kFloat] = {};
    alignas(32) uint8_t bytes[kBlock];
    const bool dense_x = n == kBlock && run.x_step == kFloat;
    if (!dense_x) copy_elements(x, run.x_step, gathered, kFloat, n, sizeof(float));
    const __m256i u_u8x32 = quantise_u8x32(dense_x ? x : gathered, run.scale, run.zero);
    if (run.y_step == 1) {
      store_u8x32(y, u_u8x32, static_cast<int32_t>(n));
    } else {
      _mm256_store_si256(reinterpret_cast<__m256i*>(bytes), u_u8x32);
      copy_elements(bytes, 1, y, run.y_step, n, 1);
    }
  }
}

void edge_dequantise_avx2(const EdgeRun& run) {
  for (ptrdiff_t i = 0; i < run.n; i += kBlock) {
    const ptrdiff_t n = run.n - i < kBlock ? run.n - i : kBlock;
    const uint8_t* x = run.x + i * run.x_step;
    uint8_t* y = run.y + i * run.y_step;
    alignas(32) uint8_t gathered[kBlock] = {};
    alignas(32) uint8_t floats[kBlock * kFloat];
    const bool dense_x = n == kBlock && run.x_step == 1, dense_y = n == kBlock && run.y_step == kFloat;
    if (!dense_x) copy_elements(x, run.x_step, gathered, 1, n, 1);
    dequantise_f32x32(dense_x ? x : gathered, run.scale, run.zero, dense_y ? y : floats);
    if (!dense_y) copy_elements(floats, kFloat, y, run.y_step, n, sizeof(float));
  }
}

}  // namespace ek
