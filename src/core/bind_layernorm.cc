// SPDX-License-Identifier: Apache-2.0
/// Raw calls of single layernorm rows, for tests and benches: addresses in, bytes out, nothing validated.
#include <pybind11/stl.h>

#include <array>

#include "bind.h"
#include "kernel_row.h"
#include "kernels/layernorm/layernorm.h"

namespace py = pybind11;

namespace {

std::string run(const std::string& name, uintptr_t x, uintptr_t y, const std::array<ptrdiff_t, 2>& px, int32_t pixels,
                int32_t c, float epsilon, uintptr_t g, uintptr_t b, const std::array<int32_t, 2>& clamp,
                int32_t zero_out, int64_t rounds) {
  const ek::LayerNormKernel& kernel = runnable_row(ek::kLayerNormKernels, ek::kLayerNormKernelCount, name);
  const ek::Requant out = {static_cast<float>(clamp[0] - zero_out), static_cast<float>(clamp[1] - zero_out), zero_out};
  const ek::LayerNormArgs args = {at<const uint8_t>(x), at<uint8_t>(y),     px[0], px[1], pixels, c, epsilon,
                                  at<const float>(g),   at<const float>(b), out};
  const py::gil_scoped_release release;
  for (int64_t round = 0; round < rounds; ++round) kernel.run(args);
  return kernel.row.name;
}

std::string chosen_row(const std::string& isa) { return ek::select_layernorm(cap_of(isa))->row.name; }

}  // namespace

void bind_layernorm(py::module_& m) {
  m.def("layernorm_run", &run, py::arg("name"), py::arg("x"), py::arg("y"), py::arg("px"), py::arg("pixels"),
        py::arg("c"), py::arg("epsilon"), py::arg("g"), py::arg("b"), py::arg("clamp"), py::arg("zero_out"),
        py::arg("rounds") = 1, "Runs one layer norm on caller addresses, unchecked.");
  m.def("layernorm_select", &chosen_row, py::arg("isa"), "Name of the row a plan would choose under a cap.");
}
