// SPDX-License-Identifier: Apache-2.0
/// Every record against every other. After this no index, size or number in the file can do harm.
#include "model/verify.h"

#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace ek {
namespace {

constexpr int64_t kMaxElements = int64_t{1} << 28;  // of one tensor: keeps every size below int32

ek_status verify_strings(const ModelView& m, Error* e) {
  if (m.strings.size == 0 || m.strings[m.strings.size - 1] != 0) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&m.graph->string_bytes), "strings", "the names do not end with a NUL");
  }
  const char* text = m.strings.begin();
  while (text != m.strings.end()) {
    const size_t length = std::strlen(text);
    if (!is_utf8(text, length)) return fail(e, EK_CORRUPT_MODEL, m.at(text), "strings", "a name is no UTF-8");
    text += length + 1;
  }
  return EK_OK;
}

// Rank, dimensions and their product; unused dimensions are 0.
ek_status verify_dims(const ModelView& m, const uint16_t* rank, const int32_t* dims, const char* what, Error* e) {
  char field[48];
  std::snprintf(field, sizeof field, "%s.rank", what);
  if (*rank < 1 || *rank > kMaxRank) {
    return fail(e, EK_CORRUPT_MODEL, m.at(rank), field, "rank %u; 1 to %u", *rank, kMaxRank);
  }
  std::snprintf(field, sizeof field, "%s.dims", what);
  int64_t product = 1;
  for (uint32_t i = 0; i < kMaxRank; ++i) {
    const bool used = i < *rank;
    if (used ? dims[i] < 1 || dims[i] > kMaxElements : dims[i] != 0) {
      return fail(e, EK_CORRUPT_MODEL, m.at(dims + i), field, "dimension %u is %d; %s", i, dims[i],
                  used ? "at least 1 and at most 2^28" : "beyond the rank it must be 0");
    }
    product *= used ? dims[i] : 1;
    if (product > kMaxElements) {
      return fail(e, EK_CORRUPT_MODEL, m.at(dims + i), field, "more than 2^28 elements");
    }
  }
  return EK_OK;
}

ek_status verify_tensor(const ModelView& m, uint32_t index, Error* e) {
  const TensorRecord& t = m.tensors[index];
  ek_status status = verify_name(m, &t.name, "tensor.name", e);
  if (status == EK_OK) status = verify_dims(m, &t.rank, t.dims, "tensor", e);
  if (status != EK_OK) return status;
  if (t.dtype != EK_INT8 && t.dtype != EK_INT16 && t.dtype != EK_FLOAT32) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&t.dtype), "tensor.dtype", "tensor %u has dtype %u; INT8, INT16 or FLOAT32",
                index, t.dtype);
  }
  if (t.dims[0] != 1) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&t.dims[0]), "tensor.dims", "tensor %u: the batch is %d; it is given as 1",
                index, t.dims[0]);
  }
  if (t.dtype == EK_FLOAT32) {
    if (t.scale != 0.0f || std::signbit(t.scale)) {
      return fail(e, EK_CORRUPT_MODEL, m.at(&t.scale), "tensor.scale", "tensor %u is float32 and has a scale", index);
    }
  } else if (!std::isnormal(t.scale) || t.scale < 0.0f || t.scale > 256.0f) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&t.scale), "tensor.scale",
                "tensor %u has scale %g; normal, above 0 and at most 256", index, static_cast<double>(t.scale));
  }
  const int32_t bound = t.dtype == EK_INT8 ? 128 : 0;
  if (t.zero_point < -bound || t.zero_point > (bound == 0 ? 0 : bound - 1)) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&t.zero_point), "tensor.zero_point", "tensor %u has zero point %d", index,
                t.zero_point);
  }
  if (!is_zero(t.reserved, 2)) {
    return fail(e, EK_CORRUPT_MODEL, m.at(t.reserved), "tensor.reserved", "a reserved field is not 0");
  }
  return EK_OK;
}

