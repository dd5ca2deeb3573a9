// SPDX-License-Identifier: Apache-2.0
/// dwconv for AVX-VNNI: 3x3 and 5x5, strides 1 and 2, 32 or 8 channels at a time. The loop is in block.h.
///
///   y(x, c) = requant(bias(c) + sum over ky, kx of rows[ky][(x*s + kx)*px + c] * w(ky, kx, c), scale(c))
///
///   instruction                    per cycle, Zen 5 / Golden Cove    for 32 outputs of 3x3, stride 1 / 2
///   VPUNPCK{L,H}{BW,WD}  y, y, y          4 / 2     interleave four rows          8 / 16
///   {vex} VPDPBUSD       y, y, m256       2 / 2     4 taps of 8 channels         12 / 12
///   VCVTDQ2PS .. VPMAXUB y                2 / 2     requantise                   19 / 19
///   loads, 32 bytes                       2 / 3     rows, weights, bias, scale   23 / 26
///
/// Sixteen registers hold the sums and one column; weights come from memory, where VPDPBUSD takes its signed factor.
///
/// Bounds: VPDPBUSD (not VPDPBUSDS) adds four u8 x s8 products to an int32 lane without saturating. A lane wraps
/// modulo 2^32; the true sum fits int32 (proved by the verifier).
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/dwconv/x86_ymm.h"

namespace ek {

void dwconv_u8_3x3_avxvnni(const DwConvArgs& args);
void dwconv_u8_5x5_avxvnni(const DwConvArgs& args);

namespace {

struct AvxVnni : Ymm {
  /// N = 4: bytes of rows 0, 1 and of rows 2, 3 alternating, of channels 16l + 0..7 and then of 16l + 8..15.
  template <int N>
  struct Taps {
    Vector v[N];
  };

  template <int K>
  static EK_MEMBER void interleave(const uint8_t* const (&row)[4], Taps<4>& taps) {
    __m256i a_u8x32 = load(row[0]), b_u8x32 = load(row[1]), c_u8x32 = load(row[2]), d_u8x32 = load(row[3]);
    hold(a_u8x32), hold(b_u8x32), hold(c_u8x32), hold(d_u8x32);
    taps.v[0] = _mm256_unpacklo_epi8(a_u8x32, b_u8x32);
    taps.v[1] = _mm256_unpacklo_epi8(c_u8x32, d_u8x32);
    taps.v[2] = _mm256_unpackhi_epi8(a_u8x32, b_u8x32);
    taps.v[3] = _mm256_unpackhi_epi8(c_u8x32, d_u8x32);
  }

  static EK_MEMBER Vector vector(const Taps<4>& taps, int j) {
    const __m256i ab_u8x32 = taps.v[j / 2 * 2], cd_u8x32 = taps.v[j / 2 * 2 + 1];
    return j % 2 == 0 ? _mm256_unpacklo_epi16(ab_u8x32, cd_u8x32) : _mm256_unpackhi_epi16(ab_u8x32, cd_u8x32);
  }

  template <int K>
  static EK_MEMBER void interleave(const uint8_t* const (&row)[4], Taps<1>& taps) {
    const __m128i ab_u8x16 = _mm_unpacklo_epi8(load_u8x8(row[0]), load_u8x8(row[1]));
    const __m128i cd_u8x16 = _mm_unpacklo_epi8(load_u8x8(row[2]), load_u8x8(row[3]));
    taps.v[0] = _mm256_set_m128i(_mm_unpackhi_epi16(ab_u8x16, cd_u8x16), _mm_unpacklo_epi16(ab_u8x16, cd_u8x16));
  }

  static EK_MEMBER Vector vector(const Taps<1>& taps, int) { return taps.v[0]; }

  static EK_MEMBER Vector dot(Vector sum_s32x8, Vector taps_u8x32, Vector w_s8x32) {
    return _mm256_dpbusd_avx_epi32(sum_s32x8, taps_u8x32, w_s8x32);
  }
};

}  // namespace

void dwconv_u8_3x3_avxvnni(const DwConvArgs& args) {
  args.sx == 1 ? row<AvxVnni, 3, 1>(args) : row<AvxVnni, 3, 2>(args);
}

void dwconv_u8_5x5_avxvnni(const DwConvArgs& args) {
  args.sx == 1 ? row<AvxVnni, 5, 1>(args) : row<AvxVnni, 5, 2>(args);
}

}  // namespace ek
