// SPDX-License-Identifier: Apache-2.0
/// What every isa header tells compilers: to inline, to unroll, and what to keep in a register.
#pragma once
#include <cstdint>

#define EK_MEMBER inline __attribute__((always_inline))
#define EK_INLINE static EK_MEMBER
#if defined(__clang__)
#define EK_UNROLL _Pragma("clang loop unroll(full)")
#define EK_SOURCE_ORDER
#else
#define EK_UNROLL       _Pragma("GCC unroll 16")  // unrolled before arrays of vectors become registers
// For the rest of a file: no scheduling before registers are given, which has more alive at once than there are.
#define EK_SOURCE_ORDER _Pragma("GCC optimize(\"no-schedule-insns\")")
#endif

namespace ek {

EK_INLINE int32_t load_s32(const void* p) {
  int32_t value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

/// Says that `p`, an address or an offset, is in a register here. Without it compilers derive the addresses of unrolled
/// steps from each other, or all ahead, and run out of registers.
template <typename T>
EK_INLINE T in_register(T p) {
  __asm__("" : "+r"(p));
  return p;
}

}  // namespace ek
