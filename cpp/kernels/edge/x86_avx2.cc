// SPDX-License-Identifier: Apache-2.0
/// edge in AVX2:
///
///   quantise    u = clamp(rne(x / s) + zero, 0, 255); NaN gives 0
///   dequantise  x = float(u - zero) * s
///   bytes       u = x ^ flip
///
/// | instruction    | per cycle Zen 4, Zen 5, Haswell | use                                    |
/// |----------------|---------------------------------|----------------------------------------|
/// | vdivps ymm     | 1/5, 1/5, 1/14                  | x / s, a true division: the bound      |
/// | vcvtps2dq ymm  | 1, 2, 1                         | rounds to nearest, ties to even        |
/// | vpmovzxbd ymm  | 1, 2, 1                         | 8 bytes to 32 bits                     |
/// | vpshufb xmm    | 2, 2, 1                         | three planes to pixels, and back       |
///
/// weave.h walks over runs and planes; x86_pixels.h weaves 16 pixels of up to four planes in registers.
/// Clipping: vmaxps with the bound as second operand answers the bound for NaN; it comes before rounding, so no float
/// reaches vcvtps2dq that int32 cannot hold.
/// Memory: reads and writes exactly the elements named; floats need no alignment; x and y do not overlap.
#include "kernels/isa/x86_avx2.h"

#include "kernels/edge/weave.h"
#include "kernels/edge/x86_pixels.h"

namespace ek {

void edge_quantise_avx2(const EdgeRun& run);
void edge_dequantise_avx2(const EdgeRun& run);
void edge_bytes_avx2(const EdgeRun& run);

namespace {

// What a run does with 16 elements: floats to bytes, bytes to floats, bytes to bytes.

struct Quantise {
  static constexpr ptrdiff_t kX = kFloat, kY = 1;
  explicit EK_MEMBER Quantise(const EdgeRun& run)
      : scale_f32x8(_mm256_set1_ps(run.scale)),
        lo_f32x8(_mm256_set1_ps(static_cast<float>(-run.zero))),
        hi_f32x8(_mm256_set1_ps(static_cast<float>(255 - run.zero))),
        zero_s16x16(_mm256_set1_epi16(static_cast<int16_t>(run.zero))) {}
  EK_MEMBER __m256i round_s32x8(const uint8_t* x) const {
    const __m256 x_f32x8 = _mm256_castsi256_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
    const __m256 t_f32x8 = _mm256_max_ps(_mm256_div_ps(x_f32x8, scale_f32x8), lo_f32x8);
    return _mm256_cvtps_epi32(_mm256_min_ps(t_f32x8, hi_f32x8));
  }
  EK_MEMBER __m128i load_u8x16(const uint8_t* x) const {
    const __m256i mixed_s16x16 = _mm256_packs_epi32(round_s32x8(x), round_s32x8(x + 8 * kFloat));
    const __m256i q_s16x16 = _mm256_add_epi16(_mm256_permute4x64_epi64(mixed_s16x16, 0xD8), zero_s16x16);
    return _mm_packus_epi16(_mm256_castsi256_si128(q_s16x16), _mm256_extracti128_si256(q_s16x16, 1));
  }
  EK_MEMBER void move(const uint8_t* x, uint8_t* y) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), load_u8x16(x));
  }
  __m256 scale_f32x8, lo_f32x8, hi_f32x8;
  __m256i zero_s16x16;
};

struct Dequantise {
  static constexpr ptrdiff_t kX = 1, kY = kFloat;
  explicit EK_MEMBER Dequantise(const EdgeRun& run)
      : scale_f32x8(_mm256_set1_ps(run.scale)), zero_s32x8(_mm256_set1_epi32(run.zero)) {}
  EK_MEMBER void store_f32x8(uint8_t* y, __m128i u_u8x8) const {
    const __m256i q_s32x8 = _mm256_sub_epi32(_mm256_cvtepu8_epi32(u_u8x8), zero_s32x8);
    const __m256 y_f32x8 = _mm256_mul_ps(_mm256_cvtepi32_ps(q_s32x8), scale_f32x8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), _mm256_castps_si256(y_f32x8));
  }
  EK_MEMBER void store(uint8_t* y, __m128i u_u8x16) const {
    store_f32x8(y, u_u8x16);
    store_f32x8(y + 8 * kFloat, _mm_unpackhi_epi64(u_u8x16, u_u8x16));
  }
  EK_MEMBER void move(const uint8_t* x, uint8_t* y) const {
    store(y, _mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
  }
  __m256 scale_f32x8;
  __m256i zero_s32x8;
};

struct Bytes {
  static constexpr ptrdiff_t kX = 1, kY = 1;
  explicit EK_MEMBER Bytes(const EdgeRun& run) : flip_u8x16(_mm_set1_epi8(static_cast<int8_t>(run.flip))) {}
  EK_MEMBER __m128i load_u8x16(const uint8_t* x) const {
    return _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)), flip_u8x16);
  }
  EK_MEMBER void store(uint8_t* y, __m128i u_u8x16) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), _mm_xor_si128(u_u8x16, flip_u8x16));
  }
  EK_MEMBER void move(const uint8_t* x, uint8_t* y) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), load_u8x16(x));
  }
  __m128i flip_u8x16;
};

}  // namespace

void edge_quantise_avx2(const EdgeRun& run) { move_planes<Pixels, Quantise>(run); }
void edge_dequantise_avx2(const EdgeRun& run) { move_planes<Pixels, Dequantise>(run); }
void edge_bytes_avx2(const EdgeRun& run) { move_planes<Pixels, Bytes>(run); }

}  // namespace ek
