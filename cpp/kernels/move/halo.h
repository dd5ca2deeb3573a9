// SPDX-License-Identifier: Apache-2.0
/// move: the border of a tensor, as runs of bytes.
#pragma once
#include "kernels/move/move.h"

namespace ek {
namespace {

/// fill(first byte, bytes) for each run of the border, whose pixels begin at `base`.
template <class Fill>
inline void each_halo_run(const Nhwc& shape, uint8_t* base, const Fill& fill) {
  const auto px = static_cast<size_t>(shape.px), row = static_cast<size_t>(shape.row);
  const auto left = static_cast<size_t>(shape.left) * px, right = static_cast<size_t>(shape.right) * px;
  const size_t inner = static_cast<size_t>(shape.w) * px, whole = left + inner + right;
  const auto top = static_cast<size_t>(shape.top), bottom = static_cast<size_t>(shape.bottom);
  if (row == whole) {  // what is right of one row and left of the next is one run
    fill(base, top * row + left);
    uint8_t* gap = base + top * row + left + inner;
    if (left + right != 0) {
      for (int32_t y = 1; y < shape.h; ++y, gap += row) fill(gap, right + left);
    } else {
      gap += static_cast<size_t>(shape.h - 1) * row;
    }
    fill(gap, right + bottom * row);
    return;
  }
  for (int32_t y = 0; y < shape.top + shape.h + shape.bottom; ++y, base += row) {
    if (y < shape.top || y >= shape.top + shape.h) {
      fill(base, whole);
    } else {
      fill(base, left);
      fill(base + left + inner, right);
    }
  }
}

}  // namespace
}  // namespace ek
