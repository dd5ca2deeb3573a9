// SPDX-License-Identifier: Apache-2.0
/// Concat, Pad, Reshape, Slice and Transpose as strided copies; operands of another quantisation pass a byte table.
/// Where one is 16-bit (not Pad's) each element is brought to the other quantisation by itself.
#include "runtime/groups/groups.h"
#include "runtime/strides.h"

namespace ek {
namespace {

void run_wide(const Step& step, int32_t, int32_t) {
  const MoveStep& c = step.move;
  for (uint32_t i = 0; i < c.count; ++i) c.how[i].plain ? c.copy(c.parts[i]) : c.wide(c.parts[i], c.how[i]);
}

void run(const Step& step, int32_t, int32_t) {
  const MoveStep& c = step.move;
  for (uint32_t i = 0; i < c.count; ++i) c.copy(c.parts[i]);
}

const TensorRecord& record(const Plan& plan, uint32_t tensor) { return plan.model->tensors[tensor]; }

ek_status plan_move(const Plan& plan, const OpView& op, Step* step, Error*) {
  const Nhwc& y = plan.out(op).shape;
  step->kernel = is_wide(plan, op) ? select_wide(plan.cap)->row.name : plan.move->row.name;
  step->strips = 1;
  step->cycles = static_cast<double>(y.h) * y.w * y.c;
  step->weights_bytes = uint64_t{256} * (op.inputs.size + 1);
  return EK_OK;
}

static_assert(sizeof(WideMove) <= 256, "one fits where a part's table does");

/// Collects the parts of one step; `weights` holds one table per operand, or how each part changes 16-bit elements.
class Parts {
 public:
  Parts(const Plan& plan, const OpView& op, Step* step, uint8_t* weights)
      : plan_(plan),
        op_(op),
        step_(step),
        tables_(weights),
        how_(is_wide(plan, op) ? reinterpret_cast<WideMove*>(weights) : nullptr),
        first_(step->move.first) {}

  /// Copies operand `i` by `loops` to `y`.
  void add(uint32_t i, const Strides& loops, const uint8_t* x, uint8_t* y) {
    const TensorPlan &from = plan_.in(op_, i), &to = plan_.out(op_);
    if (how_ != nullptr) {
      const int32_t half = to.elem == 2 ? 32768 : 128;
      how_[count_] = {
          from.elem == 2, from.zero, from.scale / to.scale, {requant_of(to, -half, half - 1), to.elem == 2}, false};
      return push(loops, x, y, nullptr);
    }
    uint8_t* table = tables_ + ptrdiff_t{256} * i;
    const bool rescaled = from.elem == 1 && rescale_table(from, to, table);
    push(loops, x, y, rescaled ? table : nullptr);
  }
  /// Copies bytes as they are, through `table` where there is one.
  void copy(const Strides& loops, const uint8_t* x, uint8_t* y) {
    if (how_ != nullptr) how_[count_].plain = true;
    push(loops, x, y, nullptr);
  }
  void push(const Strides& loops, const uint8_t* x, uint8_t* y, const uint8_t* table) {
    MoveArgs& part = plan_.moves[first_ + count_++];
    part.x = x, part.y = y, part.table = table;
    loops.store(part.extent, part.x_stride, part.y_stride);  // rank 6 with batch 1, and floats only when dense: fits
  }
  void finish() {
    step_->move = {plan_.move->copy, plan_.moves.data + first_, first_, count_, select_wide(plan_.cap)->move, how_};
    step_->run = how_ == nullptr ? run : run_wide;
  }

