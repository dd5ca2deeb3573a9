// SPDX-License-Identifier: Apache-2.0
#include "runtime/groups/conv_shape.h"

#include <algorithm>

namespace ek {
namespace {

constexpr int32_t kTogetherPixels = 64;           // multiplied at once
constexpr uint64_t kTogetherBytes = 16 << 10;     // of their output

}  // namespace

ConvShape conv_shape(const Plan& plan, const OpView& op) {
  const auto& p = op.as<Conv2DParams>();
  const Nhwc &x = plan.in(op).shape, &y = plan.out(op).shape;
  const ConstantRecord& w = plan.model->constants[op.constants[0]];
  ConvShape s{p.kh,
              p.kw,
              x.c / p.groups,
              w.dims[1] / p.kh,
              y.h,
              y.w,
              y.w,
              p.sh,
              ptrdiff_t{p.sw} * x.px,
              ptrdiff_t{p.dw} * x.px,
              x.row,
              y.row,
              0,
              0,
              p.kh == 1 && p.kw == 1 && p.sh == 1 && p.sw == 1 && p.top + p.left == 0 && y.h == x.h && y.w == x.w,
              false};
  const bool no_halo = plan.in(op).contiguous() && x.top + x.bottom == 0;
  const bool dense = p.groups == 1 && x.px == x.c && p.dw == 1;
  if (dense && no_halo && p.kh == x.h && p.kw == x.w && p.dh == 1) {
    s.kc *= p.kh * p.kw;
    s.kh = s.kw = 1;
  } else if (dense) {
    s.kc *= p.kw;
    s.kw = 1;
  }
  s.wide_count = s.wide_count_last = ((y.w - 1) * p.sw + (s.kw - 1) * p.dw) * x.px + (p.groups == 1 ? s.kc : x.c);
  const TensorPlan &from = plan.in(op), &to = plan.out(op);
  if (s.pointwise && from.contiguous() && to.contiguous()) {
    s.strips = 1;
    s.m = s.m_last = y.h * y.w;
    s.long_row = true;
  }
  return s;
}

void cut_long_row(const Nhwc& x, const Nhwc& y, int32_t most, ConvShape* s) {
  const int32_t pixels = s->m;
  s->m = pixels < most ? pixels : most;
  s->strips = (pixels + s->m - 1) / s->m;
  s->m_last = pixels - (s->strips - 1) * s->m;
  s->in_row = ptrdiff_t{s->m} * x.px;
  s->y_strip = ptrdiff_t{s->m} * y.px;
  s->sy = 1;
  s->wide_count = (s->m - 1) * x.px + x.c;
  s->wide_count_last = (s->m_last - 1) * x.px + x.c;
}

int32_t rows_together(const Plan& plan, const OpView& op, const ConvShape& s) {
  const TensorPlan &from = plan.in(op), &to = plan.out(op);
  const int32_t columns = to.shape.c, groups = op.as<Conv2DParams>().groups;
  if (!s.pointwise || s.long_row || s.parts != 1 || groups != 1 || !from.contiguous() || to.shape.px != columns)
    return 1;
  if (static_cast<uint64_t>(columns) * static_cast<uint64_t>(s.kc) > kL2Weights) return 1;
  const auto most =
      static_cast<int32_t>(kTogetherBytes / (static_cast<uint64_t>(s.m) * static_cast<uint64_t>(columns)));
  int32_t rows = std::min(std::min(kTogetherPixels / s.m, most), s.strips);
  if (from.ring_rows != 0) rows = std::min(rows, from.ring_rows);
  if (to.ring_rows != 0) {  // what its reader asks for at once
    const Reach reach = reach_of(plan.model->op(to.reader));
    rows = std::min(rows, ((to.ring_rows - reach.window) / reach.sy + 1) * reach.sy);
  }
  return rows < 2 ? 1 : alike(s.strips, rows);
}

}  // namespace ek
