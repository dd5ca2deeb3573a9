// SPDX-License-Identifier: Apache-2.0
/// winograd: 3x3 convolution of stride 1 by F(2x2, 3x3) in integers, exact (Lavin and Gray, arXiv 1509.09308).
///
///   Y = A' [ sum over c of (G g(c) G') * (B' d(c) B) ] A      d: 4x4 inputs, g: 3x3 weights, Y: 2x2 outputs
///
/// 16 products make four outputs of nine taps each: 2.25 times fewer. With 2G instead of G every number is an
/// integer and the result four times the true sum, whose last two bits are zero: README.md has the bounds.
///
/// A strip is some rows of tiles. `transform` brings it into 16 planes of int16; `multiply` then makes one panel of
/// output channels of it and is called once for each panel.
#pragma once
#include "kernels/kernel.h"

namespace ek {

constexpr int32_t kWinogradMaxChannels = 1820;  ///< 9 * 1820 * 255 * 128 < 2^29: four times a sum fits int32
constexpr int32_t kWinogradChannelAlign = 16;

struct WinogradArgs {
  // X
  const uint8_t* const* rows;  ///< 2 * tile_rows + 2 pointers to the first tap of output pixel 0
  int32_t columns;             ///< pixels of a row that may be read; the last one stands in for those behind it
  ptrdiff_t in_px;             ///< bytes
  int32_t kc;                  ///< channels, rounded up to 16; what is read behind a pixel meets weights of 0
  int32_t tile_rows, tile_columns;
  int16_t* v;                  ///< [16][tiles][kc], planes `v_plane` elements apart
  ptrdiff_t v_plane;
  // B: one packed panel
  const int16_t* w;
  const int32_t* bias;         ///< [nr] zero point folded in
  const float* scale;          ///< [nr]
  int32_t n;                   ///< valid columns, 1..nr
  int32_t* sums;               ///< scratch, [16][tiles][nr]
  // Y
  Requant out;
  uint8_t* y;
  ptrdiff_t y_row, y_px;
  int32_t h, w_out;            ///< output rows and columns of the strip: nothing is written beyond them
};

struct WinogradProblem {
  int32_t h, w;                ///< outputs
  int32_t c, n;
};

struct WinogradKernel {
  KernelRow row;
  int32_t nr, kr;              ///< columns of a panel, channels of one column that lie together
  bool (*fits)(const WinogradProblem& problem);
  double (*cycles)(const WinogradProblem& problem);  ///< predicted, for the whole picture
  void (*transform)(const WinogradArgs& args);
  void (*multiply)(const WinogradArgs& args);
};

extern const WinogradKernel kWinogradKernels[];
extern const size_t kWinogradKernelCount;

/// The row within `cap` of least predicted cycles; null for more than kWinogradMaxChannels channels.
const WinogradKernel* select_winograd(const WinogradProblem& problem, IsaSet cap);

/// Bytes of one panel of `kc` channels.
size_t winograd_panel_bytes(const WinogradKernel& kernel, int32_t kc);

/// Packs columns [first, first + columns) of OHWI weights [n][3][3][c] into a panel [16][kc / KR][NR][KR] of
/// 2G g (2G)', zero padded; and nr entries of bias (folded with the biased input zero point) and scale.
void winograd_pack(const WinogradKernel& kernel, const int8_t* w, int32_t c, const int32_t* bias, const float* scale,
                   int32_t first, int32_t columns, int32_t input_zero, int16_t* panel, int32_t* panel_bias,
                   float* panel_scale);

}  // namespace ek
