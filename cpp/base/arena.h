// SPDX-License-Identifier: Apache-2.0
/// Memory by lifetime: items that do not live at the same time may share bytes.
#pragma once
#include <cstdint>

namespace ek {

constexpr uint64_t kLine = 64;  ///< alignment of everything in a session's block

constexpr uint64_t align_line(uint64_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

struct ArenaItem {
  uint64_t bytes = 0;
  int32_t first = 0, last = 0;  ///< steps, both included
  uint64_t offset = 0;          ///< result, a multiple of kLine
  uint32_t next = 0;            ///< used while placing
  bool placed = false;
};

/// Places the items, largest first, each at the lowest offset that is free during its life; returns the bytes
/// of the whole. The order is fixed by sizes and indices, so every machine gets the same offsets.
uint64_t place_items(ArenaItem* items, uint32_t count);

/// Hands out consecutive 64-aligned parts of a block that is not there yet.
class Ledger {
 public:
  uint64_t take(uint64_t bytes) {
    const uint64_t at = used_;
    used_ += align_line(bytes);
    return at;
  }
  uint64_t used() const { return used_; }

 private:
  uint64_t used_ = 0;
};

}  // namespace ek
