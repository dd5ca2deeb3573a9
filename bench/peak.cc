// SPDX-License-Identifier: Apache-2.0
// Peak int8 multiply-accumulates per second of one core, by instruction set, and the clock that turns seconds into
// cycles: registers only, no memory.
// Prints JSON: {"clock_ghz": …, "gmacs": {"avx2": GMAC/s (vpmaddwd + vpaddd), "avxvnni": …, "avx512vnni": …}}. Absent
// sets are left out. Written in assembly, so that no compiler moves a sum to memory or drops a product; what registers
// hold is no matter.
#include <chrono>
#include <cstdint>
#include <cstdio>

#define EK_TWELVE(X) X("2") X("3") X("4") X("5") X("6") X("7") X("8") X("9") X("10") X("11") X("12") X("13")
#define EK_CLOBBERS                                                                                                   \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", \
      "xmm14", "xmm15"

namespace {

constexpr int kSums = 12;  // of a round: independent sums hide the latency of one

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void round_avx2() {
#define EK_STEP(n) "vpmaddwd %%ymm1, %%ymm0, %%ymm14\n\tvpaddd %%ymm14, %%ymm" n ", %%ymm" n "\n\t"
  asm volatile(EK_TWELVE(EK_STEP)::: EK_CLOBBERS);
#undef EK_STEP
}

void round_avxvnni() {
#define EK_STEP(n) "%{vex%} vpdpbusd %%ymm1, %%ymm0, %%ymm" n "\n\t"
  asm volatile(EK_TWELVE(EK_STEP)::: EK_CLOBBERS);
#undef EK_STEP
}

void round_avx512vnni() {
#define EK_STEP(n) "vpdpbusd %%zmm1, %%zmm0, %%zmm" n "\n\t"
  asm volatile(EK_TWELVE(EK_STEP)::: EK_CLOBBERS);
#undef EK_STEP
}

/// Twelve additions that wait for each other, one cycle each. Of two registers: some cores add a constant to a
/// register while they rename it, in no time.
void round_clock() {
  asm volatile(
      "add %%rcx, %%rax\n\tadd %%rcx, %%rax\n\tadd %%rcx, %%rax\n\tadd %%rcx, %%rax\n\t"
      "add %%rcx, %%rax\n\tadd %%rcx, %%rax\n\tadd %%rcx, %%rax\n\tadd %%rcx, %%rax\n\t"
      "add %%rcx, %%rax\n\tadd %%rcx, %%rax\n\tadd %%rcx, %%rax\n\tadd %%rcx, %%rax\n\t" ::
          : "rax", "cc");
}

/// Billions per second of what an instruction counts for. Each round is inlined into the timed loop.
template <void (*kRound)()>
double billions(int per_instruction) {
  constexpr int64_t kRounds = 2'000'000;
  double best = 1e9;
  for (int series = 0; series < 9; ++series) {
    const double start = seconds();
    for (int64_t i = 0; i < kRounds; ++i) kRound();
    const double spent = seconds() - start;
    if (spent < best) best = spent;
  }
  return static_cast<double>(kRounds) * kSums * per_instruction / best / 1e9;
}

bool has_avxvnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  asm volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(1));
  return a & (1u << 4);
}

}  // namespace

int main() {
  const char* comma = "";
  std::printf("{\"clock_ghz\": %.3f, \"gmacs\": {", billions<round_clock>(1));
  if (__builtin_cpu_supports("avx2")) {
    std::printf("\"avx2\": %.1f", billions<round_avx2>(16));
    comma = ", ";
    if (has_avxvnni()) std::printf("%s\"avxvnni\": %.1f", comma, billions<round_avxvnni>(32));
  }
  if (__builtin_cpu_supports("avx512vnni")) {
    std::printf("%s\"avx512vnni\": %.1f", comma, billions<round_avx512vnni>(64));
  }
  std::printf("}}\n");
  return 0;
}
