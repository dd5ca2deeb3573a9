// SPDX-License-Identifier: Apache-2.0
#include "runtime/session.h"

#include <cinttypes>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/lines.h"
#include "base/rounding.h"

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

}  // namespace

ek_status Model::verify(Error* error) {
  const RoundToNearest mode;  // the rules compare floats: the caller's mode must not bend them
  return read_model(bytes_, size_, &view_, error);
}

Model* Model::allocate(uint64_t size, Error* error) {
  auto* model = new (std::nothrow) Model;
  void* bytes = size > SIZE_MAX - 2 * kLine ? nullptr : allocate_lines(align_line(size + 1));
  if (model == nullptr || bytes == nullptr) {
    free_lines(bytes);
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
  free_lines(bytes_);
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
  free_lines(session->block_);
  for (Lane& lane : session->lanes_) free_plan(&lane.plan);
  std::free(session->lanes_.data);
  session->model_->release();
  delete session;
}

ek_status Session::make_plans(const SessionOptions& options, uint64_t frame, Error* error) {
  const ModelView& m = model();
  const int32_t threads = options.plan.threads;
  const int32_t count = options.max_batch > 1 && !options.plan.trace ? threads : 1;
  const uint64_t lanes_bytes = static_cast<uint64_t>(count) * sizeof(Lane);
  const uint64_t records =
      plan_record_bytes(m, threads) + static_cast<uint64_t>(count - 1) * plan_record_bytes(m, 1) + lanes_bytes;
  ek_status status = within(options.memory_limit, records + frame, "the plan's records alone need", error);
  if (status != EK_OK) return status;
  auto* lanes = static_cast<Lane*>(std::calloc(1, lanes_bytes));
  if (lanes == nullptr) return fail(error, EK_OUT_OF_MEMORY, 0, "", "no memory for %d threads", count);
  for (int32_t i = 0; i < count; ++i) new (&lanes[i]) Lane{};
  lanes_ = {lanes, static_cast<uint32_t>(count)};
  PlanOptions plan = options.plan;
  for (Lane& lane : lanes_) {
    status = make_plan(m, plan, &lane.plan, error);
    if (status != EK_OK) return status;
    plan.like = &lanes_[0].plan;
  }
  return EK_OK;
}

void Session::bind_edges(Lane* lane, Edge* edges, int32_t* crop_scratch) const {
  const ModelView& m = model();
  lane->inputs = {edges, m.inputs.size};
  lane->outputs = {edges + m.inputs.size, m.outputs.size};
  lane->raw_outputs = {edges + m.inputs.size + m.outputs.size, m.outputs.size};
  for (uint32_t i = 0; i < m.inputs.size; ++i) {
    new (&lane->inputs[i]) Edge(make_edge(lane->plan, m.inputs[i], true, false));
  }
  for (uint32_t i = 0; i < m.outputs.size; ++i) {
    new (&lane->outputs[i]) Edge(make_edge(lane->plan, m.outputs[i], false, false));
    new (&lane->raw_outputs[i]) Edge(make_edge(lane->plan, m.outputs[i], false, true));
  }
  const PreprocessRecord* pre = m.preprocess;
  if (pre != nullptr) {
    const TensorPlan& t = lane->plan.tensors[m.inputs[pre->input].tensor];
    ResizeArgs& crop = lane->crop;
    crop.channels = static_cast<int32_t>(pre->channels);
    crop.out_w = static_cast<int32_t>(pre->width), crop.out_h = static_cast<int32_t>(pre->height);
    crop.table = resize_tables(m.preprocess_tables, crop.channels);
    crop.y = t.pixel();
    crop.y_px = t.shape.px, crop.y_row = t.shape.row;
    crop.scratch = crop_scratch;
  }
}

// Everything is known before it is allocated: the plans' records and their limit, the plans, their bytes and their
// limit, then the memory.
ek_status Session::bind(const SessionOptions& options, Error* error) {
  const ModelView& m = model();
  max_batch_ = options.max_batch;
  share_all_ = options.plan.share_all;
  const uint64_t frame = options.selftest && m.known_answer != nullptr ? SelftestFrame(m).ledger.used() : 0;
  ek_status status = make_plans(options, frame, error);
  if (status != EK_OK) return status;
  const Plan& first = plan();
  const uint64_t lanes = lanes_.size;
  Ledger ledger;
  const uint64_t weights_at = ledger.take(first.weights_bytes);
  const uint64_t arena_bytes = align_line(first.arena_bytes);
  const uint64_t arena_at = ledger.take(lanes * arena_bytes);
  const uint64_t scratch_at = ledger.take(static_cast<uint64_t>(threads()) * first.scratch_bytes);
  const uint64_t edges_bytes = align_line((m.inputs.size + 2 * m.outputs.size) * sizeof(Edge));
  const uint64_t edges_at = ledger.take(lanes * edges_bytes);
  const PreprocessRecord* pre = m.preprocess;
  const uint64_t crop_bytes = pre == nullptr ? 0 : align_line(resize_scratch(static_cast<int32_t>(pre->width)));
  const uint64_t crop_at = ledger.take(lanes * crop_bytes);
  own_bytes_ = ledger.used();
  const uint64_t total = memory().total;
  status = within(options.memory_limit, total + frame,
                  frame == 0 ? "the plan needs" : "the plan and the frame of its self-test need", error);
  if (status != EK_OK) return status;
  block_ = ledger.used() > SIZE_MAX - kLine ? nullptr : static_cast<uint8_t*>(allocate_lines(ledger.used()));
  if (block_ == nullptr)
    return fail(error, EK_OUT_OF_MEMORY, 0, "", "no memory for a plan of %" PRIu64 " bytes", total);
  std::memset(block_, 0, ledger.used());  // padding between channels is read: let it be the same everywhere
  for (uint64_t i = 0; i < lanes; ++i) {
    Lane& lane = lanes_[i];
    bind_plan(&lane.plan,
              {block_ + weights_at, block_ + arena_at + i * arena_bytes, block_ + scratch_at + i * first.scratch_bytes},
              i != 0);
    bind_edges(&lane, reinterpret_cast<Edge*>(block_ + edges_at + i * edges_bytes),
               reinterpret_cast<int32_t*>(block_ + crop_at + i * crop_bytes));
  }
  if (pre != nullptr) resize_ = select_resize(first.cap)->run;
  if (threads() > 1) {
    pool_ = Pool::create(threads(), error);
    if (pool_ == nullptr) return error->code;
  }
  return EK_OK;
}

ek_memory_info Session::memory() const {
  const Plan& first = plan();
  ek_memory_info info = {};
  info.struct_size = sizeof info;
  info.weights = first.weights_bytes;
  info.arena = lanes_.size * first.arena_bytes;
  info.total = own_bytes_ + lanes_.size * sizeof(Lane) + sizeof *this;
  for (const Lane& lane : lanes_) info.total += lane.plan.record_bytes;
  if (threads() > 1) info.total += Pool::bytes(threads());
  info.scratch = own_bytes_ - info.weights - info.arena;
  return info;
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
