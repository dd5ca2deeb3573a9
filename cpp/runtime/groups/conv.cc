// SPDX-License-Identifier: Apache-2.0
/// Conv2D by qgemm: dense, grouped, dilated and 1x1 convolution, and fully connected layers.
///
/// conv_shape.h turns the geometry into strips.
///
/// Weights beyond 8 bits (a source model's with zero points) are the sum of several kernels, one below the other: the
/// GEMM gets the same input rows once for each, and its kernels know nothing of it.
///
/// Threads share a convolution by strips, a long row cut into one piece for each, or by panels where that divides
/// better: small images, and a fully connected layer, which is one pixel. By panels, each core reads its own weights.
/// conv_run.cc has the loops.
#include <algorithm>

#include "runtime/groups/conv_shape.h"
#include "runtime/groups/groups.h"
#include "runtime/groups/panels.h"

namespace ek {

uint8_t conv_facts(const Plan& plan, const OpView& op) {
  return plan.weight_facts(op, [&] {
    const ModelView& m = *plan.model;
    const ConstantRecord& record = m.constants[op.constants[0]];
    const auto* w = m.constant<int8_t>(op.constants[0]);
    const int32_t columns = plan.out(op).shape.c;  // of all groups: each has the same number of weights
    const bool unbounded =
        qgemm_unbounded(w, columns, static_cast<int32_t>(record.size / static_cast<uint64_t>(columns)),
                        m.constant<int32_t>(op.constants[1]), m.constant<float>(op.constants[2]));
    return (has_minus_128(w, record.size) ? kMinus128 : 0) | (unbounded ? kUnbounded : 0);
  });
}

namespace {

constexpr int32_t kWideStrip = 192;  // pixels per strip of a long row that must be widened first
constexpr uint64_t kWideBytes = 96 << 10;    // widened rows of a batch: beside a panel they stay in a small L2
constexpr double kCopyRow = 10.0, kCopyLine = 0.5;  // cycles to copy a row and each 16 bytes of it

/// Everything that both halves of the plan derive from the op.
struct Choice {
  ConvShape shape;
  bool by_panel;  // the step's strips are panels of all groups, each with every strip of the shape
  int32_t together;  // rows multiplied as one; 0: each by itself
  const QGemmKernel* kernel;
  PanelSizes panels;
  double cycles;
  int32_t wide_batch, wide_rows;  // strips that share a pass over the weights, and the rows that they read
  uint64_t wide_row;              // elements of one widened row, slack included

