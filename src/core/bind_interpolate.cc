// SPDX-License-Identifier: Apache-2.0
/// Raw calls of single interpolate rows, for tests and benches: addresses in, bytes out, nothing validated.
#include "bind.h"
#include "kernel_row.h"
#include "kernels/interpolate/interpolate.h"

namespace py = pybind11;

namespace {

/// Runs the row `rounds` times on caller memory; returns the name of the row that ran.
std::string run(const std::string& name, uintptr_t top, uintptr_t bottom, int32_t weight, uintptr_t columns, int32_t m,
                int32_t c, int32_t x_px, uintptr_t y, int32_t y_px, int64_t rounds) {
  const auto& kernel = runnable_row(ek::kInterpolateKernels, ek::kInterpolateKernelCount, name);
  ek::InterpolateArgs args = {};
  args.top = at<const uint8_t>(top);
  args.bottom = at<const uint8_t>(bottom);
  args.weight = weight;
  args.columns = at<const int32_t>(columns);
  args.m = m;
  args.c = c;
  args.x_px = x_px;
  args.y_px = y_px;
  args.y = at<uint8_t>(y);
  const py::gil_scoped_release release;
  for (int64_t round = 0; round < rounds; ++round) kernel.run(args);
  return kernel.row.name;
}

std::string chosen_row(const std::string& isa) { return ek::select_interpolate(cap_of(isa))->row.name; }

}  // namespace

void bind_interpolate(py::module_& m) {
  m.def("interpolate_run", &run, py::arg("name"), py::arg("top"), py::arg("bottom"), py::arg("weight"),
        py::arg("columns"), py::arg("m"), py::arg("c"), py::arg("x_px"), py::arg("y"), py::arg("y_px"),
        py::arg("rounds") = 1, "Runs one row of the output on caller addresses, unchecked.");
  m.def("interpolate_select", &chosen_row, py::arg("isa"), "Name of the row a plan would choose under a cap.");
}
