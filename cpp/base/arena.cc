// SPDX-License-Identifier: Apache-2.0
#include "base/arena.h"

namespace ek {
namespace {

constexpr uint32_t kEnd = 0xffffffffu;

// Lowest offset where `item` fits beside the placed items of its time; the list is ordered by offset.
uint64_t lowest_fit(const ArenaItem* items, uint32_t head, const ArenaItem& item) {
  uint64_t at = 0;
  for (uint32_t i = head; i != kEnd; i = items[i].next) {
    const ArenaItem& other = items[i];
    if (other.last < item.first || other.first > item.last) continue;
    if (at + item.bytes <= other.offset) break;
    const uint64_t end = other.offset + align_line(other.bytes);
    if (end > at) at = end;
  }
  return at;
}

}  // namespace

uint64_t place_items(ArenaItem* items, uint32_t count) {
  uint32_t head = kEnd;
  uint64_t total = 0;
  for (uint32_t round = 0; round < count; ++round) {
    uint32_t pick = kEnd;
    for (uint32_t i = 0; i < count; ++i) {
      if (!items[i].placed && (pick == kEnd || items[i].bytes > items[pick].bytes)) pick = i;
    }
    ArenaItem& item = items[pick];
    item.offset = lowest_fit(items, head, item);
    item.placed = true;
    uint32_t* link = &head;
    while (*link != kEnd && items[*link].offset < item.offset) link = &items[*link].next;
    item.next = *link;
    *link = pick;
    const uint64_t end = item.offset + align_line(item.bytes);
    if (end > total) total = end;
  }
  return total;
}

}  // namespace ek
