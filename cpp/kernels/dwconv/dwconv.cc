// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv/dwconv.h"

namespace ek {

#define EK_DWCONV_KERNEL(name, isa, form, block, lanes, fits, cycles) void name(const DwConvArgs& args);
#include "kernels/dwconv/kernels.def"
#undef EK_DWCONV_KERNEL

namespace {

bool fits_all(const DwConvProblem&) { return true; }

/// Strides 1 and 2; the rows of a dilated kernel may lie apart, its columns not.
bool fits_square(const DwConvProblem& p, int32_t k) {
  return p.kh == k && p.kw == k && (p.sx == 1 || p.sx == 2) && p.dx == 1;
}
[[maybe_unused]] bool fits_3x3(const DwConvProblem& p) { return fits_square(p, 3); }
[[maybe_unused]] bool fits_5x5(const DwConvProblem& p) { return fits_square(p, 5); }

double cycles_scalar(const DwConvProblem& p) { return static_cast<double>(p.m) * p.c * (0.4 * p.kh * p.kw + 2.0); }

#if defined(EK_ARCH_X86)
double cycles_avx512vnni(const DwConvProblem& p) { return static_cast<double>(p.m) * p.c * (0.01 * p.kh * p.kw + 0.2); }
double cycles_avxvnni(const DwConvProblem& p) { return static_cast<double>(p.m) * p.c * (0.02 * p.kh * p.kw + 0.4); }
double cycles_avx2(const DwConvProblem& p) { return static_cast<double>(p.m) * p.c * (0.04 * p.kh * p.kw + 0.4); }
#endif

}  // namespace

const DwConvKernel kDwConvKernels[] = {
#define EK_DWCONV_KERNEL(name, isa, form, block, lanes, fits, cycles) \
  {{#name, "dwconv", isa}, DwConvForm::form, block, lanes, fits, cycles, name},
#include "kernels/dwconv/kernels.def"
#undef EK_DWCONV_KERNEL
};
const size_t kDwConvKernelCount = sizeof(kDwConvKernels) / sizeof(kDwConvKernels[0]);

const DwConvKernel* select_dwconv(const DwConvProblem& problem, IsaSet cap) {
  const DwConvKernel* best = nullptr;
  double least = 0.0;
  for (const DwConvKernel& kernel : kDwConvKernels) {
    if ((kernel.row.isa & cap) != kernel.row.isa || !kernel.fits(problem)) continue;
    const double cycles = kernel.cycles(problem);
    if (!best || cycles < least) {
      best = &kernel;
      least = cycles;
    }
  }
  return best;
}

}  // namespace ek
