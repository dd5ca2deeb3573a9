// SPDX-License-Identifier: Apache-2.0
/// What a row of this family implements: the two innermost loops of a call. edge.cc walks the other dimensions.
#pragma once
#include "kernels/edge/edge.h"

namespace ek {

/// `planes` runs of n elements. Where a layout changes they are an image's planes: runs dense on one side, one byte
/// (or float) from plane to plane on the other.
struct EdgeRun {
  const uint8_t* x;
  uint8_t* y;
  ptrdiff_t n, x_step, y_step;          ///< elements, bytes from one to the next (any sign)
  ptrdiff_t planes, x_plane, y_plane;   ///< how many, bytes from one to the next (any sign)
  float scale;
  int32_t zero;  ///< biased
  uint8_t flip;
};

}  // namespace ek
