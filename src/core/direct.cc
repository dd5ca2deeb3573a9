// SPDX-License-Identifier: Apache-2.0
/// The frame call at its most frequent: one array in, one array out, both just what the model's ports say. A session
/// is bound once to what its arrays look like; the bound function then costs two buffers (25 to 35 ns each), one
/// release of the GIL (30 ns) and the comparisons. Whatever is different it leaves to the caller's general way, by
/// None and with nothing written: that one names what is wrong.
#include <cstdint>
#include <memory>

#include "bind.h"
#include "errors.h"
#include "model/format.h"

namespace py = pybind11;

namespace {

/// What an array must be; the batch, shape[0], is free.
struct Port {
  char format;  // of the buffer protocol, native byte order
  int rank;
  Py_ssize_t shape[ek::kMaxRank];

  bool fits(const Py_buffer& view) const {
    if (view.ndim != rank || view.format[0] != format || view.format[1] != '\0') return false;
    for (int d = 1; d < rank; ++d) {
      if (view.shape[d] != shape[d]) return false;
    }
    return true;
  }
};

struct Direct {
  py::capsule handle;  // owns the session
  ek_session* session;
  py::object array, empty, dtype;  // numpy.ndarray, numpy.empty, the output's dtype
  py::tuple one;                   // the output's shape for a batch of one
  Port input, output;
};

/// A buffer of an array, released at the end of the scope.
class View {
 public:
  View(PyObject* array, int flags) : held_(PyObject_GetBuffer(array, &view_, flags | PyBUF_FORMAT) == 0) {
    if (!held_) PyErr_Clear();  // not contiguous, not writable: the general way tells
  }
  ~View() {
    if (held_) PyBuffer_Release(&view_);
  }
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  bool fits(const Port& port) const { return held_ && port.fits(view_); }
  Py_ssize_t batch() const { return view_.shape[0]; }
  ek_buffer get() const { return {view_.buf, static_cast<size_t>(view_.len)}; }

 private:
  Py_buffer view_ = {};
  bool held_;
};

/// The output's shape for a batch; null with an exception set.
PyObject* output_shape(const Direct& d, Py_ssize_t batch) {
  if (batch == 1) return Py_NewRef(d.one.ptr());
  PyObject* shape = PyTuple_New(d.output.rank);
  if (shape == nullptr) return nullptr;
  for (int i = 0; i < d.output.rank; ++i) {
    PyObject* extent = PyLong_FromSsize_t(i == 0 ? batch : d.output.shape[i]);
    if (extent == nullptr) {
      Py_DECREF(shape);
      return nullptr;
    }
    PyTuple_SET_ITEM(shape, i, extent);
  }
  return shape;
}

/// numpy.empty for a batch; null with an exception set.
py::object new_output(const Direct& d, Py_ssize_t batch) {
  const auto shape = py::reinterpret_steal<py::object>(output_shape(d, batch));
  if (!shape) return {};
  PyObject* const args[] = {shape.ptr(), d.dtype.ptr()};
  return py::reinterpret_steal<py::object>(PyObject_Vectorcall(d.empty.ptr(), args, 2, nullptr));
}

// call(x, out): the result, or None where this is not the frequent case
PyObject* call(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  const auto* d = static_cast<const Direct*>(PyCapsule_GetPointer(self, "edgekern.direct"));
  if (d == nullptr) return nullptr;
  if (count != 2) return PyErr_Format(PyExc_TypeError, "call(x, out) takes 2 arguments, not %zd", count);
  const auto* exact = reinterpret_cast<PyTypeObject*>(d->array.ptr());  // a subclass may mean something else
  const bool made = args[1] == Py_None;
  if (Py_TYPE(args[0]) != exact || (!made && Py_TYPE(args[1]) != exact)) Py_RETURN_NONE;
  const View x(args[0], PyBUF_C_CONTIGUOUS);
  if (!x.fits(d->input) || x.batch() < 1 || x.batch() > INT32_MAX) Py_RETURN_NONE;
  py::object out = made ? new_output(*d, x.batch()) : py::reinterpret_borrow<py::object>(args[1]);
  if (!out) return nullptr;
  const View y(out.ptr(), PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE);
  if (!y.fits(d->output) || y.batch() != x.batch()) Py_RETURN_NONE;
  const ek_buffer from = x.get();
  const auto batch = static_cast<int32_t>(x.batch());
  ek_buffer to = y.get();
  ek_status status = EK_OK;
  Py_BEGIN_ALLOW_THREADS status = ek_session_run(d->session, &from, 1, &to, 1, batch, 0);
  Py_END_ALLOW_THREADS if (status == EK_OK) return out.release().ptr();
  set_error(status);
  return nullptr;
}

PyMethodDef call_method = {"call", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call)), METH_FASTCALL,
                           "call(x, out, /)\n--\n\nRuns x; None where the arrays are not just what the model says."};

Port port_of(const py::tuple& info) {
  const auto format = py::cast<std::string>(info[0].attr("char"));
  const auto shape = py::cast<py::tuple>(info[1]);
  if (format.size() != 1 || shape.size() < 1 || shape.size() > ek::kMaxRank) {
    throw py::value_error("a port is a dtype and a shape");
  }
  Port port = {format[0], static_cast<int>(shape.size()), {}};
  for (size_t i = 0; i < shape.size(); ++i) port.shape[i] = py::cast<Py_ssize_t>(shape[i]);
  return port;
}

py::object direct(const py::capsule& handle, const py::type& array, const py::object& empty, const py::tuple& input,
                  const py::tuple& output) {
  auto* session = static_cast<ek_session*>(PyCapsule_GetPointer(handle.ptr(), "edgekern.session"));
  if (session == nullptr) throw py::error_already_set();
  auto bound = std::make_unique<Direct>(Direct{handle, session, array, empty, output[0], py::cast<py::tuple>(output[1]),
                                               port_of(input), port_of(output)});
  const py::capsule self(bound.get(), "edgekern.direct", [](PyObject* capsule) {
    delete static_cast<Direct*>(PyCapsule_GetPointer(capsule, "edgekern.direct"));
  });
  bound.release();  // the capsule's now
  return py::reinterpret_steal<py::object>(PyCFunction_NewEx(&call_method, self.ptr(), nullptr));
}

}  // namespace

void bind_direct(py::module_& m) {
  m.def("direct", &direct, py::arg("handle"), py::arg("array"), py::arg("empty"), py::arg("input"), py::arg("output"),
        "Binds a session with one input and one output, each a dtype and a shape, to call(x, out).");
}
