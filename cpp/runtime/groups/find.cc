// SPDX-License-Identifier: Apache-2.0
/// Which ops run in a fused group, and how many rows at a time: whatever is predicted to take the fewest cycles.
///
///   op by op   what the kernels predict for whole images, and every tensor between written to and read back from the
///              cache that it fits into
///   fused      what the kernels predict for strips, the calls, the packed weights once more from L2 for every call
///              where they are not small, and the rows between beyond what L1 holds
///
/// The constants are those of a Zen 4; other cores change the figures, seldom the order.
#include <algorithm>
#include <limits>

#include "runtime/groups/groups.h"

namespace ek {
namespace {

constexpr double kNear = 32768.0;         // bytes that stay in L1
constexpr double kMiddle = 524288.0;      // bytes that stay in L2
constexpr double kL2 = 64.0, kL3 = 16.0;  // bytes per cycle, written and read back: mostly behind the arithmetic
constexpr double kWeights = 256.0;        // bytes of weights per cycle from L2, likewise
constexpr double kVisit = 50.0;           // cycles of a member's turn
constexpr int32_t kMostRows = 8;          // of a strip
constexpr int32_t kRowsPerThread = 6;     // threads make the rows at their seams twice: too much of a small image

/// Counts the readers of every tensor in one pass: a pass per op would take hours on a long file.
void count_readers(const Plan& plan) {
  const ModelView& m = *plan.model;
  for (const PortRecord& port : m.outputs) ++plan.tensors[port.tensor].readers;
  for (uint32_t i = 0; i < m.ops.size; ++i) {
    for (const uint32_t input : m.op(i).inputs) {
      ++plan.tensors[input].readers;
      plan.tensors[input].reader = i;
    }
  }
}

bool is(const OpView& op, Opcode opcode) { return op.record->opcode == static_cast<uint16_t>(opcode); }
bool is_pool(const OpView& op) { return is(op, Opcode::kMaxPool2D) || is(op, Opcode::kAveragePool2D); }

bool is_pointwise(const OpView& op) {
  if (!is(op, Opcode::kConv2D)) return false;
  const auto& p = op.as<Conv2DParams>();
  return p.kh == 1 && p.kw == 1 && p.sh == 1 && p.sw == 1 && p.top + p.left + p.bottom + p.right == 0;
}

/// Ops in a row, the rows of a strip, and what they are predicted to take.
struct Candidate {
  uint32_t ops[kMaxMembers];
  int32_t count = 0, rows = 1;
  bool one_by_one = false;  ///< a depthwise convolution makes its rows of a strip one at a time: the smallest ring
  double apart = 0.0, fused = 0.0;
};

TensorPlan& output_of(const Plan& plan, uint32_t op) { return plan.tensors[plan.model->op(op).outputs[0]]; }

bool is_free(const Plan& plan, uint32_t op) {
  return op < plan.model->ops.size && plan.fused[op] == 0 && !is_wide(plan, plan.model->op(op));
}

/// The op that alone reads what `op` makes, where it can join a group; op_count: there is none.
uint32_t only_reader(const Plan& plan, uint32_t op) {
  const TensorPlan& y = output_of(plan, op);
  return y.readers == 1 && y.reader > op && is_free(plan, y.reader) ? y.reader : plan.model->ops.size;
}

/// Gives what lies between the members its ring, or takes it away.
void set_rings(const Plan& plan, const Candidate& c, bool on) {
  for (int32_t k = 1; k < c.count; ++k) {
    TensorPlan& x = output_of(plan, c.ops[k - 1]);
    x.ring_rows = 0, x.strip_rows = 1;
    if (!on) continue;
    const OpView op = plan.model->op(c.ops[k]);
    const Reach reach = reach_of(op);
    const bool depthwise = is(op, Opcode::kDepthwiseConv2D);
    x.ring_rows = (depthwise && c.one_by_one ? 0 : (c.rows - 1) * reach.sy) + reach.window;
    if (!depthwise && !is_pool(op)) x.strip_rows = x.ring_rows;
  }
}

/// The op planned with the rings of the moment, in the record that is its own.
const Step& planned(const Plan& plan, uint32_t op) {
  Step* step = &plan.members[op];
  Error ignored;  // planning it for good will fail likewise
  if (plan_op(plan, plan.model->op(op), step, &ignored) != EK_OK) step->cycles = 0.0;
  return *step;
}

/// Cycles that `bytes` take on top of the kernels' own when `held` bytes want to stay between.
double traffic(double bytes, double held) { return held <= kNear ? 0.0 : bytes / (held <= kMiddle ? kL2 : kL3); }

double apart(const Plan& plan, const Candidate& c) {
  double cycles = 0.0;
  for (int32_t k = 0; k < c.count; ++k) {
    cycles += planned(plan, c.ops[k]).cycles;
    const auto bytes = static_cast<double>(output_of(plan, c.ops[k]).shape.bytes());
    if (k + 1 < c.count) cycles += traffic(bytes, bytes);
  }
  return cycles;
}

/// What the thread with most to do has more than its part, as a factor.
double imbalance(const Plan& plan, int32_t h, int32_t rows) {
  const int32_t strips = (h + rows - 1) / rows, most = (strips + plan.threads - 1) / plan.threads;
  return static_cast<double>(most) * plan.threads / strips;
}

/// Tries strips of 1, 2, 4, … rows.
void price(const Plan& plan, Candidate* c) {
  const int32_t h = output_of(plan, c->ops[c->count - 1]).shape.h;
  c->apart = apart(plan, *c);
  c->fused = c->apart;
  if (plan.threads > 1 && h < kRowsPerThread * plan.threads) return;
  bool depthwise = false, depthwise_last = false;  // behind the first
  for (int32_t k = 1; k < c->count; ++k) {
    depthwise_last = is(plan.model->op(c->ops[k]), Opcode::kDepthwiseConv2D);
    depthwise = depthwise || depthwise_last;
  }
  Candidate trial = *c;
  c->fused = std::numeric_limits<double>::infinity();
  for (; trial.rows <= std::min(h, kMostRows); trial.rows *= 2) {
    for (const bool one_by_one : {true, false}) {
      if (one_by_one && depthwise_last && trial.rows > 1) continue;  // it makes one row at a time
      if (!one_by_one && (!depthwise || trial.rows == 1)) continue;  // the same rings again
      trial.one_by_one = one_by_one;
      set_rings(plan, trial, true);
      trial.fused = fused_cycles(plan, trial.ops, trial.count, trial.rows) * imbalance(plan, h, trial.rows);
      set_rings(plan, trial, false);
      if (trial.fused < c->fused) *c = trial;
    }
  }
}

double saved(const Candidate& c) { return c.count < 2 ? 0.0 : c.apart - c.fused; }

void join(const Plan& plan, const Candidate& c) {
  set_rings(plan, c, true);
  for (int32_t k = 0; k < c.count; ++k) {
    plan.fused[c.ops[k]] = 1;
    plan.runs_at[c.ops[k]] = c.ops[c.count - 1];
  }
  plan.members[c.ops[c.count - 1]].apart = c.apart;
}

/// [convolution ->] depthwise [-> pointwise [-> add]]: whatever part of it saves most.
void find_separable(const Plan& plan, uint32_t depthwise) {
  const ModelView& m = *plan.model;
  const uint32_t none = m.ops.size;
  uint32_t ops[kMaxMembers];
  int32_t count = 0;
  const uint32_t expand = maker_of(plan, m.op(depthwise).inputs[0]);
  if (is_free(plan, expand) && is(m.op(expand), Opcode::kConv2D) && only_reader(plan, expand) == depthwise)
    ops[count++] = expand;
  const int32_t core = count;
  ops[count++] = depthwise;
  const uint32_t project = only_reader(plan, depthwise);
  if (project != none && is_pointwise(m.op(project))) {
    ops[count++] = project;
    const uint32_t add = only_reader(plan, project);
    if (add != none && is(m.op(add), Opcode::kAdd)) ops[count++] = add;
  }
  Candidate best;
  for (int32_t from = 0; from <= core; ++from) {
    for (int32_t end = std::max(core + 1, from + 2); end <= count; ++end) {
      Candidate c;
      std::copy(ops + from, ops + end, c.ops);
      c.count = end - from;
      price(plan, &c);
      if (saved(c) > saved(best)) best = c;
    }
  }
  if (best.count != 0) join(plan, best);
}

/// A convolution with the add or the pool that alone reads it. Of an add's two the one that saves more.
void find_tail(const Plan& plan, uint32_t tail) {
  const ModelView& m = *plan.model;
  Candidate best;
  const OpView op = m.op(tail);
  for (const uint32_t input : op.inputs) {
    const uint32_t conv = maker_of(plan, input);
    if (!is_free(plan, conv) || !is(m.op(conv), Opcode::kConv2D) || only_reader(plan, conv) != tail) continue;
    Candidate c;
    c.ops[0] = conv, c.ops[1] = tail, c.count = 2;
    price(plan, &c);
    if (saved(c) > saved(best)) best = c;
  }
  if (best.count != 0) join(plan, best);
}

}  // namespace

double fused_cycles(const Plan& plan, const uint32_t* ops, int32_t count, int32_t rows) {
  double cycles = 0.0, held = 0.0, moved = 0.0;
  for (int32_t k = 0; k < count; ++k) {
    const TensorPlan& y = output_of(plan, ops[k]);
    const Step& step = planned(plan, ops[k]);
    int32_t at_once = rows;
    if (k + 1 < count) {
      const OpView reader = plan.model->op(ops[k + 1]);
      const Reach reach = reach_of(reader);
      at_once = ((y.ring_rows - reach.window) / reach.sy + 1) * reach.sy;  // what the reader takes at once
      held += static_cast<double>(y.ring_bytes());
      moved += static_cast<double>(y.shape.bytes());
    }
    const double visits = static_cast<double>((y.shape.h + at_once - 1) / at_once);
    const auto weights = static_cast<double>(step.weights_bytes);
    cycles += step.cycles + visits * (kVisit + (weights > kNear / 2 ? weights / kWeights : 0.0));
  }
  return cycles + traffic(moved, held);
}

void find_groups(const Plan& plan) {
  const ModelView& m = *plan.model;
  count_readers(plan);
  for (uint32_t i = 0; i < m.ops.size; ++i) {
    if (is_free(plan, i) && is(m.op(i), Opcode::kDepthwiseConv2D)) find_separable(plan, i);
  }
  for (uint32_t i = 0; i < m.ops.size; ++i) {
    if (is_free(plan, i) && (is(m.op(i), Opcode::kAdd) || is_pool(m.op(i)))) find_tail(plan, i);
  }
}

}  // namespace ek
