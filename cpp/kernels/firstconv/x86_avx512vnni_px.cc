// SPDX-License-Identifier: Apache-2.0
/// firstconv for AVX512-VNNI with a pixel per lane: 3x3 on dense pixels of three or one channels, strides 1 and 2.
///
///   y(i, n) = requant(bias(n) + sum over ky, j of rows[ky][i * a_px + j] * w(n; ky, j), scale(n))
///
///   instruction                       per cycle, Zen 4 / Ice Lake server    for 16 pixels of 3x3x3, 8 columns
///   VPERMW               z, z, z           1 / 0.5     two pixels of a row to 16 bytes           6
///   VPSHUFB              z, z, z           1 / 1       four taps of a pixel to a lane           18
///   VPBROADCASTD         z, m32            2 / 2       weights, bias, scale                     72
///   VPDPBUSD             z, z, z           1 / 2       four taps of 16 pixels                   56
///   VCVTDQ2PS .. VPMAXUB z                 1 / 2       requantise                               38
///   VPSHUFB, VPUNPCKxDQ  z, z, z           1 / 1       columns to pixels                         4
///
/// With a column per lane, 8 columns are half a vector and the taps of each pixel have to be brought together and
/// repeated in every lane. Here all columns use the same vector of taps, and the weight is the same in every lane:
/// a broadcast. Sums stand as [column][pixel]; VPACKSSDW and VPACKUSWB of four columns leave four pixels of each in
/// 16 bytes, which VPSHUFB turns into four columns of each pixel.
/// 16-byte lane l holds the pixels 2l, 2l + 1, 2l + 8 and 2l + 9, in this order: two neighbours are within 16 bytes of
/// a row, where VPERMW and VPSHUFB reach them, and 8 columns of 8 pixels come out contiguous.
/// Four columns are requantised between the dots of the next four, one step after each k group: left to itself the core
/// does one after the other (36.6 instead of 40.6 MAC per cycle with 32 columns on Zen 4).
///
/// Bounds: VPDPBUSD (not VPDPBUSDS) adds four u8 x s8 products to an int32 lane without saturating. A lane wraps
/// modulo 2^32; the true sum fits int32 (proved by the verifier). Clipping is done on bytes: the plan takes this row
/// only where no product by the scale can reach 2^30 (qgemm_unbounded).
/// A strip that is no multiple of 16 ends with a block that repeats pixels (the same bytes are written again).
/// Memory: reads up to 12 bytes behind each source row, the panel, biases and scales of whole eights of columns; writes
/// n columns of m pixels.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/firstconv/firstconv.h"
#include "kernels/isa/x86_avx512vnni.h"

namespace ek {

void firstconv_u8_16x32x4_avx512vnni(const FirstConvArgs& args);

namespace {

constexpr int kPixels = 16, kOct = 8;
constexpr int kGroupBytes = 128;  // a k group of the panel: 32 columns

/// VPSHUFB's controls: for each k group and kernel row that meet, where the 4 taps of each of a lane's pixels lie.
template <int KH, int kRowTaps, int kPixelBytes>
struct Moves {
  static constexpr int kTaps = KH * kRowTaps, kGroups = (kTaps + 3) / 4;
  alignas(16) int8_t from[kGroups][KH][16] = {};

  constexpr Moves() {
    for (int g = 0; g < kGroups; ++g) {
      for (int ky = 0; ky < KH; ++ky) {
        for (int b = 0; b < 16; ++b) {
          const int tap = 4 * g + b % 4, second = b / 4 % 2 * kPixelBytes;
          const bool here = tap < kTaps && tap / kRowTaps == ky;
          from[g][ky][b] = static_cast<int8_t>(here ? second + tap % kRowTaps : -1);
        }
      }
    }
  }

