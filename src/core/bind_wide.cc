// SPDX-License-Identifier: Apache-2.0
/// Raw calls of single wide rows, for tests and benches: addresses in, bytes out, nothing validated.
#include <pybind11/stl.h>

#include <algorithm>
#include <array>

#include "bind.h"
#include "kernel_row.h"
#include "kernels/wide/wide.h"

namespace py = pybind11;

namespace {

const ek::WideKernel& row_of(const std::string& name) {
  return runnable_row(ek::kWideKernels, ek::kWideKernelCount, name);
}

template <size_t kCount>
using Ints = std::array<int64_t, kCount>;

int32_t s32(int64_t value) { return static_cast<int32_t>(value); }

/// lo, hi and zero of the result, biased for bytes; whether it is int16.
ek::WideOut out_of(const Ints<4>& out) {
  return {{static_cast<float>(out[0] - out[2]), static_cast<float>(out[1] - out[2]), s32(out[2])}, out[3] != 0};
}

template <class T>
T* address(int64_t value) {
  return at<T>(static_cast<uintptr_t>(value));
}

py::dict row(const std::string& name) {
  const ek::WideKernel& kernel = any_row(ek::kWideKernels, ek::kWideKernelCount, name);
  py::dict d;
  d["nr"] = kernel.nr;
  d["kr"] = kernel.kr;
  return d;
}

/// Panel, bias and scale of columns first <= n < first + columns as bytes.
py::tuple pack(const std::string& name, uintptr_t w, int64_t k, uintptr_t bias, uintptr_t scale, int32_t first,
               int32_t columns) {
  const ek::WideKernel& kernel = any_row(ek::kWideKernels, ek::kWideKernelCount, name);
  std::string panel(ek::wide_panel_bytes(kernel, k), '\0');
  std::string panel_bias(static_cast<size_t>(kernel.nr) * 4, '\0'), panel_scale(panel_bias);
  ek::wide_pack(kernel, at<const int8_t>(w), k, at<const int32_t>(bias), at<const float>(scale), first, columns,
                panel.data(), reinterpret_cast<int32_t*>(panel_bias.data()),
                reinterpret_cast<float*>(panel_scale.data()));
  return py::make_tuple(py::bytes(panel), py::bytes(panel_bias), py::bytes(panel_scale));
}

void split(uintptr_t x, int32_t count, int32_t zero, uintptr_t high, uintptr_t low) {
  ek::wide_split(at<const uint8_t>(x), count, zero, at<int16_t>(high), at<int16_t>(low));
}

/// `planes` high and low (0 for bytes), `tile` m, k and n, `panel` weights, bias and scale, `y` address and px.
std::string conv(const std::string& name, const Ints<2>& planes, const Ints<3>& tile, const Ints<3>& panel,
                 const Ints<4>& out, const Ints<2>& y, int64_t rounds) {
  const ek::WideKernel& kernel = row_of(name);
  ek::WideConvArgs args = {};
  args.high = address<const int16_t>(planes[0]), args.low = address<const int16_t>(planes[1]);
  args.m = s32(tile[0]), args.k = s32(tile[1]), args.n = s32(tile[2]);
  args.w = address<const int8_t>(panel[0]);
  args.bias = address<const int32_t>(panel[1]), args.scale = address<const float>(panel[2]);
  args.out = out_of(out);
  args.y = address<uint8_t>(y[0]), args.y_px = y[1];
  const py::gil_scoped_release release;
  for (int64_t round = 0; round < rounds; ++round) kernel.conv(args);
  return kernel.row.name;
}

/// `shape` kw, m and c, `steps` sx and dx, `input` whether it is int16 and its zero.
std::string dwconv(const std::string& name, const std::vector<uintptr_t>& rows, const Ints<3>& shape,
                   const Ints<2>& steps, const Ints<2>& input, const Ints<3>& weights, const Ints<4>& out,
                   const Ints<2>& y, int64_t rounds) {
  const ek::WideKernel& kernel = row_of(name);
  std::vector<const uint8_t*> taps;
  for (const uintptr_t row : rows) taps.push_back(at<const uint8_t>(row));
  ek::WideDwConvArgs args = {};
  args.kh = static_cast<int32_t>(rows.size()), args.kw = s32(shape[0]);
  args.sx = steps[0], args.dx = steps[1];
  args.m = s32(shape[1]), args.c = s32(shape[2]);
  args.rows = taps.data();
  args.s16 = input[0] != 0, args.zero = s32(input[1]);
  args.w = address<const int8_t>(weights[0]);
  args.bias = address<const int32_t>(weights[1]), args.scale = address<const float>(weights[2]);
  args.out = out_of(out);
  args.y = address<uint8_t>(y[0]), args.y_px = y[1];
  const py::gil_scoped_release release;
  for (int64_t round = 0; round < rounds; ++round) kernel.dwconv(args);
  return kernel.row.name;
}

/// `what` is add or mul; `a`, `b` address, px, whether it is int16, zero; `size` pixels and channels.
std::string pairs(const std::string& name, const std::string& what, const Ints<4>& a, const Ints<4>& b,
                  const Ints<2>& size, const std::array<float, 2>& ratios, const Ints<4>& out, const Ints<2>& y,
                  int64_t rounds) {
  const ek::WideKernel& kernel = row_of(name);
  ek::WidePairArgs args = {};
  args.a = address<const uint8_t>(a[0]), args.b = address<const uint8_t>(b[0]), args.y = address<uint8_t>(y[0]);
  args.a_px = a[1], args.b_px = b[1], args.y_px = y[1];
  args.pixels = s32(size[0]), args.c = s32(size[1]);
  args.a_s16 = a[2] != 0, args.b_s16 = b[2] != 0;
  args.za = s32(a[3]), args.zb = s32(b[3]);
  args.ra = ratios[0], args.rb = ratios[1];
  args.out = out_of(out);
  const py::gil_scoped_release release;
  const auto run = what == "add" ? kernel.add : kernel.mul;
  for (int64_t round = 0; round < rounds; ++round) run(args);
  return kernel.row.name;
}

/// `x` address, px, whether it is int16, zero; `shape` height, width and channels, dense rows.
std::string mean(const std::string& name, const Ints<4>& x, const Ints<3>& shape, float m, const Ints<4>& out,
                 uintptr_t y, int64_t rounds) {
  const ek::WideKernel& kernel = row_of(name);
  ek::WideMeanArgs args = {};
  args.in = address<const uint8_t>(x[0]);
  args.shape.h = s32(shape[0]), args.shape.w = s32(shape[1]), args.shape.c = s32(shape[2]);
  args.shape.px = s32(x[1]), args.shape.row = x[1] * shape[1];
  args.s16 = x[2] != 0, args.zero = s32(x[3]), args.m = m;
  args.out = out_of(out);
  args.y = at<uint8_t>(y);
  const py::gil_scoped_release release;
  for (int64_t round = 0; round < rounds; ++round) kernel.mean(args);
  return kernel.row.name;
}

/// `x`, `y` addresses; `extent`, `x_stride`, `y_stride` of six loops; `input` whether it is int16 and its zero.
std::string move(const std::string& name, const Ints<2>& at, const std::array<int32_t, 6>& extent,
                 const std::array<ptrdiff_t, 6>& x_stride, const std::array<ptrdiff_t, 6>& y_stride,
                 const Ints<2>& input, float m, const Ints<4>& out) {
  const ek::WideKernel& kernel = row_of(name);
  ek::MoveArgs args = {};
  args.x = address<const uint8_t>(at[0]), args.y = address<uint8_t>(at[1]);
  std::copy(extent.begin(), extent.end(), args.extent);
  std::copy(x_stride.begin(), x_stride.end(), args.x_stride);
  std::copy(y_stride.begin(), y_stride.end(), args.y_stride);
  kernel.move(args, {input[0] != 0, s32(input[1]), m, out_of(out), false});
  return kernel.row.name;
}

std::string chosen_row(const std::string& isa) { return ek::select_wide(cap_of(isa))->row.name; }

}  // namespace

