// SPDX-License-Identifier: Apache-2.0
/// The plan: a verified model resolved into a straight list of direct calls.
///
/// It is made in two halves. make_plan() chooses a kernel row for every op and the layout of every tensor, and
/// so knows each byte that will be needed before any of it is allocated. bind_plan() then packs the weights
/// into the block it is given and turns offsets into pointers. Nothing is decided after that.
///
/// Every thread has scratch and, for the steps that threads share, a copy of the steps that points there; all else
/// is one. Where threads take whole frames of a batch, each has a plan and an arena; the weights stay one.
#pragma once
#include "base/arena.h"
#include "kernels/move/move.h"
#include "model/reader.h"
#include "runtime/steps.h"

namespace ek {

struct TensorPlan {
  Nhwc shape;          ///< of one frame; a float32 tensor has no halo
  int32_t elem = 1;    ///< bytes per element
  int32_t zero = 0;    ///< biased zero point; 0 of int16, so that a halo of zero bytes is one of zero points
  float scale = 0.0f;
  ArenaItem item;
  uint32_t readers = 0;     ///< ops and output ports that read it
  uint32_t reader = 0;      ///< the last op among them, where there is one
  int32_t ring_rows = 0;    ///< a tensor inside a fused group: rows alive, halo rows included; 0: all
  int32_t strip_rows = 1;   ///< of them: rows that are made and read together, a divisor
  uint8_t* base = nullptr;  ///< first byte of the halo

  uint8_t* pixel() const { return base + shape.origin(); }  ///< pixel (0, 0)
  /// Scratch of a tensor inside a fused group.
  uint64_t ring_bytes() const {
    return ring_rows == 0
               ? 0
               : align_line(static_cast<uint64_t>(shape.row) * static_cast<uint64_t>(ring_rows) + 2 * kSlack);
  }
  /// Rows as a kernel with this padding reads them, row 0 at the first tap of output pixel (0, 0).
  Rows<const uint8_t> taps(int32_t top, int32_t left) const {
    const uint8_t* first = base + (shape.top - top) * shape.row + ptrdiff_t{shape.left - left} * shape.px;
    return {first, shape.row, ring_rows, 0};
  }
  /// Rows as the producer writes them, row 0 at pixel (0, 0).
  Rows<uint8_t> rows() const {
    if (ring_rows == 0) return {pixel(), shape.row, 0, 0};
    return {base + ptrdiff_t{shape.left} * shape.px, shape.row, ring_rows, shape.top};
  }
  /// Of pixels without gaps: strips as both sides see them, row 0 of `rows` at the first.
  template <class Byte>
  Rows<Byte> strips(Rows<Byte> rows) const {
    return {rows.base, rows.step * strip_rows, rows.count / strip_rows, rows.first};
  }
  /// Rows follow each other without a gap, so that the image is one long row.
  bool contiguous() const { return shape.left + shape.right == 0; }
};

/// What reading all weights of an op tells. An op is planned many times, in groups and alone; this is done once.
enum WeightFact : uint8_t {
  kKnown = 1,
  kMinus128 = 2,   ///< some weight is -128
  kUnbounded = 4,  ///< some product can reach 2^30 (qgemm_unbounded, dwconv_unbounded)
  kNarrow = 8,     ///< every product fits 16 bits (dwconv_narrow)
};

struct Plan {
  const ModelView* model = nullptr;
  IsaSet cap = kScalar;
  bool trace = false;
  int32_t threads = 1;      ///< that share steps
  bool packed = false;      ///< while copies are bound: the weights are in place
  Span<TensorPlan> tensors;
  Span<Step> steps;         ///< what a frame runs, in this order
  Span<Step> members;       ///< by op: the steps inside fused groups
  Step* copies = nullptr;   ///< of thread 1 and on: op_count steps, op_count members; null in a further plan
  Span<uint32_t> runs_at;   ///< by op: the last op of its group, itself when it runs alone
  Span<MoveArgs> moves;  ///< parts of the copying steps
  Span<uint8_t> fused;      ///< by op: it is a member of a group
  Span<uint8_t> facts;      ///< by op: WeightFact bits, once known
  const MoveKernel* move = nullptr;
  uint64_t weights_bytes = 0, arena_bytes = 0, record_bytes = 0;
  uint64_t scratch_bytes = 0;  ///< of one thread
  void* records = nullptr;  ///< memory of the spans

