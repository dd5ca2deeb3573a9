// SPDX-License-Identifier: Apache-2.0
/// edge: between the caller's tensors and the biased bytes (or int16) inside.
///   quantise    u = clamp(rne(x / s) + zero, 0, 255), a true division; NaN gives the least byte
///   dequantise  x = float(u - zero) * s
///   bytes       u = x ^ flip (int8 callers: 0x80, uint8 callers: 0)
///   *_s16       the same of int16, whose zero point is 0
/// Strides make layout (NCHW outside, NHWC inside) an edge matter.
#pragma once
#include "kernels/kernel.h"

namespace ek {

struct EdgeArgs {
  const void* x;
  void* y;
  int32_t extent[6];                   ///< leading ones 1
  ptrdiff_t x_stride[6], y_stride[6];  ///< bytes
  float scale;
  int32_t zero;                        ///< biased
  uint8_t flip;
};

struct EdgeKernel {
  KernelRow row;
  void (*quantise)(const EdgeArgs& args);    ///< float32 -> biased bytes
  void (*dequantise)(const EdgeArgs& args);  ///< biased bytes -> float32
  void (*bytes)(const EdgeArgs& args);
  void (*quantise_s16)(const EdgeArgs& args);    ///< float32 -> int16
  void (*dequantise_s16)(const EdgeArgs& args);  ///< int16 -> float32
};

extern const EdgeKernel kEdgeKernels[];
extern const size_t kEdgeKernelCount;
const EdgeKernel* select_edge(IsaSet cap);

}  // namespace ek
