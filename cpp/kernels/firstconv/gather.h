// SPDX-License-Identifier: Apache-2.0
/// The part of firstconv that is its own: the taps of several pixels, each pixel's without gaps.
#pragma once
#include "kernels/firstconv/firstconv.h"

namespace ek {

/// For each of `count` pixels from output pixel `first` on writes, in the element type of the row,
///   taps[p * step + ky * row_taps + j] = rows[ky][(first + p) * a_px + j],  ky < kh, j < row_taps
/// `taps` is 64-byte aligned; `step` is counted in elements and a multiple of 32 bytes, more than 32 bytes a multiple
/// of 64. Other elements below `step` get any value, and so do up to kGatherSpill bytes behind the last pixel. Up to
/// 15 bytes behind each source row are read.
using GatherFn = void (*)(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, void* taps);
constexpr int32_t kGatherSpill = 32;

void gather_u8(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, void* taps);
void gather_u8_neon(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, void* taps);
void gather_u8_avx2(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, void* taps);
void gather_s16_avx2(const FirstConvArgs& args, int32_t first, int32_t count, int32_t step, void* taps);

}  // namespace ek
