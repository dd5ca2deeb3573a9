// SPDX-License-Identifier: Apache-2.0
#include "base/isa.h"

#include <cstring>

#if defined(EK_ARCH_X86) && defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#elif defined(EK_ARCH_X86)
#include <cpuid.h>
#elif defined(EK_ARCH_ARM) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(EK_ARCH_ARM) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(EK_ARCH_ARM) && defined(_WIN32)
#include <windows.h>
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

#if defined(_MSC_VER) && !defined(__clang__)  // what cpuid.h has
bool __get_cpuid_count(uint32_t leaf, uint32_t part, uint32_t* a, uint32_t* b, uint32_t* c, uint32_t* d) {
  int words[4];
  __cpuid(words, 0);
  if (static_cast<uint32_t>(words[0]) < leaf) return false;
  __cpuidex(words, static_cast<int>(leaf), static_cast<int>(part));
  *a = static_cast<uint32_t>(words[0]), *b = static_cast<uint32_t>(words[1]);
  *c = static_cast<uint32_t>(words[2]), *d = static_cast<uint32_t>(words[3]);
  return true;
}
bool __get_cpuid(uint32_t leaf, uint32_t* a, uint32_t* b, uint32_t* c, uint32_t* d) {
  return __get_cpuid_count(leaf, 0, a, b, c, d);
}
#endif

/// Register state that the operating system saves; only legal where CPUID says OSXSAVE.
uint64_t saved_state() {
#if defined(_MSC_VER) && !defined(__clang__)
  return _xgetbv(0);
#else
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
#endif
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
#elif defined(EK_ARCH_ARM) && defined(__linux__)
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
#elif defined(EK_ARCH_ARM) && defined(__APPLE__)
bool says(const char* name) {
  int there = 0;
  size_t size = sizeof there;
  return sysctlbyname(name, &there, &size, nullptr, 0) == 0 && there != 0;
}

IsaSet detect() {
  IsaSet set = kNeon;  // every one has it
  if (says("hw.optional.arm.FEAT_DotProd")) set |= kNeonDot;
  if ((set & kNeonDot) && says("hw.optional.arm.FEAT_I8MM")) set |= kNeonI8mm;
  return set;
}
#elif defined(EK_ARCH_ARM) && defined(_WIN32)
IsaSet detect() {
  constexpr DWORD kDotProduct = 43;  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE, which older headers lack
  return IsProcessorFeaturePresent(kDotProduct) ? kNeon | kNeonDot
                                                : kNeon;  // i8mm: no question that old systems answer
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
