// SPDX-License-Identifier: Apache-2.0
/// Raw calls of single edge rows, for tests and benches: addresses in, bytes out, nothing validated.
#include <pybind11/stl.h>

#include <algorithm>
#include <array>

#include "bind.h"
#include "kernel_row.h"
#include "kernels/edge/edge.h"

namespace py = pybind11;

namespace {

const ek::EdgeKernel& row_of(const std::string& name) {
  return runnable_row(ek::kEdgeKernels, ek::kEdgeKernelCount, name);
}

using Extents = std::array<int32_t, 6>;
using Steps = std::array<ptrdiff_t, 6>;

/// `what` is quantise, dequantise or bytes; the first two with _s16 for int16.
std::string run(const std::string& name, const std::string& what, uintptr_t x, uintptr_t y, const Extents& extent,
                const Steps& x_stride, const Steps& y_stride, float scale, int32_t zero, uint8_t flip, int64_t rounds) {
  const ek::EdgeKernel& kernel = row_of(name);
  ek::EdgeArgs args = {};
  args.x = at<const void>(x);
  args.y = at<void>(y);
  std::copy(extent.begin(), extent.end(), args.extent);
  std::copy(x_stride.begin(), x_stride.end(), args.x_stride);
  std::copy(y_stride.begin(), y_stride.end(), args.y_stride);
  args.scale = scale;
  args.zero = zero;
  args.flip = flip;
  const auto call = what == "quantise"         ? kernel.quantise
                    : what == "dequantise"     ? kernel.dequantise
                    : what == "quantise_s16"   ? kernel.quantise_s16
                    : what == "dequantise_s16" ? kernel.dequantise_s16
                                               : kernel.bytes;
  const py::gil_scoped_release release;
  for (int64_t round = 0; round < rounds; ++round) call(args);
  return kernel.row.name;
}

std::string chosen_row(const std::string& isa) { return ek::select_edge(cap_of(isa))->row.name; }

}  // namespace

void bind_edge(py::module_& m) {
  m.def("edge_run", &run, py::arg("name"), py::arg("what"), py::arg("x"), py::arg("y"), py::arg("extent"),
        py::arg("x_stride"), py::arg("y_stride"), py::arg("scale"), py::arg("zero"), py::arg("flip"),
        py::arg("rounds") = 1,
        "Runs quantise, dequantise or bytes (or one of the first two with _s16) on caller addresses, unchecked.");
  m.def("edge_select", &chosen_row, py::arg("isa"), "Name of the row a plan would choose under a cap.");
}
