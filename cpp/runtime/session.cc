// SPDX-License-Identifier: Apache-2.0
#include "runtime/session.h"

#include <cinttypes>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/clock.h"
#include "base/rounding.h"
#include "runtime/claim.h"

namespace ek {
namespace {

/// What a self-test needs beside the plan: the caller's tensors of one frame.
struct SelftestFrame {
  Ledger ledger;
  uint64_t in_at, out_at, frame_at, bytes_at;
  uint64_t out_bytes = 0;

  explicit SelftestFrame(const ModelView& m) {
    uint64_t in_bytes = 0;
    for (const PortRecord& port : m.inputs) in_bytes += align_line(port_bytes(m, port));
    for (const PortRecord& port : m.outputs) out_bytes += port_bytes(m, port);
    in_at = ledger.take(m.inputs.size * sizeof(ek_buffer));
    out_at = ledger.take(m.outputs.size * sizeof(ek_buffer));
    frame_at = ledger.take(in_bytes);
    bytes_at = ledger.take(out_bytes);
  }
};

ek_status within(uint64_t limit, uint64_t bytes, const char* what, Error* error) {
  if (limit == 0 || bytes <= limit) return EK_OK;
  return fail(error, EK_MEMORY_LIMIT, 0, "memory_limit",
              "%s %" PRIu64 " bytes, the limit is %" PRIu64 "; raise it or compile a smaller model", what, bytes,
              limit);
}

/// One step of a frame, divided by strips.
struct SharedStep {
  const Plan* plan;
  uint32_t index;
};

void run_part(const void* job, int32_t part, int32_t parts) {
  const auto& shared = *static_cast<const SharedStep*>(job);
  const Step& step = shared.plan->step(part, shared.index);
  const auto first = static_cast<int32_t>(int64_t{step.strips} * part / parts);
  const auto end = static_cast<int32_t>(int64_t{step.strips} * (part + 1) / parts);
  if (first < end) step.run(step, first, end);
}

}  // namespace

ek_status Model::verify(Error* error) {
  const RoundToNearest mode;  // the rules compare floats: the caller's mode must not bend them
  return read_model(bytes_, size_, &view_, error);
}

Model* Model::allocate(uint64_t size, Error* error) {
  auto* model = new (std::nothrow) Model;
  void* bytes = size > SIZE_MAX - 2 * kLine ? nullptr : std::aligned_alloc(kLine, align_line(size + 1));
  if (model == nullptr || bytes == nullptr) {
    std::free(bytes);
    delete model;
    fail(error, EK_OUT_OF_MEMORY, 0, "", "no memory for a model of %" PRIu64 " bytes", size);
    return nullptr;
  }
  model->bytes_ = static_cast<uint8_t*>(bytes);
  model->bytes_[size] = 0;
  model->size_ = size;
  return model;
}

Model* Model::create(const void* data, uint64_t size, Error* error) {
  Model* model = allocate(size, error);
  if (model == nullptr) return nullptr;
  std::memcpy(model->bytes_, data, size);
  if (model->verify(error) == EK_OK) return model;
  model->release();
  return nullptr;
}

void Model::release() {
  if (owners_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  std::free(bytes_);
  delete this;
}

Session* Session::create(Model* model, const SessionOptions& options, Error* error) {
  auto* session = new (std::nothrow) Session;
  if (session == nullptr) {
    fail(error, EK_OUT_OF_MEMORY, 0, "", "no memory for a session");
    return nullptr;
  }
  session->model_ = model;
  model->retain();
  const RoundToNearest mode;
  ek_status status = session->bind(options, error);
  if (status == EK_OK && options.selftest) status = session->selftest(error);
  if (status == EK_OK) return session;
  destroy(session);
  return nullptr;
}

void Session::destroy(Session* session) {
  if (session == nullptr) return;
  Pool::destroy(session->pool_);
  std::free(session->block_);
  free_plan(&session->plan_);
  session->model_->release();
  delete session;
}

// Everything is known before it is allocated: the plan's records and their limit, the plan, its bytes and their
// limit, then the memory.
ek_status Session::bind(const SessionOptions& options, Error* error) {
  const ModelView& m = model();
  max_batch_ = options.max_batch;
  const uint64_t frame = options.selftest && m.known_answer != nullptr ? SelftestFrame(m).ledger.used() : 0;
  ek_status status = within(options.memory_limit, plan_record_bytes(m, options.plan.threads) + frame,
                            "the plan's records alone need", error);
  if (status != EK_OK) return status;
  status = make_plan(m, options.plan, &plan_, error);
  if (status != EK_OK) return status;
  Ledger ledger;
  const uint64_t plan_at = ledger.take(plan_.block_bytes());
  const uint64_t edges_at = ledger.take((m.inputs.size + 2 * m.outputs.size) * sizeof(Edge));
  const PreprocessRecord* pre = m.preprocess;
  const uint64_t crop_at = ledger.take(pre == nullptr ? 0 : resize_scratch(static_cast<int32_t>(pre->width)));
  own_bytes_ = ledger.used();
  const uint64_t total = memory().total;
  status = within(options.memory_limit, total + frame,
                  frame == 0 ? "the plan needs" : "the plan and the frame of its self-test need", error);
  if (status != EK_OK) return status;
  block_ = ledger.used() > SIZE_MAX - kLine ? nullptr : static_cast<uint8_t*>(std::aligned_alloc(kLine, ledger.used()));
  if (block_ == nullptr)
    return fail(error, EK_OUT_OF_MEMORY, 0, "", "no memory for a plan of %" PRIu64 " bytes", total);
  std::memset(block_, 0, ledger.used());  // padding between channels is read: let it be the same everywhere
  bind_plan(&plan_, block_ + plan_at);
  if (plan_.threads > 1) {
    pool_ = Pool::create(plan_.threads, error);
    if (pool_ == nullptr) return error->code;
  }

  auto* edges = reinterpret_cast<Edge*>(block_ + edges_at);
  inputs_ = {edges, m.inputs.size};
  outputs_ = {edges + m.inputs.size, m.outputs.size};
  raw_outputs_ = {edges + m.inputs.size + m.outputs.size, m.outputs.size};
  for (uint32_t i = 0; i < m.inputs.size; ++i) new (&inputs_[i]) Edge(make_edge(plan_, m.inputs[i], true, false));
  for (uint32_t i = 0; i < m.outputs.size; ++i) {
    new (&outputs_[i]) Edge(make_edge(plan_, m.outputs[i], false, false));
    new (&raw_outputs_[i]) Edge(make_edge(plan_, m.outputs[i], false, true));
  }
  if (pre != nullptr) {
    const TensorPlan& t = plan_.tensors[m.inputs[pre->input].tensor];
    resize_ = select_resize(plan_.cap)->run;
    crop_.channels = static_cast<int32_t>(pre->channels);
    crop_.out_w = static_cast<int32_t>(pre->width), crop_.out_h = static_cast<int32_t>(pre->height);
    crop_.table = resize_tables(m.preprocess_tables, crop_.channels);
    crop_.y = t.pixel();
    crop_.y_px = t.shape.px, crop_.y_row = t.shape.row;
    crop_.scratch = reinterpret_cast<int32_t*>(block_ + crop_at);
  }
  return EK_OK;
}

ek_memory_info Session::memory() const {
  ek_memory_info info = {};
  info.struct_size = sizeof info;
  info.weights = plan_.weights_bytes;
  info.arena = plan_.arena_bytes;
  info.total = own_bytes_ + plan_.record_bytes + sizeof *this;
  if (plan_.threads > 1) info.total += Pool::bytes(plan_.threads);
  info.scratch = own_bytes_ - plan_.weights_bytes - plan_.arena_bytes;
  return info;
}

ek_status Session::check_outputs(const ek_buffer* outputs, int32_t count, int32_t frames, bool raw, Error* e) const {
  const auto& ports = model().outputs;
  if (count < 0 || static_cast<uint32_t>(count) != ports.size) {
    return fail(e, EK_INVALID_ARGUMENT, 0, "outputs", "%d output buffers; the model has %u outputs", count, ports.size);
  }
  for (uint32_t i = 0; i < ports.size; ++i) {
    const uint64_t want = edge_bytes(plan_, ports[i], false, raw) * static_cast<uint64_t>(frames);
    if (outputs[i].data == nullptr || outputs[i].bytes != want) {
      return fail(e, EK_INVALID_ARGUMENT, 0, "outputs", "output %u (\"%s\") has %zu bytes; %d frames need %" PRIu64, i,
                  model().name(ports[i].name), outputs[i].data == nullptr ? size_t{0} : outputs[i].bytes, frames, want);
    }
  }
  return EK_OK;
}

ek_status Session::check_inputs(const ek_buffer* inputs, int32_t count, int32_t frames, Error* e) const {
  const auto& ports = model().inputs;
  if (frames < 1 || frames > max_batch_) {
    return fail(e, EK_INVALID_ARGUMENT, 0, "batch", "a batch of %d; the session was made for 1 to %d", frames,
                max_batch_);
  }
  if (count < 0 || static_cast<uint32_t>(count) != ports.size) {
    return fail(e, EK_INVALID_ARGUMENT, 0, "inputs", "%d input buffers; the model has %u inputs", count, ports.size);
  }
  for (uint32_t i = 0; i < ports.size; ++i) {
    const uint64_t want = edge_bytes(plan_, ports[i], true, false) * static_cast<uint64_t>(frames);
    if (inputs[i].data == nullptr || inputs[i].bytes != want) {
      return fail(e, EK_INVALID_ARGUMENT, 0, "inputs", "input %u (\"%s\") has %zu bytes; %d frames need %" PRIu64, i,
                  model().name(ports[i].name), inputs[i].data == nullptr ? size_t{0} : inputs[i].bytes, frames, want);
    }
  }
  return EK_OK;
}

void Session::run_step(uint32_t index) const {
  const Step& step = plan_.steps[index];
  if (step.shared) {
    const SharedStep job = {&plan_, index};
    pool_->share(run_part, &job);
  } else {
    step.run(step, 0, step.strips);
  }
  if (step.halo != nullptr) step.halo(step.out_shape, step.out_base, step.out_zero);
}

void Session::write_outputs(ek_buffer* outputs, int32_t frame, bool raw) const {
  const Span<Edge>& edges = raw ? raw_outputs_ : outputs_;
  for (uint32_t i = 0; i < edges.size; ++i) {
    edges[i].run(static_cast<uint8_t*>(outputs[i].data) + static_cast<uint64_t>(frame) * edges[i].frame_bytes);
  }
}

ek_status Session::run(const ek_buffer* inputs, int32_t input_count, ek_buffer* outputs, int32_t output_count,
                       int32_t batch, bool raw, Error* error) {
  ek_status status = check_inputs(inputs, input_count, batch, error);
  if (status == EK_OK) status = check_outputs(outputs, output_count, batch, raw, error);
  if (status != EK_OK) return status;
  const Claim claim(&busy_);
  if (claim.check(error) != EK_OK) return EK_BUSY;
  const RoundToNearest mode;
  const Awake workers(pool_);
  for (int32_t frame = 0; frame < batch; ++frame) {
    for (uint32_t i = 0; i < inputs_.size; ++i) {
      inputs_[i].run(static_cast<uint8_t*>(inputs[i].data) + static_cast<uint64_t>(frame) * inputs_[i].frame_bytes);
    }
    run_steps();
    write_outputs(outputs, frame, raw);
  }
  return EK_OK;
}

ek_status Session::profile(const ek_buffer* inputs, int32_t input_count, ek_buffer* outputs, int32_t output_count,
                           int32_t rounds, Error* error) {
  ek_status status = check_inputs(inputs, input_count, 1, error);
  if (status == EK_OK) status = check_outputs(outputs, output_count, 1, false, error);
  if (status == EK_OK && rounds < 1)
    status = fail(error, EK_INVALID_ARGUMENT, 0, "rounds", "%d rounds; at least 1", rounds);
  if (status != EK_OK) return status;
  const Claim claim(&busy_);
  if (claim.check(error) != EK_OK) return EK_BUSY;
  const RoundToNearest mode;
  const Awake workers(pool_);
  for (int32_t round = 0; round < rounds; ++round) {
    for (uint32_t i = 0; i < inputs_.size; ++i) inputs_[i].run(inputs[i].data);
    for (uint32_t k = 0; k < plan_.steps.size; ++k) {
      Step& step = plan_.steps[k];
      const int64_t start = now_ns();
      run_step(k);
      const auto taken = static_cast<double>(now_ns() - start);
      if (round == 0 || taken < step.nanoseconds) step.nanoseconds = taken;
    }
    write_outputs(outputs, 0, false);
  }
  return EK_OK;
}

ek_status Session::op(int32_t index, ek_op_info* info, Error* error) const {
  if (index < 0 || static_cast<uint32_t>(index) >= plan_.steps.size) {
    return fail(error, EK_INVALID_ARGUMENT, 0, "index", "op %d of %u", index, plan_.steps.size);
  }
  const Claim claim(&busy_);  // profile() writes the times
  if (claim.check(error) != EK_OK) return EK_BUSY;
  const Step& step = plan_.steps[static_cast<size_t>(index)];
  *info = {0, step.name, step.op_name, step.kernel, step.macs, step.nanoseconds, step.cycles, step.apart};
  return EK_OK;
}

ek_status Session::tensor(const char* name, void* data, size_t bytes, Error* error) const {
  if (!plan_.trace) {
    return fail(error, EK_INVALID_ARGUMENT, 0, "trace",
                "tensors are kept only by a session made with the trace option");
  }
  const Claim claim(&busy_);
  if (claim.check(error) != EK_OK) return EK_BUSY;
  for (uint32_t i = 0; i < model().tensors.size; ++i) {
    if (std::strcmp(model().name(model().tensors[i].name), name) != 0) continue;
    const Edge edge = make_tensor_edge(plan_, i);
    if (data == nullptr || bytes != edge.frame_bytes) {
      return fail(error, EK_INVALID_ARGUMENT, 0, "data", "tensor \"%s\" has %" PRIu64 " bytes, the buffer has %zu",
                  name, edge.frame_bytes, bytes);
    }
    edge.run(data);
    return EK_OK;
  }
  return fail(error, EK_INVALID_ARGUMENT, 0, "name", "the model has no tensor \"%s\"", name);
}

ek_status Session::selftest(Error* error) {
  const ModelView& m = model();
  if (m.known_answer == nullptr) {
    return fail(error, EK_SELFTEST, 0, "known_answer",
                "the file has no known answer to check against; load it without the self-test");
  }
  const SelftestFrame layout(m);
  auto* memory = static_cast<uint8_t*>(std::malloc(layout.ledger.used()));
  if (memory == nullptr) return fail(error, EK_OUT_OF_MEMORY, 0, "", "no memory for the self-test");
  auto* in = reinterpret_cast<ek_buffer*>(memory + layout.in_at);
  auto* out = reinterpret_cast<ek_buffer*>(memory + layout.out_at);
  const uint8_t* want = m.known_answer;
  uint8_t* frame = memory + layout.frame_at;
  for (uint32_t i = 0; i < m.inputs.size; ++i) {
    in[i] = {frame, static_cast<size_t>(port_bytes(m, m.inputs[i]))};
    uint32_t period;
    std::memcpy(&period, want, sizeof period);
    want += sizeof period;
    for (size_t at = 0; at < in[i].bytes; at += period) {
      std::memcpy(frame + at, want, at + period <= in[i].bytes ? period : in[i].bytes - at);
    }
    want += period;
    frame += align_line(in[i].bytes);
  }
  uint8_t* got = memory + layout.bytes_at;
  for (uint32_t i = 0; i < m.outputs.size; ++i) {
    out[i] = {got, static_cast<size_t>(port_bytes(m, m.outputs[i]))};
    got += out[i].bytes;
  }
  got = memory + layout.bytes_at;
  ek_status status =
      run(in, static_cast<int32_t>(m.inputs.size), out, static_cast<int32_t>(m.outputs.size), 1, false, error);
  for (uint64_t i = 0; i < layout.out_bytes && status == EK_OK; ++i) {
    if (got[i] == want[i]) continue;
    status = fail(error, EK_SELFTEST, m.at(want + i), "known_answer",
                  "byte %" PRIu64
                  " of the outputs is %u, the file's known answer says %u: this machine computes wrongly, "
                  "or the file was made by other arithmetic",
                  i, got[i], want[i]);
  }
  std::free(memory);
  return status;
}

}  // namespace ek
