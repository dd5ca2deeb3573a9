// SPDX-License-Identifier: Apache-2.0
/// Memory that begins on a cache line; null where there is none.
#pragma once
#include <cstddef>
#include <cstdlib>
#if defined(_WIN32)
#include <malloc.h>
#endif

#include "base/arena.h"

namespace ek {

/// `bytes` is a multiple of kLine; free_lines() gives it back, std::free() may not.
inline void* allocate_lines(size_t bytes) {
#if defined(_WIN32)  // its C library has no aligned_alloc
  return _aligned_malloc(bytes, kLine);
#else
  return std::aligned_alloc(kLine, bytes);
#endif
}

inline void free_lines(void* memory) {
#if defined(_WIN32)
  _aligned_free(memory);
#else
  std::free(memory);
#endif
}

}  // namespace ek
