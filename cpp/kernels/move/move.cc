// SPDX-License-Identifier: Apache-2.0
#include "kernels/move/move.h"

#include "kernels/select.h"

namespace ek {

#define EK_MOVE_KERNEL(name, isa, copy, halo) \
  void copy(const MoveArgs& args);            \
  void halo(const Nhwc& shape, uint8_t* base, uint8_t zero);
#include "kernels/move/kernels.def"
#undef EK_MOVE_KERNEL

const MoveKernel kMoveKernels[] = {
#define EK_MOVE_KERNEL(name, isa, copy, halo) {{#name, "move", isa}, copy, halo},
#include "kernels/move/kernels.def"
#undef EK_MOVE_KERNEL
};
const size_t kMoveKernelCount = sizeof(kMoveKernels) / sizeof(kMoveKernels[0]);

const MoveKernel* select_move(IsaSet cap) { return first_allowed(kMoveKernels, cap); }

}  // namespace ek
