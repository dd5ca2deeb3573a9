// SPDX-License-Identifier: Apache-2.0
/// How a family picks a row of its table. Scalar stands last and needs nothing: where it fits everything, there always
/// is a row.
#pragma once
#include "kernels/kernel.h"

namespace ek {

inline bool is_allowed(const KernelRow& row, IsaSet cap) { return (row.isa & cap) == row.isa; }

/// The first row within `cap`: for tables that go from the fastest to the slowest.
template <class Kernel, size_t kCount>
const Kernel* first_allowed(const Kernel (&table)[kCount], IsaSet cap) {
  size_t i = 0;
  while (i + 1 < kCount && !is_allowed(table[i].row, cap)) ++i;
  return &table[i];
}

/// Of the rows within `cap` that fit, the one of least predicted cycles; file order on ties.
template <class Kernel, size_t kCount, class Problem>
const Kernel* cheapest_allowed(const Kernel (&table)[kCount], const Problem& problem, IsaSet cap) {
  const Kernel* best = nullptr;
  double least = 0.0;
  for (const Kernel& kernel : table) {
    if (!is_allowed(kernel.row, cap) || !kernel.fits(problem)) continue;
    const double cycles = kernel.cycles(problem);
    if (best == nullptr || cycles < least) {
      best = &kernel;
      least = cycles;
    }
  }
  return best;
}

}  // namespace ek
