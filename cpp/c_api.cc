// SPDX-License-Identifier: Apache-2.0
/// The C ABI: checks what a caller can get wrong, and hands on. The only file that defines ek_* symbols.
#include <sys/stat.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/isa.h"
#include "edgekern/edgekern.h"
#include "runtime/session.h"

namespace {

thread_local ek::Error last_error;

ek::Model* cast(ek_model* model) { return reinterpret_cast<ek::Model*>(model); }
const ek::Model* cast(const ek_model* model) { return reinterpret_cast<const ek::Model*>(model); }
ek::Session* cast(ek_session* session) { return reinterpret_cast<ek::Session*>(session); }
const ek::Session* cast(const ek_session* session) { return reinterpret_cast<const ek::Session*>(session); }

ek_status null_argument(const char* name) {
  return ek::fail(&last_error, EK_INVALID_ARGUMENT, 0, name, "%s is a null pointer", name);
}

/// A struct of the caller, of this or an older size, filled from `full`.
template <class Info>
ek_status give(const Info& full, Info* info) {
  if (info == nullptr) return null_argument("info");
  const size_t size = info->struct_size;
  if (size < sizeof info->struct_size || size > sizeof full) {
    return ek::fail(&last_error, EK_INVALID_ARGUMENT, 0, "struct_size",
                    "struct_size is %zu; set it to sizeof of the struct, %zu here", size, sizeof full);
  }
  std::memcpy(info, &full, size);
  info->struct_size = size;
  return EK_OK;
}

ek_status tensor_info(const ek_model* model, int32_t index, bool input, ek_tensor_info* info) {
  if (model == nullptr) return null_argument("model");
  const ek::ModelView& m = cast(model)->view();
  const auto& ports = input ? m.inputs : m.outputs;
  if (index < 0 || static_cast<uint32_t>(index) >= ports.size) {
    return ek::fail(&last_error, EK_INVALID_ARGUMENT, 0, "index", "%s %d of %u", input ? "input" : "output", index,
                    ports.size);
  }
  const ek::PortRecord& port = ports[static_cast<size_t>(index)];
  const ek::TensorRecord& tensor = m.tensors[port.tensor];
  ek_tensor_info full = {};
  full.name = m.name(port.name);
  full.dtype = static_cast<ek_dtype>(port.dtype);
  full.rank = port.rank;
  for (int i = 0; i < port.rank; ++i) full.shape[i] = tensor.dims[port.perm[i]];
  full.scale = tensor.scale;
  full.zero_point = tensor.zero_point;
  full.inside = static_cast<ek_dtype>(tensor.dtype);
  return give(full, info);
}

/// What the options say, with the defaults of an absent or shorter struct.
ek_status read_options(const ek_session_options* given, ek_session_options* options) {
  *options = {};
  if (given != nullptr) {
    if (given->struct_size < sizeof given->struct_size || given->struct_size > sizeof *options) {
      return ek::fail(&last_error, EK_INVALID_ARGUMENT, 0, "struct_size",
                      "struct_size is %zu; set it to sizeof(ek_session_options)", given->struct_size);
    }
    std::memcpy(options, given, given->struct_size);
  }
  if (options->threads == 0) options->threads = 1;
  if (options->max_batch == 0) options->max_batch = 1;
  if (options->threads < 0 || options->max_batch < 0) {
    return ek::fail(&last_error, EK_INVALID_ARGUMENT, 0, options->threads < 0 ? "threads" : "max_batch",
                    "it is at least 1");
  }
  if (options->threads > 1 && !ek::Pool::kSupported) {
    return ek::fail(&last_error, EK_UNSUPPORTED, 0, "threads",
                    "%d threads: on this system a session runs on 1; make one session per thread instead",
                    options->threads);
  }
  if (options->threads > ek::Pool::kMostThreads) {
    return ek::fail(&last_error, EK_INVALID_ARGUMENT, 0, "threads", "%d threads; a session takes at most %d",
                    options->threads, ek::Pool::kMostThreads);
  }
  return EK_OK;
}

ek_status read_cap(const char* isa, ek::IsaSet* cap) {
  const bool named = isa != nullptr;
  const char* text = named ? isa : std::getenv("EDGEKERN_ISA");
  const ek::IsaSet available = ek::detect_isa();
  if (ek::parse_isa_cap(text, available, cap)) return EK_OK;
  char names[128];
  return ek::fail(&last_error, EK_ISA, 0, named ? "isa" : "EDGEKERN_ISA",
                  "%s=\"%s\" names an instruction set that is unknown or absent here; this CPU has %s",
                  named ? "isa" : "EDGEKERN_ISA", text, ek::format_isa(available, names, sizeof names));
}

ek_status bad_path(const char* path, const char* why) {
  return ek::fail(&last_error, EK_INVALID_ARGUMENT, 0, "path", "%s: %s", path, why);
}

/// Reads an open file into a model and verifies it; `model` may be set where that fails.
ek_status read_file(std::FILE* file, const char* path, ek::Model** model) {
#if defined(_WIN32)
  struct _stat64 facts;
  if (_fstat64(_fileno(file), &facts) != 0) return bad_path(path, std::strerror(errno));
  if ((facts.st_mode & _S_IFREG) == 0) return bad_path(path, "it is no regular file");
#else
  struct stat facts;
  if (fstat(fileno(file), &facts) != 0) return bad_path(path, std::strerror(errno));
  if (!S_ISREG(facts.st_mode)) {  // a directory opens, and then has the size of whatever the system likes
    return bad_path(path, S_ISDIR(facts.st_mode) ? "it is a directory, not a model file" : "it is no regular file");
  }
#endif
  const auto size = static_cast<size_t>(facts.st_size);
  *model = ek::Model::allocate(size, &last_error);
  if (*model == nullptr) return EK_OUT_OF_MEMORY;
  const size_t got = std::fread((*model)->bytes(), 1, size, file);
  if (got == size) return (*model)->verify(&last_error);
  if (std::ferror(file) != 0) return bad_path(path, std::strerror(errno));
  return ek::fail(&last_error, EK_INVALID_ARGUMENT, 0, "path", "%s: it ends after %zu of its %zu bytes", path, got,
                  size);
}

}  // namespace

