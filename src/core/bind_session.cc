// SPDX-License-Identifier: Apache-2.0
/// Models and sessions: everything but the frame call (frame.cc).
#include <cstring>

#include "bind.h"
#include "errors.h"
#include "model/opcodes.h"
#include "runtime/session.h"

namespace py = pybind11;

namespace {

/// A buffer of bytes for the length of a call.
class Bytes {
 public:
  Bytes(const py::handle& object, int flags) {
    if (PyObject_GetBuffer(object.ptr(), &view_, flags) != 0) throw py::error_already_set();
  }
  ~Bytes() { PyBuffer_Release(&view_); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  ek_buffer get() const { return {view_.buf, static_cast<size_t>(view_.len)}; }

 private:
  Py_buffer view_;
};

/// Other Python threads go on while `call` verifies, plans or runs a self-test: seconds for a large file.
template <class Call>
ek_status without_gil(const Call& call) {
  const py::gil_scoped_release release;
  return call();  // its failure is a thread's own, so check() may read it after the GIL is back
}

class Model {
 public:
  explicit Model(const py::object& data) {
    const Bytes bytes(data, PyBUF_SIMPLE);
    check(without_gil([&] { return ek_model_load(bytes.get().data, bytes.get().bytes, &model_); }));
  }
  ~Model() { ek_model_free(model_); }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  const ek_model* get() const { return model_; }

  py::dict describe() const {
    ek_model_info info = {};
    info.struct_size = sizeof info;
    check(ek_model_describe(model_, &info));
    py::dict d;
    d["format_version"] = info.format_version;
    d["arithmetic_version"] = info.arithmetic_version;
    d["op_count"] = info.op_count;
    d["has_preprocess"] = info.has_preprocess != 0;
    d["has_known_answer"] = info.has_known_answer != 0;
    d["abstain_threshold"] = info.abstain_threshold;
    d["provenance"] = info.provenance;
    return d;
  }

  py::list inputs() const { return ports(true); }
  py::list outputs() const { return ports(false); }

  py::list labels() const {
    const ek::ModelView& m = view();
    py::list labels;
    for (const char* text = m.labels.begin(); text != m.labels.end(); text += std::strlen(text) + 1)
      labels.append(text);
    return labels;
  }

  /// Tensors inside, as trace names them.
  py::list tensors() const {
    const ek::ModelView& m = view();
    py::list list;
    for (const ek::TensorRecord& t : m.tensors) {
      py::tuple shape(t.rank);
      for (uint16_t i = 0; i < t.rank; ++i) shape[i] = t.dims[i];
      list.append(info(m.name(t.name), t.dtype, shape, t.scale, t.zero_point));
    }
    return list;
  }

 private:
  const ek::ModelView& view() const { return reinterpret_cast<const ek::Model*>(model_)->view(); }

  static py::dict info(const char* name, int dtype, const py::tuple& shape, float scale, int32_t zero_point) {
    py::dict d;
    d["name"] = name;
    d["dtype"] = dtype;
    d["shape"] = shape;
    d["scale"] = scale;
    d["zero_point"] = zero_point;
    return d;
  }

  py::list ports(bool input) const {
    ek_model_info model = {};
    model.struct_size = sizeof model;
    check(ek_model_describe(model_, &model));
    py::list list;
    for (int32_t i = 0; i < (input ? model.input_count : model.output_count); ++i) {
      ek_tensor_info t = {};
      t.struct_size = sizeof t;
      check(input ? ek_model_input(model_, i, &t) : ek_model_output(model_, i, &t));
      py::tuple shape(static_cast<size_t>(t.rank));
      for (int32_t d = 0; d < t.rank; ++d) shape[static_cast<size_t>(d)] = t.shape[d];
      py::dict d = info(t.name, t.dtype, shape, t.scale, t.zero_point);
      d["inside"] = static_cast<int>(t.inside);
      list.append(d);
    }
    return list;
  }

