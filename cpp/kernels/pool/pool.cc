// SPDX-License-Identifier: Apache-2.0
#include "kernels/pool/pool.h"

#include "kernels/select.h"

namespace ek {

#define EK_POOL_KERNEL(name, isa, max, average, mean, ...) \
  void max(const PoolArgs& args);                          \
  void average(const PoolArgs& args);                      \
  void mean(const MeanArgs& args);
#include "kernels/pool/kernels.def"
#undef EK_POOL_KERNEL

const PoolKernel kPoolKernels[] = {
#define EK_POOL_KERNEL(name, isa, max, average, mean, max_pixel, max_tap, average_pixel, average_tap, rate) \
  {{#name, "pool", isa}, max, average, mean, {max_pixel, max_tap}, {average_pixel, average_tap}, rate},
#include "kernels/pool/kernels.def"
#undef EK_POOL_KERNEL
};
const size_t kPoolKernelCount = sizeof(kPoolKernels) / sizeof(kPoolKernels[0]);

const PoolKernel* select_pool(IsaSet cap) { return first_allowed(kPoolKernels, cap); }

double pool_cycles(const PoolCycles& cycles, double pixels, int32_t c, double taps) {
  constexpr double kPixel = 3.0;  // cycles to cut a window out of the image
  return pixels * (kPixel + (c + 31) / 32 * (cycles.pixel + cycles.tap * taps));
}

}  // namespace ek
