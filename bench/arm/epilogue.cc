// SPDX-License-Identifier: Apache-2.0
// What stands after every NEON loop of sums, alone in one: 16 int32 sums to 16 bytes. For `python -m arm`.
#include <arm_neon.h>

#include <cstdint>

#include "kernels/isa/arm_neon.h"

namespace ek {

void epilogue_neon(const int32_t* sums, const float* scale, const Requant& out, int32_t n, uint8_t* y);

void epilogue_neon(const int32_t* sums, const float* scale, const Requant& out, int32_t n, uint8_t* y) {
  const ClipNeon clip = load_clip_neon(out);
  const float32x4_t scale_f32x4 = vld1q_f32(scale);
  for (int32_t i = 0; i < n; i += 16) {
    int32x4_t q_s32x4[4];
    EK_UNROLL
    for (int j = 0; j < 4; ++j) q_s32x4[j] = round_s32x4(vld1q_s32(sums + i + 4 * j), scale_f32x4);
    vst1q_u8(y + i, clipped_u8x16(q_s32x4[0], q_s32x4[1], q_s32x4[2], q_s32x4[3], clip));
  }
}

}  // namespace ek
