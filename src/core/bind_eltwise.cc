// SPDX-License-Identifier: Apache-2.0
/// Raw calls of single eltwise rows, for tests and benches: addresses in, bytes out, nothing validated.
#include <pybind11/stl.h>

#include <array>

#include "bind.h"
#include "kernel_row.h"
#include "kernels/eltwise/eltwise.h"

namespace py = pybind11;

namespace {

const ek::EltwiseKernel& row_of(const std::string& name) {
  return runnable_row(ek::kEltwiseKernels, ek::kEltwiseKernelCount, name);
}

std::string add(const std::string& name, uintptr_t a, uintptr_t b, uintptr_t y, const std::array<ptrdiff_t, 3>& px,
                int32_t pixels, int32_t c, const std::array<int32_t, 3>& zeros, int32_t m, int32_t n, int32_t shift,
                const std::array<int32_t, 2>& clamp, int64_t rounds) {
  const ek::EltwiseKernel& kernel = row_of(name);
  const ek::AddArgs args = {at<const uint8_t>(a),
                            at<const uint8_t>(b),
                            at<uint8_t>(y),
                            px[0],
                            px[1],
                            px[2],
                            pixels,
                            c,
                            zeros[0],
                            zeros[1],
                            zeros[2],
                            m,
                            n,
                            shift,
                            clamp[0],
                            clamp[1]};
  const py::gil_scoped_release release;
  for (int64_t round = 0; round < rounds; ++round) kernel.add(args);
  return kernel.row.name;
}

/// `bias` has the zero point of the input folded in, as a plan does.
std::string affine(const std::string& name, uintptr_t x, uintptr_t y, const std::array<ptrdiff_t, 2>& px,
                   int32_t pixels, int32_t c, uintptr_t w, uintptr_t bias, uintptr_t scale,
                   const std::array<int32_t, 2>& clamp, int32_t zero_out, int64_t rounds) {
  const ek::EltwiseKernel& kernel = row_of(name);
  const ek::Requant out = {static_cast<float>(clamp[0] - zero_out), static_cast<float>(clamp[1] - zero_out), zero_out};
  const ek::AffineArgs args = {
      at<const uint8_t>(x),    at<uint8_t>(y),         px[0], px[1], pixels, c, at<const int8_t>(w),
      at<const int32_t>(bias), at<const float>(scale), out};
  const py::gil_scoped_release release;
  for (int64_t round = 0; round < rounds; ++round) kernel.affine(args);
  return kernel.row.name;
}

std::string table(const std::string& name, uintptr_t x, uintptr_t y, const std::array<ptrdiff_t, 2>& px, int32_t pixels,
                  int32_t c, uintptr_t bytes, int64_t rounds) {
  const ek::EltwiseKernel& kernel = row_of(name);
  const ek::TableArgs args = {at<const uint8_t>(x), at<uint8_t>(y), px[0], px[1], pixels, c, at<const uint8_t>(bytes)};
  const py::gil_scoped_release release;
  for (int64_t round = 0; round < rounds; ++round) kernel.table(args);
  return kernel.row.name;
}

std::string mul(const std::string& name, uintptr_t a, uintptr_t b, uintptr_t y, const std::array<ptrdiff_t, 3>& px,
                int32_t pixels, int32_t c, const std::array<int32_t, 3>& zeros, float m,
                const std::array<int32_t, 2>& clamp, int64_t rounds) {
  const ek::EltwiseKernel& kernel = row_of(name);
  const ek::Requant out = {static_cast<float>(clamp[0] - zeros[2]), static_cast<float>(clamp[1] - zeros[2]), zeros[2]};
  const ek::MulArgs args = {at<const uint8_t>(a),
                            at<const uint8_t>(b),
                            at<uint8_t>(y),
                            px[0],
                            px[1],
                            px[2],
                            pixels,
                            c,
                            zeros[0],
                            zeros[1],
                            m,
                            out};
  const py::gil_scoped_release release;
  for (int64_t round = 0; round < rounds; ++round) kernel.mul(args);
  return kernel.row.name;
}

std::string chosen_row(const std::string& isa) { return ek::select_eltwise(cap_of(isa))->row.name; }

}  // namespace

void bind_eltwise(py::module_& m) {
  m.def("eltwise_add", &add, py::arg("name"), py::arg("a"), py::arg("b"), py::arg("y"), py::arg("px"),
        py::arg("pixels"), py::arg("c"), py::arg("zeros"), py::arg("m"), py::arg("n"), py::arg("shift"),
        py::arg("clamp"), py::arg("rounds") = 1, "Runs one residual add on caller addresses, unchecked.");
  m.def("eltwise_affine", &affine, py::arg("name"), py::arg("x"), py::arg("y"), py::arg("px"), py::arg("pixels"),
        py::arg("c"), py::arg("w"), py::arg("bias"), py::arg("scale"), py::arg("clamp"), py::arg("zero_out"),
        py::arg("rounds") = 1, "Runs one affine on caller addresses, unchecked.");
  m.def("eltwise_table", &table, py::arg("name"), py::arg("x"), py::arg("y"), py::arg("px"), py::arg("pixels"),
        py::arg("c"), py::arg("table"), py::arg("rounds") = 1, "Runs one byte table on caller addresses, unchecked.");
  m.def("eltwise_mul", &mul, py::arg("name"), py::arg("a"), py::arg("b"), py::arg("y"), py::arg("px"),
        py::arg("pixels"), py::arg("c"), py::arg("zeros"), py::arg("m"), py::arg("clamp"), py::arg("rounds") = 1,
        "Runs one product on caller addresses, unchecked.");
  m.def("eltwise_select", &chosen_row, py::arg("isa"), "Name of the row a plan would choose under a cap.");
}
