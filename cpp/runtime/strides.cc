// SPDX-License-Identifier: Apache-2.0
#include "runtime/strides.h"

namespace ek {

void Strides::add(int32_t extent, ptrdiff_t x, ptrdiff_t y) {
  if (extent == 1) return;
  if (count_ > 0) {
    Loop& outer = loops_[count_ - 1];
    if (outer.x == extent * x && outer.y == extent * y && int64_t{outer.extent} * extent <= INT32_MAX) {
      outer = {outer.extent * extent, x, y};
      return;
    }
  }
  loops_[count_++] = {extent, x, y};
}

bool Strides::store(int32_t extent[6], ptrdiff_t x_stride[6], ptrdiff_t y_stride[6]) const {
  if (count_ > 6) return false;
  for (int32_t i = 0; i < 6; ++i) {
    const int32_t from = i - (6 - count_);
    const Loop loop = from < 0 ? Loop{1, 0, 0} : loops_[from];
    extent[i] = loop.extent, x_stride[i] = loop.x, y_stride[i] = loop.y;
  }
  return true;
}

ptrdiff_t arena_stride(const TensorRecord& record, const TensorPlan& plan, int32_t axis) {
  const int32_t rank = record.rank;
  if (axis == rank - 1) return plan.elem;
  if (axis == rank - 2) return plan.shape.px;
  ptrdiff_t stride = plan.shape.row;
  for (int32_t i = rank - 3; i > axis; --i) stride *= record.dims[i];
  return stride;
}

}  // namespace ek
