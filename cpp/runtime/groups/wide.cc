// SPDX-License-Identifier: Apache-2.0
/// Conv2D, DepthwiseConv2D, Affine (a window of one pixel), Add, Mul and Mean where an operand is 16-bit, in every mix
/// with 8-bit ones.
///
/// A convolution gathers the windows of a few pixels of an output row into planes of int16 (high bytes and low bytes,
/// or the values of an 8-bit input less their zero point) and multiplies them by all panels; a fully connected layer is
/// the window of one pixel. Weights beyond 8 bits are several kernels: their windows are the same rows again.
/// Longer than 300 lines: the drivers of a family, which agree on what an element and a result are.
#include <cstring>

#include "runtime/groups/groups.h"
#include "runtime/groups/panels.h"

namespace ek {
namespace {

constexpr int32_t kStripPixels = 8;  // gathered at once: each panel then meets as many before it leaves L1

WideOut out_of(const TensorPlan& y, int32_t lo, int32_t hi) { return {requant_of(y, lo, hi), y.elem == 2}; }

double size_of(const Nhwc& s) { return static_cast<double>(s.h) * s.w * s.c; }

/// Of a product: macs count it once all the same.
int32_t sums_of(const TensorPlan& x) { return x.elem == 2 ? 2 : 1; }

struct Choice {
  const WideKernel* kernel;
  PanelSizes panels;
  int32_t parts, pixels;
  int64_t k, padded;  // elements of a window, and in whole steps of the kernel
  uint64_t rows_bytes, plane_bytes;
};

Choice choose(const Plan& plan, const OpView& op) {
  const auto& p = op.as<Conv2DParams>();
  const Nhwc &x = plan.in(op).shape, &y = plan.out(op).shape;
  Choice c{};
  c.kernel = select_wide(plan.cap);
  c.parts = plan.model->constants[op.constants[0]].dims[1] / p.kh;
  c.k = int64_t{c.parts} * p.kh * p.kw * (x.c / p.groups);
  c.padded = (c.k + c.kernel->kr - 1) / c.kernel->kr * c.kernel->kr;
  c.pixels = y.w < kStripPixels ? y.w : kStripPixels;
  const uint64_t panel = wide_panel_bytes(*c.kernel, c.k);
  c.panels = {p.groups, y.c / p.groups, c.kernel->nr, panel, panel};
  c.rows_bytes = align_line(static_cast<uint64_t>(p.kh) * sizeof(uint8_t*));
  c.plane_bytes = align_line(2 * static_cast<uint64_t>(c.padded) * static_cast<uint64_t>(c.pixels) + kSlack);
  return c;
}

/// The windows of `count` pixels from pixel `first` of the row on, of group g.
void gather(const WideConvStep& c, int32_t first, int32_t count, int32_t g) {
  const ptrdiff_t k = c.args.k;
  for (int32_t i = 0; i < count; ++i) {
    int16_t* high = c.high + i * k;
    int16_t* low = c.low == nullptr ? nullptr : c.low + i * k;
    const ptrdiff_t at = (first + i) * c.a_px + g * c.in_group;
    for (int32_t row = 0; row < c.parts * c.kh; ++row) {
      for (int32_t run = 0; run < c.runs; ++run) {
        wide_split(c.rows[row % c.kh] + at + run * c.a_kx, c.run_length, c.zero, high, low);
        high += c.run_length;
        if (low != nullptr) low += c.run_length;
      }
    }
  }
}

void run_conv(const Step& step, int32_t first, int32_t end) {
  const WideConvStep& c = step.wide_conv;
  WideConvArgs a = c.args;
  for (int32_t s = first; s < end; ++s) {
    for (int32_t ky = 0; ky < c.kh; ++ky) c.rows[ky] = c.in.at(s * c.sy + ky * c.dy);
    for (int32_t g = 0; g < c.groups; ++g) {
      for (int32_t i = 0; i < c.m; i += c.pixels) {
        a.m = c.m - i < c.pixels ? c.m - i : c.pixels;
        gather(c, i, a.m, g);
        for (int32_t p = 0; p < c.panels.count; ++p) {
          const ptrdiff_t entry = (ptrdiff_t{g} * c.panels.count + p) * c.panels.nr;
          a.w = reinterpret_cast<const int8_t*>(c.panels.w + static_cast<size_t>(g) * c.panels.group_bytes +
                                                static_cast<size_t>(p) * c.panels.panel_bytes);
          a.bias = c.panels.bias + entry;
          a.scale = c.panels.scale + entry;
          a.n = p + 1 < c.panels.count ? c.panels.nr : c.panels.n_last;
          a.y = c.y.at(s) + i * a.y_px + g * c.y_group + p * c.y_panel;
          c.run(a);
        }
      }
    }
  }
}

void run_dwconv(const Step& step, int32_t first, int32_t end) {
  const WideDwConvStep& c = step.wide_dwconv;
  WideDwConvArgs a = c.args;
  for (int32_t s = first; s < end; ++s) {
    for (int32_t ky = 0; ky < a.kh; ++ky) c.rows[ky] = c.in.at(s * c.sy + ky % c.kh * c.dy);
    a.y = c.y.at(s);
    c.run(a);
  }
}

void run_pair(const Step& step, int32_t first, int32_t end) {
  const WidePairStep& c = step.wide_pair;
  WidePairArgs a = c.args;
  for (int32_t s = first; s < end; ++s) {
    a.a = c.args.a + s * c.a_row, a.b = c.args.b + s * c.b_row, a.y = c.args.y + s * c.y_row;
    c.run(a);
  }
}

void run_mean(const Step& step, int32_t, int32_t) { step.wide_mean.run(step.wide_mean.args); }

}  // namespace

bool is_wide(const Plan& plan, const OpView& op) {
  for (const uint32_t t : op.inputs) {
    if (plan.tensors[t].elem == 2) return true;
  }
  return plan.out(op).elem == 2;
}

ek_status plan_wide_conv(const Plan& plan, const OpView& op, Step* step, Error*) {
  const TensorPlan& x = plan.in(op);
  const Nhwc& y = plan.out(op).shape;
  const Choice c = choose(plan, op);
  step->kernel = c.kernel->row.name;
  step->strips = y.h;
  step->macs = static_cast<uint64_t>(size_of(y)) * static_cast<uint64_t>(c.k / c.parts);
  step->cycles = size_of(y) * static_cast<double>(c.k) * sums_of(x) / 4.0;
  step->weights_bytes = c.panels.bytes();
  step->scratch_bytes = c.rows_bytes + static_cast<uint64_t>(sums_of(x)) * c.plane_bytes;
  return EK_OK;
}

void bind_wide_conv(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch) {
  const auto& p = op.as<Conv2DParams>();
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  const Choice choice = choose(plan, op);
  const int32_t channels = x.shape.c / p.groups, columns = y.shape.c / p.groups;
  const bool dense = p.groups == 1 && p.dw == 1 && x.shape.px == x.elem * x.shape.c;  // a kernel row is one run
  WideConvStep& c = step->wide_conv;
  c = {};
  c.run = choice.kernel->conv;
  c.rows = reinterpret_cast<const uint8_t**>(scratch);
  c.high = reinterpret_cast<int16_t*>(scratch + choice.rows_bytes);
  if (x.elem == 2) c.low = reinterpret_cast<int16_t*>(scratch + choice.rows_bytes + choice.plane_bytes);
  c.in = x.taps(p.top, p.left);
  c.y = y.rows();
  c.in_group = ptrdiff_t{x.elem} * channels;
  c.y_group = ptrdiff_t{y.elem} * columns;
  c.y_panel = ptrdiff_t{y.elem} * choice.kernel->nr;
  c.a_px = ptrdiff_t{p.sw} * x.shape.px;
  c.a_kx = ptrdiff_t{p.dw} * x.shape.px;
  c.m = y.shape.w, c.pixels = choice.pixels, c.groups = p.groups;
  c.parts = choice.parts, c.kh = p.kh;
  c.runs = dense ? 1 : p.kw;
  c.run_length = dense ? p.kw * channels : channels;
  c.sy = p.sh, c.dy = p.dh, c.zero = x.zero;
  c.args.high = c.high, c.args.low = c.low;
  c.args.k = static_cast<int32_t>(choice.padded);
  c.args.out = out_of(y, p.lo, p.hi);
  c.args.y_px = y.shape.px;
  const ModelView& m = *plan.model;
  c.panels = pack_panels(
      choice.panels, weights, plan.packed, [&](int32_t first, int32_t count, void* panel, int32_t* bias, float* scale) {
        wide_pack(*choice.kernel, m.constant<int8_t>(op.constants[0]), choice.k, m.constant<int32_t>(op.constants[1]),
                  m.constant<float>(op.constants[2]), first, count, panel, bias, scale);
      });
  step->run = run_conv;
}

namespace {

/// The window of a depthwise convolution, `rows` of it with the parts of its weights; of an affine 1 x 1.
struct Window {
  int32_t rows, kh, kw, sh, sw, dh, dw, top, left, lo, hi;
};

void bind_deep(const Plan& plan, const OpView& op, const Window& p, Step* step, uint8_t* weights, uint8_t* scratch) {
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  const ModelView& m = *plan.model;
  const auto channels = static_cast<size_t>(x.shape.c), lanes = static_cast<size_t>(round_up(x.shape.c, kWideLanes));
  const size_t taps = static_cast<size_t>(p.rows) * static_cast<size_t>(p.kw);
  auto* bias = reinterpret_cast<int32_t*>(weights + align_line(lanes * taps));
  auto* scale = reinterpret_cast<float*>(weights + align_line(lanes * taps) + align_line(4 * lanes));
  for (size_t t = 0; t < taps && !plan.packed; ++t) {  // behind the last channel: zeros of the block of memory
    std::memcpy(weights + t * lanes, m.constant<int8_t>(op.constants[0]) + t * channels, channels);
  }
  if (!plan.packed) {
    std::memcpy(bias, m.constant<int32_t>(op.constants[1]), 4 * channels);
    std::memcpy(scale, m.constant<float>(op.constants[2]), 4 * channels);
  }
  WideDwConvStep& c = step->wide_dwconv;
  c = {};
  c.run = select_wide(plan.cap)->dwconv;
  c.rows = reinterpret_cast<const uint8_t**>(scratch);
  c.in = x.taps(p.top, p.left);
  c.y = y.rows();
  c.kh = p.kh, c.sy = p.sh, c.dy = p.dh;
  c.args.kh = p.rows, c.args.kw = p.kw;
  c.args.sx = ptrdiff_t{p.sw} * x.shape.px, c.args.dx = ptrdiff_t{p.dw} * x.shape.px;
  c.args.m = y.shape.w, c.args.c = x.shape.c;
  c.args.rows = c.rows;
  c.args.s16 = x.elem == 2, c.args.zero = x.zero;
  c.args.w = reinterpret_cast<const int8_t*>(weights), c.args.bias = bias, c.args.scale = scale;
  c.args.out = out_of(y, p.lo, p.hi);
  c.args.y_px = y.shape.px;
  step->run = run_dwconv;
}

void plan_deep(const Plan& plan, const OpView& op, int32_t rows, int32_t kh, int32_t kw, Step* step) {
  const Nhwc& y = plan.out(op).shape;
  const auto lanes = static_cast<uint64_t>(round_up(y.c, kWideLanes));
  step->kernel = select_wide(plan.cap)->row.name;
  step->strips = y.h;
  step->macs = static_cast<uint64_t>(size_of(y)) * static_cast<uint64_t>(kh) * static_cast<uint64_t>(kw);
  step->cycles = size_of(y) * rows * kw * sums_of(plan.in(op)) / 2.0;
  step->weights_bytes =
      align_line(lanes * static_cast<uint64_t>(rows) * static_cast<uint64_t>(kw)) + 2 * align_line(4 * lanes);
  step->scratch_bytes = static_cast<uint64_t>(rows) * sizeof(uint8_t*);
}

}  // namespace

ek_status plan_wide_dwconv(const Plan& plan, const OpView& op, Step* step, Error*) {
  const auto& p = op.as<DepthwiseConv2DParams>();
  plan_deep(plan, op, plan.model->constants[op.constants[0]].dims[0], p.kh, p.kw, step);
  return EK_OK;
}

void bind_wide_dwconv(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch) {
  const auto& p = op.as<DepthwiseConv2DParams>();
  const int32_t rows = plan.model->constants[op.constants[0]].dims[0];
  bind_deep(plan, op, {rows, p.kh, p.kw, p.sh, p.sw, p.dh, p.dw, p.top, p.left, p.lo, p.hi}, step, weights, scratch);
}

ek_status plan_wide_affine(const Plan& plan, const OpView& op, Step* step, Error*) {
  plan_deep(plan, op, 1, 1, 1, step);
  return EK_OK;
}

void bind_wide_affine(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch) {
  const auto& p = op.as<AffineParams>();
  bind_deep(plan, op, {1, 1, 1, 1, 1, 1, 1, 0, 0, p.lo, p.hi}, step, weights, scratch);
}

ek_status plan_wide_pair(const Plan& plan, const OpView& op, Step* step, Error*) {
  const Nhwc& y = plan.out(op).shape;
  step->kernel = select_wide(plan.cap)->row.name;
  step->strips = y.h;
  step->cycles = 2.0 * size_of(y);
  return EK_OK;
}

namespace {

WidePairStep& bind_pair(const Plan& plan, const OpView& op, int32_t lo, int32_t hi, Step* step) {
  const TensorPlan &a = plan.in(op), &b = plan.in(op, 1), &y = plan.out(op);
  WidePairStep& c = step->wide_pair;
  c = {};
  c.a_row = a.shape.row, c.b_row = b.shape.row, c.y_row = y.shape.row;
  c.args.a = a.pixel(), c.args.b = b.pixel(), c.args.y = y.pixel();
  c.args.a_px = a.shape.px, c.args.b_px = b.shape.px, c.args.y_px = y.shape.px;
  c.args.pixels = y.shape.w, c.args.c = y.shape.c;
  c.args.a_s16 = a.elem == 2, c.args.b_s16 = b.elem == 2;
  c.args.za = a.zero, c.args.zb = b.zero;
  c.args.out = out_of(y, lo, hi);
  step->run = run_pair;
  return c;
}

}  // namespace

void bind_wide_add(const Plan& plan, const OpView& op, Step* step, uint8_t*, uint8_t*) {
  const auto& p = op.as<AddParams>();
  WidePairStep& c = bind_pair(plan, op, p.lo, p.hi, step);
  c.run = select_wide(plan.cap)->add;
  std::memcpy(&c.args.ra, &p.m, sizeof c.args.ra);
  std::memcpy(&c.args.rb, &p.n, sizeof c.args.rb);
}

void bind_wide_mul(const Plan& plan, const OpView& op, Step* step, uint8_t*, uint8_t*) {
  const auto& p = op.as<MulParams>();
  const Nhwc &b = plan.in(op, 1).shape, &y = plan.out(op).shape;
  WidePairStep& c = bind_pair(plan, op, p.lo, p.hi, step);
  c.run = select_wide(plan.cap)->mul;
  c.args.ra = p.m;
  if (b.h != y.h || b.w != y.w) c.args.b_px = c.b_row = 0;  // every pixel meets the one of b
}

ek_status plan_wide_mean(const Plan& plan, const OpView& op, Step* step, Error*) {
  step->kernel = select_wide(plan.cap)->row.name;
  step->strips = 1;
  step->cycles = 2.0 * size_of(plan.in(op).shape);
  return EK_OK;
}

void bind_wide_mean(const Plan& plan, const OpView& op, Step* step, uint8_t*, uint8_t*) {
  const auto& p = op.as<MeanParams>();
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  step->wide_mean = {{x.pixel(), x.shape, x.elem == 2, x.zero, p.m, out_of(y, p.lo, p.hi), y.pixel()},
                     select_wide(plan.cap)->mean};
  step->run = run_mean;
}

}  // namespace ek
