// SPDX-License-Identifier: Apache-2.0
/// dwconv: depthwise convolution. ISA rows take 3x3 and 5x5 with column stride 1 or 2 and columns not dilated, the
/// scalar row every kernel, stride and dilation.
///
///   acc(x, c) = bias(c) + sum over ky < kh, kx < kw of rows[ky][(x*sx + kx*dx) * in_px + c] * w(ky, kx, c)
///   y(x, c)   = requant(acc(x, c), scale(c))
///
/// A call computes `m` output pixels of one output row for all channels. Its input are kh row pointers, so row
/// stride and row dilation are the caller's, and rows may lie anywhere: in a whole NHWC tensor, or in the few rows
/// that a group of fused operators keeps in L1 (row y at slot y mod kh of a small buffer, say).
///
/// Every ISA row reads plain NHWC bytes and interleaves them in registers; README.md has the measurements that
/// decided against a ring with interleaved rows in memory, which is no faster even when its filling costs nothing.
#pragma once
#include "kernels/kernel.h"

namespace ek {

struct DwConvArgs {
  int32_t kh, kw;
  int32_t sx, dx;              ///< column stride and dilation
  int32_t m, c;                ///< output pixels, channels
  const uint8_t* const* rows;  ///< kh pointers to the first tap of output pixel 0; kSlack readable bytes around
  ptrdiff_t in_px;             ///< bytes from pixel to pixel
  const void* w;               ///< packed by dwconv_pack, 64-aligned
  const int32_t* bias;         ///< [round_up(c, block)] zero point folded in, in the row's order, 64-aligned
  const float* scale;          ///< [round_up(c, block)] likewise
  Requant out;
  uint8_t* y;                  ///< c bytes of each of m pixels are written, nothing else
  ptrdiff_t y_px;
  bool narrow = false;         ///< dwconv_narrow()
};

using DwConvFn = void (*)(const DwConvArgs& args);

struct DwConvProblem {
  int32_t kh, kw, sx, dx, c, m;
  bool unbounded = false;      ///< dwconv_unbounded()
  int32_t parts = 1;           ///< kernels, one below the other, whose sum are the weights
  bool dense = false;          ///< no bytes between pixels, in and out
  bool has_minus_128 = false;  ///< some weight is -128
};

/// Form of the packed weights, see pack.cc.
enum class DwConvForm : uint8_t {
  kTaps,   ///< one int8 per tap and channel
  kDots,   ///< 4 taps of a channel to a 32-bit lane, for vpdpbusd
  kSignedDots,  ///< the same for sdot, whose taps are signed: 128 is taken from each, and the bias has it back
  kDense,  ///< the same for blocks of several pixels: channels over and over
  kBytePairs,   ///< 2 taps of a channel side by side as int8, for smull, whose taps are signed likewise
  kPairs,  ///< 2 taps of a channel as int16 to a 32-bit lane, for vpmaddwd
};

struct DwConvKernel {
  KernelRow row;
  DwConvForm form;
  int32_t block, lanes;        ///< channels of one step, of one vector: packed arrays are rounded up to whole blocks
  bool (*fits)(const DwConvProblem& problem);
  double (*cycles)(const DwConvProblem& problem);  ///< predicted, one output row
  DwConvFn run;
};

extern const DwConvKernel kDwConvKernels[];
extern const size_t kDwConvKernelCount;

/// The eligible row (isa within `cap` and fits) of least predicted cycles, file order on ties. Never null:
/// scalar is last and fits everything.
const DwConvKernel* select_dwconv(const DwConvProblem& problem, IsaSet cap);

/// Whether some channel's float(acc) * scale can reach 2^30 for any input. Output bytes are hundreds, so no sensible
/// model's does; where none can, rows may convert to int32 first and clip afterwards, as bytes.
bool dwconv_unbounded(const DwConvProblem& problem, const int8_t* w, const int32_t* bias, const float* scale);

/// Whether every channel's float(acc) * scale is below 2^15 - 1 in size for any input, so that what is rounded fits
/// int16 and rows may narrow it without saturation. Sensible models' are some thousands at most.
bool dwconv_narrow(const DwConvProblem& problem, const int8_t* w, const int32_t* bias, const float* scale);

/// Row pointers of a call: kh, but for the sum of several kernels rows of form kTaps take them once for each.
int32_t dwconv_rows(const DwConvKernel& kernel, const DwConvProblem& problem);

/// Bytes of packed weights.
size_t dwconv_packed_bytes(const DwConvKernel& kernel, const DwConvProblem& problem);

/// Packs weights [parts * kh][kw][c] and writes round_up(c, block) entries of bias (folded with the biased input zero
/// point `input_zero`) and scale.
void dwconv_pack(const DwConvKernel& kernel, const DwConvProblem& problem, const int8_t* w, const int32_t* bias,
                 const float* scale, int32_t input_zero, void* packed, int32_t* packed_bias, float* packed_scale);

}  // namespace ek
