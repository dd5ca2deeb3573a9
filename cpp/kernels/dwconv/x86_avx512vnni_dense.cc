// SPDX-License-Identifier: Apache-2.0
/// dwconv for AVX512-VNNI, 3x3 at strides 1 and 2 on dense pixels of 8, 16 or 32 channels: 64 bytes of an output row at
/// a time, whatever pixels they are.
///
///   y(x, c) = requant(bias(c) + sum over ky, kx of rows[ky][(x*s + kx)*C + c] * w(ky, kx, c), scale(c))
///
///   instruction                    per cycle, Zen 4 / Ice Lake server    for 64 outputs, stride 1 / 2
///   VSHUFI32X4, VPERMT2Q z, z, z         1 / 1       every other pixel of a row           0 /  6
///   VPUNPCK{L,H}{BW,WD}  z, z, z       1.5 / 1       interleave three rows                8 / 16
///   VALIGND              z, z, z         1 / 1       neighbouring pixels (C = 32: 4)    4-8 /  4
///   VPDPBUSD             z, z, z         1 / 2       a column of taps of 16 outputs      12 / 12
///   VCVTDQ2PS .. VPMAXUB z               1 / 2       requantise                          19 / 19
///
/// A dense row is one long vector in which column kx of every output lies kx * C bytes further on, and since C divides
/// 64 the channels, so the weights, of each 64 bytes are the same. Interleaving (block.h) leaves byte 16l + 4j + k
/// in vector j, lane 4l + k; C bytes further on is then a vector of other j, or one moved by whole 16-byte lanes, for
/// which VALIGND brings in those of the next 64 bytes. So each byte is interleaved once, as where channels are many.
/// At stride 2 even and odd pixels are parted first: columns 0 and 2 are even pixels, a pixel apart.
///
/// Bounds: those of x86_avx512vnni.cc.
/// A row that is no multiple of 64 bytes ends with a block that repeats outputs (the same bytes are written again).
/// Memory: reads up to 64 - C bytes behind a row's last pixel (arena slack), packed weights, bias and scale; writes
/// m * C bytes.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/dwconv/x86_zmm.h"

