// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan.h"

#include <cinttypes>
#include <cstdlib>
#include <cstring>

#include "runtime/groups/groups.h"

namespace ek {
namespace {

constexpr int64_t kMaxTensorBytes = (int64_t{1} << 31) - 1;
// A shared step begins and ends by words that cross between cores, about 0.5 us in all. Sharing that takes fewer cycles
// than this from a step is not worth it.
constexpr double kStepGain = 4000.0;
constexpr int64_t kMaxFrameBytes = int64_t{1} << 36;  // of all tensors: a frame writes every halo

const Group* group_of(Opcode opcode) {
  switch (opcode) {
#define EK_OPCODE(Name, number, inputs, outputs, constants, params) \
  case Opcode::k##Name:                                             \
    return &kGroup##Name;
#include "model/opcodes.def"
#undef EK_OPCODE
  }
  return nullptr;
}

int32_t greater(int32_t a, int32_t b) { return a > b ? a : b; }

// Pixels beyond the far edge that a window really touches: strides may leave padding unread.
int32_t overhang(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t dilation, int32_t before) {
  return greater(0, (out - 1) * stride - before + (kernel - 1) * dilation + 1 - in);
}

// A halo belongs to the tensor and is as wide as its hungriest consumer.
template <class Params>
void widen_halo(const Params& p, const Nhwc& y, Nhwc* x) {
  x->top = greater(x->top, p.top);
  x->left = greater(x->left, p.left);
  x->bottom = greater(x->bottom, overhang(x->h, y.h, p.kh, p.sh, p.dh, p.top));
  x->right = greater(x->right, overhang(x->w, y.w, p.kw, p.sw, p.dw, p.left));
}

void place_tensor(const TensorRecord& record, TensorPlan* t) {
  const Hwc size = hwc(record);
  t->elem = static_cast<int32_t>(dtype_bytes(record.dtype));
  t->zero = record.dtype == EK_INT16 ? 0 : record.zero_point + 128;
  t->scale = record.scale;
  t->shape.h = size.h, t->shape.w = size.w, t->shape.c = size.c;
  t->shape.px = round_up(t->elem * size.c, kChannelAlign);
}

// Halos and dense images follow from the consumers.
void shape_by_consumers(const Plan& plan) {
  for (uint32_t i = 0; i < plan.model->ops.size; ++i) {
    const OpView op = plan.model->op(i);
    TensorPlan& in = plan.tensors[op.inputs[0]];
    Nhwc& x = in.shape;
    const Nhwc& y = plan.out(op).shape;
    if (op.record->opcode == static_cast<uint16_t>(Opcode::kDepthwiseConv2D)) {
      widen_halo(op.as<DepthwiseConv2DParams>(), y, &x);
    } else if (op.record->opcode == static_cast<uint16_t>(Opcode::kConv2D)) {
      const auto& p = op.as<Conv2DParams>();
      widen_halo(p, y, &x);
      if (in.elem == 1 && p.groups == 1 && (x.c == 1 || x.c == 3))
        x.px = x.c;  // images: firstconv and merged taps want them dense
    }
  }
}

ek_status size_tensors(Plan* plan, Error* error) {
  int64_t total = 0;
  for (uint32_t i = 0; i < plan->tensors.size; ++i) {
    TensorPlan& t = plan->tensors[i];
    Nhwc& s = t.shape;
    const int64_t row = (int64_t{s.left} + s.w + s.right) * s.px;
    const int64_t rows = int64_t{s.top} + s.h + s.bottom;
    if (row > kMaxTensorBytes || row * rows > kMaxTensorBytes) {
      const TensorRecord& record = plan->model->tensors[i];
      return fail(error, EK_UNSUPPORTED, plan->model->at(&record), "tensor",
                  "tensor \"%s\" needs 2 GiB or more with its padding", plan->model->name(record.name));
    }
    total += row * rows;
    if (total > kMaxFrameBytes) {
      return fail(error, EK_UNSUPPORTED, 0, "tensor",
                  "the tensors with their padding take more than 2^36 bytes in all");
    }
    s.row = static_cast<ptrdiff_t>(row);
    t.item.bytes = s.bytes();
  }
  return EK_OK;
}

void find_lifetimes(const Plan& plan) {
  const ModelView& m = *plan.model;
  const auto end = static_cast<int32_t>(m.ops.size);
  for (uint32_t i = 0; i < m.ops.size; ++i) {
    const OpView op = m.op(i);
    const auto step = static_cast<int32_t>(plan.runs_at[i]);
    for (const uint32_t t : op.outputs) plan.tensors[t].item.first = plan.tensors[t].item.last = step;
    for (const uint32_t t : op.inputs) {
      ArenaItem& item = plan.tensors[t].item;
      if (item.last < step) item.last = step;
    }
  }
  for (const PortRecord& port : m.outputs) plan.tensors[port.tensor].item.last = end;
  for (TensorPlan& t : plan.tensors) {
    if (t.ring_rows != 0) t.item.bytes = 0;  // lives in its group's scratch
  }
  if (!plan.trace) return;
  for (TensorPlan& t : plan.tensors) t.item.first = 0, t.item.last = end;
}

void place_tensors(Plan* plan, ArenaItem* items) {
  for (uint32_t i = 0; i < plan->tensors.size; ++i) items[i] = plan->tensors[i].item;
  plan->arena_bytes = place_items(items, plan->tensors.size) + 2 * kSlack;
  for (uint32_t i = 0; i < plan->tensors.size; ++i) plan->tensors[i].item = items[i];
}

// One allocation for everything the plan remembers.
struct Records {
  Ledger ledger;
  uint64_t tensors, steps, members, copies, fused, facts, runs_at, moves, scratch;

