// SPDX-License-Identifier: Apache-2.0
/// The .ekm file as C++ structs: little-endian, as FORMAT.md tells it. Sizes are part of the format.
#pragma once
#include <cstdint>

namespace ek {

constexpr uint8_t kMagic[8] = {0x89, 'E', 'K', 'M', '\r', '\n', 0x1a, '\n'};
constexpr uint32_t kFormatVersion = 1;
constexpr uint32_t kArithmeticVersion = 1;
constexpr uint64_t kSectionAlign = 64;
constexpr uint64_t kPayloadAlign = 8;
constexpr uint32_t kMaxRank = 6;
constexpr uint32_t kMaxPorts = 16;  // inputs, and outputs: what the frame call holds without allocating

struct FileHeader {  // 64 bytes
  uint8_t magic[8];
  uint32_t format_version;
  uint32_t arithmetic_version;
  uint64_t file_size;
  uint32_t section_count;
  uint32_t reserved;   // 0
  uint8_t sha256[32];  // of the whole file with these 32 bytes as zero
};

enum class SectionKind : uint32_t {
  kGraph = 1,
  kConstants = 2,
  kPreprocess = 3,
  kLabels = 4,
  kDecision = 5,
  kKnownAnswer = 6,
  kProvenance = 7,
  kPacked = 8,  // reserved: weights packed for one kernel table
};

struct SectionEntry {  // 32 bytes; sections in ascending kind, each at most once, 64-aligned, no holes
  uint32_t kind;
  uint32_t reserved;  // 0
  uint64_t offset;    // from the start of the file
  uint64_t size;      // bytes; zero bytes pad to the next section
  uint64_t reserved2; // 0
};

struct GraphHeader {  // 32 bytes; the tables follow in this order, without gaps
  uint32_t tensor_count;    // TensorRecord[]
  uint32_t constant_count;  // ConstantRecord[]
  uint32_t op_count;        // OpRecord[]
  uint32_t port_count;      // PortRecord[]: inputs, then outputs
  uint32_t input_count;
  uint32_t operand_count;   // uint32[]: tensor or constant indices of the ops
  uint32_t param_count;     // int32[]
  uint32_t string_bytes;    // UTF-8, NUL-terminated names
};

/// dtype numbers are those of ek_dtype.
struct TensorRecord {  // 48 bytes
  uint32_t name;       // byte offset into the strings
  uint16_t dtype;      // INT8, INT16 or FLOAT32
  uint16_t rank;       // 1..6
  int32_t dims[6];     // dims[0] is the batch and is 1; unused are 0
  float scale;         // 0 for FLOAT32
  int32_t zero_point;  // of the int8
  uint32_t reserved[2];
};

struct ConstantRecord {  // 48 bytes
  uint16_t dtype;
  uint16_t rank;
  int32_t dims[6];
  uint32_t reserved;
  uint64_t offset;  // in the constants section, 8-aligned, ascending, no holes but alignment
  uint64_t size;    // bytes
};

struct OpRecord {  // 32 bytes
  uint32_t name;
  uint16_t opcode;
  uint16_t input_count;
  uint16_t output_count;
  uint16_t constant_count;
  uint32_t operand_begin;  // inputs, outputs, constants, one after the other
  uint32_t param_begin;
  uint32_t param_count;
  uint32_t reserved[2];
};

struct PortRecord {  // 48 bytes
  uint32_t name;
  uint32_t tensor;
  uint16_t dtype;      // of the caller's tensor: FLOAT32, INT8, UINT8
  uint16_t rank;
  uint8_t perm[8];     // caller's dimension i is the tensor's dimension perm[i]; unused are 0
  float scale;         // UINT8/INT8 ports carry the tensor's own bytes (u8 = q + 128) when scale is 0;
  int32_t zero_point;  // reserved for other edges: 0
  uint32_t reserved[5];
};

struct PreprocessRecord {  // 32 bytes, then uint8 table[channels][256]: camera byte -> biased input byte
  uint32_t width, height;
  uint32_t channels;       // of the model's input: 1 or 3; a camera's fourth channel is left out
  uint32_t order;          // of the model's channels: 0 rgb, 1 bgr, 2 gray
  uint32_t margin;         // 1/256 of the box side, added on each side
  uint32_t resize;         // 0: bilinear
  uint32_t input;          // input port it feeds
  uint32_t reserved;
};

struct DecisionRecord {  // 16 bytes
  float abstain_threshold;  // least confidence that is not an abstention
  float temperature;        // that went into the softmax table; for the record
  uint32_t reserved[2];
};

// Labels: uint32 count, then count NUL-terminated UTF-8 strings.
// Known answer: for each input port uint32 period and that many bytes, which repeated fill its caller's tensor (batch
// 1, dense); then for each output port its caller's tensor; without gaps. Provenance: UTF-8 JSON.

static_assert(sizeof(FileHeader) == 64 && sizeof(SectionEntry) == 32 && sizeof(GraphHeader) == 32, "format");
static_assert(sizeof(TensorRecord) == 48 && sizeof(ConstantRecord) == 48 && sizeof(OpRecord) == 32, "format");
static_assert(sizeof(PortRecord) == 48 && sizeof(PreprocessRecord) == 32 && sizeof(DecisionRecord) == 16, "format");

}  // namespace ek
