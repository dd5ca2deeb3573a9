// SPDX-License-Identifier: Apache-2.0
/// The frame call: METH_FASTCALL functions on the buffer protocol. pybind11's argument handling would cost more
/// than the sign net's first layer; this costs the buffers' own acquisition and one release of the GIL.
#include <cstring>

#include "bind.h"
#include "errors.h"
#include "model/format.h"

namespace {

constexpr Py_ssize_t kMaxPorts = ek::kMaxPorts;

/// Buffers of one object, or of each item of a tuple.
class Buffers {
 public:
  Buffers() = default;
  ~Buffers() {
    for (Py_ssize_t i = 0; i < count_; ++i) PyBuffer_Release(&views_[i]);
  }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  bool acquire(PyObject* object, int flags) {
    if (!PyTuple_Check(object)) return add(object, flags);
    if (PyTuple_GET_SIZE(object) > kMaxPorts) {
      PyErr_Format(PyExc_ValueError, "at most %zd buffers", kMaxPorts);
      return false;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(object); ++i) {
      if (!add(PyTuple_GET_ITEM(object, i), flags)) return false;
    }
    return true;
  }
  ek_buffer* data() { return buffers_; }
  int32_t count() const { return static_cast<int32_t>(count_); }

 private:
  bool add(PyObject* object, int flags) {
    if (PyObject_GetBuffer(object, &views_[count_], flags) != 0) return false;
    buffers_[count_] = {views_[count_].buf, static_cast<size_t>(views_[count_].len)};
    ++count_;
    return true;
  }

  Py_buffer views_[kMaxPorts];
  ek_buffer buffers_[kMaxPorts];
  Py_ssize_t count_ = 0;
};

ek_session* session_of(PyObject* capsule) {
  return static_cast<ek_session*>(PyCapsule_GetPointer(capsule, "edgekern.session"));
}

bool to_int32(PyObject* object, int32_t* value) {
  const long number = PyLong_AsLong(object);
  if (number == -1 && PyErr_Occurred() != nullptr) return false;
  if (number < INT32_MIN || number > INT32_MAX) {
    PyErr_SetString(PyExc_OverflowError, "a number does not fit 32 bits");
    return false;
  }
  *value = static_cast<int32_t>(number);
  return true;
}

bool argument_count(Py_ssize_t given, Py_ssize_t wanted, const char* signature) {
  if (given == wanted) return true;
  PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, not %zd", signature, wanted, given);
  return false;
}

PyObject* finish(ek_status status) {
  if (status == EK_OK) Py_RETURN_NONE;
  set_error(status);
  return nullptr;
}

// run(handle, inputs, outputs, batch, raw)
PyObject* run(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!argument_count(count, 5, "run(handle, inputs, outputs, batch, raw)")) return nullptr;
  ek_session* session = session_of(args[0]);
  Buffers inputs, outputs;
  int32_t batch = 0, raw = 0;
  if (session == nullptr || !to_int32(args[3], &batch) || !to_int32(args[4], &raw)) return nullptr;
  if (!inputs.acquire(args[1], PyBUF_C_CONTIGUOUS)) return nullptr;
  if (!outputs.acquire(args[2], PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)) return nullptr;
  ek_status status = EK_OK;
  Py_BEGIN_ALLOW_THREADS status =
      ek_session_run(session, inputs.data(), inputs.count(), outputs.data(), outputs.count(), batch, raw);
  Py_END_ALLOW_THREADS return finish(status);
}

// profile(handle, inputs, outputs, rounds)
PyObject* profile(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!argument_count(count, 4, "profile(handle, inputs, outputs, rounds)")) return nullptr;
  ek_session* session = session_of(args[0]);
  Buffers inputs, outputs;
  int32_t rounds = 0;
  if (session == nullptr || !to_int32(args[3], &rounds)) return nullptr;
  if (!inputs.acquire(args[1], PyBUF_C_CONTIGUOUS)) return nullptr;
  if (!outputs.acquire(args[2], PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)) return nullptr;
  ek_status status = EK_OK;
  Py_BEGIN_ALLOW_THREADS status =
      ek_session_profile(session, inputs.data(), inputs.count(), outputs.data(), outputs.count(), rounds);
  Py_END_ALLOW_THREADS return finish(status);
}

