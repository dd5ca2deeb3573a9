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

/// Calls a row's function for every start of the two innermost loops.
template <void (*kRun)(const EdgeRun& run)>
void walk(const EdgeArgs& args) {
  Nest nest(args.extent, args.x_stride, args.y_stride);
  nest.bring_planes_inside();
  const int32_t run = nest.rank - 1, plane = nest.rank - 2;
  nest.for_each_tile(static_cast<const uint8_t*>(args.x), static_cast<uint8_t*>(args.y),
                     [&](const uint8_t* x, uint8_t* y) {
                       kRun({x, y, nest.extent[run], nest.x[run], nest.y[run], nest.extent[plane], nest.x[plane],
                             nest.y[plane], args.scale, args.zero, args.flip});
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
