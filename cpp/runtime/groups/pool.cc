// SPDX-License-Identifier: Apache-2.0
/// MaxPool2D, AveragePool2D (one output row per call) and Mean.
#include <algorithm>

#include "runtime/groups/groups.h"

namespace ek {
namespace {

void run_pool(const Step& step, int32_t first, int32_t end) {
  const PoolStep& c = step.pool;
  PoolArgs a = c.args;
  for (int32_t y = first; y < end; ++y) {
    const int32_t top = y * c.sy - c.top, past = std::min(top + a.kh, c.h);
    a.row_count = 0;
    for (int32_t r = std::max(top, 0); r < past; ++r) c.rows[a.row_count++] = c.in.at(r);
    a.y = c.y.at(y);
    c.run(a);
  }
}

void run_mean(const Step& step, int32_t, int32_t) { step.mean.run(step.mean.args); }

double bytes_of(const Nhwc& s) { return static_cast<double>(s.h) * s.w * s.c; }

template <class Params>
PoolStep pool_step(const Plan& plan, const OpView& op, const Params& p, uint8_t* scratch) {
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  PoolStep c{};
  c.rows = reinterpret_cast<const uint8_t**>(scratch);
  const Rows<uint8_t> in = x.rows();
  c.in = {in.base, in.step, in.count, in.first};
  c.y = y.rows();
  c.h = x.shape.h, c.sy = p.sh, c.top = p.top;
  c.args.rows = c.rows;
  c.args.w = x.shape.w, c.args.c = x.shape.c, c.args.in_px = x.shape.px;
  c.args.kh = p.kh, c.args.kw = p.kw, c.args.sx = p.sw, c.args.left = p.left;
  c.args.m = y.shape.w;
  c.args.y_px = y.shape.px;
  c.args.lo = static_cast<uint8_t>(p.lo + 128);
  c.args.hi = static_cast<uint8_t>(p.hi + 128);
  c.args.zero_in = x.zero, c.args.zero_out = y.zero;
  c.args.s_in = x.scale, c.args.s_out = y.scale;
  c.args.same_scale = x.scale == y.scale && x.zero == y.zero;
  return c;
}

template <class Params>
void plan_pool(const Plan& plan, const OpView& op, PoolCycles PoolKernel::* cycles, Step* step) {
  const auto& p = op.as<Params>();
  const Nhwc& y = plan.out(op).shape;
  const PoolKernel* kernel = select_pool(plan.cap);
  step->kernel = kernel->row.name;
  step->strips = y.h;
  step->scratch_bytes = static_cast<uint64_t>(std::min(p.kh, plan.in(op).shape.h)) * sizeof(uint8_t*);
  step->cycles = pool_cycles(kernel->*cycles, static_cast<double>(y.h) * y.w, y.c, static_cast<double>(p.kh) * p.kw);
}

ek_status plan_max(const Plan& plan, const OpView& op, Step* step, Error*) {
  plan_pool<MaxPool2DParams>(plan, op, &PoolKernel::max_cycles, step);
  return EK_OK;
}

ek_status plan_average(const Plan& plan, const OpView& op, Step* step, Error*) {
  plan_pool<AveragePool2DParams>(plan, op, &PoolKernel::average_cycles, step);
  return EK_OK;
}

void bind_max(const Plan& plan, const OpView& op, Step* step, uint8_t*, uint8_t* scratch) {
  step->pool = pool_step(plan, op, op.as<MaxPool2DParams>(), scratch);
  step->pool.run = select_pool(plan.cap)->max;
  step->run = run_pool;
}

void bind_average(const Plan& plan, const OpView& op, Step* step, uint8_t*, uint8_t* scratch) {
  const auto& p = op.as<AveragePool2DParams>();
  step->pool = pool_step(plan, op, p, scratch);
  step->pool.args.count_include_pad = p.count_include_pad != 0;
  step->pool.args.origin = p.origin + 128;
  step->pool.run = select_pool(plan.cap)->average;
  step->run = run_pool;
}

ek_status plan_mean(const Plan& plan, const OpView& op, Step* step, Error* error) {
  if (is_wide(plan, op)) return plan_wide_mean(plan, op, step, error);
  step->kernel = select_pool(plan.cap)->row.name;
  step->strips = 1;
  step->cycles = bytes_of(plan.in(op).shape) / select_pool(plan.cap)->mean_rate;
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

const Group kGroupMaxPool2D = {plan_max, bind_max};
const Group kGroupAveragePool2D = {plan_average, bind_average};
const Group kGroupMean = {plan_mean, bind_mean};

}  // namespace ek
