// SPDX-License-Identifier: Apache-2.0
/// Conv2D by firstconv: one group, no column dilation, dense pixels of 1, 3 or 4 channels, at most 256 taps.
#include <limits>

#include "runtime/groups/groups.h"
#include "runtime/groups/panels.h"

namespace ek {
namespace {

const FirstConvKernel* choose(const Plan& plan, const OpView& op, FirstConvProblem* problem) {
  const auto& p = op.as<Conv2DParams>();
  const Nhwc &x = plan.in(op).shape, &y = plan.out(op).shape;
  const bool channels = x.c == 1 || x.c == 3 || x.c == 4;
  if (plan.in(op).ring_rows != 0) return nullptr;  // its strips are rows; a fused group counts in strips of several
  if (plan.model->constants[op.constants[0]].dims[1] != p.kh) return nullptr;  // the sum of several kernels
  if (!channels || x.px != x.c || p.groups != 1 || p.dw != 1) return nullptr;
  if (int64_t{p.kh} * p.kw * x.c > kFirstConvMaxTaps) return nullptr;
  const uint8_t facts = conv_facts(plan, op);
  if (facts & kUnbounded) return nullptr;
  *problem = {p.kh, p.kw, x.c, y.c, y.w, p.sw * x.px, (facts & kMinus128) != 0};
  return select_firstconv(*problem, plan.cap);
}

PanelSizes sizes_of(const FirstConvKernel& kernel, const FirstConvProblem& problem) {
  const int32_t taps = problem.kh * problem.kw * problem.c;
  PanelSizes sizes{1, problem.n, kernel.nr, 0, 0};
  sizes.full = firstconv_panel_bytes(kernel, taps, problem.n < kernel.nr ? problem.n : kernel.nr);
  sizes.last = firstconv_panel_bytes(kernel, taps, sizes.n_last());
  return sizes;
}

void run(const Step& step, int32_t first, int32_t end) {
  const FirstConvStep& c = step.firstconv;
  FirstConvArgs a = c.args;
  for (int32_t s = first; s < end; ++s) {
    for (int32_t ky = 0; ky < a.kh; ++ky) c.rows[ky] = c.in.at(s * c.sy + ky * c.dy);
    a.y = c.y.at(s);
    c.run(a);
  }
}

}  // namespace

double firstconv_cycles(const Plan& plan, const OpView& op) {
  FirstConvProblem problem;
  const FirstConvKernel* kernel = choose(plan, op, &problem);
  if (kernel == nullptr) return std::numeric_limits<double>::infinity();
  return kernel->cycles(problem) * plan.out(op).shape.h;
}

ek_status plan_firstconv(const Plan& plan, const OpView& op, Step* step, Error*) {
  FirstConvProblem problem;
  const FirstConvKernel* kernel = choose(plan, op, &problem);
  step->kernel = kernel->row.name;
  step->strips = plan.out(op).shape.h;
  step->cycles = kernel->cycles(problem) * plan.out(op).shape.h;
  step->weights_bytes = sizes_of(*kernel, problem).bytes();
  step->scratch_bytes = static_cast<uint64_t>(problem.kh) * sizeof(uint8_t*);
  return EK_OK;
}

void bind_firstconv(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch) {
  const auto& p = op.as<Conv2DParams>();
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  FirstConvProblem problem;
  const FirstConvKernel* kernel = choose(plan, op, &problem);
  FirstConvStep& c = step->firstconv;
  c = {};
  c.run = kernel->run;
  c.rows = reinterpret_cast<const uint8_t**>(scratch);
  c.in = x.taps(p.top, p.left);
  c.y = y.rows();
  c.sy = p.sh, c.dy = p.dh;
  c.args.rows = c.rows;
  c.args.kh = p.kh;
  c.args.row_taps = p.kw * x.shape.c;
  c.args.a_px = ptrdiff_t{p.sw} * x.shape.px;
  c.args.m = y.shape.w;
  c.args.out = requant_of(y, p.lo, p.hi);
  c.args.y_px = y.shape.px;
  const ModelView& m = *plan.model;
  const Panels panels =
      pack_panels(sizes_of(*kernel, problem), weights, plan.packed,
                  [&](int32_t first, int32_t columns, void* panel, int32_t* bias, float* scale) {
                    firstconv_pack(*kernel, m.constant<int8_t>(op.constants[0]), p.kh, c.args.row_taps,
                                   m.constant<int32_t>(op.constants[1]), m.constant<float>(op.constants[2]), first,
                                   columns, x.zero, panel, bias, scale);
                  });
  c.args.w = panels.w, c.args.panel_bytes = panels.panel_bytes;
  c.args.bias = panels.bias, c.args.scale = panels.scale;
  c.args.n = y.shape.c;
  step->run = run;
}

}  // namespace ek
