// SPDX-License-Identifier: Apache-2.0
/// DepthwiseConv2D, one output row per call.
#include "runtime/groups/groups.h"
#include "runtime/groups/panels.h"

namespace ek {
namespace {

struct Choice {
  DwConvProblem problem;
  const DwConvKernel* kernel;
  int32_t lanes;
  int32_t rows;  // pointers that the kernel takes
  uint64_t packed;
  bool narrow;
};

Choice choose(const Plan& plan, const OpView& op) {
  const auto& p = op.as<DepthwiseConv2DParams>();
  const Nhwc &x = plan.in(op).shape, &y = plan.out(op).shape;
  const ConstantRecord& w = plan.model->constants[op.constants[0]];
  Choice c{};
  c.problem = {p.kh, p.kw, p.sw, p.dw, x.c, y.w};
  c.problem.parts = w.dims[0] / p.kh;
  c.problem.dense = x.px == x.c && y.px == y.c;
  const ModelView& m = *plan.model;
  const auto read = [&] {
    const auto* weights = m.constant<int8_t>(op.constants[0]);
    const auto* bias = m.constant<int32_t>(op.constants[1]);
    const auto* scale = m.constant<float>(op.constants[2]);
    return (dwconv_unbounded(c.problem, weights, bias, scale) ? kUnbounded : 0) |
           (dwconv_narrow(c.problem, weights, bias, scale) ? kNarrow : 0) |
           (has_minus_128(weights, w.size) ? kMinus128 : 0);
  };
  const uint8_t facts = plan.weight_facts(op, read);
  c.problem.unbounded = (facts & kUnbounded) != 0;
  c.problem.has_minus_128 = (facts & kMinus128) != 0;
  c.narrow = (facts & kNarrow) != 0;
  c.kernel = select_dwconv(c.problem, plan.cap);
  c.rows = dwconv_rows(*c.kernel, c.problem);
  c.lanes = round_up(x.c, c.kernel->block);
  c.packed = align_line(dwconv_packed_bytes(*c.kernel, c.problem));
  return c;
}

void run(const Step& step, int32_t first, int32_t end) {
  const DwConvStep& c = step.dwconv;
  DwConvArgs a = c.args;
  for (int32_t s = first; s < end; ++s) {
    for (int32_t ky = 0; ky < c.kh; ++ky) c.rows[ky] = c.in.at(s * c.sy + ky * c.dy);
    for (int32_t ky = c.kh; ky < a.kh; ++ky) c.rows[ky] = c.rows[ky - c.kh];
    a.y = c.y.at(s);
    c.run(a);
  }
}

ek_status plan_dwconv(const Plan& plan, const OpView& op, Step* step, Error* error) {
  if (is_wide(plan, op)) return plan_wide_dwconv(plan, op, step, error);
  const Nhwc& y = plan.out(op).shape;
  const Choice c = choose(plan, op);
  step->kernel = c.kernel->row.name;
  step->strips = y.h;
  step->macs = static_cast<uint64_t>(y.h) * static_cast<uint64_t>(y.w) * static_cast<uint64_t>(y.c) *
               static_cast<uint64_t>(c.problem.kh) * static_cast<uint64_t>(c.problem.kw);
  step->cycles = c.kernel->cycles(c.problem) * y.h;
  step->weights_bytes = c.packed + 2 * align_line(4 * static_cast<uint64_t>(c.lanes));
  step->scratch_bytes = static_cast<uint64_t>(c.rows) * sizeof(uint8_t*);
  return EK_OK;
}

void bind_dwconv(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch) {
  if (is_wide(plan, op)) return bind_wide_dwconv(plan, op, step, weights, scratch);
  const auto& p = op.as<DepthwiseConv2DParams>();
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  const Choice choice = choose(plan, op);
  auto* bias = reinterpret_cast<int32_t*>(weights + choice.packed);
  auto* scale = reinterpret_cast<float*>(weights + choice.packed + align_line(4 * static_cast<uint64_t>(choice.lanes)));
  const ModelView& m = *plan.model;
  if (!plan.packed) {
    dwconv_pack(*choice.kernel, choice.problem, m.constant<int8_t>(op.constants[0]),
                m.constant<int32_t>(op.constants[1]), m.constant<float>(op.constants[2]), x.zero, weights, bias, scale);
  }
  DwConvStep& c = step->dwconv;
  c = {};
  c.run = choice.kernel->run;
  c.rows = reinterpret_cast<const uint8_t**>(scratch);
  c.in = x.taps(p.top, p.left);
  c.y = y.rows();
  c.kh = p.kh, c.sy = p.sh, c.dy = p.dh;
  c.args.kh = choice.rows, c.args.kw = p.kw;
  c.args.sx = p.sw, c.args.dx = p.dw;
  c.args.m = y.shape.w, c.args.c = x.shape.c;
  c.args.rows = c.rows;
  c.args.in_px = x.shape.px;
  c.args.w = weights, c.args.bias = bias, c.args.scale = scale;
  c.args.out = requant_of(y, p.lo, p.hi);
  c.args.y_px = y.shape.px;
  c.args.narrow = choice.narrow;
  step->run = run;
}

}  // namespace

const Group kGroupDepthwiseConv2D = {plan_dwconv, bind_dwconv};

}  // namespace ek
