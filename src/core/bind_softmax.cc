// SPDX-License-Identifier: Apache-2.0
/// Raw calls of single softmax rows, for tests and benches: addresses in, bytes out, nothing validated.
#include <pybind11/stl.h>

#include <array>

#include "bind.h"
#include "kernel_row.h"
#include "kernels/softmax/softmax.h"

namespace py = pybind11;

namespace {

const ek::SoftmaxKernel& row_of(const std::string& name) {
  return runnable_row(ek::kSoftmaxKernels, ek::kSoftmaxKernelCount, name);
}

std::string run(const std::string& name, uintptr_t x, int32_t c, uintptr_t table, uintptr_t p, uintptr_t y, float s_out,
                const std::array<int32_t, 2>& clamp, int32_t zero_out, int64_t rounds) {
  const ek::SoftmaxKernel& kernel = row_of(name);
  const ek::Requant out = {static_cast<float>(clamp[0] - zero_out), static_cast<float>(clamp[1] - zero_out), zero_out};
  const ek::SoftmaxArgs args = {
      at<const uint8_t>(x), c, at<const uint32_t>(table), at<float>(p), at<uint8_t>(y), s_out, out};
  const py::gil_scoped_release release;
  for (int64_t round = 0; round < rounds; ++round) kernel.run(args);
  return kernel.row.name;
}

std::string chosen_row(const std::string& isa) { return ek::select_softmax(cap_of(isa))->row.name; }

}  // namespace

void bind_softmax(py::module_& m) {
  m.def("softmax_run", &run, py::arg("name"), py::arg("x"), py::arg("c"), py::arg("table"), py::arg("p"), py::arg("y"),
        py::arg("s_out"), py::arg("clamp"), py::arg("zero_out"), py::arg("rounds") = 1,
        "Runs one softmax on caller addresses (p or y 0: not wanted), unchecked.");
  m.def("softmax_select", &chosen_row, py::arg("isa"), "Name of the row a plan would choose under a cap.");
}
