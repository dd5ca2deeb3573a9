// SPDX-License-Identifier: Apache-2.0
#include "kernels/eltwise/eltwise.h"

#include "kernels/select.h"

namespace ek {

#define EK_ELTWISE_KERNEL(name, isa, add, affine, table, mul, ...) \
  void add(const AddArgs& args);                                   \
  void affine(const AffineArgs& args);                             \
  void table(const TableArgs& args);                               \
  void mul(const MulArgs& args);
#include "kernels/eltwise/kernels.def"
#undef EK_ELTWISE_KERNEL

const EltwiseKernel kEltwiseKernels[] = {
#define EK_ELTWISE_KERNEL(name, isa, add, affine, table, mul, add_rate, affine_rate, table_rate, mul_rate) \
  {{#name, "eltwise", isa}, add, affine, table, mul, add_rate, affine_rate, table_rate, mul_rate},
#include "kernels/eltwise/kernels.def"
#undef EK_ELTWISE_KERNEL
};
const size_t kEltwiseKernelCount = sizeof(kEltwiseKernels) / sizeof(kEltwiseKernels[0]);

const EltwiseKernel* select_eltwise(IsaSet cap) { return first_allowed(kEltwiseKernels, cap); }

}  // namespace ek