void bind_wide(py::module_& m) {
  m.def("wide_row", &row, py::arg("name"), "Tile of a row: nr, kr.");
  m.def("wide_pack", &pack, py::arg("name"), py::arg("w"), py::arg("k"), py::arg("bias"), py::arg("scale"),
        py::arg("first"), py::arg("columns"), "Panel, bias and scale of a row, as bytes.");
  m.def("wide_split", &split, py::arg("x"), py::arg("count"), py::arg("zero"), py::arg("high"), py::arg("low"),
        "Planes of int16 elements (of bytes where low is 0) at caller addresses, unchecked.");
  m.def("wide_conv", &conv, py::arg("name"), py::arg("planes"), py::arg("tile"), py::arg("panel"), py::arg("out"),
        py::arg("y"), py::arg("rounds") = 1, "Runs one strip by one panel on caller addresses, unchecked.");
  m.def("wide_dwconv", &dwconv, py::arg("name"), py::arg("rows"), py::arg("shape"), py::arg("steps"), py::arg("input"),
        py::arg("weights"), py::arg("out"), py::arg("y"), py::arg("rounds") = 1,
        "Runs one output row on caller addresses, unchecked.");
  m.def("wide_pairs", &pairs, py::arg("name"), py::arg("what"), py::arg("a"), py::arg("b"), py::arg("size"),
        py::arg("ratios"), py::arg("out"), py::arg("y"), py::arg("rounds") = 1,
        "Runs one add or mul on caller addresses, unchecked.");
  m.def("wide_mean", &mean, py::arg("name"), py::arg("x"), py::arg("shape"), py::arg("m"), py::arg("out"), py::arg("y"),
        py::arg("rounds") = 1, "Runs one mean on caller addresses, unchecked.");
  m.def("wide_move", &move, py::arg("name"), py::arg("at"), py::arg("extent"), py::arg("x_stride"), py::arg("y_stride"),
        py::arg("input"), py::arg("m"), py::arg("out"),
        "Runs one strided copy that changes elements on caller addresses, unchecked.");
  m.def("wide_select", &chosen_row, py::arg("isa"), "Name of the row a plan would choose under a cap.");
}
