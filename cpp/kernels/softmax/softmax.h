// SPDX-License-Identifier: Apache-2.0
/// softmax over the last axis, by a table of exponentials:
///   e(i) = table[max(x) - x(i)], table[d] = round(2^23 * exp(-d * scale));  S = sum of e, uint64
///   p(i) = float(e(i)) / float(S), a true division; int8 output: clip(p / s_y), rne, + zy
#pragma once
#include "kernels/kernel.h"

namespace ek {

struct SoftmaxArgs {
  const uint8_t* x;
  int32_t c;
  const uint32_t* table;  ///< [256]
  float* p;               ///< float32 output, or null
  uint8_t* y;             ///< int8 output (biased), or null
  float s_out;
  Requant out;            ///< of the int8 output
};

struct SoftmaxKernel {
  KernelRow row;
  void (*run)(const SoftmaxArgs& args);
};

extern const SoftmaxKernel kSoftmaxKernels[];
extern const size_t kSoftmaxKernelCount;
const SoftmaxKernel* select_softmax(IsaSet cap);

}  // namespace ek
