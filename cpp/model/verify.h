// SPDX-License-Identifier: Apache-2.0
/// What the files of the verifier share: verify.cc (records and sections), verify_graph.cc (the records of the ops)
/// and verify_ops.cc (the rule of each operator, on the checks of check.h).
#pragma once
#include "model/reader.h"

namespace ek {

bool is_zero(const uint32_t* words, size_t count);

/// A name begins where a string of the file does.
ek_status verify_name(const ModelView& model, const uint32_t* name, const char* field, Error* error);

/// Every op, in order.
ek_status verify_ops(const ModelView& model, Error* error);

/// The shape rule of one op, with operands and parameter counts already checked (verify_ops.cc). Adds its steps
/// to `work` and refuses the op that passes the limit of FORMAT.md.
ek_status verify_op(const ModelView& model, uint32_t index, uint64_t* work, Error* error);

}  // namespace ek
