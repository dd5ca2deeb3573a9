// SPDX-License-Identifier: Apache-2.0
// Peak int8 multiply-accumulates per second of one core, by instruction set: registers only, no memory.
// Prints JSON: {"avx2": GMAC/s (vpmaddwd + vpaddd), "avxvnni": …, "avx512vnni": …}. Absent sets are left out.
#include <immintrin.h>

#include <chrono>
#include <cstdint>
#include <cstdio>

namespace {

constexpr int kSums = 12;  // independent sums hide the latency of one
volatile int32_t g_sink;

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

__attribute__((target("avx2"))) int32_t run_avx2(int64_t rounds) {
  __m256i sum[kSums], a = _mm256_set1_epi16(3), b = _mm256_set1_epi16(5);
  for (auto& s : sum) s = _mm256_setzero_si256();
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+x"(a), "+x"(b));
#pragma GCC unroll 12
    for (auto& s : sum) s = _mm256_add_epi32(s, _mm256_madd_epi16(a, b));
  }
  for (int i = 1; i < kSums; ++i) sum[0] = _mm256_add_epi32(sum[0], sum[i]);
  return _mm256_extract_epi32(sum[0], 0);
}

__attribute__((target("avx2,avxvnni"))) int32_t run_avxvnni(int64_t rounds) {
  __m256i sum[kSums], a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5);
  for (auto& s : sum) s = _mm256_setzero_si256();
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+x"(a), "+x"(b));
#pragma GCC unroll 12
    for (auto& s : sum) s = _mm256_dpbusd_avx_epi32(s, a, b);
  }
  for (int i = 1; i < kSums; ++i) sum[0] = _mm256_add_epi32(sum[0], sum[i]);
  return _mm256_extract_epi32(sum[0], 0);
}

__attribute__((target("avx512f,avx512vnni"))) int32_t run_avx512vnni(int64_t rounds) {
  __m512i sum[kSums], a = _mm512_set1_epi32(0x03030303), b = _mm512_set1_epi32(0x05050505);
  for (auto& s : sum) s = _mm512_setzero_si512();
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 12
    for (auto& s : sum) s = _mm512_dpbusd_epi32(s, a, b);
  }
  for (int i = 1; i < kSums; ++i) sum[0] = _mm512_add_epi32(sum[0], sum[i]);
  alignas(64) int32_t lanes[16];
  _mm512_store_si512(lanes, sum[0]);
  return lanes[0];
}

double gmacs(int32_t (*run)(int64_t), int macs_per_instruction) {
  constexpr int64_t kRounds = 2'000'000;
  double best = 1e9;
  for (int series = 0; series < 7; ++series) {
    const double start = seconds();
    g_sink = run(kRounds);
    const double spent = seconds() - start;
    if (spent < best) best = spent;
  }
  return static_cast<double>(kRounds) * kSums * macs_per_instruction / best / 1e9;
}

bool has_avxvnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  asm volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(1));
  return a & (1u << 4);
}

}  // namespace

int main() {
  const char* comma = "";
  std::printf("{");
  if (__builtin_cpu_supports("avx2")) {
    std::printf("\"avx2\": %.1f", gmacs(run_avx2, 16));
    comma = ", ";
    if (has_avxvnni()) std::printf("%s\"avxvnni\": %.1f", comma, gmacs(run_avxvnni, 32));
  }
  if (__builtin_cpu_supports("avx512vnni")) std::printf("%s\"avx512vnni\": %.1f", comma, gmacs(run_avx512vnni, 64));
  std::printf("}\n");
  return 0;
}
