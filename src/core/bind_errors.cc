// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "errors.h"

namespace py = pybind11;

namespace {

const char* class_of(ek_status status) {
  switch (status) {
    case EK_CORRUPT_MODEL:
      return "CorruptModelError";
    case EK_VERSION:
      return "VersionError";
    case EK_SELFTEST:
      return "SelfTestError";
    case EK_ISA:
      return "IsaError";
    case EK_MEMORY_LIMIT:
      return "MemoryLimitError";
    case EK_INVALID_ARGUMENT:
    case EK_UNSUPPORTED:
      return "InputError";
    default:
      return "EdgekernError";
  }
}

py::object error_of(ek_status status) {
  const py::object type = py::module_::import("edgekern.errors").attr(class_of(status));
  const char* bytes = ek_last_error();  // names from a file may be cut inside a character
  const auto text = py::reinterpret_steal<py::str>(
      PyUnicode_DecodeUTF8(bytes, static_cast<Py_ssize_t>(std::strlen(bytes)), "replace"));
  switch (status) {
    case EK_CORRUPT_MODEL:
    case EK_VERSION:
    case EK_SELFTEST: {
      const char* field = ek_last_error_field();
      const uint64_t offset = ek_last_error_offset();
      const auto where = py::str("byte {}, {}: {}").format(offset, field, text);
      return type(where, py::arg("offset") = offset, py::arg("field") = field);
    }
    case EK_BUSY:
      return type(text, py::arg("code") = "EK7000");
    default:
      return type(text);
  }
}

}  // namespace

void set_error(ek_status status) {
  if (status == EK_OUT_OF_MEMORY) {
    PyErr_SetString(PyExc_MemoryError, ek_last_error());
    return;
  }
  try {
    const py::object error = error_of(status);
    PyErr_SetObject(py::type::handle_of(error).ptr(), error.ptr());
  } catch (py::error_already_set& failed) {  // such as an import that was interrupted
    failed.restore();
  }
}
