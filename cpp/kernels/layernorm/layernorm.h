// SPDX-License-Identifier: Apache-2.0
/// layernorm: every pixel's channels to mean 0 and variance 1, then an affine per channel:
///   S = sum of x, Q = sum of x^2, v = c * Q - S^2, all exact;  r = 1 / sqrt(float(v) + epsilon)
///   y(i) = clip(float(c * x(i) - S) * r * g(i) + b(i)), rne, + zero; every float operation rounds by itself
#pragma once
#include "kernels/kernel.h"

namespace ek {

struct LayerNormArgs {
  const uint8_t* x;
  uint8_t* y;  ///< may be x
  ptrdiff_t x_px, y_px;
  int32_t pixels, c;  ///< c <= 2^23
  float epsilon;      ///< normal, above 0, in units of (s_x / c)^2
  const float *g, *b;  ///< [c], of the order of output steps
  Requant out;
};

struct LayerNormKernel {
  KernelRow row;
  void (*run)(const LayerNormArgs& args);
};

extern const LayerNormKernel kLayerNormKernels[];
extern const size_t kLayerNormKernelCount;
const LayerNormKernel* select_layernorm(IsaSet cap);

}  // namespace ek
