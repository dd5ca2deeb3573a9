// SPDX-License-Identifier: Apache-2.0
/// Raw calls of single winograd rows, for tests and benches: addresses in, bytes out, nothing validated.
#include <pybind11/stl.h>

#include <array>
#include <vector>

#include "bind.h"
#include "kernel_row.h"
#include "kernels/winograd/winograd.h"

namespace py = pybind11;

namespace {

const ek::WinogradKernel& any_winograd(const std::string& name) {
  return any_row(ek::kWinogradKernels, ek::kWinogradKernelCount, name);
}

py::dict row(const std::string& name) {
  const ek::WinogradKernel& kernel = any_winograd(name);
  py::dict entry;
  entry["nr"] = kernel.nr;
  entry["kr"] = kernel.kr;
  return entry;
}

/// Transforms a strip and multiplies one panel, `rounds` times, on caller memory; returns the name of the row that ran.
/// `strip`: columns, in_px, kc, tile_rows, tile_columns, v_plane; `packed`: w, bias, scale; `to`: y, y_row, y_px, h, w.
std::string run(const std::string& name, const std::vector<uintptr_t>& rows, const std::array<int32_t, 6>& strip,
                uintptr_t v, uintptr_t sums, const std::array<uintptr_t, 3>& packed, int32_t n,
                const std::array<float, 3>& out, const std::array<ptrdiff_t, 5>& to, int64_t rounds) {
  const ek::WinogradKernel& kernel = runnable_row(ek::kWinogradKernels, ek::kWinogradKernelCount, name);
  std::vector<const uint8_t*> taps;
  for (const uintptr_t address : rows) taps.push_back(at<const uint8_t>(address));
  ek::WinogradArgs args = {};
  args.rows = taps.data();
  args.columns = strip[0], args.in_px = strip[1], args.kc = strip[2];
  args.tile_rows = strip[3], args.tile_columns = strip[4], args.v_plane = strip[5];
  args.v = at<int16_t>(v), args.sums = at<int32_t>(sums);
  args.w = at<const int16_t>(packed[0]), args.bias = at<const int32_t>(packed[1]);
  args.scale = at<const float>(packed[2]), args.n = n;
  args.out = {out[0], out[1], static_cast<int32_t>(out[2])};
  args.y = at<uint8_t>(static_cast<uintptr_t>(to[0])), args.y_row = to[1], args.y_px = to[2];
  args.h = static_cast<int32_t>(to[3]), args.w_out = static_cast<int32_t>(to[4]);
  {
    const py::gil_scoped_release release;
    for (int64_t round = 0; round < rounds; ++round) {
      kernel.transform(args);
      kernel.multiply(args);
    }
  }
  return kernel.row.name;
}

/// Packs one panel; returns its bytes, bias (int32) and scale (float32), all as bytes.
py::tuple pack(const std::string& name, uintptr_t w, int32_t c, uintptr_t bias, uintptr_t scale, int32_t first,
               int32_t columns, int32_t input_zero) {
  const ek::WinogradKernel& kernel = any_winograd(name);
  const int32_t kc = ek::round_up(c, ek::kWinogradChannelAlign);
  std::vector<int16_t> panel(ek::winograd_panel_bytes(kernel, kc) / sizeof(int16_t));
  std::vector<int32_t> panel_bias(static_cast<size_t>(kernel.nr));
  std::vector<float> panel_scale(static_cast<size_t>(kernel.nr));
  ek::winograd_pack(kernel, at<const int8_t>(w), c, at<const int32_t>(bias), at<const float>(scale), first, columns,
                    input_zero, panel.data(), panel_bias.data(), panel_scale.data());
  const size_t bytes = sizeof(int32_t) * panel_bias.size();
  return py::make_tuple(py::bytes(reinterpret_cast<const char*>(panel.data()), panel.size() * sizeof(int16_t)),
                        py::bytes(reinterpret_cast<const char*>(panel_bias.data()), bytes),
                        py::bytes(reinterpret_cast<const char*>(panel_scale.data()), bytes));
}

/// Name of the chosen row, or "" where none fits.
std::string chosen_row(int32_t h, int32_t w, int32_t c, int32_t n, const std::string& isa) {
  const ek::WinogradKernel* kernel = ek::select_winograd({h, w, c, n}, cap_of(isa));
  return kernel ? kernel->row.name : "";
}

double cycles(const std::string& name, int32_t h, int32_t w, int32_t c, int32_t n) {
  return any_winograd(name).cycles({h, w, c, n});
}

}  // namespace

void bind_winograd(py::module_& m) {
  m.def("winograd_row", &row, py::arg("name"), "Panel of a winograd row: nr, kr.");
  m.def("winograd_run", &run, py::arg("name"), py::arg("rows"), py::arg("strip"), py::arg("v"), py::arg("sums"),
        py::arg("packed"), py::arg("n"), py::arg("out"), py::arg("to"), py::arg("rounds") = 1,
        "Runs one row on caller addresses, unchecked.");
  m.def("winograd_pack", &pack, py::arg("name"), py::arg("w"), py::arg("c"), py::arg("bias"), py::arg("scale"),
        py::arg("first"), py::arg("columns"), py::arg("input_zero"), "Packs one panel: its bytes, bias and scale.");
  m.def("winograd_select", &chosen_row, py::arg("h"), py::arg("w"), py::arg("c"), py::arg("n"), py::arg("isa"),
        "Name of the row a plan would choose under a cap.");
  m.def("winograd_cycles", &cycles, py::arg("name"), py::arg("h"), py::arg("w"), py::arg("c"), py::arg("n"),
        "Predicted cycles of a row.");
}
