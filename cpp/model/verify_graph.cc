// SPDX-License-Identifier: Apache-2.0
/// The records of the ops: what they name exists, is made before it is read, and is named once.
#include <cinttypes>

#include "model/verify.h"

namespace ek {
namespace {

// Operand and parameter ranges stand one after the other in op order; tensors are numbered as they are
// produced, inputs first, so `made` alone tells what exists.
struct Cursor {
  uint32_t operand = 0, param = 0, made = 0;
  uint64_t work = 0;  // steps of one frame and visits of constants, so far
};

ek_status verify_op_record(const ModelView& m, uint32_t index, Cursor* at, Error* e) {
  const OpRecord& r = m.ops[index];
  const ek_status status = verify_name(m, &r.name, "op.name", e);
  if (status != EK_OK) return status;
  const OpcodeRow* row = find_opcode(r.opcode);
  if (row == nullptr) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&r.opcode), "op.opcode", "op %u has opcode %u, unknown in format %u", index,
                r.opcode, m.header->format_version);
  }
  const bool inputs = row->inputs < 0 ? r.input_count >= 1 : r.input_count == row->inputs;
  if (!inputs || r.output_count != row->outputs || r.constant_count != row->constants) {
    const uint16_t* field = !inputs                          ? &r.input_count
                            : r.output_count != row->outputs ? &r.output_count
                                                             : &r.constant_count;
    return fail(e, EK_CORRUPT_MODEL, m.at(field), "op.counts", "op %u (%s) has %u inputs, %u outputs, %u constants",
                index, row->name, r.input_count, r.output_count, r.constant_count);
  }
  const uint32_t count = uint32_t{r.input_count} + r.output_count + r.constant_count;
  if (r.operand_begin != at->operand || count > m.operands.size - at->operand) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&r.operand_begin), "op.operand_begin",
                "op %u has %u operands from %u on; %u is next, %u in all", index, count, r.operand_begin, at->operand,
                m.operands.size);
  }
  if (r.param_count != static_cast<uint32_t>(row->params)) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&r.param_count), "op.param_count", "op %u (%s) has %u parameters, not %d",
                index, row->name, r.param_count, row->params);
  }
  if (r.param_begin != at->param || r.param_count > m.params.size - at->param) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&r.param_begin), "op.param_begin",
                "op %u has %u parameters from %u on; %u is next, %u in all", index, r.param_count, r.param_begin,
                at->param, m.params.size);
  }
  if (!is_zero(r.reserved, 2)) {
    return fail(e, EK_CORRUPT_MODEL, m.at(r.reserved), "op.reserved", "a reserved field is not 0");
  }
  at->operand += count;
  at->param += r.param_count;
  return EK_OK;
}

ek_status verify_operands(const ModelView& m, uint32_t index, Cursor* at, Error* e) {
  const OpView op = m.op(index);
  for (const uint32_t& tensor : op.inputs) {
    if (tensor >= at->made) {
      return fail(e, EK_CORRUPT_MODEL, m.at(&tensor), "operand",
                  "op %u (%s) reads tensor %u, which nothing before it makes", index, op.row->name, tensor);
    }
  }
  for (const uint32_t& tensor : op.outputs) {
    if (tensor != at->made || tensor >= m.tensors.size) {
      return fail(e, EK_CORRUPT_MODEL, m.at(&tensor), "operand",
                  "op %u (%s) makes tensor %u; tensors are numbered as they are made, so %u of %u is next", index,
                  op.row->name, tensor, at->made, m.tensors.size);
    }
    ++at->made;
  }
  for (const uint32_t& constant : op.constants) {
    if (constant >= m.constants.size) {
      return fail(e, EK_CORRUPT_MODEL, m.at(&constant), "operand", "op %u (%s) uses constant %u of %u", index,
                  op.row->name, constant, m.constants.size);
    }
  }
  return EK_OK;
}

}  // namespace

ek_status verify_ops(const ModelView& m, Error* e) {
  Cursor at;
  at.made = m.inputs.size;
  for (const PortRecord& p : m.inputs) at.work += static_cast<uint64_t>(element_count(m.tensors[p.tensor]));
  for (const PortRecord& p : m.outputs) at.work += static_cast<uint64_t>(element_count(m.tensors[p.tensor]));
  for (uint32_t i = 0; i < m.ops.size; ++i) {
    ek_status status = verify_op_record(m, i, &at, e);
    if (status == EK_OK) status = verify_operands(m, i, &at, e);
    if (status == EK_OK) status = verify_op(m, i, &at.work, e);
    if (status != EK_OK) return status;
  }
  if (at.operand != m.operands.size || at.param != m.params.size || at.made != m.tensors.size) {
    return fail(e, EK_CORRUPT_MODEL, m.at(m.graph), "graph", "operands, parameters or tensors that no op uses");
  }
  return EK_OK;
}

}  // namespace ek
