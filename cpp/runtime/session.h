// SPDX-License-Identifier: Apache-2.0
/// A session: a bound plan, its block of memory, and the calls that run it. All that create() allocates is counted
/// against the limit first, the self-test's frame among it; nothing is allocated after create().
#pragma once
#include <atomic>

#include "base/threads.h"
#include "kernels/resize/resize.h"
#include "runtime/edges.h"
#include "runtime/plan.h"

namespace ek {

/// A verified file in memory of its own, shared by the sessions made from it.
class Model {
 public:
  /// Copies and verifies `size` bytes. Null, with `error` filled, when they are refused.
  static Model* create(const void* data, uint64_t size, Error* error);
  /// `size` bytes of memory to read a file into, then adopt() it.
  static Model* allocate(uint64_t size, Error* error);
  ek_status verify(Error* error);

  uint8_t* bytes() { return bytes_; }
  const ModelView& view() const { return view_; }
  void retain() { owners_.fetch_add(1, std::memory_order_relaxed); }
  void release();

 private:
  uint8_t* bytes_ = nullptr;  // 64-aligned; one NUL behind the file ends the provenance
  uint64_t size_ = 0;
  ModelView view_;
  std::atomic<uint32_t> owners_{1};
};

struct SessionOptions {
  PlanOptions plan;
  uint64_t memory_limit;  ///< 0: none
  int32_t max_batch;
  bool selftest;  ///< run the file's known answer
};

class Session {
 public:
  /// Null, with `error` filled, on refusal. The session keeps the model alive.
  static Session* create(Model* model, const SessionOptions& options, Error* error);
  static void destroy(Session* session);

  const ModelView& model() const { return model_->view(); }
  const Plan& plan() const { return plan_; }
  ek_memory_info memory() const;

  ek_status run(const ek_buffer* inputs, int32_t input_count, ek_buffer* outputs, int32_t output_count, int32_t batch,
                bool raw, Error* error);
  ek_status profile(const ek_buffer* inputs, int32_t input_count, ek_buffer* outputs, int32_t output_count,
                    int32_t rounds, Error* error);
  ek_status run_regions(const ek_frame& frame, const ek_box* boxes, int32_t box_count, ek_buffer* outputs,
                        int32_t output_count, bool raw, Error* error);
  /// One step of the plan with the time that profile() took of it.
  ek_status op(int32_t index, ek_op_info* info, Error* error) const;
  /// Copies a tensor of the last run; needs the trace option.
  ek_status tensor(const char* name, void* data, size_t bytes, Error* error) const;

 private:
  Session() = default;
  ek_status bind(const SessionOptions& options, Error* error);
  /// Runs the file's known answer and compares. Its frame lives as long as the call.
  ek_status selftest(Error* error);
  ek_status check_outputs(const ek_buffer* outputs, int32_t count, int32_t frames, bool raw, Error* error) const;
  ek_status check_inputs(const ek_buffer* inputs, int32_t count, int32_t frames, Error* error) const;
  ek_status check_frame(const ek_frame& frame, ResizeArgs* crop, Error* error) const;
  void run_step(uint32_t index) const;
  void run_steps() const {
    for (uint32_t i = 0; i < plan_.steps.size; ++i) run_step(i);
  }
  void write_outputs(ek_buffer* outputs, int32_t frame, bool raw) const;

  Model* model_ = nullptr;
  Plan plan_;
  uint8_t* block_ = nullptr;
  Pool* pool_ = nullptr;  // null where the plan is for one thread
  Span<Edge> inputs_, outputs_, raw_outputs_;
  ResizeArgs crop_ = {};  // what does not change from box to box
  void (*resize_)(const ResizeArgs& args) = nullptr;
  int32_t max_batch_ = 1;
  uint64_t own_bytes_ = 0;
  mutable std::atomic<bool> busy_{false};
};

}  // namespace ek
