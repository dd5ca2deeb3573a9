// SPDX-License-Identifier: Apache-2.0
/// Raw calls of single resize rows, for tests and benches: addresses in, bytes out, nothing validated.
#include <pybind11/stl.h>

#include <array>

#include "bind.h"
#include "kernel_row.h"
#include "kernels/resize/resize.h"

namespace py = pybind11;

namespace {

/// Runs the row `rounds` times on caller memory; returns the name of the row that ran.
std::string run(const std::string& name, uintptr_t box, ptrdiff_t row_stride, int32_t width, int32_t height,
                int32_t src_channels, int32_t channels, const std::array<int32_t, 4>& order, bool gray, int32_t out_w,
                int32_t out_h, uintptr_t table, uintptr_t y, ptrdiff_t y_px, ptrdiff_t y_row, uintptr_t scratch,
                int64_t rounds) {
  const ek::ResizeKernel& kernel = runnable_row(ek::kResizeKernels, ek::kResizeKernelCount, name);
  const ek::ResizeArgs args = {at<const uint8_t>(box),
                               row_stride,
                               width,
                               height,
                               src_channels,
                               channels,
                               {order[0], order[1], order[2], order[3]},
                               gray,
                               out_w,
                               out_h,
                               at<const uint8_t>(table),
                               at<uint8_t>(y),
                               y_px,
                               y_row,
                               at<int32_t>(scratch)};
  {
    const py::gil_scoped_release release;
    for (int64_t round = 0; round < rounds; ++round) kernel.run(args);
  }
  return kernel.row.name;
}

/// Whether a run would leave the tables out.
bool is_identity(uintptr_t tables, int32_t channels) {
  return ek::resize_tables(at<const uint8_t>(tables), channels) == nullptr;
}

std::string chosen_row(const std::string& isa) { return ek::select_resize(cap_of(isa))->row.name; }

}  // namespace

void bind_resize(py::module_& m) {
  m.def("resize_run", &run, py::arg("name"), py::arg("box"), py::arg("row_stride"), py::arg("width"), py::arg("height"),
        py::arg("src_channels"), py::arg("channels"), py::arg("order"), py::arg("gray"), py::arg("out_w"),
        py::arg("out_h"), py::arg("table"), py::arg("y"), py::arg("y_px"), py::arg("y_row"), py::arg("scratch"),
        py::arg("rounds") = 1, "Runs one row on caller addresses (table 0: identity), unchecked.");
  m.def("resize_scratch", &ek::resize_scratch, py::arg("out_w"), "Bytes of scratch of a call.");
  m.def("resize_is_identity", &is_identity, py::arg("tables"), py::arg("channels"),
        "Whether a run would leave the tables out.");
  m.def("resize_select", &chosen_row, py::arg("isa"), "Name of the row a plan would choose under a cap.");
}