 private:
  const Plan& plan_;
  const OpView& op_;
  Step* step_;
  uint8_t* tables_;
  WideMove* how_;  // null: all operands are of one byte (or of four)
  uint32_t first_, count_ = 0;
};

void bind_concat(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t*) {
  const int32_t axis = op.as<ConcatParams>().axis;
  const TensorRecord& to = record(plan, op.outputs[0]);
  Parts parts(plan, op, step, weights);
  uint8_t* y = plan.out(op).pixel();
  for (uint32_t i = 0; i < op.inputs.size; ++i) {
    const TensorRecord& from = record(plan, op.inputs[i]);
    Strides loops;
    for (int32_t d = 1; d < to.rank; ++d) {
      loops.add(from.dims[d], arena_stride(from, plan.in(op, i), d), arena_stride(to, plan.out(op), d));
    }
    parts.add(i, loops, plan.in(op, i).pixel(), y);
    y += from.dims[axis] * arena_stride(to, plan.out(op), axis);
  }
  parts.finish();
}

void bind_pad(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t*) {
  const auto& p = op.as<PadParams>();
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  Parts parts(plan, op, step, weights);
  uint8_t* value = weights + 256;  // the table behind the operand's: its first byte fills the whole output
  *value = static_cast<uint8_t>(p.value + 128);
  Strides fill, copy;
  fill.add(y.shape.h, 0, y.shape.row);
  fill.add(y.shape.w, 0, y.shape.px);
  fill.add(y.shape.c, 0, 1);
  copy.add(x.shape.h, x.shape.row, y.shape.row);
  copy.add(x.shape.w, x.shape.px, y.shape.px);
  copy.add(x.shape.c, 1, 1);
  parts.push(fill, value, y.pixel(), nullptr);
  parts.add(0, copy, x.pixel(), y.pixel() + p.top * y.shape.row + ptrdiff_t{p.left} * y.shape.px + p.front);
  parts.finish();
}

void bind_transpose(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t*) {
  const auto& perm = op.as<TransposeParams>().perm;
  const TensorRecord &from = record(plan, op.inputs[0]), &to = record(plan, op.outputs[0]);
  Strides loops;
  for (int32_t d = 1; d < to.rank; ++d) {
    loops.add(to.dims[d], arena_stride(from, plan.in(op), perm[d]), arena_stride(to, plan.out(op), d));
  }
  Parts parts(plan, op, step, weights);
  parts.add(0, loops, plan.in(op).pixel(), plan.out(op).pixel());
  parts.finish();
}

void bind_slice(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t*) {
  const auto& p = op.as<SliceParams>();
  const TensorRecord &from = record(plan, op.inputs[0]), &to = record(plan, op.outputs[0]);
  Strides loops;
  for (int32_t d = 1; d < to.rank; ++d) {
    const ptrdiff_t x = arena_stride(from, plan.in(op), d);
    loops.add(to.dims[d], d == p.axis ? p.step * x : x, arena_stride(to, plan.out(op), d));
  }
  Parts parts(plan, op, step, weights);
  parts.add(0, loops, plan.in(op).pixel() + p.begin * arena_stride(from, plan.in(op), p.axis), plan.out(op).pixel());
  parts.finish();
}

/// Elements keep their row-major order while the shape changes. Where both shapes share a way to walk that
/// order (rows, pixels or all of it), it is one copy; else it goes through a dense image in scratch.
ek_status plan_reshape(const Plan& plan, const OpView& op, Step* step, Error* error) {
  const TensorPlan& x = plan.in(op);
  step->scratch_bytes = static_cast<uint64_t>(x.shape.h) * static_cast<uint64_t>(x.shape.w) *
                        static_cast<uint64_t>(x.shape.c) * static_cast<uint64_t>(x.elem);
  return plan_move(plan, op, step, error);
}

void bind_reshape(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch) {
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  // Runs of `unit` bytes of a tensor in the arena against dense ones of `dense_unit`.
  const auto walk = [](const TensorPlan& t, bool to_dense, int32_t unit, int32_t dense_unit) {
    const int32_t units = t.shape.c * t.elem / unit;
    Strides loops;
    const auto add = [&](int32_t extent, ptrdiff_t arena, ptrdiff_t dense) {
      loops.add(extent, to_dense ? arena : dense, to_dense ? dense : arena);
    };
    add(t.shape.h, t.shape.row, ptrdiff_t{t.shape.w} * units * dense_unit);
    add(t.shape.w, t.shape.px, ptrdiff_t{units} * dense_unit);
    add(units, unit, dense_unit);
    return loops;
  };
  // Bytes, but for 16-bit operands, whose elements may change their size on the way.
  const bool wide = is_wide(plan, op);
  const int32_t x_unit = wide ? x.elem : 1, y_unit = wide ? y.elem : 1;
  const auto dense = [](const TensorPlan& t) {
    return (t.contiguous() || t.shape.h == 1) && (t.shape.px == t.shape.c * t.elem || t.shape.h * t.shape.w == 1);
  };
  Parts parts(plan, op, step, weights);
  if (dense(x)) {
    parts.add(0, walk(y, false, y_unit, x_unit), x.pixel(), y.pixel());
  } else if (dense(y)) {
    parts.add(0, walk(x, true, x_unit, y_unit), x.pixel(), y.pixel());
  } else {
    parts.copy(walk(x, true, 1, 1), x.pixel(), scratch);
    parts.add(0, walk(y, false, y_unit, x_unit), scratch, y.pixel());
  }
  parts.finish();
}

}  // namespace

const Group kGroupConcat = {plan_move, bind_concat};
const Group kGroupPad = {plan_move, bind_pad};
const Group kGroupTranspose = {plan_move, bind_transpose};
const Group kGroupReshape = {plan_reshape, bind_reshape};
const Group kGroupSlice = {plan_move, bind_slice};

}  // namespace ek
