// SPDX-License-Identifier: Apache-2.0
/// Fused groups: ops in a row, one strip of rows at a time.
///
///   separable    [convolution] -> depthwise -> [pointwise convolution]
///   bottleneck   the same -> add
///   conv_add     convolution -> add
///   conv_pool    convolution -> max or average pool
///
/// What lies between two members exists only as the rows that the second still reads, in a ring in scratch: row r of
/// the padded image stands in slot r mod rows, halo rows among them. On large images the rings stay in L1 where the
/// plan op by op would send each tensor through L2 or memory twice. The members are the steps of conv.cc, dwconv.cc,
/// eltwise.cc and pool.cc as they are, called for single strips, so fused and unfused give the same bytes.
/// find.cc decides what becomes a group.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "runtime/groups/groups.h"

namespace ek {
namespace {

/// Makes rows first <= y < end of the last member's output, and of the others what these read.
void run(const Step& step, int32_t first, int32_t end) {
  const FusedStep& g = step.fused;
  const int32_t last = g.count - 1;
  for (int32_t k = 0; k < last; ++k) {
    Nhwc sides = g.members[k].shape;
    sides.h = g.members[k].ring.count, sides.top = sides.bottom = 0;
    if (sides.left + sides.right != 0) g.halo(sides, g.members[k].ring.base, g.members[k].zero);
  }
  // Of each member's output, halo rows included: the rows before `ready` are made, those before `until` are asked for.
  int32_t ready[kMaxMembers] = {}, until[kMaxMembers] = {};
  ready[last] = first * g.rows;
  until[last] = std::min(end * g.rows, g.members[last].shape.h);
  for (int32_t k = last; k <= last;) {
    if (ready[k] >= until[k]) {
      ++k;
      continue;
    }
    const Member& m = g.members[k];
    const int32_t y = ready[k] - m.shape.top;
    if (y < 0 || y >= m.shape.h) {
      std::memset(m.ring.at(ready[k]), m.zero, static_cast<size_t>(m.ring.step));
      ++ready[k];
      continue;
    }
    const int32_t past = std::min(std::min(y + m.batch, until[k] - m.shape.top), m.shape.h);
    if (k > 0) {
      const Nhwc& x = g.members[k - 1].shape;
      const int32_t need = std::min((past - 1) * m.sy - m.lead + m.window, x.top + x.h + x.bottom);
      if (ready[k - 1] < need) {
        ready[k - 1] = std::max(ready[k - 1], y * m.sy - m.lead);  // a stride may leave rows unread
        until[k - 1] = need;
        --k;
        continue;
      }
    }
    if (m.strip == 1) {
      m.step->run(*m.step, y, past);
    } else {
      m.step->run(*m.step, y / m.strip, (past + m.strip - 1) / m.strip);
    }
    ready[k] = past + m.shape.top;
  }
}

/// The op that feeds `op` inside its group: op_count for the first member.
uint32_t member_before(const Plan& plan, uint32_t op) {
  for (const uint32_t input : plan.model->op(op).inputs) {
    if (plan.tensors[input].ring_rows != 0) return maker_of(plan, input);
  }
  return plan.model->ops.size;
}

const char* name_of(Opcode first, Opcode second, Opcode last) {
  if (last == Opcode::kMaxPool2D || last == Opcode::kAveragePool2D) return "ConvPool";
  if (last != Opcode::kAdd) return "Separable";
  return first == Opcode::kConv2D && second == Opcode::kAdd ? "ConvAdd" : "Bottleneck";
}

Opcode opcode_of(const Plan& plan, const Member& m) { return static_cast<Opcode>(plan.model->ops[m.step->op].opcode); }

/// Row r of a whole tensor or of a ring, as Member tells of it.
void place_member(const Plan& plan, Member* m) {
  const OpView op = plan.model->op(m->step->op);
  const TensorPlan& y = plan.out(op);
  const Reach reach = reach_of(op);
  m->sy = reach.sy, m->window = reach.window, m->lead = reach.top;
  m->strip = 1, m->batch = y.shape.h;
  m->shape = y.shape;
  m->zero = static_cast<uint8_t>(y.zero);
  int32_t together = y.strip_rows;
  const uint32_t before = member_before(plan, m->step->op);
  if (before < plan.model->ops.size) {
    const TensorPlan& x = plan.out(plan.model->op(before));
    m->lead -= x.shape.top;
    m->batch = (x.ring_rows - reach.window) / reach.sy + 1;
    together = std::max(together, x.strip_rows);
  }
  if (m->step->strips < y.shape.h) m->strip = together;
  if (y.ring_rows == 0) m->shape.top = m->shape.bottom = 0;  // rows of the image: its halo is the group's to write
}

}  // namespace

Reach reach_of(const OpView& op) {
  switch (static_cast<Opcode>(op.record->opcode)) {
    case Opcode::kConv2D: {
      const auto& p = op.as<Conv2DParams>();
      return {p.sh, (p.kh - 1) * p.dh + 1, p.top};
    }
    case Opcode::kDepthwiseConv2D: {
      const auto& p = op.as<DepthwiseConv2DParams>();
      return {p.sh, (p.kh - 1) * p.dh + 1, p.top};
    }
    case Opcode::kMaxPool2D: {
      const auto& p = op.as<MaxPool2DParams>();
      return {p.sh, p.kh, p.top};
    }
    case Opcode::kAveragePool2D: {
      const auto& p = op.as<AveragePool2DParams>();
      return {p.sh, p.kh, p.top};
    }
    default:
      return {1, 1, 0};  // Add
  }
}

uint32_t maker_of(const Plan& plan, uint32_t tensor) {
  const uint32_t inputs = plan.model->inputs.size;
  return tensor < inputs ? plan.model->ops.size : tensor - inputs;
}

void plan_group(const Plan& plan, uint32_t last, Step* step) {
  FusedStep& g = step->fused;
  g = {};
  const Step* members[kMaxMembers] = {};
  for (uint32_t i = last; i < plan.model->ops.size; i = member_before(plan, i)) members[g.count++] = &plan.members[i];
  std::reverse(members, members + g.count);
  char* end = g.kernel;
  uint64_t scratch = 0;
  for (int32_t k = 0; k < g.count; ++k) {
    Member& m = g.members[k];
    m.step = members[k];
    place_member(plan, &m);
    const auto room = static_cast<size_t>(g.kernel + sizeof g.kernel - end);
    const int length = std::snprintf(end, room, "%s%s", k == 0 ? "" : "+", m.step->kernel);
    if (length > 0 && static_cast<size_t>(length) < room) end += length;
    step->macs += m.step->macs;
    step->weights_bytes += align_line(m.step->weights_bytes);
    step->scratch_bytes += plan.out(plan.model->op(m.step->op)).ring_bytes();
    scratch = std::max(scratch, m.step->scratch_bytes);
  }
  step->scratch_bytes += scratch;
  g.rows = g.members[g.count - 1].batch;
  uint32_t ops[kMaxMembers];
  for (int32_t k = 0; k < g.count; ++k) ops[k] = members[k]->op;
  step->cycles = fused_cycles(plan, ops, g.count, g.rows);
  step->apart = plan.members[last].apart;
  step->kernel = g.kernel;
  step->op = last;
  step->name = plan.model->name(plan.model->op(last).record->name);
  step->op_name =
      name_of(opcode_of(plan, g.members[0]), opcode_of(plan, g.members[1]), opcode_of(plan, g.members[g.count - 1]));
  step->group = true;
  step->strips = (g.members[g.count - 1].shape.h + g.rows - 1) / g.rows;
}

void move_members(const Step* members, Step* step) {
  FusedStep& g = step->fused;
  for (int32_t k = 0; k < g.count; ++k) g.members[k].step = &members[g.members[k].step->op];
}

void bind_group(const Plan& plan, Step* step, uint8_t* weights, uint8_t* scratch) {
  FusedStep& g = step->fused;
  g.halo = plan.move->halo;
  for (int32_t k = 0; k + 1 < g.count; ++k) {
    TensorPlan& y = plan.tensors[plan.model->op(g.members[k].step->op).outputs[0]];
    y.base = scratch + kSlack;
    scratch += y.ring_bytes();
    g.members[k].ring = {y.base, y.shape.row, y.ring_rows, 0};
  }
  for (int32_t k = 0; k < g.count; ++k) {
    const Step* member = g.members[k].step;
    bind_step(plan, &plan.members[member->op], weights, scratch);
    weights += align_line(member->weights_bytes);
  }
  step->run = run;
}

}  // namespace ek