  /// Scratch: row pointers, then widened rows, then the pixels' own terms.
  uint64_t rows_bytes() const { return align_line(static_cast<uint64_t>(shape.rows()) * sizeof(uint8_t*)); }
  uint64_t wide_bytes() const {
    return kernel->elem == Elem::kS16 ? static_cast<uint64_t>(wide_rows) * wide_row * 2 + 2 * kSlack : 0;
  }
  uint64_t terms_bytes() const {
    if (kernel->a_terms == nullptr) return 0;
    return static_cast<uint64_t>(wide_batch) * static_cast<uint64_t>(shape.m) * sizeof(int32_t);
  }
  uint64_t spread_bytes() const {
    return static_cast<uint64_t>(together) * static_cast<uint64_t>(shape.m) * static_cast<uint64_t>(panels.columns);
  }
};

/// Strips per pass over the weights of an s16 row.
int32_t batch_of(const Plan& plan, const OpView& op, const Choice& c, int32_t window) {
  if (plan.in(op).ring_rows + plan.out(op).ring_rows != 0 || c.panels.bytes() <= kL2Weights) return 1;
  const auto rows = static_cast<int32_t>(kWideBytes / (2 * c.wide_row));
  const int32_t strips = rows > window ? (rows - window) / c.shape.sy + 1 : 1;
  if (strips >= c.shape.strips) return c.shape.strips;
  const int32_t batches = (c.shape.strips + strips - 1) / strips;
  return (c.shape.strips + batches - 1) / batches;
}

/// Predicted cycles of the thread with most to do, where `units` of so many cycles are shared.
double slowest(int32_t units, double cycles, int32_t threads) {
  return static_cast<double>((units + threads - 1) / threads) * cycles;
}

/// Pixels of the long row that each thread gets.
int32_t piece(const Plan& plan, const ConvShape& s) { return (s.m + plan.threads - 1) / plan.threads; }

/// Whether the plan's threads are done earlier when they share the panels than when they share the strips.
bool shares_panels(const Plan& plan, const QGemmKernel& kernel, const QGemmProblem& problem, int32_t groups,
                   const ConvShape& s) {
  const int32_t panels = groups * ((problem.n + kernel.nr - 1) / kernel.nr);
  QGemmProblem one = problem;
  one.n = problem.n < kernel.nr ? problem.n : kernel.nr;
  const double by_panel = slowest(panels, kernel.cycles(one) * s.strips, plan.threads);
  one = problem;
  if (s.long_row) one.m = piece(plan, s);
  const double whole = kernel.cycles(one) * groups;
  return by_panel < (s.long_row ? whole : slowest(s.strips, whole, plan.threads));
}

/// Lets `c` multiply rows together where a row of bytes is predicted to take fewer cycles so.
void join_rows(const Plan& plan, const OpView& op, const QGemmProblem& problem, Choice* c) {
  const int32_t rows = rows_together(plan, op, c->shape);
  if (rows == 1) return;
  QGemmProblem joined = problem;
  joined.m = rows * c->shape.m;
  const QGemmKernel* kernel = select_qgemm(joined, plan.cap);
  const double copy = kCopyRow + kCopyLine / 16.0 * c->shape.m * problem.n;
  const double cycles = (kernel->cycles(joined) / rows + copy) * c->shape.strips;
  if (kernel->elem != Elem::kU8 || cycles >= c->cycles) return;
  c->kernel = kernel, c->cycles = cycles, c->together = rows;
}

Choice choose(const Plan& plan, const OpView& op) {
  const auto& p = op.as<Conv2DParams>();
  const Nhwc &x = plan.in(op).shape, &y = plan.out(op).shape;
  Choice c{};
  c.shape = conv_shape(plan, op);
  const TensorPlan &from = plan.in(op), &to = plan.out(op);
  const bool kept = from.ring_rows + to.ring_rows != 0;  // of a group, which counts in strips
  if (c.shape.long_row && kept) cut_long_row(x, y, x.w * std::max(from.strip_rows, to.strip_rows), &c.shape);
  const uint8_t facts = conv_facts(plan, op);
  const int32_t columns = y.c / p.groups;
  const QGemmProblem problem{c.shape.m,
                             columns,
                             c.shape.rows() * c.shape.kw * c.shape.kc,
                             (facts & kMinus128) != 0,
                             c.shape.rows() * c.shape.kw,
                             (facts & kUnbounded) != 0};
  c.kernel = select_qgemm(problem, plan.cap);
  c.cycles = c.kernel->cycles(problem) * c.shape.strips * p.groups;
  c.by_panel = plan.threads > 1 && !kept && shares_panels(plan, *c.kernel, problem, p.groups, c.shape);
  if (!c.by_panel) join_rows(plan, op, problem, &c);
  const bool wide = c.kernel->elem == Elem::kS16;
  int32_t most = c.by_panel ? c.shape.m : piece(plan, c.shape);
  if (wide && most > kWideStrip) most = alike(most, kWideStrip);
  if (c.shape.long_row && !kept && (wide || most < c.shape.m)) cut_long_row(x, y, most, &c.shape);
  const ConvShape& s = c.shape;
  c.panels = {p.groups, columns, c.kernel->nr, 0, 0};
  c.panels.full = qgemm_panel_bytes(*c.kernel, s.rows(), s.kw, s.kc, columns < c.kernel->nr ? columns : c.kernel->nr);
  c.panels.last = qgemm_panel_bytes(*c.kernel, s.rows(), s.kw, s.kc, c.panels.n_last());
  c.wide_row = align_line(2 * static_cast<uint64_t>(s.wide_count) + kSlack) / 2;
  const int32_t window = (s.kh - 1) * p.dh + 1;
  c.wide_batch = batch_of(plan, op, c, window);
  c.wide_rows = (c.wide_batch - 1) * s.sy + window;
  return c;
}

enum class Way : uint8_t { kGemm, kFirst, kWinograd };

/// The way of least predicted cycles.
Way way_of(const Plan& plan, const OpView& op, const Choice& c) {
  const double dense = firstconv_cycles(plan, op), tiled = winograd_cycles(plan, op);
  if (dense < c.cycles && dense <= tiled) return Way::kFirst;
  return tiled < c.cycles ? Way::kWinograd : Way::kGemm;
}

ek_status plan_conv(const Plan& plan, const OpView& op, Step* step, Error* error) {
  if (is_wide(plan, op)) return plan_wide_conv(plan, op, step, error);
  const auto& p = op.as<Conv2DParams>();
  const Nhwc &x = plan.in(op).shape, &y = plan.out(op).shape;
  const Choice c = choose(plan, op);
  step->macs = static_cast<uint64_t>(y.h) * static_cast<uint64_t>(y.w) * static_cast<uint64_t>(y.c) *
               static_cast<uint64_t>(p.kh) * static_cast<uint64_t>(p.kw) * static_cast<uint64_t>(x.c / p.groups);
  const Way way = way_of(plan, op, c);
  if (way == Way::kFirst) return plan_firstconv(plan, op, step, error);
  if (way == Way::kWinograd) {
    plan_winograd(plan, op, step);
    return EK_OK;
  }
  step->kernel = c.kernel->row.name;
  step->cycles = c.cycles;
  step->strips = c.by_panel ? p.groups * c.panels.count() : c.shape.strips;
  step->weights_bytes = c.panels.bytes();
  step->scratch_bytes = c.rows_bytes() + c.wide_bytes() + c.terms_bytes() + c.spread_bytes();
  return EK_OK;
}

void bind_conv(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch) {
  if (is_wide(plan, op)) return bind_wide_conv(plan, op, step, weights, scratch);
  const auto& p = op.as<Conv2DParams>();
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  const Choice choice = choose(plan, op);
  const Way way = way_of(plan, op, choice);
  if (way == Way::kFirst) return bind_firstconv(plan, op, step, weights, scratch);
  if (way == Way::kWinograd) return bind_winograd(plan, op, step, weights, scratch);
  const ConvShape& s = choice.shape;
  const bool wide = choice.kernel->elem == Elem::kS16;
  const ptrdiff_t elem = wide ? 2 : 1;
  ConvStep& c = step->conv;
  c = {};
  c.run = choice.kernel->run;
  c.rows = reinterpret_cast<const uint8_t**>(scratch);
  c.in = x.taps(p.top, p.left);
  if (s.long_row && x.ring_rows != 0) c.in = x.strips(c.in);
  c.in.step = s.in_row;
  c.in_group = x.shape.c / p.groups;
  c.y = s.long_row && y.ring_rows != 0 ? y.strips(y.rows()) : y.rows();
  c.y.step = s.y_strip;
  c.y_group = y.shape.c / p.groups;
  c.strips = s.strips, c.m = s.m, c.m_last = s.m_last;
  c.groups = p.groups;
  c.kh = s.kh, c.sy = s.sy, c.dy = p.dh;
  c.widen = wide ? select_widen(plan.cap) : nullptr;
  c.wide = reinterpret_cast<int16_t*>(scratch + choice.rows_bytes() + kSlack);
  c.wide_row = static_cast<ptrdiff_t>(choice.wide_row);
  c.wide_batch = choice.wide_batch, c.wide_rows = choice.wide_rows;
  c.wide_window = (s.kh - 1) * p.dh + 1;
  c.wide_count = s.wide_count, c.wide_count_last = s.wide_count_last;
  c.a_terms = choice.kernel->a_terms;
  c.terms = reinterpret_cast<int32_t*>(scratch + choice.rows_bytes() + choice.wide_bytes());
  c.together = choice.together;
  c.spread = scratch + choice.rows_bytes();  // its rows have no widened ones

  c.args.rows = c.rows;
  c.args.kh = s.rows(), c.args.kw = s.kw, c.args.kc = s.kc;
  c.args.a_px = s.a_px * elem, c.args.a_kx = s.a_kx * elem;
  c.args.out = requant_of(y, p.lo, p.hi);
  c.args.y_px = y.shape.px;

  const ModelView& m = *plan.model;
  c.panels = pack_panels(choice.panels, weights, plan.packed,
                         [&](int32_t first, int32_t columns, void* panel, int32_t* bias, float* scale) {
                           qgemm_pack(*choice.kernel, m.constant<int8_t>(op.constants[0]), s.rows(), s.kw, s.kc,
                                      m.constant<int32_t>(op.constants[1]), m.constant<float>(op.constants[2]), first,
                                      columns, x.zero, panel, bias, scale);
                         });
  step->run = conv_run(c, choice.by_panel);
}

}  // namespace

const Group kGroupConv2D = {plan_conv, bind_conv};

}  // namespace ek
