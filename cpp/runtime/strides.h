// SPDX-License-Identifier: Apache-2.0
/// Nested loops over two memories: the common form of every copy, at the edges and inside.
#pragma once
#include "runtime/plan.h"

namespace ek {

/// Loops from the outside in; extent 1 and mergeable neighbours disappear as they are added.
class Strides {
 public:
  /// Adds the next inner loop: `extent` steps of `x` and `y` bytes.
  void add(int32_t extent, ptrdiff_t x, ptrdiff_t y);

  /// Writes the loops right-aligned into six. False: there are more than six.
  bool store(int32_t extent[6], ptrdiff_t x_stride[6], ptrdiff_t y_stride[6]) const;

 private:
  struct Loop {
    int32_t extent;
    ptrdiff_t x, y;
  };
  Loop loops_[2 * kMaxRank] = {};
  int32_t count_ = 0;
};

/// Bytes from element to element of dimension `axis` of a tensor in the arena.
ptrdiff_t arena_stride(const TensorRecord& record, const TensorPlan& plan, int32_t axis);

}  // namespace ek
