// SPDX-License-Identifier: Apache-2.0
/// Softmax over the last axis, one call per pixel.
#include "runtime/groups/groups.h"

namespace ek {
namespace {

void run(const Step& step, int32_t first, int32_t end) {
  const SoftmaxStep& c = step.softmax;
  SoftmaxArgs a = c.args;
  for (int32_t row = first; row < end; ++row) {
    for (int32_t pixel = 0; pixel < c.pixels; ++pixel) {
      a.x = c.args.x + row * c.x_row + pixel * c.x_px;
      const ptrdiff_t y = row * c.y_row + pixel * c.y_px;
      if (c.args.p != nullptr) {
        a.p = reinterpret_cast<float*>(reinterpret_cast<uint8_t*>(c.args.p) + y);
      } else {
        a.y = c.args.y + y;
      }
      c.run(a);
    }
  }
}

ek_status plan_softmax(const Plan& plan, const OpView& op, Step* step, Error*) {
  const Nhwc& y = plan.out(op).shape;
  step->kernel = select_softmax(plan.cap)->row.name;
  step->strips = y.h;
  step->cycles = static_cast<double>(y.h) * y.w * (y.c * 4.0 + 20.0);
  return EK_OK;
}

void bind_softmax(const Plan& plan, const OpView& op, Step* step, uint8_t*, uint8_t*) {
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  SoftmaxStep& c = step->softmax;
  c = {};
  c.run = select_softmax(plan.cap)->run;
  c.args.x = x.pixel();
  c.args.c = x.shape.c;
  c.args.table = plan.model->constant<uint32_t>(op.constants[0]);
  if (y.elem == 4) {
    c.args.p = reinterpret_cast<float*>(y.pixel());
  } else {
    c.args.y = y.pixel();
    c.args.s_out = y.scale;
    c.args.out = requant_of(y, -128, 127);
  }
  c.pixels = x.shape.w;
  c.x_row = x.shape.row, c.x_px = x.shape.px, c.y_row = y.shape.row, c.y_px = y.shape.px;
  step->run = run;
}

}  // namespace

const Group kGroupSoftmax = {plan_softmax, bind_softmax};

}  // namespace ek
