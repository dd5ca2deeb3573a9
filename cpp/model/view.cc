// SPDX-License-Identifier: Apache-2.0
/// What the views tell of themselves: sizes of tensors and ports, operands of an op, and whether text is UTF-8.
#include "model/reader.h"

namespace ek {

OpView ModelView::op(uint32_t index) const {
  const OpRecord& r = ops[index];
  const uint32_t* next = operands.data + r.operand_begin;
  return {&r,
          find_opcode(r.opcode),
          {next, r.input_count},
          {next + r.input_count, r.output_count},
          {next + r.input_count + r.output_count, r.constant_count},
          params.data + r.param_begin};
}

Hwc hwc(const TensorRecord& t) {
  Hwc s{1, 1, t.dims[t.rank - 1]};
  if (t.rank >= 3) s.w = t.dims[t.rank - 2];
  for (int i = 1; i < t.rank - 2; ++i) s.h *= t.dims[i];
  return s;
}

int64_t element_count(const TensorRecord& t) {
  int64_t count = 1;
  for (int i = 0; i < t.rank; ++i) count *= t.dims[i];
  return count;
}

uint64_t dtype_bytes(uint16_t dtype) {
  switch (dtype) {
    case EK_INT8:
    case EK_UINT8:
      return 1;
    case EK_INT16:
      return 2;
    case EK_INT32:
    case EK_FLOAT32:
      return 4;
    default:
      return 0;
  }
}

uint64_t port_bytes(const ModelView& m, const PortRecord& port) {
  return static_cast<uint64_t>(element_count(m.tensors[port.tensor])) * dtype_bytes(port.dtype);
}

bool is_utf8(const char* text, size_t size) {
  const auto* s = reinterpret_cast<const uint8_t*>(text);
  for (size_t i = 0; i < size;) {
    const uint8_t lead = s[i];
    const size_t more = lead < 0x80             ? 0
                        : (lead & 0xe0) == 0xc0 ? 1
                        : (lead & 0xf0) == 0xe0 ? 2
                        : (lead & 0xf8) == 0xf0 ? 3
                                                : 4;
    if (lead == 0 || more == 4 || more >= size - i) return false;
    uint32_t code = more == 0 ? lead : lead & (0x3fu >> more);
    for (size_t k = 1; k <= more; ++k) {
      if ((s[i + k] & 0xc0) != 0x80) return false;
      code = code << 6 | (s[i + k] & 0x3fu);
    }
    constexpr uint32_t kLeast[4] = {0, 0x80, 0x800, 0x10000};  // shorter forms only
    if (code < kLeast[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
    i += more + 1;
  }
  return true;
}

}  // namespace ek
