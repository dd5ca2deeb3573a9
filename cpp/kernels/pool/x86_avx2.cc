// SPDX-License-Identifier: Apache-2.0
/// pool in AVX2:
///
///   max      y = clamp(max of the window's pixels)
///   average  y = clamp(S / n, half away from the origin)       equal quantisation in and out, bytes less the origin
///            y = clamp(rne(float(S - n * zx) * m(n)) + zy)     otherwise, m(n) = s_in / (s_out * n)
///   mean     the second form over all pixels, with m from the file
///
/// | instruction         | per cycle Zen 5, Haswell | use                                       |
/// |---------------------|--------------------------|-------------------------------------------|
/// | vpmaxub ymm         | 4, 2                     | max of 32 channels                        |
/// | vpmovzxbw ymm, m128 | 2, 1                     | 16 channels to 16 bits                    |
/// | vpaddw ymm          | 4, 2                     | sums of up to 257 pixels                  |
/// | vdivps ymm          | 1/5, 1/14                | S / n                                     |
///
/// Algebra: windows.h cuts sums into parts that fit in 16 bits.
/// S / n half away from zero is trunc((|S| + n / 2) / n) with the sign of S. For n <= 2^16 the float quotient
/// truncates to the right integer: the numerator is below 2^24, hence exact, and a quotient that is no integer lies at
/// least 1 / n >= 2^-16 below the next one, which is at most 129; half an ulp there is 2^-17. Larger n divide as
/// integers. Memory: reads up to 31 bytes behind a pixel's channels (slack); writes c bytes of each output pixel.
#include "kernels/isa/x86_avx2.h"

#include "kernels/pool/windows.h"