namespace ek {

void dwconv_u8_3x3_dense_avx512vnni(const DwConvArgs& args);

namespace {

constexpr int kBytes = 64;

/// 64 bytes of three rows, interleaved: byte 16l + 4j + k of each in vector j, lane 4l + k; byte 3 is row 2 again.
struct Bytes {
  __m512i u8x64[4];
};

EK_INLINE Bytes interleave(__m512i a_u8x64, __m512i b_u8x64, __m512i c_u8x64) {
  const __m512i ab_u8x64[2] = {_mm512_unpacklo_epi8(a_u8x64, b_u8x64), _mm512_unpackhi_epi8(a_u8x64, b_u8x64)};
  const __m512i cc_u8x64[2] = {_mm512_unpacklo_epi8(c_u8x64, c_u8x64), _mm512_unpackhi_epi8(c_u8x64, c_u8x64)};
  Bytes bytes;
  EK_UNROLL
  for (int j = 0; j < 4; ++j) {
    bytes.u8x64[j] = j % 2 == 0 ? _mm512_unpacklo_epi16(ab_u8x64[j / 2], cc_u8x64[j / 2])
                                : _mm512_unpackhi_epi16(ab_u8x64[j / 2], cc_u8x64[j / 2]);
  }
  return bytes;
}

/// Vector j of what lies 4 * kDwords bytes further on.
template <int kDwords>
EK_INLINE __m512i further(const Bytes& now, const Bytes& next, int j) {
  const int from = (j + kDwords) % 4, lanes = (j + kDwords) / 4;
  if (lanes == 0) return now.u8x64[from];
  if (lanes == 1) return _mm512_alignr_epi32(next.u8x64[from], now.u8x64[from], 4);
  if (lanes == 2) return _mm512_alignr_epi32(next.u8x64[from], now.u8x64[from], 8);
  return next.u8x64[from];
}

/// The even (kOdd = 0) or odd pixels of two vectors.
template <int C, int kOdd>
EK_INLINE __m512i every_other(__m512i a_u8x64, __m512i b_u8x64) {
  if (C == 32) return _mm512_shuffle_i64x2(a_u8x64, b_u8x64, kOdd ? 0xee : 0x44);
  if (C == 16) return _mm512_shuffle_i32x4(a_u8x64, b_u8x64, kOdd ? 0xdd : 0x88);
  const __m512i from = _mm512_add_epi64(_mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), _mm512_set1_epi64(kOdd));
  return _mm512_permutex2var_epi64(a_u8x64, from, b_u8x64);
}

struct Row {
  Bytes even, odd;  ///< stride 1: all pixels in `even`
};

/// The bytes of 64 outputs from input byte `at` on. At stride 2 `half` leaves the second 64 bytes out, whose outputs
/// are any.
template <int S, int C>
EK_INLINE Row load(const uint8_t* const (&rows)[3], ptrdiff_t at, bool half) {
  __m512i a_u8x64[3], b_u8x64[3];
  EK_UNROLL
  for (int ky = 0; ky < 3; ++ky) {
    a_u8x64[ky] = _mm512_loadu_si512(rows[ky] + at);
    hold(a_u8x64[ky]);
    if (S == 2) b_u8x64[ky] = _mm512_loadu_si512(rows[ky] + at + (half ? 0 : kBytes));
    if (S == 2) hold(b_u8x64[ky]);
  }
  Row row;
  if constexpr (S == 1) {
    row.even = interleave(a_u8x64[0], a_u8x64[1], a_u8x64[2]);
  } else {
    const auto part = [&](int ky) { return every_other<C, 0>(a_u8x64[ky], b_u8x64[ky]); };
    const auto other = [&](int ky) { return every_other<C, 1>(a_u8x64[ky], b_u8x64[ky]); };
    row.even = interleave(part(0), part(1), part(2));
    row.odd = interleave(other(0), other(1), other(2));
  }
  return row;
}

template <int S, int C>
void strip(const DwConvArgs& args) {
  const auto* const w = static_cast<const __m512i*>(args.w);
  const Rounding512 r = Avx512Vnni::rounding(args.out);
  const uint8_t* const rows[3] = {args.rows[0], args.rows[1], args.rows[2]};
  __m512i w_s8x64[12];
  EK_UNROLL
  for (int i = 0; i < 12; ++i) w_s8x64[i] = _mm512_loadu_si512(w + i);
  const ptrdiff_t last = ptrdiff_t{args.m} * C - kBytes;
  Row now = load<S, C>(rows, 0, false);
  for (ptrdiff_t at = 0;; at += kBytes) {
    const Row next = load<S, C>(rows, S * (at + kBytes), at + kBytes > last);
    __m512i q_s32x16[4];
    EK_UNROLL
    for (int j = 0; j < 4; ++j) {
      __m512i sum_s32x16 = _mm512_loadu_si512(args.bias + 16 * j);
      const __m512i middle_u8x64 = S == 1 ? further<C / 4>(now.even, next.even, j) : now.odd.u8x64[j];
      const __m512i right_u8x64 = further<(S == 1 ? 2 : 1) * C / 4>(now.even, next.even, j);
      sum_s32x16 = _mm512_dpbusd_epi32(sum_s32x16, now.even.u8x64[j], w_s8x64[j]);
      sum_s32x16 = _mm512_dpbusd_epi32(sum_s32x16, middle_u8x64, w_s8x64[4 + j]);
      sum_s32x16 = _mm512_dpbusd_epi32(sum_s32x16, right_u8x64, w_s8x64[8 + j]);
      q_s32x16[j] = Avx512Vnni::round(sum_s32x16, args.scale + 16 * j, r);
    }
    Avx512Vnni::store(args.y + at, 0, q_s32x16, r);
    if (at == last) return;
    now = next;
    if (at + kBytes > last) {
      at = last - kBytes;
      now = load<S, C>(rows, S * last, false);
    }
  }
}

}  // namespace

void dwconv_u8_3x3_dense_avx512vnni(const DwConvArgs& args) {
  if (args.c == 8) return args.sx == 1 ? strip<1, 8>(args) : strip<2, 8>(args);
  if (args.c == 16) return args.sx == 1 ? strip<1, 16>(args) : strip<2, 16>(args);
  return args.sx == 1 ? strip<1, 32>(args) : strip<2, 32>(args);
}

}  // namespace ek
