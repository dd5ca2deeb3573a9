// SPDX-License-Identifier: Apache-2.0
#include "kernels/edge/edge.h"

#include "base/nest.h"
#include "kernels/edge/run.h"
#include "kernels/select.h"

namespace ek {

#define EK_EDGE_KERNEL(name, isa, quantise, dequantise, bytes, quantise_s16, dequantise_s16) \
  void quantise(const EdgeRun& run);                                                         \
  void dequantise(const EdgeRun& run);                                                       \
  void bytes(const EdgeRun& run);                                                            \
  void quantise_s16(const EdgeRun& run);                                                     \
  void dequantise_s16(const EdgeRun& run);
#include "kernels/edge/kernels.def"
#undef EK_EDGE_KERNEL

namespace {

/// Calls a row's function for every innermost run.
template <void (*kRun)(const EdgeRun& run)>
void walk(const EdgeArgs& args) {
  const Nest nest(args.extent, args.x_stride, args.y_stride);
  nest.for_each_row(static_cast<const uint8_t*>(args.x), static_cast<uint8_t*>(args.y),
                    [&args](const uint8_t* x, uint8_t* y, ptrdiff_t n, ptrdiff_t x_step, ptrdiff_t y_step) {
                      kRun({x, y, n, x_step, y_step, args.scale, args.zero, args.flip});
                    });
}

}  // namespace

const EdgeKernel kEdgeKernels[] = {
#define EK_EDGE_KERNEL(name, isa, quantise, dequantise, bytes, quantise_s16, dequantise_s16) \
  {{#name, "edge", isa}, walk<quantise>, walk<dequantise>, walk<bytes>, walk<quantise_s16>, walk<dequantise_s16>},
#include "kernels/edge/kernels.def"
#undef EK_EDGE_KERNEL
};
const size_t kEdgeKernelCount = sizeof(kEdgeKernels) / sizeof(kEdgeKernels[0]);

const EdgeKernel* select_edge(IsaSet cap) { return first_allowed(kEdgeKernels, cap); }

}  // namespace ek
