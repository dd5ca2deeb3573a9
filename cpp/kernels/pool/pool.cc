// SPDX-License-Identifier: Apache-2.0
#include "kernels/pool/pool.h"

#include "kernels/select.h"

namespace ek {

#define EK_POOL_KERNEL(name, isa, max, average, mean) \
  void max(const PoolArgs& args);                     \
  void average(const PoolArgs& args);                 \
  void mean(const MeanArgs& args);
#include "kernels/pool/kernels.def"
#undef EK_POOL_KERNEL

const PoolKernel kPoolKernels[] = {
#define EK_POOL_KERNEL(name, isa, max, average, mean) {{#name, "pool", isa}, max, average, mean},
#include "kernels/pool/kernels.def"
#undef EK_POOL_KERNEL
};
const size_t kPoolKernelCount = sizeof(kPoolKernels) / sizeof(kPoolKernels[0]);

const PoolKernel* select_pool(IsaSet cap) { return first_allowed(kPoolKernels, cap); }

}  // namespace ek
