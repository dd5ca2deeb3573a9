// SPDX-License-Identifier: Apache-2.0
/// eltwise: residual add, product, per-channel affine and byte tables over a strip of pixels. Where all operands have
/// their pixels equally far apart, the driver hands add, mul and table one pixel of many channels.
#pragma once
#include "kernels/kernel.h"

namespace ek {

/// y = clamp((((a - za) * m + (b - zb) * n + 2^(shift-1)) >> shift) + zy, lo, hi), arithmetic shift, int32.
struct AddArgs {
  const uint8_t *a, *b;
  uint8_t* y;
  ptrdiff_t a_px, b_px, y_px;
  int32_t pixels, c;
  int32_t za, zb, zy;   ///< biased
  int32_t m, n, shift;  ///< shift in [13, 30]
  int32_t lo, hi;       ///< biased
};

/// y = requant((a - za) * (b - zb), m). With b_px = 0 every pixel meets the same c bytes of b, and y may not be b.
struct MulArgs {
  const uint8_t *a, *b;
  uint8_t* y;
  ptrdiff_t a_px, b_px, y_px;
  int32_t pixels, c;
  int32_t za, zb;  ///< biased
  float m;
  Requant out;
};

/// y = requant((x - zero_in) * w(c) + bias(c), scale(c)); bias has the zero point folded in, as for convolution.
struct AffineArgs {
  const uint8_t* x;
  uint8_t* y;
  ptrdiff_t x_px, y_px;
  int32_t pixels, c;
  const int8_t* w;
  const int32_t* bias;
  const float* scale;
  Requant out;
};

/// y = table[x]
struct TableArgs {
  const uint8_t* x;
  uint8_t* y;
  ptrdiff_t x_px, y_px;
  int32_t pixels, c;
  const uint8_t* table;  ///< [256], biased in and out
};

struct EltwiseKernel {
  KernelRow row;
  void (*add)(const AddArgs& args);
  void (*affine)(const AffineArgs& args);
  void (*table)(const TableArgs& args);
  void (*mul)(const MulArgs& args);
  double add_rate, affine_rate, table_rate, mul_rate;  ///< bytes made per cycle
};

extern const EltwiseKernel kEltwiseKernels[];
extern const size_t kEltwiseKernelCount;
const EltwiseKernel* select_eltwise(IsaSet cap);

}  // namespace ek