  const TensorPlan& in(const OpView& op, uint32_t i = 0) const { return tensors[op.inputs[i]]; }
  const TensorPlan& out(const OpView& op) const { return tensors[op.outputs[0]]; }
  /// The facts of an op's weights; `read` finds them, at the first question.
  template <class Read>
  uint8_t weight_facts(const OpView& op, const Read& read) const {
    uint8_t& known = facts[static_cast<size_t>(op.record - model->ops.data)];
    if (known == 0) known = static_cast<uint8_t>(kKnown | read());
    return known;
  }
  double cycles() const {  ///< predicted, of a frame on one thread
    double sum = 0.0;
    for (const Step& step : steps) sum += step.cycles;
    return sum;
  }
  /// Step `index` as `thread` runs it; of a step that is not shared, thread 0's alone.
  const Step& step(int32_t thread, uint32_t index) const {
    return thread == 0 ? steps[index] : copies_of(thread)[index];
  }
  Step* copies_of(int32_t thread) const { return copies + ptrdiff_t{2} * (thread - 1) * model->ops.size; }
};

struct PlanOptions {
  IsaSet cap = kScalar;
  bool trace = false;
  int32_t threads = 1;
  bool share_all = false;  ///< share what can be shared, however short
  const Plan* like = nullptr;  ///< make this plan once more, for a thread that takes whole frames
};

/// What sharing must save, of a frame or a batch: a first part finds its workers asleep.
constexpr double kFrameGain = 250000.0;  // cycles

/// Bytes of the plan's own records, the only memory that make_plan() allocates; `threads` have copies of the steps.
uint64_t plan_record_bytes(const ModelView& model, int32_t threads);

/// `model` outlives the plan. Where sharing steps is not predicted to pay, the plan is for one thread. On failure
/// nothing is kept.
ek_status make_plan(const ModelView& model, const PlanOptions& options, Plan* plan, Error* error);

/// Where a plan lies: weights_bytes, arena_bytes (kSlack before and after the tensors among them), and scratch_bytes
/// for each thread. Zeroed, 64-aligned.
struct PlanMemory {
  uint8_t *weights, *arena, *scratch;
};

/// Packs the weights, unless another plan like this one has.
void bind_plan(Plan* plan, const PlanMemory& memory, bool packed);

void free_plan(Plan* plan);

/// The driver of one operator family (runtime/groups/). Every opcode has exactly one, kGroup<Name>.
struct Group {
  /// Chooses kernels; fills the step's kernel, macs, cycles, weights_bytes and scratch_bytes.
  ek_status (*plan)(const Plan& plan, const OpView& op, Step* step, Error* error);
  /// Packs into `weights`, resolves every pointer of the step. `scratch` is shared by all steps.
  void (*bind)(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch);
};

#define EK_OPCODE(Name, number, inputs, outputs, constants, params) extern const Group kGroup##Name;
#include "model/opcodes.def"
#undef EK_OPCODE

/// Plans the step of one op: Group::plan of its family.
ek_status plan_op(const Plan& plan, const OpView& op, Step* step, Error* error);

/// Binds the step of one op; `weights` and `scratch` are its own.
void bind_step(const Plan& plan, Step* step, uint8_t* weights, uint8_t* scratch);

/// Requantisation into tensor `to`, int8 or int16, with the file's clamp.
Requant requant_of(const TensorPlan& to, int32_t lo, int32_t hi);

/// The 256 bytes that bring values of one quantisation into another (quant.rescale); false: they are the same.
bool rescale_table(const TensorPlan& from, const TensorPlan& to, uint8_t* table);

}  // namespace ek
