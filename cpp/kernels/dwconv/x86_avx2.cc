// SPDX-License-Identifier: Apache-2.0
/// dwconv for AVX2: 3x3 and 5x5, strides 1 and 2, 32 or 8 channels at a time. The loop is in x86_block.h.
///
///   y(x, c) = requant(bias(c) + sum over ky, kx of rows[ky][(x*s + kx)*px + c] * w(ky, kx, c), scale(c))
///
///   instruction                    per cycle, Zen 5 / Haswell    for 32 outputs of 3x3, stride 1 / 2
///   VPUNPCK{L,H}BW       y, y, y          4 / 1     bytes of two rows to 16 bits    12 / 24
///   VPMADDWD             y, y, m256       2 / 1     2 taps of 8 channels            20 / 20
///   VPADDD               y, y, y          4 / 2                                     20 / 20
///   VCVTDQ2PS .. VPMAXUB y                2 / 1     requantise                      19 / 19
///
/// Why not VPMADDUBSW: it saturates where 255 * (w0 + w1) leaves int16. Widening first costs 4 unpacks for 8 dots.
///
/// Bounds: VPMADDWD of bytes and int8 weights is at most 2 * 255 * 128 in size, exact. Sums wrap modulo 2^32; the
/// true sum fits int32 (proved by the verifier).
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/dwconv/x86_ymm.h"

namespace ek {

void dwconv_u8_3x3_avx2(const DwConvArgs& args);
void dwconv_u8_5x5_avx2(const DwConvArgs& args);

namespace {

struct Avx2 : Ymm {
  static constexpr int kTaps = 2;

  /// N = 4: bytes of the two rows alternating, of channels 16l + 0..7 and of 16l + 8..15.
  template <int N>
  struct Taps {
    Vector v[N == 4 ? 2 : 1];
  };

  template <int K>
  static EK_MEMBER void interleave(const uint8_t* const (&row)[2], Taps<4>& taps) {
    __m256i a_u8x32 = load(row[0]), b_u8x32 = load(row[1]);
    hold(a_u8x32), hold(b_u8x32);
    taps.v[0] = _mm256_unpacklo_epi8(a_u8x32, b_u8x32);
    taps.v[1] = _mm256_unpackhi_epi8(a_u8x32, b_u8x32);
  }

  static EK_MEMBER Vector vector(const Taps<4>& taps, int j) {
    const __m256i half_u8x32 = taps.v[j / 2], zero = _mm256_setzero_si256();
    return j % 2 == 0 ? _mm256_unpacklo_epi8(half_u8x32, zero) : _mm256_unpackhi_epi8(half_u8x32, zero);
  }

  template <int K>
  static EK_MEMBER void interleave(const uint8_t* const (&row)[2], Taps<1>& taps) {
    taps.v[0] = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(load_u8x8(row[0]), load_u8x8(row[1])));
  }

  static EK_MEMBER Vector vector(const Taps<1>& taps, int) { return taps.v[0]; }

  static EK_MEMBER Vector dot(Vector sum_s32x8, Vector taps_s16x16, Vector w_s16x16) {
    return _mm256_add_epi32(sum_s32x8, _mm256_madd_epi16(taps_s16x16, w_s16x16));
  }
};

}  // namespace

void dwconv_u8_3x3_avx2(const DwConvArgs& args) { args.sx == 1 ? row<Avx2, 3, 1>(args) : row<Avx2, 3, 2>(args); }

void dwconv_u8_5x5_avx2(const DwConvArgs& args) { args.sx == 1 ? row<Avx2, 5, 1>(args) : row<Avx2, 5, 2>(args); }

}  // namespace ek
