// SPDX-License-Identifier: Apache-2.0
#include "base/isa.h"

#include <cstring>

#if defined(EK_ARCH_X86)
#include <cpuid.h>
#elif defined(EK_ARCH_ARM)
#include <sys/auxv.h>
#endif

namespace ek {

const IsaName kIsaNames[] = {
    {kAvx2, "avx2"}, {kAvxVnni, "avxvnni"}, {kAvx512Vnni, "avx512vnni"},
    {kNeon, "neon"}, {kNeonDot, "neondot"}, {kNeonI8mm, "neoni8mm"},
};
const size_t kIsaNameCount = sizeof(kIsaNames) / sizeof(kIsaNames[0]);

namespace {

/// The set with everything its members imply.
IsaSet with_implied(IsaSet set) {
  if (set & kNeonI8mm) set |= kNeonDot;
  if (set & kNeonDot) set |= kNeon;
  if (set & (kAvxVnni | kAvx512Vnni)) set |= kAvx2;
  return set;
}

#if defined(EK_ARCH_X86)
constexpr uint32_t bit(int index) { return uint32_t{1} << index; }
constexpr bool has(uint32_t word, uint32_t bits) { return (word & bits) == bits; }

/// Register state that the operating system saves; only legal where CPUID says OSXSAVE.
uint64_t saved_state() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

IsaSet detect() {
  constexpr uint32_t kLeaf1C =
      bit(20) | bit(23) | bit(27) | bit(28);  // SSE4.2, POPCNT, OSXSAVE, AVX: what -mavx2 implies
  constexpr uint32_t kAvx512B = bit(16) | bit(17) | bit(30) | bit(31);  // F, DQ, BW, VL
  constexpr uint64_t kYmmState = 0x06, kZmmState = 0xe6;                // XMM, YMM | opmask, ZMM_Hi256, Hi16_ZMM
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, kLeaf1C)) return kScalar;
  const uint64_t state = saved_state();
  if ((state & kYmmState) != kYmmState) return kScalar;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !has(b, bit(5))) return kScalar;
  IsaSet set = kAvx2;
  if ((state & kZmmState) == kZmmState && has(b, kAvx512B) && has(c, bit(11))) set |= kAvx512Vnni;
  if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && has(a, bit(4))) set |= kAvxVnni;
  return set;
}
#elif defined(EK_ARCH_ARM)
IsaSet detect() {
  constexpr unsigned long kAsimd = 1ul << 1, kAsimdDp = 1ul << 20;  // AT_HWCAP
  constexpr unsigned long kI8mm = 1ul << 13;                        // AT_HWCAP2
  const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
  if (!(first & kAsimd)) return kScalar;
  IsaSet set = kNeon;
  if (first & kAsimdDp) set |= kNeonDot;
  if ((set & kNeonDot) && (second & kI8mm)) set |= kNeonI8mm;
  return set;
}
#else
IsaSet detect() { return kScalar; }
#endif

/// The set named by `length` characters at `name`, or kScalar where there is no such name.
IsaSet find_isa(const char* name, size_t length) {
  for (const IsaName& known : kIsaNames) {
    if (std::strlen(known.name) == length && std::memcmp(known.name, name, length) == 0) return known.bit;
  }
  return kScalar;
}

}  // namespace

IsaSet detect_isa() { return detect(); }

bool parse_isa_cap(const char* text, IsaSet available, IsaSet* cap) {
  if (!text || !*text) {
    *cap = available;
    return true;
  }
  IsaSet set = kScalar;
  if (std::strcmp(text, "scalar") != 0) {
    for (const char* name = text;; ++name) {
      const size_t length = std::strcspn(name, ",");
      const IsaSet one = find_isa(name, length);
      if (one == kScalar || (one & available) == 0) return false;
      set |= with_implied(one);
      name += length;
      if (!*name) break;
    }
  }
  *cap = set & available;
  return true;
}

const char* format_isa(IsaSet set, char* out, size_t size) {
  if (size == 0) return out;
  size_t used = 0;
  const auto append = [&](const char* text) {
    while (*text && used + 1 < size) out[used++] = *text++;
  };
  for (const IsaName& known : kIsaNames) {
    if (!(set & known.bit)) continue;
    if (used) append(",");
    append(known.name);
  }
  if (!used) append("scalar");
  out[used] = '\0';
  return out;
}

}  // namespace ek
