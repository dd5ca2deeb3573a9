// SPDX-License-Identifier: Apache-2.0
/// move: strided copies of bytes, for concat, pad, reshape, slice and transpose, with an optional byte table for
/// operands of unequal scale, and the halo that a producer writes round its tensor.
#pragma once
#include "kernels/kernel.h"

namespace ek {

/// y[i . y_stride] = table ? table[x[i . x_stride]] : x[i . x_stride] for all i < extent (6 nested dimensions,
/// leading ones 1; strides in bytes, any sign).
struct MoveArgs {
  const uint8_t* x;
  uint8_t* y;
  int32_t extent[6];
  ptrdiff_t x_stride[6], y_stride[6];
  const uint8_t* table;  ///< [256] or null
};

struct MoveKernel {
  KernelRow row;
  void (*copy)(const MoveArgs& args);
  /// Fills the halo of one frame (`base` = its first halo byte) with the biased zero point.
  void (*halo)(const Nhwc& shape, uint8_t* base, uint8_t zero);
};

extern const MoveKernel kMoveKernels[];
extern const size_t kMoveKernelCount;
const MoveKernel* select_move(IsaSet cap);

}  // namespace ek
