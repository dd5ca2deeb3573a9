// SPDX-License-Identifier: Apache-2.0
/// MaxPool2D, AveragePool2D (one output row per call) and Mean.
#include "runtime/groups/groups.h"

namespace ek {
namespace {

void run_pool(const Step& step, int32_t first, int32_t end) {
  const PoolStep& c = step.pool;
  PoolArgs a = c.args;
  for (a.oy = first; a.oy < end; ++a.oy) {
    a.y = c.args.y + a.oy * c.y_row;
    c.run(a);
  }
}

void run_mean(const Step& step, int32_t, int32_t) { step.mean.run(step.mean.args); }

double bytes_of(const Nhwc& s) { return static_cast<double>(s.h) * s.w * s.c; }

template <class Params>
PoolStep pool_step(const Plan& plan, const OpView& op, const Params& p) {
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  PoolStep c{};
  c.args.in = x.pixel();
  c.args.shape = x.shape;
  c.args.kh = p.kh, c.args.kw = p.kw, c.args.sy = p.sh, c.args.sx = p.sw, c.args.top = p.top, c.args.left = p.left;
  c.args.m = y.shape.w;
  c.args.y = y.pixel();
  c.args.y_px = y.shape.px;
  c.args.lo = static_cast<uint8_t>(p.lo + 128);
  c.args.hi = static_cast<uint8_t>(p.hi + 128);
  c.args.zero_in = x.zero, c.args.zero_out = y.zero;
  c.args.s_in = x.scale, c.args.s_out = y.scale;
  c.args.same_scale = x.scale == y.scale && x.zero == y.zero;
  c.y_row = y.shape.row;
  return c;
}

template <class Params>
ek_status plan_pool(const Plan& plan, const OpView& op, Step* step, Error*) {
  const auto& p = op.as<Params>();
  step->kernel = select_pool(plan.cap)->row.name;
  step->strips = plan.out(op).shape.h;
  step->cycles = bytes_of(plan.out(op).shape) * p.kh * p.kw;  // about one window byte per cycle
  return EK_OK;
}

void bind_max(const Plan& plan, const OpView& op, Step* step, uint8_t*, uint8_t*) {
  step->pool = pool_step(plan, op, op.as<MaxPool2DParams>());
  step->pool.run = select_pool(plan.cap)->max;
  step->run = run_pool;
}

void bind_average(const Plan& plan, const OpView& op, Step* step, uint8_t*, uint8_t*) {
  const auto& p = op.as<AveragePool2DParams>();
  step->pool = pool_step(plan, op, p);
  step->pool.args.count_include_pad = p.count_include_pad != 0;
  step->pool.args.origin = p.origin + 128;
  step->pool.run = select_pool(plan.cap)->average;
  step->run = run_pool;
}

ek_status plan_mean(const Plan& plan, const OpView& op, Step* step, Error* error) {
  if (is_wide(plan, op)) return plan_wide_mean(plan, op, step, error);
  step->kernel = select_pool(plan.cap)->row.name;
  step->strips = 1;
  step->cycles = bytes_of(plan.in(op).shape);
  return EK_OK;
}

void bind_mean(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch) {
  if (is_wide(plan, op)) return bind_wide_mean(plan, op, step, weights, scratch);
  const auto& p = op.as<MeanParams>();
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  step->mean = {{x.pixel(), x.shape, x.zero, p.m, requant_of(y, p.lo, p.hi), y.pixel()}, select_pool(plan.cap)->mean};
  step->run = run_mean;
}

}  // namespace

const Group kGroupMaxPool2D = {plan_pool<MaxPool2DParams>, bind_max};
const Group kGroupAveragePool2D = {plan_pool<AveragePool2DParams>, bind_average};
const Group kGroupMean = {plan_mean, bind_mean};

}  // namespace ek
