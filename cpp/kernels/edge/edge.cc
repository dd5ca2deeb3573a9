// SPDX-License-Identifier: Apache-2.0
#include "kernels/edge/edge.h"

namespace ek {

#define EK_EDGE_KERNEL(name, isa, quantise, dequantise, bytes) \
  void quantise(const EdgeArgs& args);                         \
  void dequantise(const EdgeArgs& args);                       \
  void bytes(const EdgeArgs& args);
#include "kernels/edge/kernels.def"
#undef EK_EDGE_KERNEL

const EdgeKernel kEdgeKernels[] = {
#define EK_EDGE_KERNEL(name, isa, quantise, dequantise, bytes) {{#name, "edge", isa}, quantise, dequantise, bytes},
#include "kernels/edge/kernels.def"
#undef EK_EDGE_KERNEL
};
const size_t kEdgeKernelCount = sizeof(kEdgeKernels) / sizeof(kEdgeKernels[0]);

const EdgeKernel* select_edge(IsaSet cap) {
  for (const EdgeKernel& kernel : kEdgeKernels) {
    if ((kernel.row.isa & cap) == kernel.row.isa) return &kernel;
  }
  return nullptr;  // not reached: scalar needs nothing
}

}  // namespace ek
