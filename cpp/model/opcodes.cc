// SPDX-License-Identifier: Apache-2.0
#include "model/opcodes.h"

#include <type_traits>

namespace ek {

const OpcodeRow kOpcodes[] = {
#define EK_OPCODE(Name, number, inputs, outputs, constants, params) {#Name, number, inputs, outputs, constants, params},
#include "model/opcodes.def"
#undef EK_OPCODE
};
const size_t kOpcodeCount = sizeof kOpcodes / sizeof kOpcodes[0];

// A parameter struct has exactly the int32 words that opcodes.def counts.
#define EK_OPCODE(Name, number, inputs, outputs, constants, params) \
  static_assert(std::is_empty_v<Name##Params> ? (params) == 0 : sizeof(Name##Params) == 4 * (params), #Name);
#include "model/opcodes.def"
#undef EK_OPCODE

const OpcodeRow* find_opcode(uint16_t number) {
  for (const OpcodeRow& row : kOpcodes) {
    if (row.number == number) return &row;
  }
  return nullptr;
}

}  // namespace ek
