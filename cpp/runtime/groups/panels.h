// SPDX-License-Identifier: Apache-2.0
/// The packed weights of a convolution: where each panel lies, and how large all of them are.
#pragma once
#include <cstring>

#include "base/arena.h"
#include "runtime/steps.h"

namespace ek {

/// Sizes of the packed panels of `groups` groups of `columns` output channels.
struct PanelSizes {
  int32_t groups, columns, nr;
  uint64_t full, last;  ///< bytes of a full panel and of the last one of a group, unpadded

  int32_t count() const { return (columns + nr - 1) / nr; }
  int32_t n_last() const { return columns - (count() - 1) * nr; }
  uint64_t group_bytes() const { return static_cast<uint64_t>(count() - 1) * align_line(full) + align_line(last); }
  uint64_t entries() const { return static_cast<uint64_t>(groups) * static_cast<uint64_t>(count() * nr); }
  uint64_t bytes() const { return static_cast<uint64_t>(groups) * group_bytes() + 2 * align_line(4 * entries()); }
};

/// Lays the panels out from `base` on and calls `pack(first column, columns, panel, bias, scale)` for each, unless they
/// are `packed`.
template <class Pack>
Panels pack_panels(const PanelSizes& sizes, uint8_t* base, bool packed, const Pack& pack) {
  uint8_t* bias_at = base + static_cast<uint64_t>(sizes.groups) * sizes.group_bytes();
  auto* bias = reinterpret_cast<int32_t*>(bias_at);
  auto* scale = reinterpret_cast<float*>(bias_at + align_line(4 * sizes.entries()));
  const int32_t count = sizes.count();
  for (int32_t g = 0; g < sizes.groups && !packed; ++g) {
    for (int32_t p = 0; p < count; ++p) {
      const ptrdiff_t entry = (ptrdiff_t{g} * count + p) * sizes.nr;
      uint8_t* panel =
          base + static_cast<uint64_t>(g) * sizes.group_bytes() + static_cast<uint64_t>(p) * align_line(sizes.full);
      pack(g * sizes.columns + p * sizes.nr, p + 1 < count ? sizes.nr : sizes.n_last(), panel, bias + entry,
           scale + entry);
    }
  }
  return {base, bias, scale, align_line(sizes.full), sizes.group_bytes(), count, sizes.nr, sizes.n_last()};
}

inline bool has_minus_128(const int8_t* w, uint64_t count) { return std::memchr(w, 0x80, count) != nullptr; }

}  // namespace ek
