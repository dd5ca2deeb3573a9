// SPDX-License-Identifier: Apache-2.0
/// dwconv for AVX512-VNNI: 3x3 and 5x5, strides 1 and 2, 64 or 16 channels at a time. The loop is in block.h.
///
///   y(x, c) = requant(bias(c) + sum over ky, kx of rows[ky][(x*s + kx)*px + c] * w(ky, kx, c), scale(c))
///
///   instruction                    per cycle, Zen 5 / Ice Lake server    for 64 outputs of 3x3, stride 1 / 2
///   VPUNPCK{L,H}{BW,WD}  z, z, z          4 / 1     interleave four rows          8 / 16
///   VPDPBUSD             z, z, z          2 / 2     4 taps of 16 channels        12 / 12
///   VCVTDQ2PS .. VPMAXUB z                2 / 2     requantise                   19 / 19
///   loads, 64 bytes                       2 / 2     rows, bias, scale            11 / 14
///
/// 64 channels: 8 unpacks bring 64 bytes of each of four rows into four vectors of taps. 16 channels: each row is
/// broadcast to the four 16-byte lanes, VPSHUFB puts byte c into all of lane c and writes its own byte of it.
///
/// Bounds: VPDPBUSD (not VPDPBUSDS) adds four u8 x s8 products to an int32 lane without saturating. A lane wraps
/// modulo 2^32; the true sum fits int32 (proved by the verifier).
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/dwconv/x86_zmm.h"

namespace ek {

void dwconv_u8_3x3_avx512vnni(const DwConvArgs& args);
void dwconv_u8_5x5_avx512vnni(const DwConvArgs& args);

void dwconv_u8_3x3_avx512vnni(const DwConvArgs& args) {
  args.sx == 1 ? row<Avx512Vnni, 3, 1>(args) : row<Avx512Vnni, 3, 2>(args);
}

void dwconv_u8_5x5_avx512vnni(const DwConvArgs& args) {
  args.sx == 1 ? row<Avx512Vnni, 5, 1>(args) : row<Avx512Vnni, 5, 2>(args);
}

}  // namespace ek