  Records(const ModelView& m, int32_t threads)
      : tensors(ledger.take(m.tensors.size * sizeof(TensorPlan))),
        steps(ledger.take(m.ops.size * sizeof(Step))),
        members(ledger.take(m.ops.size * sizeof(Step))),
        copies(ledger.take(static_cast<uint64_t>(threads - 1) * 2 * m.ops.size * sizeof(Step))),
        fused(ledger.take(m.ops.size)),
        facts(ledger.take(m.ops.size)),
        runs_at(ledger.take(m.ops.size * sizeof(uint32_t))),
        moves(ledger.take((m.operands.size + m.ops.size) * sizeof(MoveArgs))),
        scratch(ledger.take(m.tensors.size * sizeof(ArenaItem))) {}
  uint64_t bytes() const { return ledger.used() + kLine; }
};

ek_status allocate_records(const ModelView& m, const Plan* like, Plan* plan, ArenaItem** items, Error* error) {
  const Records at(m, like == nullptr ? plan->threads : 1);
  plan->records = std::calloc(1, at.bytes());
  if (plan->records == nullptr) {
    return fail(error, EK_OUT_OF_MEMORY, 0, "", "no memory for a plan of %" PRIu64 " bytes", at.bytes());
  }
  plan->record_bytes = at.bytes();
  auto* base = static_cast<uint8_t*>(plan->records);
  plan->tensors = {reinterpret_cast<TensorPlan*>(base + at.tensors), m.tensors.size};
  plan->steps = {reinterpret_cast<Step*>(base + at.steps), 0};
  plan->members = {reinterpret_cast<Step*>(base + at.members), m.ops.size};
  if (like == nullptr) plan->copies = reinterpret_cast<Step*>(base + at.copies);
  plan->runs_at = {reinterpret_cast<uint32_t*>(base + at.runs_at), m.ops.size};
  plan->fused = {base + at.fused, m.ops.size};
  plan->facts = {base + at.facts, m.ops.size};
  if (like != nullptr) std::memcpy(plan->facts.data, like->facts.data, m.ops.size);
  for (uint32_t i = 0; i < m.ops.size; ++i) plan->runs_at[i] = i;
  plan->moves = {reinterpret_cast<MoveArgs*>(base + at.moves), m.operands.size + m.ops.size};
  *items = reinterpret_cast<ArenaItem*>(base + at.scratch);
  for (TensorPlan& t : plan->tensors) t = TensorPlan{};
  return EK_OK;
}

ek_status plan_step(const Plan& plan, uint32_t index, uint32_t first_move, Step* step, Error* error) {
  const ModelView& m = *plan.model;
  const OpView op = m.op(index);
  step->op = index;
  step->name = m.name(op.record->name);
  step->op_name = op.row->name;
  step->kernel = "";
  step->move.first = first_move;
  return plan_op(plan, op, step, error);
}

ek_status plan_steps(Plan* plan, Error* error) {
  const ModelView& m = *plan->model;
  uint32_t moves = 0;
  for (uint32_t i = 0; i < m.ops.size; ++i) {
    const bool fused = plan->fused[i] != 0;
    Step* step = fused ? &plan->members[i] : &plan->steps[plan->steps.size];
    const ek_status status = plan_step(*plan, i, moves, step, error);
    if (status != EK_OK) return status;
    moves += m.ops[i].input_count + 1u;  // a copying step has at most one part per operand and one more
    if (plan->runs_at[i] != i) continue;
    step = &plan->steps[plan->steps.size++];
    if (fused) {
      plan_group(*plan, i, step);
    } else {
      step->apart = step->cycles;
    }
    plan->weights_bytes += align_line(step->weights_bytes);
    if (step->scratch_bytes > plan->scratch_bytes) plan->scratch_bytes = align_line(step->scratch_bytes);
  }
  return EK_OK;
}

/// Marks the steps that threads share; false: none, or too little to wake anybody for.
bool share_steps(const Plan& plan, bool all) {
  double gain = 0.0;
  bool any = false;
  for (Step& step : plan.steps) {
    const double least = step.cycles * (1.0 - 1.0 / plan.threads);
    step.shared = step.strips > 1 && (all || least >= kStepGain);
    any = any || step.shared;
    if (step.shared) gain += least;
  }
  return any && (all || gain >= kFrameGain);
}

void bind_halo(const Plan& plan, Step* step) {
  const TensorPlan& y = plan.out(plan.model->op(step->op));
  const Nhwc& s = y.shape;
  step->halo = s.top + s.left + s.bottom + s.right == 0 ? nullptr : plan.move->halo;
  step->out_shape = s;
  step->out_base = y.base;
  step->out_zero = static_cast<uint8_t>(y.zero);
}

}  // namespace

uint64_t plan_record_bytes(const ModelView& model, int32_t threads) { return Records(model, threads).bytes(); }

ek_status make_plan(const ModelView& model, const PlanOptions& options, Plan* plan, Error* error) {
  *plan = {};
  plan->model = &model;
  plan->cap = options.cap;
  plan->trace = options.trace;
  plan->threads = options.threads;
  plan->move = select_move(options.cap);
  ArenaItem* items = nullptr;
  ek_status status = allocate_records(model, options.like, plan, &items, error);
  if (status != EK_OK) return status;
  for (uint32_t i = 0; i < model.tensors.size; ++i) place_tensor(model.tensors[i], &plan->tensors[i]);
  shape_by_consumers(*plan);
  status = size_tensors(plan, error);
  if (status == EK_OK) {
    if (!options.trace) find_groups(*plan);
    find_lifetimes(*plan);
    place_tensors(plan, items);
    status = plan_steps(plan, error);
  }
  const bool alone = status == EK_OK && options.threads > 1 && !share_steps(*plan, options.share_all);
  if (status != EK_OK || alone) free_plan(plan);
  if (!alone) return status;
  PlanOptions one = options;
  one.threads = 1;
  return make_plan(model, one, plan, error);
}

ek_status plan_op(const Plan& plan, const OpView& op, Step* step, Error* error) {
  return group_of(static_cast<Opcode>(op.record->opcode))->plan(plan, op, step, error);
}

void bind_step(const Plan& plan, Step* step, uint8_t* weights, uint8_t* scratch) {
  const OpView op = plan.model->op(step->op);
  group_of(static_cast<Opcode>(op.record->opcode))->bind(plan, op, step, weights, scratch);
}

namespace {

/// Another thread's steps: thread 0's, with scratch of their own.
void bind_copies(Plan* plan, Step* copies, uint8_t* weights, uint8_t* scratch) {
  const Span<Step> members = plan->members;
  plan->members = {copies + members.size, members.size};
  for (uint32_t i = 0; i < members.size; ++i) plan->members[i] = members[i];
  for (const Step& step : plan->steps) {
    Step* copy = copies++;
    *copy = step;
    if (step.group) {
      move_members(plan->members.data, copy);
      bind_group(*plan, copy, weights, scratch);
    } else if (step.shared) {
      bind_step(*plan, copy, weights, scratch);
    }
    weights += align_line(step.weights_bytes);
  }
  plan->members = members;
}

}  // namespace

void bind_plan(Plan* plan, const PlanMemory& memory, bool packed) {
  uint8_t* weights = memory.weights;
  plan->packed = packed;
  for (TensorPlan& t : plan->tensors) t.base = memory.arena + kSlack + t.item.offset;
  for (Step& step : plan->steps) {
    if (step.group) {
      bind_group(*plan, &step, weights, memory.scratch);
    } else {
      bind_step(*plan, &step, weights, memory.scratch);
    }
    bind_halo(*plan, &step);
    weights += align_line(step.weights_bytes);
  }
  plan->packed = true;
  for (int32_t thread = 1; thread < plan->threads && plan->copies != nullptr; ++thread) {
    bind_copies(plan, plan->copies_of(thread), memory.weights,
                memory.scratch + plan->scratch_bytes * static_cast<uint64_t>(thread));
  }
}

void free_plan(Plan* plan) {
  std::free(plan->records);
  *plan = {};
}

Requant requant_of(const TensorPlan& to, int32_t lo, int32_t hi) {
  const int32_t zero = to.elem == 2 ? 0 : to.zero - 128;
  return {static_cast<float>(lo - zero), static_cast<float>(hi - zero), to.zero};
}

bool rescale_table(const TensorPlan& from, const TensorPlan& to, uint8_t* table) {
  if (from.scale == to.scale && from.zero == to.zero) return false;
  const float m = from.scale / to.scale;
  const auto lo = static_cast<float>(0 - to.zero), hi = static_cast<float>(255 - to.zero);
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: in a sum with it the ulp is 1, so it rounds, ties to even
  for (int32_t u = 0; u < 256; ++u) {
    float t = static_cast<float>(u - from.zero) * m;
    t = t < lo ? lo : t > hi ? hi : t;
    table[u] = static_cast<uint8_t>(static_cast<int32_t>(t + kRound - kRound) + to.zero);
  }
  return true;
}

}  // namespace ek
