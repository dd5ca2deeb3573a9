// SPDX-License-Identifier: Apache-2.0
/// wide: operators that read or make 16-bit activations; where one side is 16-bit the other may be 8-bit.
///
/// A 16-bit element lies in memory as int16 (not biased), its zero point is 0. A sum over it is two int32 sums, over
/// its high byte (signed) and over its low byte (unsigned, the bias beside it):
///   t = (float(high) * 256 + float(low)) * m         of an 8-bit input: t = float(sum) * m
///   y = int(rne(clip(t, lo, hi))) + zero
#pragma once
#include "kernels/kernel.h"
#include "kernels/move/move.h"

namespace ek {

constexpr int32_t kWideLanes = 16;  ///< channels of a depthwise block: weights are padded to whole ones

/// Requantisation into either element; lo and hi as kernel.h's Requant, zero 0 for int16.
struct WideOut {
  Requant to;
  bool s16;
};

/// A strip of pixels by one panel. Elements of a pixel's window stand one behind the other, in planes of int16.
struct WideConvArgs {
  const int16_t* high;  ///< [m][k]: high bytes; of an 8-bit input the values less their zero point
  const int16_t* low;   ///< [m][k]: low bytes, or null for an 8-bit input
  int32_t m, k;         ///< k in whole steps of the row; behind a window w is 0, the planes hold anything
  const int8_t* w;      ///< one panel
  const int32_t* bias;
  const float* scale;
  int32_t n;  ///< columns to store
  WideOut out;
  uint8_t* y;
  ptrdiff_t y_px;
};

/// One row of output pixels: t(i, c) from the sums over ky, kx of x[ky][i * sx + kx * dx][c] * w[ky][kx][c].
struct WideDwConvArgs {
  int32_t kh, kw;
  ptrdiff_t sx, dx;            ///< bytes from output pixel to output pixel in the input, and from tap to tap
  int32_t m, c;
  const uint8_t* const* rows;  ///< [kh], at the first tap of output pixel 0
  bool s16;                    ///< of the input
  int32_t zero;                ///< of the input, biased; 0 for int16
  const int8_t* w;             ///< [kh][kw][c in whole blocks]
  const int32_t* bias;         ///< c in whole blocks
  const float* scale;
  WideOut out;
  uint8_t* y;
  ptrdiff_t y_px;
};

/// add: t = float(a - za) * ra + float(b - zb) * rb
/// mul: t = float((a - za) * (b - zb)) * ra; with b_px = 0 every pixel meets the same c elements of b
struct WidePairArgs {
  const uint8_t *a, *b;
  uint8_t* y;
  ptrdiff_t a_px, b_px, y_px;
  int32_t pixels, c;
  bool a_s16, b_s16;
  int32_t za, zb;  ///< biased; 0 for int16
  float ra, rb;
  WideOut out;
};

/// t = float(S - n * zero) * m, S the exact sum over all pixels (int64).
struct WideMeanArgs {
  const uint8_t* in;
  Nhwc shape;
  bool s16;
  int32_t zero;  ///< biased; 0 for int16
  float m;
  WideOut out;
  uint8_t* y;
};

/// Of a strided copy, element by element: t = float(x - zero) * m
struct WideMove {
  bool s16;      ///< of x
  int32_t zero;  ///< of x, biased; 0 for int16
  float m;       ///< scale of x to scale of y
  WideOut out;
  bool plain;    ///< instead the bytes as they are (kernels/move), for the driver
};

struct WideKernel {
  KernelRow row;
  int32_t nr, kr;  ///< columns of a panel; elements of k that lie together in it
  void (*conv)(const WideConvArgs& args);
  void (*dwconv)(const WideDwConvArgs& args);
  void (*add)(const WidePairArgs& args);
  void (*mul)(const WidePairArgs& args);
  void (*mean)(const WideMeanArgs& args);
  void (*move)(const MoveArgs& args, const WideMove& how);  ///< without a table
};

extern const WideKernel kWideKernels[];
extern const size_t kWideKernelCount;
const WideKernel* select_wide(IsaSet cap);

/// Brings `count` elements to planes: of 16-bit ones high and low bytes, of bytes (low null) u - zero.
void wide_split(const uint8_t* x, int32_t count, int32_t zero, int16_t* high, int16_t* low);

/// Bytes of a panel of `k` elements by nr columns.
uint64_t wide_panel_bytes(const WideKernel& kernel, int64_t k);

/// Packs columns first <= n < first + columns of w [N][k], bias and scale; what is missing to nr and kr is 0.
void wide_pack(const WideKernel& kernel, const int8_t* w, int64_t k, const int32_t* bias, const float* scale,
               int32_t first, int32_t columns, void* panel, int32_t* panel_bias, float* panel_scale);

}  // namespace ek