const char* ek_version(void) { return EK_VERSION_TEXT; }

ek_status ek_isa_available(char* names, size_t size) {
  if (names == nullptr || size == 0) return null_argument("names");
  char all[128];
  ek::format_isa(ek::detect_isa(), all, sizeof all);
  if (std::strlen(all) >= size) {
    return ek::fail(&last_error, EK_INVALID_ARGUMENT, 0, "size", "the names need %zu bytes", std::strlen(all) + 1);
  }
  std::memcpy(names, all, std::strlen(all) + 1);
  return EK_OK;
}

ek_status ek_model_load(const void* data, size_t bytes, ek_model** model) {
  if (data == nullptr) return null_argument("data");
  if (model == nullptr) return null_argument("model");
  *model = reinterpret_cast<ek_model*>(ek::Model::create(data, bytes, &last_error));
  return *model == nullptr ? last_error.code : EK_OK;
}

ek_status ek_model_load_file(const char* path, ek_model** model) {
  if (path == nullptr) return null_argument("path");
  if (model == nullptr) return null_argument("model");
  *model = nullptr;
  std::FILE* file = std::fopen(path, "rb");
  if (file == nullptr) return bad_path(path, std::strerror(errno));
  ek::Model* loaded = nullptr;
  const ek_status status = read_file(file, path, &loaded);
  std::fclose(file);
  if (status == EK_OK) {
    *model = reinterpret_cast<ek_model*>(loaded);
  } else if (loaded != nullptr) {
    loaded->release();
  }
  return status;
}

void ek_model_free(ek_model* model) {
  if (model != nullptr) cast(model)->release();
}

ek_status ek_model_describe(const ek_model* model, ek_model_info* info) {
  if (model == nullptr) return null_argument("model");
  const ek::ModelView& m = cast(model)->view();
  ek_model_info full = {};
  full.format_version = m.header->format_version;
  full.arithmetic_version = m.header->arithmetic_version;
  full.input_count = static_cast<int32_t>(m.inputs.size);
  full.output_count = static_cast<int32_t>(m.outputs.size);
  full.op_count = static_cast<int32_t>(m.ops.size);
  full.label_count = static_cast<int32_t>(m.label_count);
  full.has_preprocess = m.preprocess != nullptr;
  full.has_known_answer = m.known_answer != nullptr;
  full.abstain_threshold = m.decision == nullptr ? 0.0f : m.decision->abstain_threshold;
  full.provenance = m.provenance.data == nullptr ? "" : m.provenance.data;  // the last section: a NUL follows it
  return give(full, info);
}

ek_status ek_model_input(const ek_model* model, int32_t index, ek_tensor_info* info) {
  return tensor_info(model, index, true, info);
}

ek_status ek_model_output(const ek_model* model, int32_t index, ek_tensor_info* info) {
  return tensor_info(model, index, false, info);
}

