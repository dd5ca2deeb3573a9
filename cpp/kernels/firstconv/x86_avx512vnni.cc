// SPDX-License-Identifier: Apache-2.0
/// firstconv's gather for AVX-512: one masked load per kernel row, one store per pixel.
///
///   taps[p * step + ky * row_taps + j] = rows[ky][(first + p) * a_px + j]
///
///   intrinsic                   instruction            Zen 5 per cycle
///   _mm512_mask_loadu_epi8      VMOVDQU8 z {k}, m512   2
///   _mm512_store_si512          VMOVDQA64 m512, z      1
///
/// Kernel row ky is loaded from ky * row_taps bytes before its first tap, under a mask of the bytes
/// [ky * row_taps, (ky + 1) * row_taps): its taps land where they belong, the other rows' bytes stay. The 4-byte
/// loads of the dot loop then lie inside one store, which forwards to them; across two stores they would wait.
/// Kernels of more than 64 taps or 5 rows are copied by gather_u8.
/// Memory: masked bytes are not read, hence nothing outside the taps is; writes exactly `step` bytes per pixel.
#include "kernels/isa/x86_avx512vnni.h"

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/firstconv/gather.h"

namespace ek {
namespace {

template <int KH, bool kHalf>
void gather(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, uint8_t* to) {
  const ptrdiff_t a_px = args.a_px;
  const uint8_t* from[KH];
  __mmask64 mine[KH];
  EK_UNROLL
  for (int ky = 0; ky < KH; ++ky) {
    from[ky] = args.rows[ky] + first * a_px - ky * args.row_taps;
    mine[ky] = first_bits(args.row_taps) << (ky * args.row_taps);
  }
  for (int32_t p = 0; p < count; ++p, to += step) {
    __m512i v_u8x64 = _mm512_setzero_si512();
    EK_UNROLL
    for (int ky = 0; ky < KH; ++ky) {
      v_u8x64 = _mm512_mask_loadu_epi8(v_u8x64, mine[ky], from[ky]);
      from[ky] += a_px;
    }
    if (kHalf) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(to), _mm512_castsi512_si256(v_u8x64));
    } else {
      _mm512_store_si512(to, v_u8x64);
    }
  }
}

template <bool kHalf>
void gather_rows(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, uint8_t* to) {
  switch (args.kh) {
    case 1:
      return gather<1, kHalf>(args, first, count, step, to);
    case 2:
      return gather<2, kHalf>(args, first, count, step, to);
    case 3:
      return gather<3, kHalf>(args, first, count, step, to);
    case 4:
      return gather<4, kHalf>(args, first, count, step, to);
    case 5:
      return gather<5, kHalf>(args, first, count, step, to);
    default:
      gather_u8(args, first, count, step, to);
  }
}

}  // namespace

void gather_u8_avx512vnni(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, void* taps) {
  uint8_t* const to = static_cast<uint8_t*>(taps);
  if (step > 64) return gather_u8(args, first, count, step, taps);
  if (step > 32) return gather_rows<false>(args, first, count, step, to);
  gather_rows<true>(args, first, count, step, to);
}

}  // namespace ek
