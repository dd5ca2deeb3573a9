// SPDX-License-Identifier: Apache-2.0
/// From bytes to verified views. Nothing is copied, allocated or executed, and no byte is believed before it
/// was checked: a ModelView that read_model() filled keeps every promise of FORMAT.md.
#pragma once
#include "base/span.h"
#include "base/status.h"
#include "model/format.h"
#include "model/opcodes.h"

namespace ek {

struct ModelView;

/// One op with its operands resolved.
struct OpView {
  const OpRecord* record;
  const OpcodeRow* row;
  Span<const uint32_t> inputs, outputs;  ///< tensor indices
  Span<const uint32_t> constants;        ///< constant indices
  const int32_t* params;

  template <class Params>
  const Params& as() const {
    return *reinterpret_cast<const Params*>(params);
  }
};

struct ModelView {
  const uint8_t* data = nullptr;  ///< the file, 64-aligned
  uint64_t size = 0;
  const FileHeader* header = nullptr;
  const GraphHeader* graph = nullptr;
  Span<const TensorRecord> tensors;
  Span<const ConstantRecord> constants;
  Span<const OpRecord> ops;
  Span<const PortRecord> inputs, outputs;
  Span<const uint32_t> operands;
  Span<const int32_t> params;
  Span<const char> strings;
  const uint8_t* payload = nullptr;  ///< the constants section
  uint64_t payload_size = 0;
  const PreprocessRecord* preprocess = nullptr;  ///< null: tensors only
  const uint8_t* preprocess_tables = nullptr;    ///< [channels][256]
  Span<const char> labels;                       ///< NUL-terminated, one after the other
  uint32_t label_count = 0;
  const DecisionRecord* decision = nullptr;  ///< null: no abstention
  const uint8_t* known_answer = nullptr;     ///< null: none
  uint64_t known_answer_size = 0;
  Span<const char> provenance;

  const char* name(uint32_t string) const { return strings.data + string; }
  OpView op(uint32_t index) const;
  template <class T>
  const T* constant(uint32_t index) const {
    return reinterpret_cast<const T*>(payload + constants[index].offset);
  }
  /// Byte offset of something inside the file, for messages.
  uint64_t at(const void* field) const { return static_cast<uint64_t>(static_cast<const uint8_t*>(field) - data); }
};

/// A tensor as height x width x channels: the last dimension is c, the one before it w, the others h.
struct Hwc {
  int32_t h, w, c;
};
Hwc hwc(const TensorRecord& tensor);

/// Elements of one frame, and bytes of one frame of the caller's tensor.
int64_t element_count(const TensorRecord& tensor);
uint64_t port_bytes(const ModelView& model, const PortRecord& port);
uint64_t dtype_bytes(uint16_t dtype);

/// Reads and verifies a whole file. `data` is 64-aligned and outlives the view.
ek_status read_model(const uint8_t* data, uint64_t size, ModelView* model, Error* error);

/// Second half of read_model(): every record against every other, and the shape rule of every op.
ek_status verify_model(const ModelView& model, Error* error);

/// Strict UTF-8, no NUL inside.
bool is_utf8(const char* text, size_t size);

}  // namespace ek