  /// Whether group g has taps of row ky.
  static constexpr bool meet(int g, int ky) {
    const int last = 4 * g + 3 < kTaps ? 4 * g + 3 : kTaps - 1;
    return 4 * g / kRowTaps <= ky && ky <= last / kRowTaps;
  }
};

template <int KH, int kRowTaps, int kPixelBytes>
constexpr Moves<KH, kRowTaps, kPixelBytes> kMoves;

/// Taps of 16 pixels: lane i of group g has taps 4g .. 4g + 3 of its pixel.
template <int kGroups>
struct Taps {
  __m512i u8x64[kGroups];
};

/// Words l * kPixelBytes .. + 7 to 16-byte lane l: two pixels, and those two further on.
template <int kPixelBytes>
EK_INLINE __m512i spread_u8x64(const uint8_t* row) {
  constexpr int w = kPixelBytes;  // words of two pixels
  constexpr auto kWords = static_cast<__mmask32>((uint64_t{1} << (3 * w + 8)) - 1);
  const auto pair = [](int64_t first) { return first * 0x0001000100010001 + 0x0003000200010000; };
  const __m512i from_s16x32 = _mm512_setr_epi64(pair(0), pair(4), pair(w), pair(w + 4), pair(2 * w), pair(2 * w + 4),
                                                pair(3 * w), pair(3 * w + 4));
  return _mm512_permutexvar_epi16(from_s16x32, _mm512_maskz_loadu_epi16(kWords, row));
}

template <int KH, int kRowTaps, int kPixelBytes>
EK_INLINE void gather(const uint8_t* const* rows, ptrdiff_t offset,
                      Taps<Moves<KH, kRowTaps, kPixelBytes>::kGroups>& taps) {
  using Table = Moves<KH, kRowTaps, kPixelBytes>;
  __m512i near_u8x64[KH], far_u8x64[KH];
  EK_UNROLL
  for (int ky = 0; ky < KH; ++ky) {
    near_u8x64[ky] = spread_u8x64<kPixelBytes>(rows[ky] + offset);
    far_u8x64[ky] = spread_u8x64<kPixelBytes>(rows[ky] + offset + kOct * kPixelBytes);
  }
  EK_UNROLL
  for (int g = 0; g < Table::kGroups; ++g) {
    __m512i sum_u8x64 = _mm512_setzero_si512();
    EK_UNROLL
    for (int ky = 0; ky < KH; ++ky) {
      if (!Table::meet(g, ky)) continue;
      const auto* from = reinterpret_cast<const __m128i*>(kMoves<KH, kRowTaps, kPixelBytes>.from[g][ky]);
      const __m512i from_u8x64 = _mm512_broadcast_i32x4(_mm_load_si128(from));
      __m512i part_u8x64 = _mm512_shuffle_epi8(near_u8x64[ky], from_u8x64);
      part_u8x64 = _mm512_mask_shuffle_epi8(part_u8x64, 0xff00ff00ff00ff00, far_u8x64[ky], from_u8x64);
      sum_u8x64 = Table::meet(g, ky - 1) ? _mm512_or_si512(sum_u8x64, part_u8x64) : part_u8x64;
    }
    taps.u8x64[g] = sum_u8x64;
    hold(taps.u8x64[g]);
  }
}

/// Eight columns of 16 pixels, eight bytes a pixel: pixels 0..7 in order, then 8..15.
struct Oct {
  __m512i u8x64[2];
};

/// Four columns of 16 pixels on the way from sums to bytes, in six steps.
constexpr int kSteps = 6;
struct Finish {
  __m512i s32x16[4];
  __m512 f32x16[4];
  const float* scale;

  template <int kStep>
  EK_MEMBER void step(const Requant512& r) {
    EK_UNROLL
    for (int n = 0; n < 4; ++n) {
      if constexpr (kStep == 0) f32x16[n] = _mm512_cvtepi32_ps(s32x16[n]);
      if constexpr (kStep == 1) f32x16[n] = _mm512_mul_ps(f32x16[n], _mm512_set1_ps(scale[n]));
      if constexpr (kStep == 2) s32x16[n] = _mm512_cvtps_epi32(f32x16[n]);
    }
    if constexpr (kStep == 3) {
      s32x16[0] = _mm512_adds_epi16(_mm512_packs_epi32(s32x16[0], s32x16[1]), r.zero_s16x32);
      s32x16[1] = _mm512_adds_epi16(_mm512_packs_epi32(s32x16[2], s32x16[3]), r.zero_s16x32);
    }
    if constexpr (kStep == 4) {
      const __m512i u_u8x64 = _mm512_packus_epi16(s32x16[0], s32x16[1]);
      s32x16[0] = _mm512_min_epu8(_mm512_max_epu8(u_u8x64, r.lo_u8x64), r.hi_u8x64);
    }
    if constexpr (kStep == 5) {
      const __m128i turn_u8x16 = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
      s32x16[0] = _mm512_shuffle_epi8(s32x16[0], _mm512_broadcast_i32x4(turn_u8x16));
    }
  }

