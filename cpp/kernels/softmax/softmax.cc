// SPDX-License-Identifier: Apache-2.0
#include "kernels/softmax/softmax.h"

namespace ek {

#define EK_SOFTMAX_KERNEL(name, isa) void name(const SoftmaxArgs& args);
#include "kernels/softmax/kernels.def"
#undef EK_SOFTMAX_KERNEL

const SoftmaxKernel kSoftmaxKernels[] = {
#define EK_SOFTMAX_KERNEL(name, isa) {{#name, "softmax", isa}, name},
#include "kernels/softmax/kernels.def"
#undef EK_SOFTMAX_KERNEL
};
const size_t kSoftmaxKernelCount = sizeof(kSoftmaxKernels) / sizeof(kSoftmaxKernels[0]);

const SoftmaxKernel* select_softmax(IsaSet cap) {
  for (const SoftmaxKernel& kernel : kSoftmaxKernels) {
    if ((kernel.row.isa & cap) == kernel.row.isa) return &kernel;
  }
  return nullptr;  // not reached: scalar needs nothing
}

}  // namespace ek
