// SPDX-License-Identifier: Apache-2.0
/// interpolate: one row of a resized tensor, bilinear between four pixels, or a copy of one where a position is whole.
///
///   i = p >> 11, f = p & 2047;   h = x[i] * (2048 - f) + x[i + 1] * f        per column of the output, both rows
///   y = (h_top * (2048 - g) + h_bottom * g + 2^21) >> 22
///
/// The weights sum to 2^22, so that biased bytes give the biased result: u(y) of u(x) is y of x plus 128.
#pragma once
#include "kernels/kernel.h"

namespace ek {

struct InterpolateArgs {
  const uint8_t *top, *bottom;  ///< pixel 0 of the two rows that are mixed; one row where weight is 0
  int32_t weight;               ///< g, of the lower one: 0..2047
  const int32_t* columns;       ///< [m] positions in 1/2048 pixel; pixel i + 1 is read only where f is not 0
  int32_t m, c;                 ///< pixels of the output row, channels
  int32_t x_px, y_px;           ///< bytes from pixel to pixel
  uint8_t* y;
};

struct InterpolateKernel {
  KernelRow row;
  void (*run)(const InterpolateArgs& args);
};

extern const InterpolateKernel kInterpolateKernels[];
extern const size_t kInterpolateKernelCount;
const InterpolateKernel* select_interpolate(IsaSet cap);

}  // namespace ek
