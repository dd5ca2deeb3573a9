// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv/dwconv.h"

#include "kernels/select.h"

namespace ek {

#define EK_DWCONV_KERNEL(name, isa, form, block, lanes, fits, cycles) void name(const DwConvArgs& args);
#include "kernels/dwconv/kernels.def"
#undef EK_DWCONV_KERNEL

namespace {

bool fits_all(const DwConvProblem&) { return true; }

/// Strides 1 and 2; the rows of a dilated kernel may lie apart, its columns not.
bool fits_square(const DwConvProblem& p, int32_t k) {
  return p.kh == k && p.kw == k && (p.sx == 1 || p.sx == 2) && p.dx == 1 && !p.unbounded;
}
[[maybe_unused]] bool fits_3x3(const DwConvProblem& p) { return fits_square(p, 3) && p.parts == 1; }
[[maybe_unused]] bool fits_5x5(const DwConvProblem& p) { return fits_square(p, 5) && p.parts == 1; }
/// Channels that divide a block of 64 bytes; a row has one at least.
[[maybe_unused]] bool fits_dense_64(const DwConvProblem& p) {
  return fits_3x3(p) && p.dense && (p.c == 8 || p.c == 16 || p.c == 32) && p.m * p.c >= 64;
}
// Weights packed as int16 hold the sum of the parts.
[[maybe_unused]] bool fits_3x3_s16(const DwConvProblem& p) { return fits_square(p, 3); }
[[maybe_unused]] bool fits_5x5_s16(const DwConvProblem& p) { return fits_square(p, 5); }

/// Cycles of one output at strides 1 and 2, for a block of four vectors and for a single vector, and of one call's
/// start. Measured on Zen 5; other cores change the figures, seldom the order.
struct Rates {
  int32_t four_lanes, lanes;  ///< channels of a block of four vectors (0: the row has none) and of one
  double four[2], one[2];
  double start;
};

[[maybe_unused]] double predict(const Rates& row, const DwConvProblem& p) {
  const bool pairs = p.sx == 1 && (2 * p.c == row.four_lanes || 2 * p.c == row.lanes);
  const int32_t c = pairs ? 2 * p.c : p.c, stride = pairs ? 1 : p.sx - 1;
  const double m = pairs ? (p.m + 1) / 2 : p.m;
  const int32_t fours = row.four_lanes ? c / row.four_lanes : 0;
  const int32_t ones = (c - fours * row.four_lanes + row.lanes - 1) / row.lanes;
  return fours * (row.start + m * row.four[stride]) + ones * (row.start + m * row.one[stride]);
}

/// Blocks of 8 channels whose sums are requantised 32 at a time, pixels where no channels are left: cycles of one
/// output at strides 1 and 2, and of a block's start. Measured on Zen 4.
[[maybe_unused]] double predict_buffered(const double (&output)[2], double start, const DwConvProblem& p) {
  const int32_t blocks = (p.c + 7) / 8;
  return blocks * (start + p.m * output[p.sx - 1]) + blocks % 2 * 1.4 * p.m;
}

#if defined(EK_ARCH_X86)
double cycles_3x3_avx512vnni(const DwConvProblem& p) { return predict({64, 16, {12.0, 13.8}, {5.3, 7.2}, 15.0}, p); }
double cycles_dense_avx512vnni(const DwConvProblem& p) {
  return 20.0 + (p.sx == 1 ? 13.0 : 17.0) * ((p.m * p.c + 63) / 64);
}
double cycles_5x5_avx512vnni(const DwConvProblem& p) { return predict({64, 16, {26.0, 28.6}, {11.0, 14.0}, 30.0}, p); }
double cycles_3x3_avxvnni(const DwConvProblem& p) { return predict({32, 8, {13.6, 15.0}, {6.3, 7.6}, 17.0}, p); }
double cycles_5x5_avxvnni(const DwConvProblem& p) { return predict({0, 8, {}, {10.2, 12.0}, 18.0}, p); }
double cycles_3x3_avx2(const DwConvProblem& p) { return predict_buffered({5.4, 7.0}, 6.0, p); }
double cycles_5x5_avx2(const DwConvProblem& p) { return predict_buffered({12.3, 14.5}, 28.0, p); }
#endif

#if defined(EK_ARCH_ARM)
/// Blocks of channels, of which the last may be part empty; cycles of one output at strides 1 and 2, by llvm-mca.
double predict_blocks(int32_t block, const double (&output)[2], double start, const DwConvProblem& p) {
  if (p.sx == 1 && p.c == 8 && block == 16) return start + (p.m + 1) / 2 * output[0];  // pairs of pixels
  return (p.c + block - 1) / block * (start + p.m * output[p.sx - 1]);
}

double cycles_3x3_neondot(const DwConvProblem& p) { return predict_blocks(16, {25.4, 32.0}, 40.0, p); }
double cycles_5x5_neondot(const DwConvProblem& p) { return predict_blocks(8, {22.8, 29.7}, 60.0, p); }
double cycles_3x3_neon(const DwConvProblem& p) { return predict_blocks(16, {39.1, 45.6}, 40.0, p); }
double cycles_5x5_neon(const DwConvProblem& p) { return predict_blocks(8, {37.4, 41.2}, 60.0, p); }

bool fits_3x3_no_minus_128(const DwConvProblem& p) { return fits_3x3(p) && !p.has_minus_128; }
bool fits_5x5_no_minus_128(const DwConvProblem& p) { return fits_5x5(p) && !p.has_minus_128; }

bool fits_square_3_5(const DwConvProblem& p) { return fits_3x3(p) || fits_5x5(p); }

// Two multiply-accumulates of 4 lanes per tap and 8 channels, one a cycle, and 20 cycles of loads and requantisation.
double cycles_neon(const DwConvProblem& p) {
  const int32_t blocks = (p.c + 7) / 8;
  return static_cast<double>(p.m) * blocks * (2.0 * p.kh * p.kw + 20.0);
}
#endif

double cycles_scalar(const DwConvProblem& p) {
#if defined(EK_ARCH_ARM)
  constexpr double kTap = 26.0, kOutput = 75.0;  // llvm-mca, Cortex-A72
#else
  constexpr double kTap = 9.6, kOutput = 42.0;
#endif
  const int32_t blocks = (p.c + 31) / 32;
  return static_cast<double>(p.m) * blocks * (kTap * p.parts * p.kh * p.kw + kOutput);
}

}  // namespace

const DwConvKernel kDwConvKernels[] = {
#define EK_DWCONV_KERNEL(name, isa, form, block, lanes, fits, cycles) \
  {{#name, "dwconv", isa}, DwConvForm::form, block, lanes, fits, cycles, name},
#include "kernels/dwconv/kernels.def"
#undef EK_DWCONV_KERNEL
};
const size_t kDwConvKernelCount = sizeof(kDwConvKernels) / sizeof(kDwConvKernels[0]);

const DwConvKernel* select_dwconv(const DwConvProblem& problem, IsaSet cap) {
  return cheapest_allowed(kDwConvKernels, problem, cap);
}

}  // namespace ek
