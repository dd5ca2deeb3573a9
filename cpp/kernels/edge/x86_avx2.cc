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
/// Runs dense on both sides go in vectors, the last one shifted back over the one before it: its elements are made
/// twice and are the same. Where a layout changes, 16 pixels of up to four planes are woven into pixels, or taken
/// apart, in registers. What is left, runs shorter than a vector and odd strides, goes through a local array.
/// Clipping: vmaxps with the bound as second operand answers the bound for NaN; it comes before rounding, so no float
/// reaches vcvtps2dq that int32 cannot hold.
/// Memory: reads and writes exactly the elements named; floats need no alignment; x and y do not overlap.
#include "kernels/isa/x86_avx2.h"

#include "kernels/edge/run.h"
#include "kernels/edge/x86_pixels.h"

namespace ek {

void edge_quantise_avx2(const EdgeRun& run);
void edge_dequantise_avx2(const EdgeRun& run);
void edge_bytes_avx2(const EdgeRun& run);

namespace {

constexpr ptrdiff_t kFloat = sizeof(float);

/// What a run does with 16 elements: floats to bytes, bytes to floats, bytes to bytes.
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

/// Offsets 0, 16, 32, …, the last one shifted back so that it ends at n >= 16.
template <class Step>
EK_INLINE void every_16(ptrdiff_t n, const Step& step) {
  for (ptrdiff_t i = 0; i + kPixels <= n; i += kPixels) step(i);
  if (n % kPixels != 0) step(n - kPixels);
}

template <class Op>
EK_INLINE void lines(const EdgeRun& run) {
  const Op op(run);
  const bool dense = run.x_step == Op::kX && run.y_step == Op::kY && run.n >= kPixels;
  for (ptrdiff_t p = 0; p < run.planes; ++p) {
    const uint8_t* x = run.x + p * run.x_plane;
    uint8_t* y = run.y + p * run.y_plane;
    if (dense) {
      every_16(run.n, [&](ptrdiff_t i) { op.move(x + i * Op::kX, y + i * Op::kY); });
      continue;
    }
    for (ptrdiff_t i = 0; i < run.n; i += kPixels) {
      const ptrdiff_t n = run.n - i < kPixels ? run.n - i : kPixels;
      alignas(32) uint8_t from[kPixels * Op::kX] = {}, to[kPixels * Op::kY];
      for (ptrdiff_t k = 0; k < n; ++k) __builtin_memcpy(from + k * Op::kX, x + (i + k) * run.x_step, Op::kX);
      op.move(from, to);
      for (ptrdiff_t k = 0; k < n; ++k) __builtin_memcpy(y + (i + k) * run.y_step, to + k * Op::kY, Op::kY);
    }
  }
}

/// kPlanes planes of x, dense in themselves, to pixels.
struct Together {
  template <int kPlanes, class Op>
  static EK_MEMBER void move(const EdgeRun& run, const Op& op, ptrdiff_t plane) {
    const uint8_t* x = run.x + plane * run.x_plane;
    uint8_t* y = run.y + plane;
    every_16(run.n, [&](ptrdiff_t i) {
      __m128i v_u8x16[4] = {};
      EK_UNROLL
      for (int p = 0; p < kPlanes; ++p) v_u8x16[p] = op.load_u8x16(x + p * run.x_plane + i * Op::kX);
      store_pixels<kPlanes>(y + i * run.y_step, run.y_step, v_u8x16);
    });
  }
};

/// Pixels of x to kPlanes planes, dense in themselves.
struct Apart {
  template <int kPlanes, class Op>
  static EK_MEMBER void move(const EdgeRun& run, const Op& op, ptrdiff_t plane) {
    const uint8_t* x = run.x + plane;
    uint8_t* y = run.y + plane * run.y_plane;
    every_16(run.n, [&](ptrdiff_t i) {
      __m128i v_u8x16[4];
      load_pixels<kPlanes>(x + i * run.x_step, run.x_step, v_u8x16);
      EK_UNROLL
      for (int p = 0; p < kPlanes; ++p) op.store(y + p * run.y_plane + i * Op::kY, v_u8x16[p]);
    });
  }
};

/// All planes, four at a time.
template <class Way, class Op>
EK_INLINE void planes(const EdgeRun& run) {
  const Op op(run);
  ptrdiff_t plane = 0;
  for (; plane + 4 <= run.planes; plane += 4) Way::template move<4>(run, op, plane);
  if (run.planes - plane == 3) Way::template move<3>(run, op, plane);
  if (run.planes - plane == 2) Way::template move<2>(run, op, plane);
  if (run.planes - plane == 1) Way::template move<1>(run, op, plane);
}

/// Whether the runs are dense in x (y) alone, and neighbours in the other from plane to plane.
template <class Op>
EK_INLINE bool planar_x(const EdgeRun& run) {
  return run.n >= kPixels && run.x_step == Op::kX && run.y_step != Op::kY && (run.planes == 1 || run.y_plane == 1);
}
template <class Op>
EK_INLINE bool planar_y(const EdgeRun& run) {
  return run.n >= kPixels && run.y_step == Op::kY && run.x_step != Op::kX && (run.planes == 1 || run.x_plane == 1);
}

}  // namespace

void edge_quantise_avx2(const EdgeRun& run) {
  if (planar_x<Quantise>(run)) return planes<Together, Quantise>(run);
  lines<Quantise>(run);
}

void edge_dequantise_avx2(const EdgeRun& run) {
  if (planar_y<Dequantise>(run)) return planes<Apart, Dequantise>(run);
  lines<Dequantise>(run);
}

void edge_bytes_avx2(const EdgeRun& run) {
  if (planar_x<Bytes>(run)) return planes<Together, Bytes>(run);
  if (planar_y<Bytes>(run)) return planes<Apart, Bytes>(run);
  lines<Bytes>(run);
}

}  // namespace ek
