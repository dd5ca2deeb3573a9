// SPDX-License-Identifier: Apache-2.0
/// What a row of this family implements: one innermost run of a call. edge.cc walks the other dimensions.
#pragma once
#include "kernels/edge/edge.h"

namespace ek {

struct EdgeRun {
  const uint8_t* x;
  uint8_t* y;
  ptrdiff_t n, x_step, y_step;  ///< elements, bytes from one to the next (any sign)
  float scale;
  int32_t zero;  ///< biased
  uint8_t flip;
};

}  // namespace ek
