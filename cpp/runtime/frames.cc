// SPDX-License-Identifier: Apache-2.0
/// The frames of a call: each by all threads, or by one thread each.
#include <atomic>
#include <cinttypes>
#include <cstring>

#include "base/clock.h"
#include "base/rounding.h"
#include "runtime/claim.h"
#include "runtime/session.h"

namespace ek {
namespace {

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

ek_status Session::check_outputs(const ek_buffer* outputs, int32_t count, int32_t frames, bool raw, Error* e) const {
  const auto& ports = model().outputs;
  if (count < 0 || static_cast<uint32_t>(count) != ports.size) {
    return fail(e, EK_INVALID_ARGUMENT, 0, "outputs", "%d output buffers; the model has %u outputs", count, ports.size);
  }
  for (uint32_t i = 0; i < ports.size; ++i) {
    const uint64_t want = edge_bytes(plan(), ports[i], false, raw) * static_cast<uint64_t>(frames);
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
    const uint64_t want = edge_bytes(plan(), ports[i], true, false) * static_cast<uint64_t>(frames);
    if (inputs[i].data == nullptr || inputs[i].bytes != want) {
      return fail(e, EK_INVALID_ARGUMENT, 0, "inputs", "input %u (\"%s\") has %zu bytes; %d frames need %" PRIu64, i,
                  model().name(ports[i].name), inputs[i].data == nullptr ? size_t{0} : inputs[i].bytes, frames, want);
    }
  }
  return EK_OK;
}

void Session::run_step(const Lane& lane, uint32_t index, bool shared) const {
  const Step& step = lane.plan.steps[index];
  if (shared && step.shared) {
    const SharedStep job = {&lane.plan, index};
    pool_->share(run_part, &job);
  } else {
    step.run(step, 0, step.strips);
  }
  if (step.halo != nullptr) step.halo(step.out_shape, step.out_base, step.out_zero);
}

void Session::write_outputs(const Lane& lane, ek_buffer* outputs, int32_t frame, bool raw) {
  const Span<Edge>& edges = raw ? lane.raw_outputs : lane.outputs;
  for (uint32_t i = 0; i < edges.size; ++i) {
    edges[i].run(static_cast<uint8_t*>(outputs[i].data) + static_cast<uint64_t>(frame) * edges[i].frame_bytes);
  }
}

/// Frames that lanes take as they come: a late worker leaves its share to the others.
struct Session::Batch {
  const Session* session;
  FrameFn one;
  const void* call;
  int32_t count;
  mutable std::atomic<int32_t> next;
};

void Session::take_frames(const void* job, int32_t lane, int32_t) {
  const auto& batch = *static_cast<const Batch*>(job);
  const Session& session = *batch.session;
  for (int32_t i; (i = batch.next.fetch_add(1, std::memory_order_relaxed)) < batch.count;) {
    batch.one(session, session.lanes_[static_cast<size_t>(lane)], false, batch.call, i);
  }
}

void Session::each_frame(int32_t count, FrameFn one, const void* call) const {
  const auto lanes = static_cast<int32_t>(lanes_.size);
  const int32_t most = count / lanes + (count % lanes != 0);  // that one thread takes
  if (most < count && (share_all_ || plan().cycles() * (count - most) >= kFrameGain)) {
    const Awake workers(pool_);
    const Batch batch = {this, one, call, count, {0}};
    pool_->share(take_frames, &batch);
    return;
  }
  const bool shared = plan().threads > 1;
  const Awake workers(shared ? pool_ : nullptr);
  for (int32_t i = 0; i < count; ++i) one(*this, lanes_[0], shared, call, i);
}

struct Session::TensorCall {
  const ek_buffer* inputs;
  ek_buffer* outputs;
  bool raw;
};

void Session::run_tensors(const Session& session, const Lane& lane, bool shared, const void* call, int32_t frame) {
  const auto& c = *static_cast<const TensorCall*>(call);
  for (uint32_t i = 0; i < lane.inputs.size; ++i) {
    lane.inputs[i].run(static_cast<uint8_t*>(c.inputs[i].data) +
                       static_cast<uint64_t>(frame) * lane.inputs[i].frame_bytes);
  }
  session.run_steps(lane, shared);
  write_outputs(lane, c.outputs, frame, c.raw);
}

ek_status Session::run(const ek_buffer* inputs, int32_t input_count, ek_buffer* outputs, int32_t output_count,
                       int32_t batch, bool raw, Error* error) {
  ek_status status = check_inputs(inputs, input_count, batch, error);
  if (status == EK_OK) status = check_outputs(outputs, output_count, batch, raw, error);
  if (status != EK_OK) return status;
  const Claim claim(&busy_);
  if (claim.check(error) != EK_OK) return EK_BUSY;
  const RoundToNearest mode;
  const TensorCall call = {inputs, outputs, raw};
  each_frame(batch, run_tensors, &call);
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
  const Lane& lane = lanes_[0];
  const bool shared = lane.plan.threads > 1;
  const Awake workers(shared ? pool_ : nullptr);
  for (int32_t round = 0; round < rounds; ++round) {
    for (uint32_t i = 0; i < lane.inputs.size; ++i) lane.inputs[i].run(inputs[i].data);
    for (uint32_t k = 0; k < lane.plan.steps.size; ++k) {
      Step& step = lane.plan.steps[k];
      const int64_t start = now_ns();
      run_step(lane, k, shared);
      const auto taken = static_cast<double>(now_ns() - start);
      if (round == 0 || taken < step.nanoseconds) step.nanoseconds = taken;
    }
    write_outputs(lane, outputs, 0, false);
  }
  return EK_OK;
}

ek_status Session::op(int32_t index, ek_op_info* info, Error* error) const {
  if (index < 0 || static_cast<uint32_t>(index) >= plan().steps.size) {
    return fail(error, EK_INVALID_ARGUMENT, 0, "index", "op %d of %u", index, plan().steps.size);
  }
  const Claim claim(&busy_);  // profile() writes the times
  if (claim.check(error) != EK_OK) return EK_BUSY;
  const Step& step = plan().steps[static_cast<size_t>(index)];
  *info = {0, step.name, step.op_name, step.kernel, step.macs, step.nanoseconds, step.cycles, step.apart};
  return EK_OK;
}

ek_status Session::tensor(const char* name, void* data, size_t bytes, Error* error) const {
  if (!plan().trace) {
    return fail(error, EK_INVALID_ARGUMENT, 0, "trace",
                "tensors are kept only by a session made with the trace option");
  }
  const Claim claim(&busy_);
  if (claim.check(error) != EK_OK) return EK_BUSY;
  for (uint32_t i = 0; i < model().tensors.size; ++i) {
    if (std::strcmp(model().name(model().tensors[i].name), name) != 0) continue;
    const Edge edge = make_tensor_edge(plan(), i);
    if (data == nullptr || bytes != edge.frame_bytes) {
      return fail(error, EK_INVALID_ARGUMENT, 0, "data", "tensor \"%s\" has %" PRIu64 " bytes, the buffer has %zu",
                  name, edge.frame_bytes, bytes);
    }
    edge.run(data);
    return EK_OK;
  }
  return fail(error, EK_INVALID_ARGUMENT, 0, "name", "the model has no tensor \"%s\"", name);
}

}  // namespace ek
