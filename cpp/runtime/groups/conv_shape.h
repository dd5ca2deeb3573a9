// SPDX-License-Identifier: Apache-2.0
/// A Conv2D's geometry as a GEMM: strips of pixels with one distance between neighbours, for input and output.
///   fully connected   the kernel covers the whole dense map: one pixel, one tap of kh * kw * c elements
///   pointwise         1x1, stride 1, both images without a side halo: the image is one long row
///   otherwise         one strip per output row; of a pointwise convolution whose output alone has a side halo, several
///                     narrow rows at once where full tiles are worth the copy to where they belong
/// kx is merged into k where the taps of a kernel row are contiguous (dense pixels, no dilation, one group).
#pragma once
#include "runtime/groups/groups.h"

namespace ek {

constexpr uint64_t kL2Weights = 256 << 10;  ///< weights that L2 still holds when the next strip begins

/// Units of pieces of one length but the last, which is shorter, none longer than `most`: a rest of few would read all
/// weights for them.
inline int32_t alike(int32_t units, int32_t most) {
  const int32_t pieces = (units + most - 1) / most;
  return (units + pieces - 1) / pieces;
}

/// Before and after merging.
struct ConvShape {
  int32_t kh, kw, kc;  ///< taps and elements per tap, after merging, of one of the kernels that make the weights
  int32_t parts;  ///< how many there are
  int32_t strips, m, m_last;
  int32_t sy;  ///< input rows from strip to strip
  ptrdiff_t a_px, a_kx, in_row, y_strip;
  int32_t wide_count, wide_count_last;  ///< bytes of an input row that strips touch
  bool pointwise;  ///< 1x1, stride 1, no padding
  bool long_row;  ///< and input and output are one row each

  int32_t rows() const { return parts * kh; }
};

ConvShape conv_shape(const Plan& plan, const OpView& op);

/// A long row in pieces of at most `most` pixels: what a widened copy or a group's few rows can hold.
void cut_long_row(const Nhwc& x, const Nhwc& y, int32_t most, ConvShape* s);

/// Rows of a pointwise convolution that can be multiplied as one and copied then: 1 where that is no use.
int32_t rows_together(const Plan& plan, const OpView& op, const ConvShape& s);

}  // namespace ek
