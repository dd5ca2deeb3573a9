// SPDX-License-Identifier: Apache-2.0
/// Conv2D by winograd: 3x3, stride 1, one group, int8 weights. A strip is as many rows of 2x2 tiles as make about 32
/// tiles, and each weight is read once for all of them.
#include <limits>

#include "runtime/groups/groups.h"
#include "runtime/groups/panels.h"

namespace ek {
namespace {

constexpr int32_t kTilesPerStrip = 32;
constexpr uint64_t kNearWeights = 512 << 10;  // beyond them each core reads its own: threads share panels, not strips
constexpr int32_t kPlanePad = 32;  // elements between planes: a distance of 4096 bytes would meet one set of L1

struct Choice {
  const WinogradKernel* kernel;  ///< null: not one
  WinogradProblem problem;
  int32_t kc, tile_rows, tile_columns;
  PanelSizes panels;
  bool by_panel;  ///< the step's strips are panels
  uint64_t rows_bytes, v_bytes, sums_bytes;

  int32_t strips() const { return ((problem.h + 1) / 2 + tile_rows - 1) / tile_rows; }
  int32_t tiles() const { return tile_rows * tile_columns; }
  ptrdiff_t v_plane() const { return ptrdiff_t{tiles()} * kc + kPlanePad; }
};

Choice choose(const Plan& plan, const OpView& op) {
  const auto& p = op.as<Conv2DParams>();
  const Nhwc &x = plan.in(op).shape, &y = plan.out(op).shape;
  Choice c{};
  const bool square = p.kh == 3 && p.kw == 3 && p.sh == 1 && p.sw == 1 && p.dh == 1 && p.dw == 1 && p.groups == 1;
  const bool fused = plan.in(op).ring_rows != 0 || plan.out(op).ring_rows != 0;
  if (!square || fused || plan.model->constants[op.constants[0]].dims[1] != p.kh) return c;
  c.problem = {y.h, y.w, x.c, y.c};
  c.kernel = select_winograd(c.problem, plan.cap);
  if (c.kernel == nullptr) return c;
  c.kc = round_up(x.c, kWinogradChannelAlign);
  c.tile_columns = (y.w + 1) / 2;
  c.tile_rows = kTilesPerStrip / c.tile_columns;
  if (c.tile_rows < 1) c.tile_rows = 1;
  if (c.tile_rows > (y.h + 1) / 2) c.tile_rows = (y.h + 1) / 2;
  c.panels = {1, y.c, c.kernel->nr, 0, 0};
  c.panels.full = c.panels.last = winograd_panel_bytes(*c.kernel, c.kc);
  c.by_panel = plan.threads > 1 && (c.strips() < plan.threads || c.panels.bytes() > kNearWeights);
  c.rows_bytes = align_line((2 * static_cast<uint64_t>(c.tile_rows) + 2) * sizeof(uint8_t*));
  c.v_bytes = align_line(16 * static_cast<uint64_t>(c.v_plane()) * sizeof(int16_t));
  c.sums_bytes = 16 * static_cast<uint64_t>(c.tiles()) * static_cast<uint64_t>(c.kernel->nr) * sizeof(int32_t);
  return c;
}

/// A part of the work: strips [first, end) with panels [panel, panel_end).
void multiply(const WinogradStep& c, int32_t first, int32_t end, int32_t panel, int32_t panel_end) {
  WinogradArgs a = c.args;
  for (int32_t s = first; s < end; ++s) {
    const int32_t tile_row = s * c.tile_rows, rest = (c.h + 1) / 2 - tile_row;
    a.tile_rows = rest < c.tile_rows ? rest : c.tile_rows;
    a.h = c.h - 2 * tile_row < 2 * a.tile_rows ? c.h - 2 * tile_row : 2 * a.tile_rows;
    for (int32_t i = 0; i < 2 * a.tile_rows + 2; ++i) {  // no row behind the last: only outputs not stored meet it
      const int32_t row = 2 * tile_row + i;
      c.rows[i] = c.in.at(row < c.h + 2 ? row : c.h + 1);
    }
    c.transform(a);
    for (int32_t p = panel; p < panel_end; ++p) {
      a.w = reinterpret_cast<const int16_t*>(c.panels.w + static_cast<size_t>(p) * c.panels.panel_bytes);
      a.bias = c.panels.bias + ptrdiff_t{p} * c.panels.nr;
      a.scale = c.panels.scale + ptrdiff_t{p} * c.panels.nr;
      a.n = p + 1 < c.panels.count ? c.panels.nr : c.panels.n_last;
      a.y = c.y.at(2 * tile_row) + ptrdiff_t{p} * c.panels.nr;
      c.multiply(a);
    }
  }
}

void by_strip(const Step& step, int32_t first, int32_t end) {
  multiply(step.winograd, first, end, 0, step.winograd.panels.count);
}

void by_panel(const Step& step, int32_t first, int32_t end) {
  multiply(step.winograd, 0, step.winograd.strips, first, end);
}

}  // namespace

double winograd_cycles(const Plan& plan, const OpView& op) {
  const Choice c = choose(plan, op);
  return c.kernel == nullptr ? std::numeric_limits<double>::infinity() : c.kernel->cycles(c.problem);
}

void plan_winograd(const Plan& plan, const OpView& op, Step* step) {
  const Choice c = choose(plan, op);
  step->kernel = c.kernel->row.name;
  step->cycles = c.kernel->cycles(c.problem);
  step->strips = c.by_panel ? c.panels.count() : c.strips();
  step->weights_bytes = c.panels.bytes();
  step->scratch_bytes = c.rows_bytes + c.v_bytes + c.sums_bytes;
}

void bind_winograd(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch) {
  const auto& p = op.as<Conv2DParams>();
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  const Choice choice = choose(plan, op);
  WinogradStep& c = step->winograd;
  c = {};
  c.transform = choice.kernel->transform, c.multiply = choice.kernel->multiply;
  c.rows = reinterpret_cast<const uint8_t**>(scratch);
  c.in = x.taps(p.top, p.left);
  c.y = y.rows();
  c.h = y.shape.h, c.strips = choice.strips(), c.tile_rows = choice.tile_rows;
  c.args.rows = c.rows;
  c.args.columns = y.shape.w + 2;
  c.args.in_px = x.shape.px;
  c.args.kc = choice.kc;
  c.args.tile_columns = choice.tile_columns;
  c.args.v = reinterpret_cast<int16_t*>(scratch + choice.rows_bytes);
  c.args.v_plane = choice.v_plane();
  c.args.sums = reinterpret_cast<int32_t*>(scratch + choice.rows_bytes + choice.v_bytes);
  c.args.out = requant_of(y, p.lo, p.hi);
  c.args.y_row = y.shape.row, c.args.y_px = y.shape.px;
  c.args.w_out = y.shape.w;
  const ModelView& m = *plan.model;
  c.panels = pack_panels(choice.panels, weights, plan.packed,
                         [&](int32_t first, int32_t columns, void* panel, int32_t* bias, float* scale) {
                           winograd_pack(*choice.kernel, m.constant<int8_t>(op.constants[0]), x.shape.c,
                                         m.constant<int32_t>(op.constants[1]), m.constant<float>(op.constants[2]),
                                         first, columns, x.zero, static_cast<int16_t*>(panel), bias, scale);
                         });
  step->run = choice.by_panel ? by_panel : by_strip;
}

}  // namespace ek
