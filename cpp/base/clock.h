// SPDX-License-Identifier: Apache-2.0
/// A clock that never goes back.
#pragma once
#include <cstdint>
#if defined(_WIN32)
#include <chrono>
#else
#include <ctime>
#endif

namespace ek {

inline int64_t now_ns() {
#if defined(_WIN32)  // no clock_gettime
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
#else
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1000000000 + t.tv_nsec;
#endif
}

}  // namespace ek
