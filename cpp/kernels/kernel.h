// SPDX-License-Identifier: Apache-2.0
/// What every kernel row of every family has in common.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "base/layout.h"

namespace ek {

/// Requantisation of one int32 accumulator, the same on every CPU:
///   t = float(acc) * m;  t = min(max(t, lo), hi);  u = int(rne(t)) + zero
/// with lo = (least output - zero), hi = (greatest output - zero) and `zero` the biased output zero point.
struct Requant {
  float lo = 0.0f, hi = 255.0f;
  int32_t zero = 0;
};

/// One row of a family's table, as tests, benches and `profile()` see it.
struct KernelRow {
  const char* name;
  const char* family;
  IsaSet isa;  ///< every bit must be available
};

/// Calls `visit(row, context)` for each row of each family, in table order.
void for_each_kernel(void (*visit)(const KernelRow& row, void* context), void* context);

static constexpr int32_t round_up(int32_t value, int32_t step) { return (value + step - 1) / step * step; }

}  // namespace ek
