// SPDX-License-Identifier: Apache-2.0
/// firstconv's gather in plain C++, for the scalar row; x86_avx2.cc has that of the others.
///
///   taps[p * step + ky * row_taps + j] = rows[ky][(first + p) * a_px + j]
///
/// Kernel rows are copied 16 bytes at a time (one unaligned load and store each). What a copy writes too much is
/// overwritten by the next kernel row or pixel, in that order.
/// Memory: reads up to 15 bytes behind each source row, writes up to 15 behind the last pixel's taps.
#include <cstring>

#include "kernels/firstconv/gather.h"

namespace ek {

void gather_u8(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, void* taps) {
  for (int32_t p = 0; p < count; ++p) {
    uint8_t* to = static_cast<uint8_t*>(taps) + ptrdiff_t{p} * step;
    for (int32_t ky = 0; ky < args.kh; ++ky, to += args.row_taps) {
      const uint8_t* from = args.rows[ky] + (first + p) * args.a_px;
      for (int32_t j = 0; j < args.row_taps; j += 16) std::memcpy(to + j, from + j, 16);
    }
  }
}

}  // namespace ek
