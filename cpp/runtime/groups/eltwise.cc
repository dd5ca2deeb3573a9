// SPDX-License-Identifier: Apache-2.0
/// Add, Affine, Table and Mul: one call for images that are one long row, else one call per row.
#include "kernels/weights.h"
#include "runtime/groups/groups.h"

namespace ek {
namespace {

void run_add(const Step& step, int32_t first, int32_t end) {
  const AddStep& c = step.add;
  AddArgs a = c.args;
  for (int32_t s = first; s < end; ++s) {
    a.a = c.a.at(s), a.b = c.b.at(s), a.y = c.y.at(s);
    if (s + 1 == step.strips) a.pixels = c.pixels_last, a.c = c.c_last;
    c.run(a);
  }
}

void run_affine(const Step& step, int32_t first, int32_t end) {
  const EltwiseStep& c = step.eltwise;
  AffineArgs a = c.affine;
  for (int32_t s = first; s < end; ++s) {
    a.x = c.affine.x + s * c.a_row, a.y = c.affine.y + s * c.y_row;
    c.kernel->affine(a);
  }
}

void run_table(const Step& step, int32_t first, int32_t end) {
  const EltwiseStep& c = step.eltwise;
  TableArgs a = c.table;
  for (int32_t s = first; s < end; ++s) {
    a.x = c.table.x + s * c.a_row, a.y = c.table.y + s * c.y_row;
    c.kernel->table(a);
  }
}

void run_mul(const Step& step, int32_t first, int32_t end) {
  const EltwiseStep& c = step.eltwise;
  MulArgs a = c.mul;
  for (int32_t s = first; s < end; ++s) {
    a.a = c.mul.a + s * c.a_row, a.b = c.mul.b + s * c.b_row, a.y = c.mul.y + s * c.y_row;
    c.kernel->mul(a);
  }
}

/// Everything lies in one long row, which threads could not share.
bool is_long_row(const Plan& plan, const OpView& op) {
  bool long_row = plan.threads == 1 && plan.out(op).contiguous();
  for (const uint32_t i : op.inputs) long_row = long_row && plan.tensors[i].contiguous();
  return long_row;
}

/// Distances of the rows; pixels per strip by the return value.
int32_t cut(const Plan& plan, const OpView& op, EltwiseStep* c) {
  const Nhwc& y = plan.out(op).shape;
  c->a_row = plan.in(op).shape.row;
  c->b_row = plan.in(op, op.inputs.size - 1).shape.row;
  c->y_row = y.row;
  return is_long_row(plan, op) ? y.h * y.w : y.w;
}

ek_status plan_eltwise(const Plan& plan, const OpView& op, double rate, Step* step) {
  const Nhwc& y = plan.out(op).shape;
  step->kernel = select_eltwise(plan.cap)->row.name;
  step->strips = is_long_row(plan, op) ? 1 : y.h;
  step->cycles = static_cast<double>(y.h) * y.w * y.c / rate;
  return EK_OK;
}

ek_status plan_affine(const Plan& plan, const OpView& op, Step* step, Error* error) {
  if (is_wide(plan, op)) return plan_wide_affine(plan, op, step, error);
  const Nhwc& y = plan.out(op).shape;
  step->weights_bytes = align_line(4 * static_cast<uint64_t>(y.c));
  return plan_eltwise(plan, op, select_eltwise(plan.cap)->affine_rate, step);
}

ek_status plan_table(const Plan& plan, const OpView& op, Step* step, Error*) {
  step->weights_bytes = 256;
  return plan_eltwise(plan, op, select_eltwise(plan.cap)->table_rate, step);
}

// Same bytes between pixels everywhere: one pixel of many channels, padding bytes computed along.
void flatten(bool same_px, ptrdiff_t px, int32_t* pixels, int32_t* c) {
  if (!same_px) return;
  *c = (*pixels - 1) * static_cast<int32_t>(px) + *c;
  *pixels = 1;
}

ek_status plan_mul(const Plan& plan, const OpView& op, Step* step, Error* error) {
  if (is_wide(plan, op)) return plan_wide_pair(plan, op, step, error);
  return plan_eltwise(plan, op, select_eltwise(plan.cap)->mul_rate, step);
}

/// Rows of an Add's strips: all of a long row, or in a group as many as its other operand's maker makes together.
int32_t add_rows(const Plan& plan, const OpView& op) {
  if (!is_long_row(plan, op)) return 1;
  for (const uint32_t i : op.inputs) {
    if (plan.tensors[i].ring_rows != 0) return plan.tensors[i].strip_rows;
  }
  return plan.out(op).shape.h;
}

ek_status plan_add(const Plan& plan, const OpView& op, Step* step, Error* error) {
  if (is_wide(plan, op)) return plan_wide_pair(plan, op, step, error);
  const ek_status status = plan_eltwise(plan, op, select_eltwise(plan.cap)->add_rate, step);
  const int32_t rows = add_rows(plan, op);
  step->strips = (plan.out(op).shape.h + rows - 1) / rows;
  return status;
}

/// Strips of `rows` rows of a whole tensor, or of the rows that a group keeps of it.
template <class Byte>
Rows<Byte> strips_of(const TensorPlan& t, int32_t rows) {
  if (t.ring_rows == 0) return {t.pixel(), t.shape.row * rows, 0, 0};
  const Rows<uint8_t> ring = rows == t.strip_rows ? t.strips(t.rows()) : t.rows();
  return {ring.base, ring.step, ring.count, ring.first};
}

void bind_add(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch) {
  if (is_wide(plan, op)) return bind_wide_add(plan, op, step, weights, scratch);
  const auto& p = op.as<AddParams>();
  const TensorPlan &a = plan.in(op), &b = plan.in(op, 1), &y = plan.out(op);
  const int32_t rows = add_rows(plan, op), last = y.shape.h - (step->strips - 1) * rows;
  AddStep& c = step->add;
  c = {};
  c.run = select_eltwise(plan.cap)->add;
  c.a = strips_of<const uint8_t>(a, rows), c.b = strips_of<const uint8_t>(b, rows), c.y = strips_of<uint8_t>(y, rows);
  AddArgs& args = c.args;
  args.a_px = a.shape.px, args.b_px = b.shape.px, args.y_px = y.shape.px;
  args.za = a.zero, args.zb = b.zero, args.zy = y.zero;
  args.m = p.m, args.n = p.n, args.shift = p.shift;
  args.lo = p.lo + 128, args.hi = p.hi + 128;
  args.pixels = rows * y.shape.w, c.pixels_last = last * y.shape.w;
  args.c = c.c_last = y.shape.c;
  const bool same_px = a.shape.px == y.shape.px && b.shape.px == y.shape.px;
  flatten(same_px, y.shape.px, &args.pixels, &args.c);
  flatten(same_px, y.shape.px, &c.pixels_last, &c.c_last);
  step->run = run_add;
}

void bind_affine(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch) {
  if (is_wide(plan, op)) return bind_wide_affine(plan, op, step, weights, scratch);
  const auto& p = op.as<AffineParams>();
  const ModelView& m = *plan.model;
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  const auto* w = m.constant<int8_t>(op.constants[0]);
  const auto* bias = m.constant<int32_t>(op.constants[1]);
  auto* folded = reinterpret_cast<int32_t*>(weights);
  for (int32_t n = 0; n < y.shape.c; ++n) folded[n] = fold_bias(bias[n], weight_sum(w + n, 1), x.zero);
  EltwiseStep& c = step->eltwise;
  c = {};
  c.kernel = select_eltwise(plan.cap);
  const int32_t pixels = cut(plan, op, &c);
  c.affine = {x.pixel(),
              y.pixel(),
              x.shape.px,
              y.shape.px,
              pixels,
              y.shape.c,
              w,
              folded,
              m.constant<float>(op.constants[2]),
              requant_of(y, p.lo, p.hi)};
  step->run = run_affine;
}

void bind_table(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t*) {
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  const auto* table = plan.model->constant<int8_t>(op.constants[0]);
  for (int32_t u = 0; u < 256; ++u) weights[u] = static_cast<uint8_t>(table[u] + 128);
  EltwiseStep& c = step->eltwise;
  c = {};
  c.kernel = select_eltwise(plan.cap);
  const int32_t pixels = cut(plan, op, &c);
  c.table = {x.pixel(), y.pixel(), x.shape.px, y.shape.px, pixels, y.shape.c, weights};
  flatten(x.shape.px == y.shape.px, y.shape.px, &c.table.pixels, &c.table.c);
  step->run = run_table;
}

void bind_mul(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch) {
  if (is_wide(plan, op)) return bind_wide_mul(plan, op, step, weights, scratch);
  const auto& p = op.as<MulParams>();
  const TensorPlan &a = plan.in(op), &b = plan.in(op, 1), &y = plan.out(op);
  EltwiseStep& c = step->eltwise;
  c = {};
  c.kernel = select_eltwise(plan.cap);
  const int32_t pixels = cut(plan, op, &c);
  c.mul = {a.pixel(), b.pixel(), y.pixel(), a.shape.px, b.shape.px, y.shape.px,
           pixels,    y.shape.c, a.zero,    b.zero,     p.m,        requant_of(y, p.lo, p.hi)};
  if (b.shape.h != y.shape.h || b.shape.w != y.shape.w) {  // every pixel meets the one of b
    c.mul.b_px = c.b_row = 0;
  } else {
    flatten(a.shape.px == y.shape.px && b.shape.px == y.shape.px, y.shape.px, &c.mul.pixels, &c.mul.c);
  }
  step->run = run_mul;
}

}  // namespace

const Group kGroupAdd = {plan_add, bind_add};
const Group kGroupAffine = {plan_affine, bind_affine};
const Group kGroupTable = {plan_table, bind_table};
const Group kGroupMul = {plan_mul, bind_mul};

}  // namespace ek