ek_status verify_constant(const ModelView& m, uint32_t index, uint64_t* end, Error* e) {
  const ConstantRecord& c = m.constants[index];
  const ek_status status = verify_dims(m, &c.rank, c.dims, "constant", e);
  if (status != EK_OK) return status;
  if (c.dtype != EK_INT8 && c.dtype != EK_INT32 && c.dtype != EK_FLOAT32) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&c.dtype), "constant.dtype",
                "constant %u has dtype %u; INT8, INT32 or FLOAT32", index, c.dtype);
  }
  if (c.reserved != 0) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&c.reserved), "constant.reserved", "a reserved field is not 0");
  }
  uint64_t bytes = dtype_bytes(c.dtype);
  for (int i = 0; i < c.rank; ++i) bytes *= static_cast<uint64_t>(c.dims[i]);
  if (c.size != bytes) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&c.size), "constant.size",
                "constant %u has %" PRIu64 " bytes, its shape needs %" PRIu64, index, c.size, bytes);
  }
  const uint64_t want = (*end + kPayloadAlign - 1) / kPayloadAlign * kPayloadAlign;
  if (c.offset != want) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&c.offset), "constant.offset",
                "constant %u starts at %" PRIu64 "; the next multiple of 8 is %" PRIu64, index, c.offset, want);
  }
  if (want > m.payload_size || c.size > m.payload_size - want) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&c.size), "constant.size", "constant %u passes the end of its section",
                index);
  }
  for (uint64_t i = *end; i < want; ++i) {
    if (m.payload[i] != 0) {
      return fail(e, EK_CORRUPT_MODEL, m.at(m.payload + i), "padding", "the bytes before constant %u are not 0", index);
    }
  }
  *end = want + c.size;
  return EK_OK;
}

ek_status verify_port(const ModelView& m, const PortRecord& p, uint32_t index, bool input, Error* e) {
  const ek_status status = verify_name(m, &p.name, "port.name", e);
  if (status != EK_OK) return status;
  if (p.tensor >= m.tensors.size || (input && p.tensor != index)) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&p.tensor), "port.tensor",
                input ? "input port %u names tensor %u; input i is tensor i"
                      : "output port %u names tensor %u, which does not exist",
                index, p.tensor);
  }
  const TensorRecord& t = m.tensors[p.tensor];
  const bool bytes = p.dtype == EK_INT8 || p.dtype == EK_UINT8;
  if (p.dtype != EK_FLOAT32 && !(bytes && t.dtype == EK_INT8)) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&p.dtype), "port.dtype", "dtype %u at the edge of a tensor of dtype %u",
                p.dtype, t.dtype);
  }
  if (input && t.dtype != EK_INT8 && t.dtype != EK_INT16) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&t.dtype), "tensor.dtype", "tensor %u of dtype %u cannot be a port", p.tensor,
                t.dtype);
  }
  if (p.rank != t.rank) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&p.rank), "port.rank", "rank %u, its tensor has %u", p.rank, t.rank);
  }
  uint32_t seen = 0;
  for (uint32_t i = 0; i < sizeof p.perm; ++i) {
    const bool good = i == 0       ? p.perm[0] == 0
                      : i < p.rank ? p.perm[i] < p.rank && (seen >> p.perm[i] & 1) == 0
                                   : p.perm[i] == 0;
    if (!good) {
      return fail(e, EK_CORRUPT_MODEL, m.at(p.perm + i), "port.perm",
                  "entry %u is %u: no permutation with the batch first", i, p.perm[i]);
    }
    seen |= 1u << p.perm[i];
  }
  if (p.scale != 0.0f || p.zero_point != 0 || !is_zero(p.reserved, 5)) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&p.scale), "port.scale", "a reserved field is not 0");
  }
  return EK_OK;
}

ek_status verify_preprocess(const ModelView& m, Error* e) {
  const PreprocessRecord& p = *m.preprocess;
  if (p.input >= m.inputs.size) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&p.input), "preprocess.input", "input %u of %u", p.input, m.inputs.size);
  }
  const TensorRecord& t = m.tensors[m.inputs[p.input].tensor];
  const bool fits = t.rank == 4 && static_cast<uint32_t>(t.dims[1]) == p.height &&
                    static_cast<uint32_t>(t.dims[2]) == p.width && static_cast<uint32_t>(t.dims[3]) == p.channels;
  if (!fits) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&p.width), "preprocess.width", "%u x %u x %u is not the shape of input %u",
                p.height, p.width, p.channels, p.input);
  }
  if (t.dtype != EK_INT8) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&t.dtype), "tensor.dtype", "input %u has dtype %u; a preprocess makes INT8",
                p.input, t.dtype);
  }
  if (p.width > 16384 || p.height > 16384) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&p.width), "preprocess.width", "an image side above 16384");
  }
  if (p.order > 2 || (p.order == 2) != (p.channels == 1)) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&p.order), "preprocess.order", "order %u with %u channels", p.order,
                p.channels);
  }
  if (p.margin > 1024) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&p.margin), "preprocess.margin", "margin %u/256; at most 1024", p.margin);
  }
  if (p.resize != 0 || p.reserved != 0) {
    return fail(e, EK_CORRUPT_MODEL, m.at(p.resize != 0 ? &p.resize : &p.reserved),
                p.resize != 0 ? "preprocess.resize" : "preprocess.reserved", "not 0");
  }
  return EK_OK;
}

