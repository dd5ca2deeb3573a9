// SPDX-License-Identifier: Apache-2.0
#include "model/reader.h"

#include <cinttypes>
#include <cstddef>
#include <cstring>

#include "model/sha256.h"

namespace ek {
namespace {

constexpr uint32_t kMaxSections = 16;
constexpr uint32_t kMaxRecords = 16384;    // tensors, constants, ops, labels: keeps every later loop short
constexpr uint32_t kMaxWords = 1u << 20;   // operands, parameters, bytes of names

uint64_t align_up(uint64_t value) { return (value + kSectionAlign - 1) / kSectionAlign * kSectionAlign; }

bool is_zero(const uint8_t* data, uint64_t size) {
  for (uint64_t i = 0; i < size; ++i) {
    if (data[i] != 0) return false;
  }
  return true;
}

ek_status read_header(ModelView* m, Error* e) {
  const auto& h = *reinterpret_cast<const FileHeader*>(m->data);
  if (m->size < sizeof(FileHeader)) {
    return fail(e, EK_CORRUPT_MODEL, m->size, "file_size", "the file ends after %" PRIu64 " bytes; a header has 64",
                m->size);
  }
  if (std::memcmp(h.magic, kMagic, sizeof kMagic) != 0) {
    return fail(e, EK_CORRUPT_MODEL, 0, "magic", "this is no .ekm file: the first 8 bytes are not its signature");
  }
  if (h.format_version > kFormatVersion) {
    return fail(e, EK_VERSION, offsetof(FileHeader, format_version), "format_version",
                "the file has format %u, this edgekern reads up to %u; update edgekern", h.format_version,
                kFormatVersion);
  }
  if (h.arithmetic_version > kArithmeticVersion) {
    return fail(e, EK_VERSION, offsetof(FileHeader, arithmetic_version), "arithmetic_version",
                "the file has arithmetic %u, this edgekern computes up to %u; update edgekern", h.arithmetic_version,
                kArithmeticVersion);
  }
  if (h.format_version == 0 || h.arithmetic_version == 0) {
    const bool format = h.format_version == 0;
    return fail(e, EK_CORRUPT_MODEL,
                format ? offsetof(FileHeader, format_version) : offsetof(FileHeader, arithmetic_version),
                format ? "format_version" : "arithmetic_version", "versions start at 1");
  }
  if (h.file_size != m->size) {
    return fail(e, EK_CORRUPT_MODEL, offsetof(FileHeader, file_size), "file_size",
                "the header says %" PRIu64 " bytes, the file has %" PRIu64 "; was it cut short?", h.file_size, m->size);
  }
  if (h.section_count == 0 || h.section_count > kMaxSections) {
    return fail(e, EK_CORRUPT_MODEL, offsetof(FileHeader, section_count), "section_count",
                "%u sections; a file has 1 to %u", h.section_count, kMaxSections);
  }
  if (h.reserved != 0) {
    return fail(e, EK_CORRUPT_MODEL, offsetof(FileHeader, reserved), "reserved", "a reserved field is not 0");
  }
  m->header = &h;
  return EK_OK;
}

ek_status check_digest(const ModelView& m, Error* e) {
  constexpr uint64_t kFrom = offsetof(FileHeader, sha256);
  const uint8_t zero[32] = {};
  uint8_t digest[32];
  Sha256 sha;
  sha.update(m.data, kFrom);
  sha.update(zero, sizeof zero);
  sha.update(m.data + kFrom + sizeof zero, m.size - kFrom - sizeof zero);
  sha.finish(digest);
  if (std::memcmp(digest, m.header->sha256, sizeof digest) != 0) {
    return fail(e, EK_CORRUPT_MODEL, kFrom, "sha256",
                "the digest of the file is not the one in its header: "
                "it was damaged or edited; fetch it again");
  }
  return EK_OK;
}

// The tables of the graph section, one after the other without gaps.
ek_status read_graph(ModelView* m, const SectionEntry& section, Error* e) {
  if (section.size < sizeof(GraphHeader)) {
    return fail(e, EK_CORRUPT_MODEL, m->at(&section.size), "section.size",
                "the graph section has %" PRIu64 " bytes; its header alone has 32", section.size);
  }
  const auto& g = *reinterpret_cast<const GraphHeader*>(m->data + section.offset);
  m->graph = &g;
  const struct {
    const uint32_t* count;
    const char* name;
    uint32_t limit;
  } counts[] = {
      {&g.tensor_count, "graph.tensor_count", kMaxRecords}, {&g.constant_count, "graph.constant_count", kMaxRecords},
      {&g.op_count, "graph.op_count", kMaxRecords},         {&g.port_count, "graph.port_count", 2 * kMaxPorts},
      {&g.input_count, "graph.input_count", kMaxPorts},     {&g.operand_count, "graph.operand_count", kMaxWords},
      {&g.param_count, "graph.param_count", kMaxWords},     {&g.string_bytes, "graph.string_bytes", kMaxWords}};
  for (const auto& c : counts) {
    if (*c.count > c.limit) {
      return fail(e, EK_CORRUPT_MODEL, m->at(c.count), c.name, "%u; at most %u", *c.count, c.limit);
    }
  }
  if (g.input_count == 0 || g.input_count >= g.port_count) {
    return fail(e, EK_CORRUPT_MODEL, m->at(&g.input_count), "graph.input_count",
                "%u inputs of %u ports; a model has at least one input and one output", g.input_count, g.port_count);
  }
  if (g.port_count - g.input_count > kMaxPorts) {
    return fail(e, EK_CORRUPT_MODEL, m->at(&g.port_count), "graph.port_count", "%u outputs; at most %u",
                g.port_count - g.input_count, kMaxPorts);
  }
  const uint8_t* next = m->data + section.offset + sizeof(GraphHeader);
  const auto take = [&next](auto* span, uint32_t count) {
    span->data = reinterpret_cast<decltype(span->data)>(next);
    span->size = count;
    next += uint64_t{count} * sizeof(*span->data);
  };
  take(&m->tensors, g.tensor_count);
  take(&m->constants, g.constant_count);
  take(&m->ops, g.op_count);
  take(&m->inputs, g.input_count);
  take(&m->outputs, g.port_count - g.input_count);
  take(&m->operands, g.operand_count);
  take(&m->params, g.param_count);
  take(&m->strings, g.string_bytes);
  const uint64_t used = m->at(next) - section.offset;  // counts are bounded: no pointer can wrap
  if (used != section.size) {
    return fail(e, EK_CORRUPT_MODEL, m->at(&section.size), "section.size",
                "the graph's tables take %" PRIu64 " bytes, its section has %" PRIu64, used, section.size);
  }
  return EK_OK;
}

ek_status read_preprocess(ModelView* m, const SectionEntry& section, Error* e) {
  const auto* record = reinterpret_cast<const PreprocessRecord*>(m->data + section.offset);
  if (section.size < sizeof *record) {
    return fail(e, EK_CORRUPT_MODEL, m->at(&section.size), "section.size", "the preprocess section is too short");
  }
  if (record->channels != 1 && record->channels != 3) {
    return fail(e, EK_CORRUPT_MODEL, m->at(&record->channels), "preprocess.channels", "%u channels; 1 or 3 in format 1",
                record->channels);
  }
  if (section.size != sizeof *record + uint64_t{256} * record->channels) {
    return fail(e, EK_CORRUPT_MODEL, m->at(&section.size), "section.size",
                "the preprocess section has %" PRIu64 " bytes; its record and %u tables need another number",
                section.size, record->channels);
  }
  m->preprocess = record;
  m->preprocess_tables = m->data + section.offset + sizeof *record;
  return EK_OK;
}

ek_status read_labels(ModelView* m, const SectionEntry& section, Error* e) {
  const uint8_t* data = m->data + section.offset;
  if (section.size < 4 || section.size > kMaxWords) {
    return fail(e, EK_CORRUPT_MODEL, m->at(&section.size), "section.size",
                "the labels section has %" PRIu64 " bytes; 4 to %u", section.size, kMaxWords);
  }
  std::memcpy(&m->label_count, data, 4);
  if (m->label_count > kMaxRecords) {
    return fail(e, EK_CORRUPT_MODEL, section.offset, "label", "%u labels; at most %u", m->label_count, kMaxRecords);
  }
  m->labels = {reinterpret_cast<const char*>(data + 4), static_cast<uint32_t>(section.size - 4)};
  const char* text = m->labels.begin();
  for (uint32_t i = 0; i < m->label_count; ++i) {
    const auto left = static_cast<size_t>(m->labels.end() - text);
    const void* end = std::memchr(text, 0, left);
    const size_t length = end == nullptr ? left : static_cast<size_t>(static_cast<const char*>(end) - text);
    if (end == nullptr || !is_utf8(text, length)) {
      return fail(e, EK_CORRUPT_MODEL, m->at(left == 0 ? static_cast<const void*>(data) : text), "label",
                  "label %u of %u is no NUL-terminated UTF-8", i, m->label_count);
    }
    text += length + 1;
  }
  if (text != m->labels.end()) {
    return fail(e, EK_CORRUPT_MODEL, m->at(text), "label", "bytes behind the last of %u labels", m->label_count);
  }
  return EK_OK;
}

ek_status read_section(ModelView* m, const SectionEntry& section, Error* e) {
  const uint8_t* data = m->data + section.offset;
  switch (static_cast<SectionKind>(section.kind)) {
    case SectionKind::kGraph:
      return read_graph(m, section, e);
    case SectionKind::kConstants:
      m->payload = data;
      m->payload_size = section.size;
      return EK_OK;
    case SectionKind::kPreprocess:
      return read_preprocess(m, section, e);
    case SectionKind::kLabels:
      return read_labels(m, section, e);
    case SectionKind::kDecision:
      m->decision = reinterpret_cast<const DecisionRecord*>(data);
      if (section.size == sizeof(DecisionRecord)) return EK_OK;
      return fail(e, EK_CORRUPT_MODEL, m->at(&section.size), "section.size", "a decision section has 16 bytes");
    case SectionKind::kKnownAnswer:
      m->known_answer = data;
      m->known_answer_size = section.size;  // against the ports: verify_model
      return EK_OK;
    case SectionKind::kProvenance:
      if (section.size > kMaxWords || !is_utf8(reinterpret_cast<const char*>(data), section.size)) {
        return fail(e, EK_CORRUPT_MODEL, section.offset, "provenance", "it is no UTF-8 of at most %u bytes", kMaxWords);
      }
      m->provenance = {reinterpret_cast<const char*>(data), static_cast<uint32_t>(section.size)};
      return EK_OK;
    case SectionKind::kPacked:  // reserved; the loader packs
      break;
  }
  return fail(e, EK_CORRUPT_MODEL, m->at(&section.kind), "section.kind", "kind %u is not known in format %u",
              section.kind, m->header->format_version);
}

ek_status read_sections(ModelView* m, Error* e) {
  const auto* table = reinterpret_cast<const SectionEntry*>(m->data + sizeof(FileHeader));
  const uint32_t count = m->header->section_count;
  uint64_t end = sizeof(FileHeader) + uint64_t{count} * sizeof(SectionEntry);
  if (end > m->size) {
    return fail(e, EK_CORRUPT_MODEL, offsetof(FileHeader, section_count), "section_count",
                "the table of %u sections passes the end of the file", count);
  }
  for (uint32_t i = 0; i < count; ++i) {
    const SectionEntry& s = table[i];
    if (s.reserved != 0 || s.reserved2 != 0) {
      return fail(e, EK_CORRUPT_MODEL, m->at(s.reserved != 0 ? static_cast<const void*>(&s.reserved) : &s.reserved2),
                  "section.reserved", "a reserved field is not 0");
    }
    if (i > 0 && s.kind <= table[i - 1].kind) {
      return fail(e, EK_CORRUPT_MODEL, m->at(&s.kind), "section.kind", "section %u: kinds must ascend", i);
    }
    if (s.offset != align_up(end) || s.offset > m->size) {
      return fail(e, EK_CORRUPT_MODEL, m->at(&s.offset), "section.offset",
                  "section %u starts at %" PRIu64 "; the next multiple of 64 is %" PRIu64, i, s.offset, align_up(end));
    }
    if (s.size > m->size - s.offset) {
      return fail(e, EK_CORRUPT_MODEL, m->at(&s.size), "section.size",
                  "section %u of %" PRIu64 " bytes passes the end of the file", i, s.size);
    }
    if (!is_zero(m->data + end, s.offset - end)) {
      return fail(e, EK_CORRUPT_MODEL, end, "padding", "the bytes before section %u are not 0", i);
    }
    end = s.offset + s.size;
    const ek_status status = read_section(m, s, e);
    if (status != EK_OK) return status;
  }
  if (end != m->size) {
    return fail(e, EK_CORRUPT_MODEL, end, "file_size", "bytes behind the last section");
  }
  if (m->graph == nullptr) {
    return fail(e, EK_CORRUPT_MODEL, sizeof(FileHeader), "section.kind", "the file has no graph section");
  }
  return EK_OK;
}

}  // namespace

ek_status read_model(const uint8_t* data, uint64_t size, ModelView* model, Error* error) {
  *model = {};
  model->data = data;
  model->size = size;
  ek_status status = read_header(model, error);
  if (status == EK_OK) status = check_digest(*model, error);
  if (status == EK_OK) status = read_sections(model, error);
  if (status == EK_OK) status = verify_model(*model, error);
  return status;
}

}  // namespace ek