namespace ek {

void pool_max_avx2(const PoolArgs& args);
void pool_average_avx2(const PoolArgs& args);
void pool_mean_avx2(const MeanArgs& args);

namespace {

constexpr int32_t kExactCount = 1 << 16;  // for the float quotient

EK_INLINE __m256i load_u8x32(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

EK_INLINE __m256i load_s16x16(const uint8_t* p) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

/// 32 sums: channels 0-7, 8-15, 16-23, 24-31.
struct Sums {
  __m256i s32x8[4];
};

EK_INLINE void widen_add(Sums& sums, __m256i low_u16x16, __m256i high_u16x16) {
  const __m256i halves_u16x16[2] = {low_u16x16, high_u16x16};
  for (int i = 0; i < 2; ++i) {
    const __m128i first_u16x8 = _mm256_castsi256_si128(halves_u16x16[i]);
    const __m128i second_u16x8 = _mm256_extracti128_si256(halves_u16x16[i], 1);
    sums.s32x8[2 * i] = _mm256_add_epi32(sums.s32x8[2 * i], _mm256_cvtepu16_epi32(first_u16x8));
    sums.s32x8[2 * i + 1] = _mm256_add_epi32(sums.s32x8[2 * i + 1], _mm256_cvtepu16_epi32(second_u16x8));
  }
}

/// Adds a window's 32 channels from channel c on.
EK_INLINE void add_window(Sums& sums, const Window& in, int32_t c) {
  each_part(in, [&](const Window& part) __attribute__((always_inline)) {
    __m256i low_u16x16 = _mm256_setzero_si256(), high_u16x16 = _mm256_setzero_si256();
    for (int32_t ky = 0; ky < part.row_count; ++ky) {
      const uint8_t* x = part.rows[ky] + part.first + c;
      for (int32_t kx = 0; kx < part.columns; ++kx, x += part.px) {
        low_u16x16 = _mm256_add_epi16(low_u16x16, load_s16x16(x));
        high_u16x16 = _mm256_add_epi16(high_u16x16, load_s16x16(x + 16));
      }
    }
    widen_add(sums, low_u16x16, high_u16x16);
  });
}

EK_INLINE Sums no_sums() {
  const __m256i zero = _mm256_setzero_si256();
  return {{zero, zero, zero, zero}};
}

/// Greatest of 32 channels of a window of kRows x kColumns pixels; 0: as many as the window says.
template <int32_t kRows, int32_t kColumns>
EK_INLINE __m256i max_u8x32(const Window& in, int32_t c, __m256i top_u8x32) {
  const int32_t rows = kRows ? kRows : in.row_count, columns = kColumns ? kColumns : in.columns;
  for (int32_t ky = 0; ky < rows; ++ky) {
    const uint8_t* pixel = in.rows[ky] + in.first + c;
    for (int32_t kx = 0; kx < columns; ++kx, pixel += in.px) {
      top_u8x32 = _mm256_max_epu8(top_u8x32, load_u8x32(pixel));
    }
  }
  return top_u8x32;
}

template <int32_t kRows, int32_t kColumns>
EK_INLINE void max_pixel(const PoolArgs& args, const Window& in, uint8_t* y) {
  const __m256i lo_u8x32 = _mm256_set1_epi8(static_cast<int8_t>(args.lo));
  const __m256i hi_u8x32 = _mm256_set1_epi8(static_cast<int8_t>(args.hi));
  for (int32_t c = 0; c < args.c; c += 32) {
    store_u8x32(y + c, _mm256_min_epu8(max_u8x32<kRows, kColumns>(in, c, lo_u8x32), hi_u8x32), args.c - c);
  }
}

/// 32 bytes of u = rne(float(sum - offset) * m) + zero, clipped.
EK_INLINE __m256i scaled_u8x32(Sums sums, int32_t offset, float m, const Requant256& r) {
  const __m256i offset_s32x8 = _mm256_set1_epi32(offset);
  const __m256 m_f32x8 = _mm256_set1_ps(m);
  for (__m256i& s : sums.s32x8) s = round_s32x8(_mm256_sub_epi32(s, offset_s32x8), m_f32x8, r);
  return bytes_u8x32(sums.s32x8[0], sums.s32x8[1], sums.s32x8[2], sums.s32x8[3], r);
}

/// Eight quotients s / count, half away from zero.
EK_INLINE __m256i quotient_s32x8(__m256i s_s32x8, int32_t count) {
  const __m256i size_s32x8 = _mm256_add_epi32(_mm256_abs_epi32(s_s32x8), _mm256_set1_epi32(count / 2));
  if (count <= kExactCount) {
    const __m256 q_f32x8 = _mm256_div_ps(_mm256_cvtepi32_ps(size_s32x8), _mm256_set1_ps(static_cast<float>(count)));
    return _mm256_sign_epi32(_mm256_cvttps_epi32(q_f32x8), s_s32x8);
  }
  alignas(32) int32_t size[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(size), size_s32x8);
  for (int32_t& value : size) value /= count;
  return _mm256_sign_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(size)), s_s32x8);
}

/// 32 bytes of clamp((sum - offset) / count + origin).
EK_INLINE __m256i divided_u8x32(Sums sums, int32_t offset, int32_t count, int32_t origin, uint8_t lo, uint8_t hi) {
  const __m256i offset_s32x8 = _mm256_set1_epi32(offset), origin_s32x8 = _mm256_set1_epi32(origin);
  for (__m256i& s : sums.s32x8) {
    s = _mm256_add_epi32(quotient_s32x8(_mm256_sub_epi32(s, offset_s32x8), count), origin_s32x8);
  }
  const __m256i mixed_u8x32 = _mm256_packus_epi16(_mm256_packs_epi32(sums.s32x8[0], sums.s32x8[1]),
                                                  _mm256_packs_epi32(sums.s32x8[2], sums.s32x8[3]));
  const __m256i u_u8x32 = _mm256_permutevar8x32_epi32(mixed_u8x32, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  const __m256i lo_u8x32 = _mm256_set1_epi8(static_cast<int8_t>(lo)),
                hi_u8x32 = _mm256_set1_epi8(static_cast<int8_t>(hi));
  return _mm256_min_epu8(_mm256_max_epu8(u_u8x32, lo_u8x32), hi_u8x32);
}

}  // namespace

void pool_max_avx2(const PoolArgs& args) {
  each_window(args, [&](const Window& in, uint8_t* y) __attribute__((always_inline)) {
    by_size(in, [&](auto size) __attribute__((always_inline)) { max_pixel<size.kRows, size.kColumns>(args, in, y); });
  });
}

void pool_average_avx2(const PoolArgs& args) {
  const Requant out{static_cast<float>(args.lo - args.zero_out), static_cast<float>(args.hi - args.zero_out),
                    args.zero_out};
  const Requant256 r = load_requant256(out);
  each_window(args, [&](const Window& in, uint8_t* y) __attribute__((always_inline)) {
    const Count n = count_of(args, in);
    const int32_t o = args.origin;
    const int32_t offset = n.inside * o - (n.all - n.inside) * (args.zero_in - o);  // pad pixels add their zero point
    const float m = args.s_in / (args.s_out * static_cast<float>(n.all));
    for (int32_t c = 0; c < args.c; c += 32) {
      Sums sums = no_sums();
      add_window(sums, in, c);
      const __m256i u_u8x32 = args.same_scale ? divided_u8x32(sums, offset, n.all, o, args.lo, args.hi)
                                              : scaled_u8x32(sums, n.inside * args.zero_in, m, r);
      store_u8x32(y + c, u_u8x32, args.c - c);
    }
  });
}

void pool_mean_avx2(const MeanArgs& args) {
  const Requant256 r = load_requant256(args.out);
  const Nhwc& x = args.shape;
  for (int32_t c = 0; c < x.c; c += 32) {
    Sums sums = no_sums();
    each_row(args, [&](const Window& row) __attribute__((always_inline)) { add_window(sums, row, c); });
    store_u8x32(args.y + c, scaled_u8x32(sums, x.h * x.w * args.zero_in, args.m, r), x.c - c);
  }
}

}  // namespace ek