ek_status verify_decision(const ModelView& m, Error* e) {
  const DecisionRecord& d = *m.decision;
  if (!(d.abstain_threshold >= 0.0f && d.abstain_threshold <= 1.0f)) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&d.abstain_threshold), "decision.abstain_threshold", "not within 0 to 1");
  }
  if (!(d.temperature > 0.0f && d.temperature < 1e6f)) {
    return fail(e, EK_CORRUPT_MODEL, m.at(&d.temperature), "decision.temperature", "not above 0 and below 1e6");
  }
  if (!is_zero(d.reserved, 2)) {
    return fail(e, EK_CORRUPT_MODEL, m.at(d.reserved), "decision.reserved", "a reserved field is not 0");
  }
  return EK_OK;
}

ek_status verify_known_answer(const ModelView& m, Error* e) {
  const uint8_t* at = m.known_answer;
  uint64_t left = m.known_answer_size;
  for (const PortRecord& p : m.inputs) {
    uint32_t period = 0;
    if (left >= sizeof period) std::memcpy(&period, at, sizeof period);
    if (period == 0 || period % dtype_bytes(p.dtype) != 0 || period > port_bytes(m, p) ||
        period > left - sizeof period) {
      return fail(e, EK_CORRUPT_MODEL, m.at(at), "known_answer.period",
                  "a pattern of %u bytes for an input of %" PRIu64 ", with %" PRIu64 " bytes left in the section",
                  period, port_bytes(m, p), left);
    }
    at += sizeof period + period;
    left -= sizeof period + period;
  }
  uint64_t want = 0;
  for (const PortRecord& p : m.outputs) want += port_bytes(m, p);
  if (want == left) return EK_OK;
  return fail(e, EK_CORRUPT_MODEL, m.at(at), "known_answer", "%" PRIu64 " bytes of outputs, the ports need %" PRIu64,
              left, want);
}

}  // namespace

bool is_zero(const uint32_t* words, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (words[i] != 0) return false;
  }
  return true;
}

ek_status verify_name(const ModelView& m, const uint32_t* name, const char* field, Error* e) {
  if (*name >= m.strings.size) {
    return fail(e, EK_CORRUPT_MODEL, m.at(name), field, "name at byte %u of %u bytes of names", *name, m.strings.size);
  }
  if (*name == 0 || m.strings[*name - 1] == 0) return EK_OK;  // verify_strings judged it from its first byte
  return fail(e, EK_CORRUPT_MODEL, m.at(name), field, "byte %u lies inside a name", *name);
}

ek_status verify_model(const ModelView& m, Error* e) {
  ek_status status = verify_strings(m, e);
  for (uint32_t i = 0; i < m.tensors.size && status == EK_OK; ++i) status = verify_tensor(m, i, e);
  uint64_t end = 0;
  for (uint32_t i = 0; i < m.constants.size && status == EK_OK; ++i) status = verify_constant(m, i, &end, e);
  if (status == EK_OK && end != m.payload_size) {
    return fail(e, EK_CORRUPT_MODEL, m.payload == nullptr ? 0 : m.at(m.payload + end), "constants",
                "the constants end %" PRIu64 " bytes before their section does", m.payload_size - end);
  }
  for (uint32_t i = 0; i < m.inputs.size && status == EK_OK; ++i) status = verify_port(m, m.inputs[i], i, true, e);
  for (uint32_t i = 0; i < m.outputs.size && status == EK_OK; ++i) status = verify_port(m, m.outputs[i], i, false, e);
  if (status == EK_OK) status = verify_ops(m, e);
  if (status == EK_OK && m.preprocess != nullptr) status = verify_preprocess(m, e);
  if (status == EK_OK && m.decision != nullptr) status = verify_decision(m, e);
  if (status == EK_OK && m.known_answer != nullptr) status = verify_known_answer(m, e);
  return status;
}

}  // namespace ek
