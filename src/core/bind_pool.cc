// SPDX-License-Identifier: Apache-2.0
/// Raw calls of single pool rows, for tests and benches: addresses in, bytes out, nothing validated.
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <vector>

#include "bind.h"
#include "kernel_row.h"
#include "kernels/pool/pool.h"

namespace py = pybind11;

namespace {

const ek::PoolKernel& row_of(const std::string& name) {
  return runnable_row(ek::kPoolKernels, ek::kPoolKernelCount, name);
}

/// Runs max or average of the row `rounds` times on caller memory; returns the name of the row that ran.
std::string pool(const std::string& name, const std::string& what, uintptr_t in, const std::array<int32_t, 3>& shape,
                 int32_t px, ptrdiff_t row, const std::array<int32_t, 2>& kernel_size,
                 const std::array<int32_t, 2>& stride, const std::array<int32_t, 2>& pads, int32_t oy, int32_t m,
                 uintptr_t y, ptrdiff_t y_px, const std::array<int32_t, 2>& clamp, bool count_include_pad,
                 bool same_scale, int32_t origin, const std::array<int32_t, 2>& zeros,
                 const std::array<float, 2>& scales, int64_t rounds) {
  const ek::PoolKernel& kernel = row_of(name);
  ek::PoolArgs args = {};
  const int32_t top = oy * stride[0] - pads[0];
  std::vector<const uint8_t*> rows;  // of the window, inside the image
  for (int32_t r = std::max(top, 0); r < std::min(top + kernel_size[0], shape[0]); ++r) {
    rows.push_back(at<const uint8_t>(in) + r * row);
  }
  args.rows = rows.data();
  args.row_count = static_cast<int32_t>(rows.size());
  args.w = shape[1];
  args.c = shape[2];
  args.in_px = px;
  args.kh = kernel_size[0];
  args.kw = kernel_size[1];
  args.sx = stride[1];
  args.left = pads[1];
  args.m = m;
  args.y = at<uint8_t>(y);
  args.y_px = y_px;
  args.lo = static_cast<uint8_t>(clamp[0]);
  args.hi = static_cast<uint8_t>(clamp[1]);
  args.count_include_pad = count_include_pad;
  args.same_scale = same_scale;
  args.origin = origin;
  args.zero_in = zeros[0];
  args.zero_out = zeros[1];
  args.s_in = scales[0];
  args.s_out = scales[1];
  const auto run = what == "max" ? kernel.max : kernel.average;
  const py::gil_scoped_release release;
  for (int64_t round = 0; round < rounds; ++round) run(args);
  return kernel.row.name;
}

std::string mean(const std::string& name, uintptr_t in, const std::array<int32_t, 3>& shape, int32_t px, ptrdiff_t row,
                 int32_t zero_in, float scale, const std::array<int32_t, 2>& clamp, int32_t zero_out, uintptr_t y,
                 int64_t rounds) {
  const ek::PoolKernel& kernel = row_of(name);
  ek::MeanArgs args = {};
  args.in = at<const uint8_t>(in);
  args.shape.h = shape[0];
  args.shape.w = shape[1];
  args.shape.c = shape[2];
  args.shape.px = px;
  args.shape.row = row;
  args.zero_in = zero_in;
  args.m = scale;
  args.out = {static_cast<float>(clamp[0] - zero_out), static_cast<float>(clamp[1] - zero_out), zero_out};
  args.y = at<uint8_t>(y);
  const py::gil_scoped_release release;
  for (int64_t round = 0; round < rounds; ++round) kernel.mean(args);
  return kernel.row.name;
}

std::string chosen_row(const std::string& isa) { return ek::select_pool(cap_of(isa))->row.name; }

}  // namespace

void bind_pool(py::module_& m) {
  m.def("pool_run", &pool, py::arg("name"), py::arg("what"), py::arg("in"), py::arg("shape"), py::arg("px"),
        py::arg("row"), py::arg("kernel"), py::arg("stride"), py::arg("pads"), py::arg("oy"), py::arg("m"),
        py::arg("y"), py::arg("y_px"), py::arg("clamp"), py::arg("count_include_pad"), py::arg("same_scale"),
        py::arg("origin"), py::arg("zeros"), py::arg("scales"), py::arg("rounds") = 1,
        "Runs one output row of max or average on caller addresses, unchecked.");
  m.def("pool_mean", &mean, py::arg("name"), py::arg("in"), py::arg("shape"), py::arg("px"), py::arg("row"),
        py::arg("zero_in"), py::arg("scale"), py::arg("clamp"), py::arg("zero_out"), py::arg("y"),
        py::arg("rounds") = 1, "Runs one mean on caller addresses, unchecked.");
  m.def("pool_select", &chosen_row, py::arg("isa"), "Name of the row a plan would choose under a cap.");
}
