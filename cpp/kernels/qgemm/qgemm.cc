// SPDX-License-Identifier: Apache-2.0
#include "kernels/qgemm/qgemm.h"

#include "kernels/select.h"

namespace ek {

#define EK_QGEMM_KERNEL(name, isa, elem, a_zero, mr, nr, kr, lanes, fits, cycles) void name(const QGemmArgs& args);
#include "kernels/qgemm/kernels.def"
#undef EK_QGEMM_KERNEL

void widen_scalar(const uint8_t* u8, int32_t count, int16_t* s16);
#if defined(EK_ARCH_X86)
void widen_avx2(const uint8_t* u8, int32_t count, int16_t* s16);
void a_terms_avx2(const QGemmArgs& args, int32_t* terms);
#endif

namespace {

/// How a row reads A and the panel.
struct Operands {
  Elem a, weights;
  ATermsFn a_terms = nullptr;
  int32_t block = 0;
};
[[maybe_unused]] constexpr Operands kU8 = {Elem::kU8, Elem::kU8};
[[maybe_unused]] constexpr Operands kS16 = {Elem::kS16, Elem::kS16};
[[maybe_unused]] constexpr Operands kS16S8 = {Elem::kS16, Elem::kU8};
#if defined(EK_ARCH_X86)
constexpr Operands kS16Inner = {Elem::kS16, Elem::kS16, a_terms_avx2};
#endif
#if defined(EK_ARCH_ARM)
constexpr Operands kU8By4 = {Elem::kU8, Elem::kU8, nullptr, 4};
constexpr Operands kU8By8 = {Elem::kU8, Elem::kU8, nullptr, 8};
constexpr Operands kU8By16 = {Elem::kU8, Elem::kU8, nullptr, 16};
#endif

// Every x86 row keeps int32 sums exact for every int8 weight, -128 included, and takes any m, n and k. Those of AVX-512
// clip after the conversion to int32, so no product may leave it.
bool fits_all(const QGemmProblem&) { return true; }
#if defined(EK_ARCH_X86)
bool fits_bounded(const QGemmProblem& problem) { return !problem.unbounded; }
bool fits_one_pixel(const QGemmProblem& problem) { return problem.m == 1; }
bool fits_one_bounded(const QGemmProblem& problem) { return fits_one_pixel(problem) && fits_bounded(problem); }
bool fits_k32(const QGemmProblem& problem) { return problem.taps == 1 && problem.k <= 32 && fits_bounded(problem); }
#endif

#if defined(EK_ARCH_ARM)
bool fits_no_minus_128(const QGemmProblem& problem) { return !problem.has_minus_128; }
bool fits_paired(const QGemmProblem& problem) {
  const int32_t taps = problem.taps > 0 ? problem.taps : 1;
  return problem.m > 1 && taps * round_up(problem.k / taps, 8) <= kPairedDepth;
}
#endif

constexpr int32_t ceil_div(int32_t value, int32_t step) { return (value + step - 1) / step; }

/// What a row does per cycle. Fitted on Zen 5, the AVX2 rows on Zen 4; other cores change the figures, seldom the
/// order.
struct Rates {
  int32_t mr, nr, kr, lanes;
  double dots;    ///< k groups of one pixel and one vector of columns per cycle
  double loads;   ///< vector loads and broadcasts per cycle
  double epilogue;  ///< cycles to requantise and store one vector
  double tile;    ///< cycles of loop control per tile
};
constexpr double kCall = 12.0;            // cycles
constexpr double kTap = 12.0;             // cycles of loop control for each tap but the first, per tile
constexpr double kNearWeights = 32768.0;  // bytes that stay in L1
constexpr double kStream = 40.0;          // bytes of weights per cycle from L2
[[maybe_unused]] constexpr double kFarWeights = 524288.0;  // bytes that stay in L2 from frame to frame
[[maybe_unused]] constexpr double kFarStream = 10.0;       // bytes of weights per cycle from beyond
[[maybe_unused]] constexpr double kFreshPanel = 160.0;  // cycles that the inner product's first tile waits for a panel
[[maybe_unused]] constexpr double kPixelTerms = 3.0;  // cycles of a_terms per pixel
[[maybe_unused]] constexpr double kElementTerms = 0.068;  // and per element of it

/// Cycles of `m` pixels times one panel of `vectors`: the slower of dots and loads for each k group, and the epilogue.
double panel_cycles(const Rates& row, int32_t m, int32_t vectors, int32_t groups, double tile) {
  const int32_t tiles = ceil_div(m, row.mr);
  const double dots = static_cast<double>(m) * vectors / row.dots;
  const double loads = (static_cast<double>(m) + static_cast<double>(tiles) * vectors) / row.loads;
  return groups * (dots > loads ? dots : loads) + tiles * tile + row.epilogue * m * vectors + kCall;
}

double predict(const Rates& row, const QGemmProblem& problem) {
  const int32_t taps = problem.taps > 0 ? problem.taps : 1;
  const int32_t groups = taps * ceil_div(problem.k / taps, row.kr);
  const double tile = row.tile + kTap * (taps - 1);
  const int32_t panels = problem.n / row.nr, rest = problem.n % row.nr;
  double cycles = panels * panel_cycles(row, problem.m, row.nr / row.lanes, groups, tile);
  if (rest) cycles += panel_cycles(row, problem.m, ceil_div(rest, row.lanes), groups, tile);
  const double weights = static_cast<double>(problem.n) * problem.k;
  const double stream = weights > kNearWeights ? weights / kStream : 0.0;
  return cycles > stream ? cycles : stream;
}

#if defined(EK_ARCH_X86)
double cycles_avx512vnni(const QGemmProblem& problem) {
  return predict({12, 32, 4, 16, 2.0, 2.0, 1.65, 14.0}, problem);
}
double cycles_avx512vnni_k32(const QGemmProblem& problem) {
  QGemmProblem whole = problem;
  whole.m = round_up(problem.m, 4);  // its last tile repeats pixels
  return predict({4, 32, 4, 16, 2.0, 2.0, 1.7, 0.0}, whole);
}
double cycles_avx512vnni_m1(const QGemmProblem& problem) {
  return predict({1, 128, 4, 16, 2.0, 2.0, 1.65, 14.0}, problem);
}
double cycles_avxvnni(const QGemmProblem& problem) { return predict({6, 16, 4, 8, 2.0, 2.0, 1.8, 9.0}, problem); }
double cycles_avxvnni_m1(const QGemmProblem& problem) { return predict({1, 64, 4, 8, 2.0, 2.0, 1.8, 11.0}, problem); }
/// Of an AVX2 row whose panel holds `bytes` per weight: with the widening of A, and no faster than weights arrive.
double predict_s16(const Rates& row, const QGemmProblem& problem, double bytes) {
  const double weights = bytes * problem.n * problem.k;
  const double stream = weights > kFarWeights ? weights / kFarStream : weights > kNearWeights ? weights / kStream : 0.0;
  const double widen = static_cast<double>(problem.m) * problem.k / 16.0;
  const double cycles = predict(row, problem);
  return widen + (cycles > stream ? cycles : stream);
}
double cycles_avx2(const QGemmProblem& problem) {
  return predict_s16({6, 16, 2, 8, 1.61, 2.0, 1.8, 14.0}, problem, 2.0);
}
/// Half the multiplications, but each pixel's own terms first, and fewer pixels to hide a panel that is not yet in L1.
double cycles_avx2_inner(const QGemmProblem& problem) {
  const double terms = problem.m * (kPixelTerms + problem.k * kElementTerms);
  return terms + kFreshPanel * ceil_div(problem.n, 16) +
         predict_s16({4, 16, 4, 8, 0.915, 1.0, 1.8, 24.0}, problem, 2.0);
}
double cycles_avx2_s8(const QGemmProblem& problem) {
  return predict_s16({6, 16, 2, 8, 1.52, 2.0, 1.8, 14.0}, problem, 1.0);
}
#endif
#if defined(EK_ARCH_ARM)
/// The rates of neoverse-n2 by llvm-mca, as of the rows below; all columns of a panel share one copy of the pixels.
double cycles_neoni8mm(const QGemmProblem& problem) {
  QGemmProblem whole = problem;
  whole.m = round_up(problem.m, 2);
  const Rates row = {8, 128, 8, 4, 2.0, 3.0, 3.2, 8.0};
  const double copy = 0.07 * whole.m * problem.k * ceil_div(problem.n, row.nr);
  return copy + predict(row, whole);
}
/// Of a row that copies its pixels for each panel of `columns`.
double copied(const Rates& row, const QGemmProblem& problem, int32_t columns) {
  return 0.05 * problem.m * problem.k * ceil_div(problem.n, columns) + predict(row, problem);
}
// The rates of cortex-a76 and neoverse-n1 by llvm-mca; requantising 16 outputs takes 18 to 22 instructions on two
// pipes.
double cycles_neondot(const QGemmProblem& problem) { return copied({4, 16, 4, 4, 2.0, 2.0, 2.8, 10.0}, problem, 64); }
// Those of cortex-a72: an SMULL or SMLAL2 per cycle beside a SADALP, or two SMULL and two SADALP.
double cycles_neon(const QGemmProblem& problem) { return copied({4, 16, 16, 4, 0.125, 1.0, 3.0, 16.0}, problem, 64); }
double cycles_neon_alone(const QGemmProblem& problem) {
  return copied({4, 16, 16, 4, 0.124, 1.0, 3.0, 16.0}, problem, 32);
}
#endif
double cycles_scalar(const QGemmProblem& problem) { return predict({4, 8, 1, 8, 0.4, 2.0, 45.0, 16.0}, problem); }

}  // namespace

const QGemmKernel kQGemmKernels[] = {
#define EK_QGEMM_KERNEL(name, isa, elem, a_zero, mr, nr, kr, lanes, fits, cycles)                     \
  {{#name, "qgemm", isa}, mr,        nr, kr, lanes, elem.a, elem.weights, a_zero, fits, cycles, name, \
   elem.a_terms,          elem.block},
#include "kernels/qgemm/kernels.def"
#undef EK_QGEMM_KERNEL
};
const size_t kQGemmKernelCount = sizeof(kQGemmKernels) / sizeof(kQGemmKernels[0]);

const QGemmKernel* select_qgemm(const QGemmProblem& problem, IsaSet cap) {
  return cheapest_allowed(kQGemmKernels, problem, cap);
}

WidenFn select_widen([[maybe_unused]] IsaSet cap) {
#if defined(EK_ARCH_X86)
  if (cap & kAvx2) return widen_avx2;
#endif
  return widen_scalar;
}

}  // namespace ek
