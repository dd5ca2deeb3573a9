// SPDX-License-Identifier: Apache-2.0
/// The fused group of separable blocks: [expand] -> depthwise -> [project], one strip of output rows at a time.
///
///   expand      a Conv2D that feeds only the depthwise one. Its rows live in a ring of as many rows as a kernel
///               window reads; row r of the padded image stands in slot r mod rows, halo rows among them.
///   project     a pointwise Conv2D that alone reads the depthwise one. It takes strips of `rows` depthwise rows.
///
/// The tensors between exist only as those rows, in scratch: on large images they stay in L1 where the unfused
/// plan would send each through L2 or memory twice. The members are the steps of conv.cc and dwconv.cc as they
/// are, called for single strips, so fused and unfused give the same bytes. 16-bit operands are not fused.
#include <cstdio>
#include <cstring>
#include <initializer_list>

#include "runtime/groups/groups.h"

namespace ek {
namespace {

/// Below this a tensor stays in L1 beside its neighbours, and whole images make longer strips.
constexpr size_t kFuseBytes = 32 << 10;
constexpr int32_t kStripPixels = 48;  // enough for the widest tile of every GEMM row
constexpr double kStripLoss = 8.0;    // pixels that could be made while a strip begins and ends
constexpr int32_t kRowsPerThread = 6;

/// Counts the readers of every tensor in one pass: a pass per depthwise op would take hours on a long file.
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

bool is_pointwise(const OpView& op) {
  if (!is(op, Opcode::kConv2D)) return false;
  const auto& p = op.as<Conv2DParams>();
  return p.kh == 1 && p.kw == 1 && p.sh == 1 && p.sw == 1 && p.top + p.left + p.bottom + p.right == 0;
}

/// The op that makes `tensor`; tensors are numbered in the order of the ops. Model inputs give op_count.
uint32_t maker_of(const Plan& plan, uint32_t tensor) {
  const uint32_t inputs = plan.model->inputs.size;
  return tensor < inputs ? plan.model->ops.size : tensor - inputs;
}

bool is_free(const Plan& plan, uint32_t op) { return plan.fused[op] == 0; }

/// Output rows of a strip: the pixels that GEMM rows want, and with threads so that the one with most to do has least.
int32_t strip_rows(const Plan& plan, const Nhwc& y) {
  const int32_t wanted = (kStripPixels + y.w - 1) / y.w;
  if (plan.threads == 1) return wanted < y.h ? wanted : y.h;
  int32_t best = 1;
  double least = 0.0;
  for (int32_t rows = 1; rows <= 2 * wanted && rows <= y.h; ++rows) {
    const int32_t strips = (y.h + rows - 1) / rows, most = (strips + plan.threads - 1) / plan.threads;
    const double cost = most * (rows + kStripLoss / y.w);
    if (rows == 1 || cost < least) best = rows, least = cost;
  }
  return best;
}

/// Threads make the rows at their seams twice: too much of a small image, which is in a near cache anyway.
bool too_low(const Plan& plan, const Nhwc& y) { return plan.threads > 1 && y.h < kRowsPerThread * plan.threads; }

/// Fills one row of the ring: a row of zero points above or below the image, or a strip of expand.
void fill_row(const SeparableStep& g, int32_t row) {
  const int32_t y = row - g.ring_shape.top;
  if (y < 0 || y >= g.ring_shape.h) {
    std::memset(g.ring.at(row), g.ring_zero, static_cast<size_t>(g.ring.step));
  } else {
    g.expand->run(*g.expand, y, y + 1);
  }
}

void run(const Step& step, int32_t first, int32_t end) {
  const SeparableStep& g = step.separable;
  int32_t ready = 0;  // ring rows before this one were made
  if (g.expand != nullptr) {
    Nhwc sides = g.ring_shape;
    sides.h = g.ring.count, sides.top = sides.bottom = 0;
    if (sides.left + sides.right != 0) g.halo(sides, g.ring.base, g.ring_zero);
  }
  for (int32_t s = first; s < end; ++s) {
    const int32_t begin = s * g.rows, past = begin + g.rows < g.out_rows ? begin + g.rows : g.out_rows;
    for (int32_t y = begin; y < past; ++y) {
      const int32_t top = y * g.sy;
      if (g.expand != nullptr) {
        for (int32_t r = ready > top ? ready : top; r < top + g.window; ++r) fill_row(g, r);
        ready = top + g.window;
      }
      g.depthwise->run(*g.depthwise, y, y + 1);
    }
    if (g.project != nullptr) g.project->run(*g.project, s, s + 1);
  }
}

}  // namespace

void find_separable(const Plan& plan) {
  const ModelView& m = *plan.model;
  count_readers(plan);
  for (uint32_t i = 0; i < m.ops.size; ++i) {
    const OpView op = m.op(i);
    if (!is(op, Opcode::kDepthwiseConv2D) || !is_free(plan, i) || is_wide(plan, op)) continue;
    if (too_low(plan, plan.out(op).shape)) continue;
    const auto& p = op.as<DepthwiseConv2DParams>();
    TensorPlan &x = plan.tensors[op.inputs[0]], &y = plan.tensors[op.outputs[0]];
    const uint32_t expand = maker_of(plan, op.inputs[0]);
    const bool from = expand < i && is(m.op(expand), Opcode::kConv2D) && is_free(plan, expand) &&
                      !is_wide(plan, m.op(expand)) && x.shape.bytes() >= kFuseBytes && x.readers == 1;
    const bool to = y.readers == 1 && y.reader > i && is_pointwise(m.op(y.reader)) && is_free(plan, y.reader) &&
                    !is_wide(plan, m.op(y.reader)) && y.shape.bytes() >= kFuseBytes;
    const uint32_t last = to ? y.reader : i;
    plan.fused[i] = from || to;
    if (from) {
      plan.fused[expand] = 1;
      plan.runs_at[expand] = last;
      x.ring_rows = (p.kh - 1) * p.dh + 1;
    }
    if (to) {
      plan.fused[last] = 1;
      plan.runs_at[i] = last;
      const bool long_row = plan.out(m.op(last)).contiguous();
      y.ring_rows = long_row ? strip_rows(plan, y.shape) : 1;
    }
  }
}

void plan_separable(const Plan& plan, const Step* const members[3], Step* step) {
  SeparableStep& g = step->separable;
  g = {};
  g.expand = members[0], g.depthwise = members[1], g.project = members[2];
  const OpView op = plan.model->op(g.depthwise->op);
  const TensorPlan &x = plan.in(op), &y = plan.out(op);
  step->op = g.project != nullptr ? g.project->op : g.depthwise->op;
  step->name = plan.model->name(plan.model->op(step->op).record->name);
  step->op_name = "Separable";
  step->group = true;
  step->strips = g.project != nullptr ? g.project->strips : g.depthwise->strips;
  char* end = g.kernel;
  uint64_t scratch = 0;
  for (int i = 0; i < 3; ++i) {
    if (members[i] == nullptr) continue;
    const auto room = static_cast<size_t>(g.kernel + sizeof g.kernel - end);
    const int length = std::snprintf(end, room, "%s%s", end == g.kernel ? "" : "+", members[i]->kernel);
    if (length > 0 && static_cast<size_t>(length) < room) end += length;
    step->macs += members[i]->macs;
    step->cycles += members[i]->cycles;
    step->weights_bytes += align_line(members[i]->weights_bytes);
    if (members[i]->scratch_bytes > scratch) scratch = members[i]->scratch_bytes;
  }
  step->kernel = g.kernel;
  step->scratch_bytes = x.ring_bytes() + y.ring_bytes() + scratch;
}

void move_members(const Step* members, Step* step) {
  SeparableStep& g = step->separable;
  for (const Step** member : {&g.expand, &g.depthwise, &g.project}) {
    if (*member != nullptr) *member = &members[(*member)->op];
  }
}

void bind_separable(const Plan& plan, Step* step, uint8_t* weights, uint8_t* scratch) {
  SeparableStep& g = step->separable;
  const OpView op = plan.model->op(g.depthwise->op);
  const auto& p = op.as<DepthwiseConv2DParams>();
  TensorPlan &x = plan.tensors[op.inputs[0]], &y = plan.tensors[op.outputs[0]];
  if (g.expand != nullptr) x.base = scratch + kSlack;
  if (g.project != nullptr) y.base = scratch + x.ring_bytes() + kSlack;
  uint8_t* shared = scratch + x.ring_bytes() + y.ring_bytes();
  for (const Step* member : {g.expand, g.depthwise, g.project}) {
    if (member == nullptr) continue;
    bind_step(plan, &plan.members[member->op], weights, shared);
    weights += align_line(member->weights_bytes);
  }
  if (g.expand != nullptr) g.ring = {x.base, x.shape.row, x.ring_rows, 0};
  g.ring_shape = x.shape;
  g.ring_zero = static_cast<uint8_t>(x.zero);
  g.halo = plan.move->halo;
  g.sy = p.sh;
  g.window = (p.kh - 1) * p.dh + 1;
  g.rows = g.project != nullptr ? y.ring_rows : 1;
  g.out_rows = y.shape.h;
  step->run = run;
}

}  // namespace ek
