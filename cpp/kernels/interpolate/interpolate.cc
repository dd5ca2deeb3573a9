// SPDX-License-Identifier: Apache-2.0
#include "kernels/interpolate/interpolate.h"

#include "kernels/select.h"

namespace ek {

#define EK_INTERPOLATE_KERNEL(name, isa) void name(const InterpolateArgs& args);
#include "kernels/interpolate/kernels.def"
#undef EK_INTERPOLATE_KERNEL

const InterpolateKernel kInterpolateKernels[] = {
#define EK_INTERPOLATE_KERNEL(name, isa) {{#name, "interpolate", isa}, name},
#include "kernels/interpolate/kernels.def"
#undef EK_INTERPOLATE_KERNEL
};
const size_t kInterpolateKernelCount = sizeof(kInterpolateKernels) / sizeof(kInterpolateKernels[0]);

const InterpolateKernel* select_interpolate(IsaSet cap) { return first_allowed(kInterpolateKernels, cap); }

}  // namespace ek
