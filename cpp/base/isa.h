// SPDX-License-Identifier: Apache-2.0
/// Instruction sets as a bit set, not a ladder: AVX-VNNI and AVX512-VNNI do not imply each other.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ek {

using IsaSet = uint32_t;

/// A bit stands for the whole group its flags in cmake/isa.cmake switch on, operating-system state included.
enum Isa : IsaSet {
  kScalar = 0,
  kAvx2 = 1u << 0,        ///< AVX2 (no FMA needed)
  kAvxVnni = 1u << 1,     ///< VEX vpdpbusd; implies kAvx2
  kAvx512Vnni = 1u << 2,  ///< AVX-512 F+BW+DQ+VL+VNNI with opmask/zmm state; implies kAvx2
  kNeon = 1u << 8,        ///< Advanced SIMD of armv8.0-a
  kNeonDot = 1u << 9,     ///< SDOT/UDOT; implies kNeon
  kNeonI8mm = 1u << 10,   ///< SMMLA/USDOT; implies kNeonDot
};

/// All sets this build knows, in the order their names are printed.
struct IsaName {
  IsaSet bit;
  const char* name;
};
extern const IsaName kIsaNames[];
extern const size_t kIsaNameCount;

/// What this CPU and operating system can run. Never reads /proc or /sys. Asks the CPU anew
/// in each call: for loading, not for frames.
IsaSet detect_isa();

/// Parses a cap such as "avx2,avxvnni" ("scalar" alone = no SIMD; null or empty = everything available).
/// Implied sets are added (avx512vnni gives avx2 too). Returns false when a name is unknown or not available here.
bool parse_isa_cap(const char* text, IsaSet available, IsaSet* cap);

/// Writes the names of `set`, comma separated ("scalar" for none), always NUL-terminated. Returns `out`.
const char* format_isa(IsaSet set, char* out, size_t size);

}  // namespace ek
