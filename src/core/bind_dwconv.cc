// SPDX-License-Identifier: Apache-2.0
/// Raw calls of single dwconv rows, for tests and benches: addresses in, bytes out, nothing validated.
#include <pybind11/stl.h>

#include <vector>

#include "bind.h"
#include "kernel_row.h"
#include "kernels/dwconv/dwconv.h"

namespace py = pybind11;

namespace {

const ek::DwConvKernel& any_dwconv(const std::string& name) {
  return any_row(ek::kDwConvKernels, ek::kDwConvKernelCount, name);
}

/// Whether the row takes this shape; columns stand for rows in stride and dilation.
bool fits(const std::string& name, int32_t kh, int32_t kw, int32_t sx, int32_t dx, int32_t c, int32_t m, bool unbounded,
          bool dense, bool has_minus_128) {
  return any_dwconv(name).fits({kh, kw, sx, dx, c, m, unbounded, 1, dense, has_minus_128});
}

bool is_unbounded(int32_t kh, int32_t kw, int32_t c, uintptr_t w, uintptr_t bias, uintptr_t scale) {
  return ek::dwconv_unbounded({kh, kw, 1, 1, c, 1}, at<const int8_t>(w), at<const int32_t>(bias),
                              at<const float>(scale));
}

bool is_narrow(int32_t kh, int32_t kw, int32_t c, uintptr_t w, uintptr_t bias, uintptr_t scale) {
  return ek::dwconv_narrow({kh, kw, 1, 1, c, 1}, at<const int8_t>(w), at<const int32_t>(bias), at<const float>(scale));
}

double cycles(const std::string& name, int32_t kh, int32_t kw, int32_t sx, int32_t dx, int32_t c, int32_t m) {
  return any_dwconv(name).cycles({kh, kw, sx, dx, c, m});
}

std::string chosen_row(int32_t kh, int32_t kw, int32_t sx, int32_t dx, int32_t c, int32_t m, const std::string& isa,
                       bool unbounded, bool dense, bool has_minus_128) {
  return ek::select_dwconv({kh, kw, sx, dx, c, m, unbounded, 1, dense, has_minus_128}, cap_of(isa))->row.name;
}

/// Bytes of packed weights, and entries of packed bias and scale.
py::tuple packed_size(const std::string& name, int32_t kh, int32_t kw, int32_t sx, int32_t c) {
  const ek::DwConvKernel& kernel = any_dwconv(name);
  return py::make_tuple(ek::dwconv_packed_bytes(kernel, {kh, kw, sx, 1, c, 1}), ek::round_up(c, kernel.block));
}

/// Packs weights [kh][kw][c] into caller memory.
void pack(const std::string& name, int32_t kh, int32_t kw, int32_t sx, int32_t c, uintptr_t w, uintptr_t bias,
          uintptr_t scale, int32_t input_zero, uintptr_t packed, uintptr_t packed_bias, uintptr_t packed_scale) {
  ek::dwconv_pack(any_dwconv(name), {kh, kw, sx, 1, c, 1}, at<const int8_t>(w), at<const int32_t>(bias),
                  at<const float>(scale), input_zero, at<void>(packed), at<int32_t>(packed_bias),
                  at<float>(packed_scale));
}

/// Runs the row `rounds` times on caller memory; returns the name of the row that ran.
std::string run(const std::string& name, int32_t kh, int32_t kw, int32_t sx, int32_t dx, int32_t m, int32_t c,
                const std::vector<uintptr_t>& rows, ptrdiff_t in_px, uintptr_t w, uintptr_t bias, uintptr_t scale,
                float lo, float hi, int32_t zero, uintptr_t y, ptrdiff_t y_px, int64_t rounds, bool narrow) {
  const ek::DwConvKernel& kernel = runnable_row(ek::kDwConvKernels, ek::kDwConvKernelCount, name);
  std::vector<const uint8_t*> taps;
  for (const uintptr_t address : rows) taps.push_back(at<const uint8_t>(address));
  const ek::DwConvArgs args = {kh,
                               kw,
                               sx,
                               dx,
                               m,
                               c,
                               taps.data(),
                               in_px,
                               at<const void>(w),
                               at<const int32_t>(bias),
                               at<const float>(scale),
                               {lo, hi, zero},
                               at<uint8_t>(y),
                               y_px,
                               narrow};
  {
    const py::gil_scoped_release release;
    for (int64_t round = 0; round < rounds; ++round) kernel.run(args);
  }
  return kernel.row.name;
}

}  // namespace

void bind_dwconv(py::module_& m) {
  m.def("dwconv_fits", &fits, py::arg("name"), py::arg("kh"), py::arg("kw"), py::arg("sx"), py::arg("dx"), py::arg("c"),
        py::arg("m"), py::arg("unbounded") = false, py::arg("dense") = false, py::arg("has_minus_128") = false,
        "Whether a row takes this shape; dense: no bytes between pixels.");
  m.def("dwconv_unbounded", &is_unbounded, py::arg("kh"), py::arg("kw"), py::arg("c"), py::arg("w"), py::arg("bias"),
        py::arg("scale"), "Whether some product of sum and scale can reach 2^30.");
  m.def("dwconv_narrow", &is_narrow, py::arg("kh"), py::arg("kw"), py::arg("c"), py::arg("w"), py::arg("bias"),
        py::arg("scale"), "Whether every product of sum and scale fits 16 bits.");
  m.def("dwconv_cycles", &cycles, py::arg("name"), py::arg("kh"), py::arg("kw"), py::arg("sx"), py::arg("dx"),
        py::arg("c"), py::arg("m"), "Predicted cycles of one output row.");
  m.def("dwconv_select", &chosen_row, py::arg("kh"), py::arg("kw"), py::arg("sx"), py::arg("dx"), py::arg("c"),
        py::arg("m"), py::arg("isa"), py::arg("unbounded") = false, py::arg("dense") = false,
        py::arg("has_minus_128") = false, "Name of the row a plan would choose under a cap.");
  m.def("dwconv_packed_size", &packed_size, py::arg("name"), py::arg("kh"), py::arg("kw"), py::arg("sx"), py::arg("c"),
        "Bytes of packed weights, entries of packed bias and scale.");
  m.def("dwconv_pack", &pack, py::arg("name"), py::arg("kh"), py::arg("kw"), py::arg("sx"), py::arg("c"), py::arg("w"),
        py::arg("bias"), py::arg("scale"), py::arg("input_zero"), py::arg("packed"), py::arg("packed_bias"),
        py::arg("packed_scale"), "Packs weights [kh][kw][c], bias and scale into caller memory.");
  m.def("dwconv_run", &run, py::arg("name"), py::arg("kh"), py::arg("kw"), py::arg("sx"), py::arg("dx"), py::arg("m"),
        py::arg("c"), py::arg("rows"), py::arg("in_px"), py::arg("w"), py::arg("bias"), py::arg("scale"), py::arg("lo"),
        py::arg("hi"), py::arg("zero"), py::arg("y"), py::arg("y_px"), py::arg("rounds") = 1, py::arg("narrow") = false,
        "Runs one row on caller addresses, unchecked; returns its name.");
}
