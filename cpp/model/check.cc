// SPDX-License-Identifier: Apache-2.0
#include "model/check.h"

#include <cinttypes>
#include <cstdio>

namespace ek {
namespace {

constexpr uint64_t kMaxWork = uint64_t{1} << 36;  // of one frame: minutes on the slowest row, not days

}  // namespace

ek_status Check::charge(uint64_t more) const {
  *work += more;  // each call adds less than 2^60
  if (*work <= kMaxWork) return EK_OK;
  return fail(e, EK_CORRUPT_MODEL, m.at(op.record), "op.work",
              "op %u (%s \"%s\"): with it a frame takes %" PRIu64 " steps of work; at most 2^36", index, op.row->name,
              m.name(op.record->name), *work);
}

ek_status Check::charge_operands() const {
  uint64_t visits = 0;
  for (const uint32_t tensor : op.inputs) visits += static_cast<uint64_t>(element_count(m.tensors[tensor]));
  for (const uint32_t tensor : op.outputs) visits += static_cast<uint64_t>(element_count(m.tensors[tensor]));
  for (const uint32_t constant : op.constants) {
    const ConstantRecord& r = m.constants[constant];
    visits += r.size / dtype_bytes(r.dtype);
  }
  return charge(visits);
}

ek_status Check::charge_window(int64_t taps) const {
  return charge(static_cast<uint64_t>(element_count(out())) * static_cast<uint64_t>(taps));
}

ek_status Check::charge_weights() const {
  const int64_t sums = in().dtype == EK_INT16 ? 2 : 1;  // one for each byte of an element
  return charge_window(sums * static_cast<int64_t>(m.constants[op.constants[0]].size) / hwc(out()).c);  // int8
}

ek_status Check::bad(const void* where, const char* field, const char* why, int64_t value) const {
  return fail(e, EK_CORRUPT_MODEL, m.at(where), field, "op %u (%s \"%s\"): %s, not %" PRId64, index, op.row->name,
              m.name(op.record->name), why, value);
}

ek_status Check::bad_real(const float* value, const char* field, const char* why) const {
  return fail(e, EK_CORRUPT_MODEL, m.at(value), field, "op %u (%s \"%s\"): %s, not %g", index, op.row->name,
              m.name(op.record->name), why, static_cast<double>(*value));
}

ek_status in_range(const Check& c, const int32_t& value, const char* field, int64_t least, int64_t most) {
  if (value >= least && value <= most) return EK_OK;
  char why[64];
  std::snprintf(why, sizeof why, "it lies within %" PRId64 " to %" PRId64, least, most);
  return c.bad(&value, field, why, value);
}

ek_status clamp_rule(const Check& c, const int32_t& lo, const int32_t& hi) {
  const int64_t half = c.out().dtype == EK_INT16 ? 32768 : 128;
  EK_TRY(in_range(c, lo, "op.lo", -half, half - 1));
  return in_range(c, hi, "op.hi", lo, half - 1);
}

ek_status is_int8(const Check& c, const TensorRecord& t) {
  return t.dtype == EK_INT8 ? EK_OK : c.bad(&t.dtype, "tensor.dtype", "it works on INT8 (2)", t.dtype);
}

ek_status is_int8_or_int16(const Check& c, const TensorRecord& t) {
  const bool good = t.dtype == EK_INT8 || t.dtype == EK_INT16;
  return good ? EK_OK : c.bad(&t.dtype, "tensor.dtype", "it works on INT8 (2) and INT16 (4)", t.dtype);
}

ek_status is_image(const Check& c, const TensorRecord& t, bool wide) {
  EK_TRY(wide ? is_int8_or_int16(c, t) : is_int8(c, t));
  return t.rank == 4 || t.rank == 2 ? EK_OK : c.bad(&t.rank, "tensor.rank", "it works on rank 4 or 2", t.rank);
}

ek_status same_shape(const Check& c, const TensorRecord& a, const TensorRecord& b) {
  if (a.rank != b.rank) return c.bad(&b.rank, "tensor.rank", "ranks must agree", b.rank);
  for (int i = 0; i < a.rank; ++i) {
    if (a.dims[i] != b.dims[i]) return c.bad(&b.dims[i], "tensor.dims", "shapes must agree", b.dims[i]);
  }
  return EK_OK;
}

ek_status same_quant(const Check& c) {
  const TensorRecord &a = c.in(), &b = c.out();
  if (a.scale != b.scale) return c.bad_real(&b.scale, "tensor.scale", "it keeps the scale of its input");
  if (a.zero_point == b.zero_point) return EK_OK;
  return c.bad(&b.zero_point, "tensor.zero_point", "it keeps the zero point of its input", b.zero_point);
}

ek_status constant_rule(const Check& c, uint32_t slot, uint16_t dtype, std::initializer_list<int32_t> shape) {
  const ConstantRecord& r = c.m.constants[c.op.constants[slot]];
  if (r.dtype != dtype) return c.bad(&r.dtype, "constant.dtype", "a constant of another dtype is needed", r.dtype);
  if (r.rank != shape.size()) return c.bad(&r.rank, "constant.rank", "a constant of another rank is needed", r.rank);
  const int32_t* dim = r.dims;
  for (const int32_t want : shape) {
    if (*dim != want) return c.bad(dim, "constant.dims", "a constant of another shape is needed", *dim);
    ++dim;
  }
  return EK_OK;
}

}  // namespace ek
