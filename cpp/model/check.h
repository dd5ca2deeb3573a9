// SPDX-License-Identifier: Apache-2.0
/// An op under the rules of verify_ops.cc, and the checks that more than one rule makes.
#pragma once
#include <initializer_list>

#include "model/verify.h"

namespace ek {

/// One op under the rules; a rule returns the first refusal.
struct Check {
  const ModelView& m;
  OpView op;
  uint32_t index;
  uint64_t* work;  // of the ops so far, this one included
  Error* e;

  const TensorRecord& in(uint32_t i = 0) const { return m.tensors[op.inputs[i]]; }
  const TensorRecord& out() const { return m.tensors[op.outputs[0]]; }

  /// Adds to the work of a frame. Called before the visits it counts, so that a refusal comes in time.
  ek_status charge(uint64_t more) const;
  /// Every element of the tensors and constants that the op names is visited, by the checks, the packing or a frame.
  ek_status charge_operands() const;
  /// Each element of the output looks at `taps` others.
  ek_status charge_window(int64_t taps) const;
  /// Each element of the output meets the weights of its channel, constant 0.
  ek_status charge_weights() const;

  ek_status bad(const void* where, const char* field, const char* why, int64_t value) const;
  ek_status bad_real(const float* value, const char* field, const char* why) const;
};

#define EK_TRY(call)                      \
  do {                                    \
    const ek_status status_ = (call);     \
    if (status_ != EK_OK) return status_; \
  } while (false)

ek_status in_range(const Check& c, const int32_t& value, const char* field, int64_t least, int64_t most);
/// lo and hi are values of the output, lo not above hi.
ek_status clamp_rule(const Check& c, const int32_t& lo, const int32_t& hi);
ek_status is_int8(const Check& c, const TensorRecord& t);
/// INT8 or INT16: of the operators that work on both.
ek_status is_int8_or_int16(const Check& c, const TensorRecord& t);
/// An image [1][h][w][c], or a vector [1][c] as an image of one pixel; of INT8, or with `wide` of INT16 too.
ek_status is_image(const Check& c, const TensorRecord& t, bool wide = false);
ek_status same_shape(const Check& c, const TensorRecord& a, const TensorRecord& b);
ek_status same_quant(const Check& c);
ek_status constant_rule(const Check& c, uint32_t slot, uint16_t dtype, std::initializer_list<int32_t> shape);

}  // namespace ek
