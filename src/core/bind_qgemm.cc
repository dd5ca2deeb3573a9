// SPDX-License-Identifier: Apache-2.0
/// Raw calls of single qgemm rows, for tests and benches: addresses in, bytes out, nothing validated.
#include <pybind11/stl.h>

#include <vector>

#include "bind.h"
#include "kernel_row.h"
#include "kernels/qgemm/qgemm.h"

namespace py = pybind11;

namespace {

const ek::QGemmKernel& any_qgemm(const std::string& name) {
  return any_row(ek::kQGemmKernels, ek::kQGemmKernelCount, name);
}

py::dict row(const std::string& name) {
  const ek::QGemmKernel& kernel = any_qgemm(name);
  py::dict entry;
  entry["mr"] = kernel.mr;
  entry["nr"] = kernel.nr;
  entry["kr"] = kernel.kr;
  entry["lanes"] = kernel.lanes;
  entry["block"] = kernel.block;
  entry["elem"] = word_of(kernel.elem);
  entry["weight_bytes"] = static_cast<int>(kernel.weights);
  entry["terms"] = kernel.a_terms != nullptr;
  return entry;
}

/// Runs the row `rounds` times on caller memory; returns the name of the row that ran. `terms`: what A alone
/// contributes is computed in every round, as for the first panel of a strip, not in the first round alone.
std::string run(const std::string& name, const std::vector<uintptr_t>& rows, int32_t kh, int32_t kw, int32_t kc,
                ptrdiff_t a_px, ptrdiff_t a_kx, int32_t m, uintptr_t w, uintptr_t bias, uintptr_t scale, int32_t n,
                float lo, float hi, int32_t zero, uintptr_t y, ptrdiff_t y_px, int64_t rounds, bool terms) {
  const ek::QGemmKernel& kernel = runnable_row(ek::kQGemmKernels, ek::kQGemmKernelCount, name);
  std::vector<const uint8_t*> taps;
  for (const uintptr_t address : rows) taps.push_back(at<const uint8_t>(address));
  ek::QGemmArgs args = {taps.data(),
                        kh,
                        kw,
                        kc,
                        a_px,
                        a_kx,
                        m,
                        at<const void>(w),
                        at<const int32_t>(bias),
                        at<const float>(scale),
                        n,
                        {lo, hi, zero},
                        at<uint8_t>(y),
                        y_px};
  std::vector<int32_t> own(kernel.a_terms != nullptr ? static_cast<size_t>(m) : 0);
  args.a_terms = own.data();
  {
    const py::gil_scoped_release release;
    for (int64_t round = 0; round < rounds; ++round) {
      if (kernel.a_terms != nullptr && (terms || round == 0)) kernel.a_terms(args, own.data());
      kernel.run(args);
    }
  }
  return kernel.row.name;
}

/// Packs one panel; returns its bytes, bias (int32) and scale (float32), all as bytes.
py::tuple pack(const std::string& name, uintptr_t w, int32_t kh, int32_t kw, int32_t kc, uintptr_t bias,
               uintptr_t scale, int32_t first, int32_t columns, int32_t input_zero) {
  const ek::QGemmKernel& kernel = any_qgemm(name);
  std::vector<char> panel(ek::qgemm_panel_bytes(kernel, kh, kw, kc, columns));
  std::vector<int32_t> panel_bias(static_cast<size_t>(kernel.nr));
  std::vector<float> panel_scale(static_cast<size_t>(kernel.nr));
  ek::qgemm_pack(kernel, at<const int8_t>(w), kh, kw, kc, at<const int32_t>(bias), at<const float>(scale), first,
                 columns, input_zero, panel.data(), panel_bias.data(), panel_scale.data());
  const size_t bytes = sizeof(int32_t) * panel_bias.size();
  return py::make_tuple(py::bytes(panel.data(), panel.size()),
                        py::bytes(reinterpret_cast<const char*>(panel_bias.data()), bytes),
                        py::bytes(reinterpret_cast<const char*>(panel_scale.data()), bytes));
}

/// m, n, k, whether some weight is -128, kh * kw, qgemm_unbounded.
ek::QGemmProblem problem_of(int32_t m, int32_t n, int32_t k, bool has_minus_128, int32_t taps, bool unbounded) {
  return {m, n, k, has_minus_128, taps, unbounded};
}

std::string chosen_row(int32_t m, int32_t n, int32_t k, bool has_minus_128, int32_t taps, const std::string& isa,
                       bool unbounded) {
  return ek::select_qgemm(problem_of(m, n, k, has_minus_128, taps, unbounded), cap_of(isa))->row.name;
}

bool fits(const std::string& name, int32_t m, int32_t n, int32_t k, bool has_minus_128, int32_t taps, bool unbounded) {
  return any_qgemm(name).fits(problem_of(m, n, k, has_minus_128, taps, unbounded));
}

double cycles(const std::string& name, int32_t m, int32_t n, int32_t k, bool has_minus_128, int32_t taps) {
  return any_qgemm(name).cycles(problem_of(m, n, k, has_minus_128, taps, false));
}

bool is_unbounded(uintptr_t w, int32_t n, int32_t k, uintptr_t bias, uintptr_t scale) {
  return ek::qgemm_unbounded(at<const int8_t>(w), n, k, at<const int32_t>(bias), at<const float>(scale));
}

void widen(const std::string& isa, uintptr_t u8, int32_t count, uintptr_t s16) {
  ek::select_widen(cap_of(isa))(at<const uint8_t>(u8), count, at<int16_t>(s16));
}

}  // namespace

