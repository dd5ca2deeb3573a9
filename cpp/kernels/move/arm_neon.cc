// SPDX-License-Identifier: Apache-2.0
/// move's halo in NEON (armv8.0):
///
///   halo  every pixel of the border = zero
///
/// | instruction | per cycle A53, A72, N1 | use                                            |
/// |-------------|------------------------|------------------------------------------------|
/// | stp q       | 1/2, 1/2, 1            | 32 bytes of the border                         |
///
/// Between two rows of an image lie some hundred bytes of border, one or two pixels: less than a call of memset is
/// worth. A run of 16 bytes and more ends with vectors shifted back over those before them.
/// Memory: writes exactly the bytes named.
#include "kernels/isa/arm_neon.h"

#include "kernels/move/halo.h"

namespace ek {

void move_halo_neon(const Nhwc& shape, uint8_t* base, uint8_t zero);

namespace {

/// 16 * kVectors bytes.
template <int kVectors>
EK_INLINE void store_vectors(uint8_t* y, uint8x16_t zero_u8x16) {
  EK_UNROLL
  for (int i = 0; i < kVectors; ++i) vst1q_u8(y + 16 * i, zero_u8x16);
}

EK_INLINE void fill(uint8_t* y, size_t n, uint8x16_t zero_u8x16) {
  uint8_t* const end = y + n;
  if (n >= 64) {
    for (; end - y > 64; y += 64) store_vectors<4>(y, zero_u8x16);
    store_vectors<4>(end - 64, zero_u8x16);
  } else if (n >= 32) {
    store_vectors<2>(y, zero_u8x16);
    store_vectors<2>(end - 32, zero_u8x16);
  } else if (n >= 16) {
    store_vectors<1>(y, zero_u8x16);
    store_vectors<1>(end - 16, zero_u8x16);
  } else if (n != 0) {
    store_u8x16(y, zero_u8x16, static_cast<int32_t>(n));
  }
}

}  // namespace

void move_halo_neon(const Nhwc& shape, uint8_t* base, uint8_t zero) {
  const uint8x16_t zero_u8x16 = vdupq_n_u8(zero);
  each_halo_run(shape, base, [&](uint8_t* y, size_t n) { fill(y, n, zero_u8x16); });
}

}  // namespace ek