/// A view released at the end of the scope.
struct View {
  Py_buffer view = {};
  bool held = false;
  View() = default;
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  ~View() {
    if (held) PyBuffer_Release(&view);
  }
  bool acquire(PyObject* object, int flags) {
    held = PyObject_GetBuffer(object, &view, flags) == 0;
    return held;
  }
};

bool is_format(const Py_buffer& view, const char* letters) {
  return view.format == nullptr || (std::strlen(view.format) == 1 && std::strchr(letters, view.format[0]) != nullptr);
}

/// A uint8 frame [H][W][C] (or [H][W] for gray) whose pixels are dense; rows may be apart or upside down.
bool frame_of(const Py_buffer& view, int32_t channels, ek_frame* frame) {
  constexpr Py_ssize_t kBytes[] = {3, 3, 1, 4, 4};
  const Py_ssize_t bytes = channels >= 0 && channels < 5 ? kBytes[channels] : 0;
  const bool flat = view.ndim == 2 && bytes == 1;
  const bool good = view.itemsize == 1 && is_format(view, "B") &&
                    (flat || (view.ndim == 3 && view.shape[2] == bytes)) && view.shape[0] <= INT32_MAX &&
                    view.shape[1] <= INT32_MAX;
  const bool dense =
      good && (view.shape[1] == 1 || view.strides[1] == bytes) && (flat || bytes == 1 || view.strides[2] == 1);
  if (!dense) {
    PyErr_SetString(PyExc_ValueError, "a frame is uint8 [height, width, channels] with dense pixels");
    return false;
  }
  *frame = {sizeof *frame,
            static_cast<const uint8_t*>(view.buf),
            static_cast<int32_t>(view.shape[1]),
            static_cast<int32_t>(view.shape[0]),
            view.strides[0],
            static_cast<ek_channels>(channels)};
  return true;
}

// run_regions(handle, frame, boxes, channels, outputs, raw); boxes: int32 [n, 4] or None
PyObject* run_regions(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!argument_count(count, 6, "run_regions(handle, frame, boxes, channels, outputs, raw)")) return nullptr;
  ek_session* session = session_of(args[0]);
  View picture, boxes;
  Buffers outputs;
  ek_frame frame = {};
  int32_t channels = 0, raw = 0, box_count = 0;
  if (session == nullptr || !to_int32(args[3], &channels) || !to_int32(args[5], &raw)) return nullptr;
  if (!picture.acquire(args[1], PyBUF_STRIDES | PyBUF_FORMAT) || !frame_of(picture.view, channels, &frame))
    return nullptr;
  if (args[2] != Py_None) {
    if (!boxes.acquire(args[2], PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)) return nullptr;
    const Py_buffer& v = boxes.view;
    if (v.ndim != 2 || v.shape[1] != 4 || v.itemsize != 4 || !is_format(v, "il") || v.shape[0] > INT32_MAX) {
      PyErr_SetString(PyExc_ValueError, "boxes are int32 [n, 4]: x, y, width, height");
      return nullptr;
    }
    box_count = static_cast<int32_t>(v.shape[0]);
  }
  if (!outputs.acquire(args[4], PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)) return nullptr;
  const auto* list = boxes.held ? static_cast<const ek_box*>(boxes.view.buf) : nullptr;
  ek_status status = EK_OK;
  Py_BEGIN_ALLOW_THREADS status =
      ek_session_run_regions(session, &frame, list, box_count, outputs.data(), outputs.count(), raw);
  Py_END_ALLOW_THREADS return finish(status);
}

PyCFunction fast(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef functions[] = {
    {"run", fast(run), METH_FASTCALL, "run(handle, inputs, outputs, batch, raw, /)\n--\n\nRuns `batch` frames."},
    {"profile", fast(profile), METH_FASTCALL,
     "profile(handle, inputs, outputs, rounds, /)\n--\n\nRuns one frame `rounds` times and times every op."},
    {"run_regions", fast(run_regions), METH_FASTCALL,
     "run_regions(handle, frame, boxes, channels, outputs, raw, /)\n--\n\nCrops, resizes and runs each box of a "
     "frame."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void bind_frame(pybind11::module_& m) {
  if (PyModule_AddFunctions(m.ptr(), functions) != 0) throw pybind11::error_already_set();
}
