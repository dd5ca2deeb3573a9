// SPDX-License-Identifier: Apache-2.0
/// Resize2D: one call per output row.
#include "runtime/groups/groups.h"

namespace ek {
namespace {

void run(const Step& step, int32_t first, int32_t end) {
  const InterpolateStep& c = step.interpolate;
  InterpolateArgs a = c.args;
  for (int32_t s = first; s < end; ++s) {
    a.weight = c.rows[s] & 2047;
    a.top = c.args.top + (c.rows[s] >> 11) * c.x_row;
    a.bottom = a.weight != 0 ? a.top + c.x_row : a.top;
    a.y = c.args.y + s * c.y_row;
    c.run(a);
  }
}

ek_status plan_resize(const Plan& plan, const OpView& op, Step* step, Error*) {
  const Nhwc& y = plan.out(op).shape;
  step->kernel = select_interpolate(plan.cap)->row.name;
  step->strips = y.h;
  step->cycles = static_cast<double>(y.h) * y.w * (y.c + 4.0);
  return EK_OK;
}

void bind_resize(const Plan& plan, const OpView& op, Step* step, uint8_t*, uint8_t*) {
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  InterpolateStep& c = step->interpolate;
  c = {};
  c.args.top = x.pixel();
  c.args.columns = plan.model->constant<int32_t>(op.constants[1]);
  c.args.m = y.shape.w;
  c.args.c = y.shape.c;
  c.args.x_px = x.shape.px;
  c.args.y_px = y.shape.px;
  c.args.y = y.pixel();
  c.run = select_interpolate(plan.cap)->run;
  c.rows = plan.model->constant<int32_t>(op.constants[0]);
  c.x_row = x.shape.row;
  c.y_row = y.shape.row;
  step->run = run;
}

}  // namespace

const Group kGroupResize2D = {plan_resize, bind_resize};

}  // namespace ek
