// SPDX-License-Identifier: Apache-2.0
#include "kernels/softmax/softmax.h"

#include "kernels/select.h"

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

const SoftmaxKernel* select_softmax(IsaSet cap) { return first_allowed(kSoftmaxKernels, cap); }

}  // namespace ek