void bind_qgemm(py::module_& m) {
  m.def("qgemm_row", &row, py::arg("name"),
        "Tile of a qgemm row: mr, nr, kr, lanes, block, elem, weight_bytes, terms (of A alone).");
  m.def("qgemm_run", &run, py::arg("name"), py::arg("rows"), py::arg("kh"), py::arg("kw"), py::arg("kc"),
        py::arg("a_px"), py::arg("a_kx"), py::arg("m"), py::arg("w"), py::arg("bias"), py::arg("scale"), py::arg("n"),
        py::arg("lo"), py::arg("hi"), py::arg("zero"), py::arg("y"), py::arg("y_px"), py::arg("rounds") = 1,
        py::arg("terms") = true, "Runs one row on caller addresses, unchecked.");
  m.def("qgemm_pack", &pack, py::arg("name"), py::arg("w"), py::arg("kh"), py::arg("kw"), py::arg("kc"),
        py::arg("bias"), py::arg("scale"), py::arg("first"), py::arg("columns"), py::arg("input_zero"),
        "Packs one panel: its bytes, bias and scale.");
  m.def("qgemm_select", &chosen_row, py::arg("m"), py::arg("n"), py::arg("k"), py::arg("has_minus_128"),
        py::arg("taps"), py::arg("isa"), py::arg("unbounded") = false,
        "Name of the row a plan would choose under a cap.");
  m.def("qgemm_fits", &fits, py::arg("name"), py::arg("m"), py::arg("n"), py::arg("k"), py::arg("has_minus_128"),
        py::arg("taps"), py::arg("unbounded") = false, "Whether a row takes a problem.");
  m.def("qgemm_unbounded", &is_unbounded, py::arg("w"), py::arg("n"), py::arg("k"), py::arg("bias"), py::arg("scale"),
        "Whether a product of accumulator and scale could reach 2^30 for some input.");
  m.def("qgemm_cycles", &cycles, py::arg("name"), py::arg("m"), py::arg("n"), py::arg("k"), py::arg("has_minus_128"),
        py::arg("taps"), "Predicted cycles of a row.");
  m.def("qgemm_widen", &widen, py::arg("isa"), py::arg("u8"), py::arg("count"), py::arg("s16"),
        "Widens bytes to int16 with the function a plan would choose under a cap.");
}
