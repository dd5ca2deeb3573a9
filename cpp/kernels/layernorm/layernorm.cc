// SPDX-License-Identifier: Apache-2.0
#include "kernels/layernorm/layernorm.h"

#include "kernels/select.h"

namespace ek {

#define EK_LAYERNORM_KERNEL(name, isa) void name(const LayerNormArgs& args);
#include "kernels/layernorm/kernels.def"
#undef EK_LAYERNORM_KERNEL

const LayerNormKernel kLayerNormKernels[] = {
#define EK_LAYERNORM_KERNEL(name, isa) {{#name, "layernorm", isa}, name},
#include "kernels/layernorm/kernels.def"
#undef EK_LAYERNORM_KERNEL
};
const size_t kLayerNormKernelCount = sizeof(kLayerNormKernels) / sizeof(kLayerNormKernels[0]);

const LayerNormKernel* select_layernorm(IsaSet cap) { return first_allowed(kLayerNormKernels, cap); }

}  // namespace ek
