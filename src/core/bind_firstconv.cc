// SPDX-License-Identifier: Apache-2.0
/// Raw calls of single firstconv rows, for tests and benches: addresses in, bytes out, nothing validated.
#include <pybind11/stl.h>

#include <vector>

#include "bind.h"
#include "kernel_row.h"
#include "kernels/firstconv/firstconv.h"

namespace py = pybind11;

namespace {

const ek::FirstConvKernel& any_firstconv(const std::string& name) {
  return any_row(ek::kFirstConvKernels, ek::kFirstConvKernelCount, name);
}

py::dict row(const std::string& name) {
  const ek::FirstConvKernel& kernel = any_firstconv(name);
  py::dict entry;
  entry["mr"] = kernel.mr;
  entry["nr"] = kernel.nr;
  entry["kr"] = kernel.kr;
  entry["lanes"] = kernel.lanes;
  entry["elem"] = word_of(kernel.elem);
  return entry;
}

/// Runs the row `rounds` times on caller memory; returns the name of the row that ran.
std::string run(const std::string& name, const std::vector<uintptr_t>& rows, int32_t row_taps, ptrdiff_t a_px,
                int32_t m, uintptr_t w, size_t panel_bytes, uintptr_t bias, uintptr_t scale, int32_t n, float lo,
                float hi, int32_t zero, uintptr_t y, ptrdiff_t y_px, int64_t rounds) {
  const ek::FirstConvKernel& kernel = runnable_row(ek::kFirstConvKernels, ek::kFirstConvKernelCount, name);
  std::vector<const uint8_t*> taps;
  for (const uintptr_t address : rows) taps.push_back(at<const uint8_t>(address));
  const ek::FirstConvArgs args = {taps.data(),
                                  static_cast<int32_t>(taps.size()),
                                  row_taps,
                                  a_px,
                                  m,
                                  at<const uint8_t>(w),
                                  panel_bytes,
                                  at<const int32_t>(bias),
                                  at<const float>(scale),
                                  n,
                                  {lo, hi, zero},
                                  at<uint8_t>(y),
                                  y_px};
  {
    const py::gil_scoped_release release;
    for (int64_t round = 0; round < rounds; ++round) kernel.run(args);
  }
  return kernel.row.name;
}

/// Packs one panel; returns its bytes, bias (int32) and scale (float32), all as bytes.
py::tuple pack(const std::string& name, uintptr_t w, int32_t kh, int32_t row_taps, uintptr_t bias, uintptr_t scale,
               int32_t first, int32_t columns, int32_t input_zero) {
  const ek::FirstConvKernel& kernel = any_firstconv(name);
  std::vector<char> panel(ek::firstconv_panel_bytes(kernel, kh * row_taps, columns));
  std::vector<int32_t> panel_bias(static_cast<size_t>(kernel.nr));
  std::vector<float> panel_scale(static_cast<size_t>(kernel.nr));
  ek::firstconv_pack(kernel, at<const int8_t>(w), kh, row_taps, at<const int32_t>(bias), at<const float>(scale), first,
                     columns, input_zero, panel.data(), panel_bias.data(), panel_scale.data());
  const size_t bytes = sizeof(int32_t) * panel_bias.size();
  return py::make_tuple(py::bytes(panel.data(), panel.size()),
                        py::bytes(reinterpret_cast<const char*>(panel_bias.data()), bytes),
                        py::bytes(reinterpret_cast<const char*>(panel_scale.data()), bytes));
}

/// Name of the chosen row, or "" where none fits (more than kFirstConvMaxTaps taps).
std::string chosen_row(int32_t kh, int32_t kw, int32_t c, int32_t n, int32_t m, const std::string& isa, int32_t a_px,
                       bool has_minus_128) {
  const ek::FirstConvKernel* kernel = ek::select_firstconv({kh, kw, c, n, m, a_px, has_minus_128}, cap_of(isa));
  return kernel ? kernel->row.name : "";
}

bool fits(const std::string& name, int32_t kh, int32_t kw, int32_t c, int32_t n, int32_t m, int32_t a_px,
          bool has_minus_128) {
  return any_firstconv(name).fits({kh, kw, c, n, m, a_px, has_minus_128});
}

double cycles(const std::string& name, int32_t kh, int32_t kw, int32_t c, int32_t n, int32_t m, int32_t a_px) {
  return any_firstconv(name).cycles({kh, kw, c, n, m, a_px});
}

}  // namespace

void bind_firstconv(py::module_& m) {
  m.def("firstconv_row", &row, py::arg("name"), "Tile of a firstconv row: mr, nr, kr, lanes, elem.");
  m.def("firstconv_run", &run, py::arg("name"), py::arg("rows"), py::arg("row_taps"), py::arg("a_px"), py::arg("m"),
        py::arg("w"), py::arg("panel_bytes"), py::arg("bias"), py::arg("scale"), py::arg("n"), py::arg("lo"),
        py::arg("hi"), py::arg("zero"), py::arg("y"), py::arg("y_px"), py::arg("rounds") = 1,
        "Runs one row on caller addresses, unchecked.");
  m.def("firstconv_pack", &pack, py::arg("name"), py::arg("w"), py::arg("kh"), py::arg("row_taps"), py::arg("bias"),
        py::arg("scale"), py::arg("first"), py::arg("columns"), py::arg("input_zero"),
        "Packs one panel: its bytes, bias and scale.");
  m.def("firstconv_select", &chosen_row, py::arg("kh"), py::arg("kw"), py::arg("c"), py::arg("n"), py::arg("m"),
        py::arg("isa"), py::arg("a_px") = 0, py::arg("has_minus_128") = false,
        "Name of the row a plan would choose under a cap; a_px: bytes from output pixel to pixel, 0 unknown.");
  m.def("firstconv_fits", &fits, py::arg("name"), py::arg("kh"), py::arg("kw"), py::arg("c"), py::arg("n"),
        py::arg("m"), py::arg("a_px") = 0, py::arg("has_minus_128") = false, "Whether a row takes a problem.");
  m.def("firstconv_cycles", &cycles, py::arg("name"), py::arg("kh"), py::arg("kw"), py::arg("c"), py::arg("n"),
        py::arg("m"), py::arg("a_px") = 0, "Predicted cycles of a row.");
}
