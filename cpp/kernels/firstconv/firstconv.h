// SPDX-License-Identifier: Apache-2.0
/// firstconv: the first convolution, from dense camera bytes of 1, 3 or 4 channels. The taps of all kernel rows
/// are packed without gaps (3x3x3 = 27 taps in 7 groups of 4, where the general GEMM would need 9).
///
///   acc(i, n) = bias(n) + sum over ky < kh, j < kw * c of rows[ky][i * a_px + j] * w(n; ky, j)
#pragma once
#include "kernels/kernel.h"

namespace ek {

struct QGemmArgs;

constexpr int32_t kFirstConvMaxTaps = 256;  ///< kh * kw * c

struct FirstConvArgs {
  const uint8_t* const* rows;  ///< kh pointers to the first tap of output pixel 0
  int32_t kh, row_taps;        ///< row_taps = kw * c contiguous bytes per kernel row; up to 15 bytes behind are read
  ptrdiff_t a_px;              ///< stride * c bytes
  int32_t m;                   ///< output pixels of the strip
  const uint8_t* w;            ///< packed panels of nr columns, the last with what is left
  size_t panel_bytes;          ///< from panel to panel
  const int32_t* bias;         ///< [n rounded up to nr]
  const float* scale;          ///< likewise; float(acc) * scale stays below 2^30 (qgemm_unbounded of the weights)
  int32_t n;                   ///< columns
  Requant out;
  uint8_t* y;
  ptrdiff_t y_px;
};

struct FirstConvProblem {
  int32_t kh, kw, c, n, m;
  int32_t a_px = 0;            ///< bytes from output pixel to pixel; 0: not known
  bool has_minus_128 = false;  ///< some weight is -128
};

struct FirstConvKernel {
  KernelRow row;
  int32_t mr, nr, kr, lanes;
  Elem elem;                   ///< element of the packed weights
  int32_t a_zero;              ///< what the multiplication takes from each byte (qgemm.h); firstconv_pack folds it
  bool (*fits)(const FirstConvProblem& problem);
  double (*cycles)(const FirstConvProblem& problem);
  void (*run)(const FirstConvArgs& args);
  void (*multiply)(const QGemmArgs& args) = nullptr;  ///< the qgemm row behind it, whose panel it takes
};

extern const FirstConvKernel kFirstConvKernels[];
extern const size_t kFirstConvKernelCount;

const FirstConvKernel* select_firstconv(const FirstConvProblem& problem, IsaSet cap);

size_t firstconv_panel_bytes(const FirstConvKernel& kernel, int32_t taps, int32_t columns);

/// Packs columns [first, first + columns) of OHWI weights into [taps / KR][column][KR], zero padded.
void firstconv_pack(const FirstConvKernel& kernel, const int8_t* w, int32_t kh, int32_t row_taps, const int32_t* bias,
                    const float* scale, int32_t first, int32_t columns, int32_t input_zero, void* panel,
                    int32_t* panel_bias, float* panel_scale);

}  // namespace ek
