// SPDX-License-Identifier: Apache-2.0
/// A session: bound plans, their block of memory, and the calls that run them. All that create() allocates is counted
/// against the limit first, the self-test's frame among it; nothing is allocated after create().
///
/// Threads share the steps of a single frame; of a batch, or of boxes, each takes whole frames. A lane is what one
/// frame needs at a time: a plan, an arena, edges, a crop. Lane 0 has the steps that are shared, the others weights of
/// lane 0.
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

/// What the frame of one thread needs.
struct Lane {
  Plan plan;
  Span<Edge> inputs, outputs, raw_outputs;
  ResizeArgs crop;  ///< what does not change from box to box
};

class Session {
 public:
  /// Null, with `error` filled, on refusal. The session keeps the model alive.
  static Session* create(Model* model, const SessionOptions& options, Error* error);
  static void destroy(Session* session);

  const ModelView& model() const { return model_->view(); }
  const Plan& plan() const { return lanes_[0].plan; }
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
  /// That compute, the caller among them.
  int32_t threads() const {
    const auto lanes = static_cast<int32_t>(lanes_.size);
    return plan().threads > lanes ? plan().threads : lanes;
  }
  ek_status make_plans(const SessionOptions& options, uint64_t frame, Error* error);
  /// Makes the lane's edges in memory for all of them, and its crop.
  void bind_edges(Lane* lane, Edge* edges, int32_t* crop_scratch) const;

  /// Frame `frame` of a call, on a lane; `shared`: with the other threads' help.
  using FrameFn = void (*)(const Session& session, const Lane& lane, bool shared, const void* call, int32_t frame);
  struct Batch;
  static void take_frames(const void* job, int32_t lane, int32_t lanes);
  /// Calls `one` for every frame, in order on lane 0, or in any order on all lanes where that pays.
  void each_frame(int32_t count, FrameFn one, const void* call) const;
  void run_step(const Lane& lane, uint32_t index, bool shared) const;
  void run_steps(const Lane& lane, bool shared) const {
    for (uint32_t i = 0; i < lane.plan.steps.size; ++i) run_step(lane, i, shared);
  }
  static void write_outputs(const Lane& lane, ek_buffer* outputs, int32_t frame, bool raw);
  struct TensorCall;
  static void run_tensors(const Session& session, const Lane& lane, bool shared, const void* call, int32_t frame);
  struct BoxCall;
  static void run_box(const Session& session, const Lane& lane, bool shared, const void* call, int32_t box);

  Model* model_ = nullptr;
  uint8_t* block_ = nullptr;
  Pool* pool_ = nullptr;  // null where there is one lane and its plan is for one thread
  Span<Lane> lanes_;      // an allocation of its own: plans come before the block
  bool share_all_ = false;
  void (*resize_)(const ResizeArgs& args) = nullptr;
  int32_t max_batch_ = 1;
  uint64_t own_bytes_ = 0;
  mutable std::atomic<bool> busy_{false};
};

}  // namespace ek
