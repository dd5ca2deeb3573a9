// SPDX-License-Identifier: Apache-2.0
/// The list of kernels, for `edgekern kernels`, tests and benches.
#include "bind.h"
#include "kernels/kernel.h"

namespace py = pybind11;

namespace {

py::list kernels() {
  py::list rows;
  ek::for_each_kernel(
      [](const ek::KernelRow& row, void* context) {
        char isa[64];
        py::dict entry;
        entry["name"] = row.name;
        entry["family"] = row.family;
        entry["isa"] = ek::format_isa(row.isa, isa, sizeof(isa));
        entry["runs_here"] = (row.isa & ek::detect_isa()) == row.isa;
        static_cast<py::list*>(context)->append(entry);
      },
      &rows);
  return rows;
}

}  // namespace

void bind_kernels(py::module_& m) {
  m.def("kernels", &kernels, "Every kernel of this build: dicts of name, family, isa and runs_here.");
}
