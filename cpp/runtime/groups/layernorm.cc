// SPDX-License-Identifier: Apache-2.0
/// LayerNorm over the last axis, one call per row of pixels.
#include "runtime/groups/groups.h"

namespace ek {
namespace {

void run(const Step& step, int32_t first, int32_t end) {
  const LayerNormStep& c = step.layernorm;
  LayerNormArgs a = c.args;
  for (int32_t row = first; row < end; ++row) {
    a.x = c.args.x + row * c.x_row, a.y = c.args.y + row * c.y_row;
    c.run(a);
  }
}

ek_status plan_layernorm(const Plan& plan, const OpView& op, Step* step, Error*) {
  const Nhwc& y = plan.out(op).shape;
  step->kernel = select_layernorm(plan.cap)->row.name;
  step->strips = y.h;
  step->cycles = static_cast<double>(y.h) * y.w * (y.c * 2.0 + 40.0);
  return EK_OK;
}

void bind_layernorm(const Plan& plan, const OpView& op, Step* step, uint8_t*, uint8_t*) {
  const auto& p = op.as<LayerNormParams>();
  const ModelView& m = *plan.model;
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  LayerNormStep& c = step->layernorm;
  c.run = select_layernorm(plan.cap)->run;
  c.args = {x.pixel(),
            y.pixel(),
            x.shape.px,
            y.shape.px,
            y.shape.w,
            y.shape.c,
            p.epsilon,
            m.constant<float>(op.constants[0]),
            m.constant<float>(op.constants[1]),
            requant_of(y, p.lo, p.hi)};
  c.x_row = x.shape.row, c.y_row = y.shape.row;
  step->run = run;
}

}  // namespace

const Group kGroupLayerNorm = {plan_layernorm, bind_layernorm};

}  // namespace ek
