// SPDX-License-Identifier: Apache-2.0
/// The floating-point mode of this thread while the engine computes: round to nearest, ties to even, no
/// flush-to-zero, no traps. The caller's mode (and its exception flags) come back at the end of the scope.
#pragma once
#include <cstdint>
#if defined(EK_ARCH_X86)
#include <xmmintrin.h>
#elif defined(EK_ARCH_ARM) && defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

namespace ek {

class RoundToNearest {
 public:
  RoundToNearest() : saved_(read()) {
    if (saved_ != kWanted) write(kWanted);
  }
  ~RoundToNearest() { write(saved_); }  // flags raised inside do not leak out
  RoundToNearest(const RoundToNearest&) = delete;
  RoundToNearest& operator=(const RoundToNearest&) = delete;

 private:
#if defined(EK_ARCH_X86)
  using Word = uint32_t;                   // MXCSR
  static constexpr Word kWanted = 0x1f80;  // every exception masked, nearest, neither FTZ nor DAZ
  static Word read() { return _mm_getcsr(); }
  static void write(Word word) { _mm_setcsr(word); }
#elif defined(EK_ARCH_ARM)
  using Word = uint64_t;  // FPCR; FPSR's flags are sticky and change no result
  static constexpr Word kWanted = 0;
#if defined(_MSC_VER) && !defined(__clang__)
  static Word read() { return static_cast<Word>(_ReadStatusReg(ARM64_FPCR)); }
  static void write(Word word) { _WriteStatusReg(ARM64_FPCR, static_cast<__int64>(word)); }
#else
  static Word read() {
    Word word;
    __asm__ volatile("mrs %0, fpcr" : "=r"(word));
    return word;
  }
  static void write(Word word) { __asm__ volatile("msr fpcr, %0" : : "r"(word) : "memory"); }
#endif
#else
  using Word = uint32_t;  // an architecture without SIMD rows: its default mode is assumed
  static constexpr Word kWanted = 0;
  static Word read() { return 0; }
  static void write(Word) {}
#endif
  Word saved_;
};

}  // namespace ek
