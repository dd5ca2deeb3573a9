// SPDX-License-Identifier: Apache-2.0
/// pool: max, average and global mean over NHWC windows. Padding never wins and never counts, unless
/// count_include_pad; windows are clipped to the image here, so halos are never read.
#pragma once
#include "kernels/kernel.h"

namespace ek {

/// One output row. Its input are row pointers, so rows may lie anywhere: in a whole tensor, or in the few that a
/// group of fused operators keeps.
struct PoolArgs {
  const uint8_t* const* rows;     ///< pixel 0 of the window's rows inside the image, from above
  int32_t row_count;              ///< of these, 1..kh
  int32_t w, c;                   ///< of the input
  ptrdiff_t in_px;
  int32_t kh, kw, sx, left;
  int32_t m;                      ///< output pixels
  uint8_t* y;
  ptrdiff_t y_px;
  uint8_t lo, hi;                 ///< clamp of the biased output byte
  // average only
  bool count_include_pad;         ///< pad pixels count and hold the zero point
  bool same_scale;                ///< y = S / n rounded half away from the origin; else by scale
  int32_t origin;                 ///< byte that stands for 0 there: 128 for int8 sources, 0 for uint8 ones
  int32_t zero_in, zero_out;      ///< biased
  float s_in, s_out;              ///< m(n) = s_in / (s_out * n)
};

/// Mean over all pixels: u = clamp(rne(float(S - n * zero_in) * m) + zero_out)
struct MeanArgs {
  const uint8_t* in;
  Nhwc shape;
  int32_t zero_in;
  float m;
  Requant out;
  uint8_t* y;
};

/// Cycles of 32 channels of an output pixel, and of a pixel of its window.
struct PoolCycles {
  double pixel, tap;
};

struct PoolKernel {
  KernelRow row;
  void (*max)(const PoolArgs& args);
  void (*average)(const PoolArgs& args);
  void (*mean)(const MeanArgs& args);
  PoolCycles max_cycles, average_cycles;
  double mean_rate;  ///< bytes per cycle
};

/// Predicted cycles of `pixels` output pixels of `c` channels, of windows of `taps` pixels.
double pool_cycles(const PoolCycles& cycles, double pixels, int32_t c, double taps);

extern const PoolKernel kPoolKernels[];
extern const size_t kPoolKernelCount;
const PoolKernel* select_pool(IsaSet cap);

}  // namespace ek