  ek_model* model_ = nullptr;
};

/// Owns the C session by a capsule, which the frame call reads without pybind11.
class Session {
 public:
  Session(const Model& model, const py::object& isa, uint64_t memory_limit, int32_t threads, int32_t max_batch,
          bool selftest, bool trace, bool share_all) {
    const std::string names = isa.is_none() ? std::string() : py::cast<std::string>(isa);
    ek_session_options options = {};
    options.struct_size = sizeof options;
    options.isa = isa.is_none() ? nullptr : names.c_str();
    options.memory_limit = memory_limit;
    options.threads = threads;
    options.max_batch = max_batch;
    options.selftest = selftest;
    options.trace = trace;
    options.share_all = share_all;
    check(without_gil([&] { return ek_session_create(model.get(), &options, &session_); }));
    handle_ = py::capsule(session_, "edgekern.session", [](PyObject* capsule) {
      ek_session_free(static_cast<ek_session*>(PyCapsule_GetPointer(capsule, "edgekern.session")));
    });
  }

  py::capsule handle() const { return handle_; }

  py::dict memory() const {
    ek_memory_info info = {};
    info.struct_size = sizeof info;
    check(ek_session_memory(session_, &info));
    py::dict d;
    d["weights"] = info.weights;
    d["arena"] = info.arena;
    d["scratch"] = info.scratch;
    d["total"] = info.total;
    return d;
  }

  py::list ops() const {
    int32_t count = 0;
    check(ek_session_op_count(session_, &count));
    py::list list;
    for (int32_t i = 0; i < count; ++i) {
      ek_op_info info = {};
      info.struct_size = sizeof info;
      check(ek_session_op(session_, i, &info));
      py::dict d;
      d["name"] = info.name;
      d["op"] = info.op;
      d["kernel"] = info.kernel;
      d["macs"] = info.macs;
      d["nanoseconds"] = info.nanoseconds;
      d["predicted_cycles"] = info.predicted_cycles;
      d["unfused_cycles"] = info.unfused_cycles;
      list.append(d);
    }
    return list;
  }

  void tensor(const std::string& name, const py::object& out) const {
    const Bytes bytes(out, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE);
    check(ek_session_tensor(session_, name.c_str(), bytes.get().data, bytes.get().bytes));
  }

 private:
  ek_session* session_ = nullptr;
  py::capsule handle_;
};

py::list opcodes() {
  py::list list;
  for (size_t i = 0; i < ek::kOpcodeCount; ++i) {
    const ek::OpcodeRow& row = ek::kOpcodes[i];
    py::dict d;
    d["name"] = row.name;
    d["number"] = row.number;
    d["inputs"] = row.inputs;
    d["outputs"] = row.outputs;
    d["constants"] = row.constants;
    d["params"] = row.params;
    list.append(d);
  }
  return list;
}

py::list isa_available() {
  char names[128];
  check(ek_isa_available(names, sizeof names));
  return py::str(names).attr("split")(",");
}

}  // namespace

void bind_session(py::module_& m) {
  py::class_<Model>(m, "Model", "A verified model file in memory.")
      .def(py::init<const py::object&>(), py::arg("data"))
      .def("describe", &Model::describe)
      .def("inputs", &Model::inputs)
      .def("outputs", &Model::outputs)
      .def("tensors", &Model::tensors)
      .def("labels", &Model::labels);
  py::class_<Session>(m, "Session", "A plan with its memory; `handle` goes to run() and run_regions().")
      .def(py::init<const Model&, const py::object&, uint64_t, int32_t, int32_t, bool, bool, bool>(), py::arg("model"),
           py::arg("isa") = py::none(), py::arg("memory_limit") = 0, py::arg("threads") = 1, py::arg("max_batch") = 1,
           py::arg("selftest") = true, py::arg("trace") = false, py::arg("share_all") = false)
      .def_property_readonly("handle", &Session::handle)
      .def("memory", &Session::memory)
      .def("ops", &Session::ops)
      .def("tensor", &Session::tensor, py::arg("name"), py::arg("out"));
  m.def("opcodes", &opcodes, "The rows of opcodes.def.");
  m.def("isa_available", &isa_available,
        "Instruction sets of this CPU, before any cap; [\"scalar\"] for none.\n\n"
        ">>> len(ek.isa_available()) >= 1\n"
        "True");
}