ek_status ek_model_label(const ek_model* model, int32_t index, const char** label) {
  if (model == nullptr) return null_argument("model");
  if (label == nullptr) return null_argument("label");
  const ek::ModelView& m = cast(model)->view();
  if (index < 0 || static_cast<uint32_t>(index) >= m.label_count) {
    return ek::fail(&last_error, EK_INVALID_ARGUMENT, 0, "index", "label %d of %u", index, m.label_count);
  }
  const char* text = m.labels.begin();
  for (int32_t i = 0; i < index; ++i) text += std::strlen(text) + 1;
  *label = text;
  return EK_OK;
}

ek_status ek_session_create(const ek_model* model, const ek_session_options* options, ek_session** session) {
  if (model == nullptr) return null_argument("model");
  if (session == nullptr) return null_argument("session");
  *session = nullptr;
  ek_session_options o;
  ek::IsaSet cap = ek::kScalar;
  ek_status status = read_options(options, &o);
  if (status == EK_OK) status = read_cap(o.isa, &cap);
  if (status != EK_OK) return status;
  const ek::PlanOptions plan = {cap, o.trace != 0, o.threads, o.share_all != 0};
  auto* owner = const_cast<ek::Model*>(cast(model));  // counts its owners; the view stays as it is
  ek::Session* made = ek::Session::create(owner, {plan, o.memory_limit, o.max_batch, o.selftest != 0}, &last_error);
  if (made == nullptr) return last_error.code;
  *session = reinterpret_cast<ek_session*>(made);
  return EK_OK;
}

void ek_session_free(ek_session* session) { ek::Session::destroy(cast(session)); }

ek_status ek_session_memory(const ek_session* session, ek_memory_info* info) {
  if (session == nullptr) return null_argument("session");
  return give(cast(session)->memory(), info);
}

ek_status ek_session_op_count(const ek_session* session, int32_t* count) {
  if (session == nullptr) return null_argument("session");
  if (count == nullptr) return null_argument("count");
  *count = static_cast<int32_t>(cast(session)->plan().steps.size);
  return EK_OK;
}

ek_status ek_session_op(const ek_session* session, int32_t index, ek_op_info* info) {
  if (session == nullptr) return null_argument("session");
  ek_op_info full = {};
  const ek_status status = cast(session)->op(index, &full, &last_error);
  return status == EK_OK ? give(full, info) : status;
}

ek_status ek_session_tensor(const ek_session* session, const char* name, void* data, size_t bytes) {
  if (session == nullptr) return null_argument("session");
  if (name == nullptr) return null_argument("name");
  return cast(session)->tensor(name, data, bytes, &last_error);
}

ek_status ek_session_run(ek_session* session, const ek_buffer* inputs, int32_t input_count, ek_buffer* outputs,
                         int32_t output_count, int32_t batch, int32_t raw) {
  if (session == nullptr) return null_argument("session");
  if (inputs == nullptr) return null_argument("inputs");
  if (outputs == nullptr) return null_argument("outputs");
  return cast(session)->run(inputs, input_count, outputs, output_count, batch, raw != 0, &last_error);
}

ek_status ek_session_profile(ek_session* session, const ek_buffer* inputs, int32_t input_count, ek_buffer* outputs,
                             int32_t output_count, int32_t rounds) {
  if (session == nullptr) return null_argument("session");
  if (inputs == nullptr) return null_argument("inputs");
  if (outputs == nullptr) return null_argument("outputs");
  return cast(session)->profile(inputs, input_count, outputs, output_count, rounds, &last_error);
}

ek_status ek_session_run_regions(ek_session* session, const ek_frame* frame, const ek_box* boxes, int32_t box_count,
                                 ek_buffer* outputs, int32_t output_count, int32_t raw) {
  if (session == nullptr) return null_argument("session");
  if (frame == nullptr) return null_argument("frame");
  if (outputs == nullptr) return null_argument("outputs");
  if (frame->struct_size != sizeof *frame) {
    return ek::fail(&last_error, EK_INVALID_ARGUMENT, 0, "struct_size",
                    "struct_size is %zu; set it to sizeof(ek_frame)", frame->struct_size);
  }
  return cast(session)->run_regions(*frame, boxes, box_count, outputs, output_count, raw != 0, &last_error);
}

const char* ek_last_error(void) { return last_error.text; }
uint64_t ek_last_error_offset(void) { return last_error.offset; }
const char* ek_last_error_field(void) { return last_error.field; }