  template <int kFrom, int kTo>
  EK_MEMBER void steps(const Requant512& r) {
    if constexpr (kFrom < kTo) {
      step<kFrom>(r);
      if constexpr (kFrom < 4) hold(s32x16[0]);  // keeps GCC from moving the step behind the dots
      steps<kFrom + 1, kTo>(r);
    }
  }
};

/// k groups g and behind it of four columns; some steps of `f` after each.
template <int g, int kGroups>
EK_INLINE void dot_groups(__m512i (&sum_s32x16)[4], const int8_t* w, const Taps<kGroups>& taps, Finish& f,
                          const Requant512& r) {
  if constexpr (g < kGroups) {
    EK_UNROLL
    for (int n = 0; n < 4; ++n) {
      const __m512i w_s8x64 = _mm512_set1_epi32(load_s32(w + g * kGroupBytes + 4 * n));
      sum_s32x16[n] = _mm512_dpbusd_epi32(sum_s32x16[n], taps.u8x64[g], w_s8x64);
      hold(sum_s32x16[n]);
    }
    f.steps<g * kSteps / kGroups, (g + 1) * kSteps / kGroups>(r);
    dot_groups<g + 1>(sum_s32x16, w, taps, f, r);
  }
}

/// Starts four columns while those of `f` are finished; returns the latter, four bytes a pixel.
template <int kGroups>
EK_INLINE __m512i four_columns(const FirstConvArgs& args, int32_t first, const Taps<kGroups>& taps, Finish& f,
                               const Requant512& r) {
  const int8_t* const w = reinterpret_cast<const int8_t*>(args.w) + 4 * first;
  __m512i sum_s32x16[4];
  EK_UNROLL
  for (int n = 0; n < 4; ++n) sum_s32x16[n] = _mm512_set1_epi32(args.bias[first + n]);
  dot_groups<0>(sum_s32x16, w, taps, f, r);
  const __m512i done_u8x64 = f.s32x16[0];
  EK_UNROLL
  for (int n = 0; n < 4; ++n) f.s32x16[n] = sum_s32x16[n];
  f.scale = args.scale + first;
  return done_u8x64;
}

EK_INLINE Oct eight_columns(__m512i a_u8x64, __m512i b_u8x64) {
  return {{_mm512_unpacklo_epi32(a_u8x64, b_u8x64), _mm512_unpackhi_epi32(a_u8x64, b_u8x64)}};
}

/// Stores the first n bytes of each 16-byte lane, `step` bytes apart.
EK_INLINE void store_lanes(uint8_t* y, ptrdiff_t step, __m512i v_u8x64, int32_t n) {
  store_u8x16(y, _mm512_castsi512_si128(v_u8x64), n);
  store_u8x16(y + step, _mm512_extracti32x4_epi32(v_u8x64, 1), n);
  store_u8x16(y + 2 * step, _mm512_extracti32x4_epi32(v_u8x64, 2), n);
  store_u8x16(y + 3 * step, _mm512_extracti32x4_epi32(v_u8x64, 3), n);
}

/// The first n of two octs' 16 columns.
EK_INLINE void store_sixteen(uint8_t* y, ptrdiff_t y_px, const Oct& a, const Oct& b, int32_t n) {
  EK_UNROLL
  for (int h = 0; h < 2; ++h, y += kOct * y_px) {
    store_lanes(y, 2 * y_px, _mm512_unpacklo_epi64(a.u8x64[h], b.u8x64[h]), n);
    store_lanes(y + y_px, 2 * y_px, _mm512_unpackhi_epi64(a.u8x64[h], b.u8x64[h]), n);
  }
}

/// Where finished columns go: `y` is the first of 16 pixels, `n` the first of eight columns.
struct Target {
  uint8_t* y;
  int32_t n;
};

/// Stores columns n .. n + 7, two octs at a time where there are as many; `even` keeps the first of two.
EK_INLINE void store(const FirstConvArgs& args, const Target& to, const Oct& oct, Oct& even) {
  const bool second = to.n % (2 * kOct) != 0;
  if (args.n == kOct && args.y_px == kOct) {
    _mm512_storeu_si512(to.y, oct.u8x64[0]);
    _mm512_storeu_si512(to.y + 64, oct.u8x64[1]);
  } else if (second) {
    store_sixteen(to.y + to.n - kOct, args.y_px, even, oct, args.n - to.n + kOct);
  } else if (args.n - to.n > kOct) {
    even = oct;
  } else {
    store_sixteen(to.y + to.n, args.y_px, oct, oct, args.n - to.n);
  }
}

template <int KH, int kRowTaps, int kPixelBytes>
void strip(const FirstConvArgs& args) {
  const Requant512 r = load_requant512(args.out);
  Finish f{};
  f.scale = args.scale;
  __m512i four_u8x64 = _mm512_setzero_si512();  // finished before those of f
  Oct even{};
  Target to{nullptr, 0};  // of four_u8x64 and f; none yet
  for (int32_t i = 0;;) {
    Taps<Moves<KH, kRowTaps, kPixelBytes>::kGroups> taps;
    gather<KH, kRowTaps, kPixelBytes>(args.rows, ptrdiff_t{i} * kPixelBytes, taps);
    for (int32_t n = 0; n < args.n; n += kOct) {
      const Oct oct = eight_columns(four_u8x64, four_columns(args, n, taps, f, r));
      if (to.y != nullptr) store(args, to, oct, even);
      four_u8x64 = four_columns(args, n + kOct / 2, taps, f, r);
      to = {args.y + i * args.y_px, n};
    }
    if (i + kPixels == args.m) break;
    i = i + 2 * kPixels > args.m ? args.m - kPixels : i + kPixels;
  }
  f.steps<0, kSteps>(r);
  store(args, to, eight_columns(four_u8x64, f.s32x16[0]), even);
}

}  // namespace

void firstconv_u8_16x32x4_avx512vnni(const FirstConvArgs& args) {
  if (args.row_taps == 9) return args.a_px == 3 ? strip<3, 9, 3>(args) : strip<3, 9, 6>(args);
  return args.a_px == 1 ? strip<3, 3, 1>(args) : strip<3, 3, 2>(args);
}

}  // namespace ek
