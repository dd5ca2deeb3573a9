// SPDX-License-Identifier: Apache-2.0
/// A clock that never goes back.
#pragma once
#include <cstdint>
#include <ctime>

namespace ek {

inline int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1000000000 + t.tv_nsec;
}

}  // namespace ek
