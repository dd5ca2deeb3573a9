// SPDX-License-Identifier: Apache-2.0
/// Raw calls of single move rows, for tests and benches: addresses in, bytes out, nothing validated.
#include <pybind11/stl.h>

#include <algorithm>
#include <array>

#include "bind.h"
#include "kernel_row.h"
#include "kernels/move/move.h"

namespace py = pybind11;

namespace {

const ek::MoveKernel& row_of(const std::string& name) {
  return runnable_row(ek::kMoveKernels, ek::kMoveKernelCount, name);
}

using Extents = std::array<int32_t, 6>;
using Steps = std::array<ptrdiff_t, 6>;

std::string copy(const std::string& name, uintptr_t x, uintptr_t y, const Extents& extent, const Steps& x_stride,
                 const Steps& y_stride, uintptr_t table, int64_t rounds) {
  const ek::MoveKernel& kernel = row_of(name);
  ek::MoveArgs args = {};
  args.x = at<const uint8_t>(x);
  args.y = at<uint8_t>(y);
  std::copy(extent.begin(), extent.end(), args.extent);
  std::copy(x_stride.begin(), x_stride.end(), args.x_stride);
  std::copy(y_stride.begin(), y_stride.end(), args.y_stride);
  args.table = at<const uint8_t>(table);
  const py::gil_scoped_release release;
  for (int64_t round = 0; round < rounds; ++round) kernel.copy(args);
  return kernel.row.name;
}

/// `halo` is top, left, bottom, right.
std::string fill(const std::string& name, const std::array<int32_t, 3>& shape, const std::array<int32_t, 4>& halo,
                 int32_t px, ptrdiff_t row, uintptr_t base, uint8_t zero, int64_t rounds) {
  const ek::MoveKernel& kernel = row_of(name);
  const ek::Nhwc image = {shape[0], shape[1], shape[2], halo[0], halo[1], halo[2], halo[3], px, row};
  const py::gil_scoped_release release;
  for (int64_t round = 0; round < rounds; ++round) kernel.halo(image, at<uint8_t>(base), zero);
  return kernel.row.name;
}

std::string chosen_row(const std::string& isa) { return ek::select_move(cap_of(isa))->row.name; }

}  // namespace

void bind_move(py::module_& m) {
  m.def("move_copy", &copy, py::arg("name"), py::arg("x"), py::arg("y"), py::arg("extent"), py::arg("x_stride"),
        py::arg("y_stride"), py::arg("table"), py::arg("rounds") = 1,
        "Runs one strided copy on caller addresses (table 0: none), unchecked.");
  m.def("move_halo", &fill, py::arg("name"), py::arg("shape"), py::arg("halo"), py::arg("px"), py::arg("row"),
        py::arg("base"), py::arg("zero"), py::arg("rounds") = 1, "Fills one halo at a caller address, unchecked.");
  m.def("move_select", &chosen_row, py::arg("isa"), "Name of the row a plan would choose under a cap.");
}
