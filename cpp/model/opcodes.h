// SPDX-License-Identifier: Apache-2.0
/// The operators a file may use (opcodes.def) and their parameters as structs, in the file's order.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ek {

enum class Opcode : uint16_t {
#define EK_OPCODE(Name, number, inputs, outputs, constants, params) k##Name = number,
#include "model/opcodes.def"
#undef EK_OPCODE
};

struct OpcodeRow {
  const char* name;
  uint16_t number;
  int16_t inputs, outputs, constants, params;  ///< inputs -1: one or more
};

extern const OpcodeRow kOpcodes[];
extern const size_t kOpcodeCount;

/// The row of opcode `number`, or null.
const OpcodeRow* find_opcode(uint16_t number);

struct Conv2DParams {
  int32_t kh, kw, sh, sw, dh, dw, top, left, bottom, right, groups, lo, hi;
};
struct DepthwiseConv2DParams {
  int32_t kh, kw, sh, sw, dh, dw, top, left, bottom, right, lo, hi;
};
struct MaxPool2DParams {
  int32_t kh, kw, sh, sw, top, left, bottom, right, lo, hi;
};
struct AveragePool2DParams {
  int32_t kh, kw, sh, sw, top, left, bottom, right, count_include_pad, origin, lo, hi;
};
struct MeanParams {
  int32_t lo, hi;
  float m;
};
struct AddParams {
  int32_t shift, m, n, lo, hi;
};
struct AffineParams {
  int32_t lo, hi;
};
struct ConcatParams {
  int32_t axis;
};
struct PadParams {
  int32_t top, left, bottom, right, front, back, value;
};
struct TransposeParams {
  int32_t perm[6];
};
struct MulParams {
  int32_t lo, hi;
  float m;
};
struct SliceParams {
  int32_t axis, begin, step;
};
struct LayerNormParams {
  int32_t lo, hi;
  float epsilon;
};
struct TableParams {};
struct SoftmaxParams {};
struct ReshapeParams {};
struct Resize2DParams {};

}  // namespace ek
