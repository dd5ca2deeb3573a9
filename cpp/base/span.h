// SPDX-License-Identifier: Apache-2.0
/// A pointer and a count; what lies behind was checked when the span was made.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ek {

template <class T>
struct Span {
  T* data = nullptr;
  uint32_t size = 0;

  T& operator[](size_t index) const { return data[index]; }
  T* begin() const { return data; }
  T* end() const { return data + size; }
};

}  // namespace ek
