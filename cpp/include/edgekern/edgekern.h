/* SPDX-License-Identifier: Apache-2.0
 * edgekern: exact int8 inference on CPUs. The C ABI: C99, plain enough to feed to cffi.
 *
 * Every function returns EK_OK or a status; ek_last_error() then tells what, where and what to do.
 * Structs that can grow start with their size, which the caller sets.
 * Nothing here opens a socket, prints or aborts; ek_session_create alone starts threads, where options.threads asks. */
#ifndef EDGEKERN_H
#define EDGEKERN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define EK_API __attribute__((visibility("default")))
#else
#define EK_API
#endif

typedef enum ek_status {
  EK_OK = 0,
  EK_INVALID_ARGUMENT = 1, /* a null pointer, a wrong size, shape, stride, box or channel order */
  EK_CORRUPT_MODEL = 2,    /* the file breaks a rule of FORMAT.md */
  EK_VERSION = 3,          /* a newer format or arithmetic than this library knows */
  EK_ISA = 4,              /* an unknown or absent instruction set was asked for */
  EK_MEMORY_LIMIT = 5,     /* the plan needs more than the limit given */
  EK_OUT_OF_MEMORY = 6,
  EK_SELFTEST = 7,         /* the known answer in the file differs from what was computed */
  EK_UNSUPPORTED = 8,      /* a legal file that asks for something this call or build does not do */
  EK_BUSY = 9              /* the session is running in another thread */
} ek_status;

typedef enum ek_dtype { EK_FLOAT32 = 1, EK_INT8 = 2, EK_UINT8 = 3, EK_INT16 = 4, EK_INT32 = 5 } ek_dtype;

typedef enum ek_channels { EK_RGB = 0, EK_BGR = 1, EK_GRAY = 2, EK_RGBA = 3, EK_BGRA = 4 } ek_channels;

typedef struct ek_model ek_model;     /* a verified file; immutable */
typedef struct ek_session ek_session; /* a plan with its arena; one run at a time */

typedef struct ek_tensor_info {
  size_t struct_size;
  const char* name; /* lives as long as the model */
  ek_dtype dtype;   /* of the caller's tensor */
  int32_t rank;
  int64_t shape[6]; /* of the caller's tensor; shape[0] is the batch, given as 1 */
  float scale;      /* real = scale * (q - zero_point), of the int8 or int16 tensor inside */
  int32_t zero_point;
  ek_dtype inside;  /* EK_INT8, EK_INT16 or EK_FLOAT32: of the tensor inside, which a raw output is */
} ek_tensor_info;

typedef struct ek_model_info {
  size_t struct_size;
  uint32_t format_version, arithmetic_version;
  int32_t input_count, output_count, op_count, label_count;
  int32_t has_preprocess, has_known_answer;
  float abstain_threshold;  /* 0 when the file has none */
  const char* provenance;   /* JSON, UTF-8, NUL-terminated; lives as long as the model */
} ek_model_info;

/* Threads share a single frame; of a batch, or of boxes, each takes whole frames, with an arena of its own, if
 * max_batch is above 1. Where neither is predicted to pay, a call runs on its caller; a session with max_batch 1 that
 * cannot gain starts none. Elsewhere than on Linux more than one is EK_UNSUPPORTED. */
typedef struct ek_session_options {
  size_t struct_size;
  const char* isa;       /* NULL: environment EDGEKERN_ISA, else everything the CPU has */
  uint64_t memory_limit; /* bytes; 0 = none */
  int32_t threads;       /* 1 to 64 that compute, the caller among them; above 1 on Linux only */
  int32_t max_batch;     /* >= 1 */
  int32_t selftest;      /* nonzero: run the known answer, refuse on one differing byte */
  int32_t trace;         /* nonzero: every tensor keeps its own memory (ek_session_tensor) */
  int32_t share_all;     /* nonzero: threads share whatever they can, also where that is slower; for tests */
} ek_session_options;

typedef struct ek_memory_info {
  size_t struct_size;
  uint64_t weights, arena, scratch, total; /* bytes */
} ek_memory_info;

typedef struct ek_op_info {
  size_t struct_size;
  const char* name;   /* live as long as the session */
  const char* op;
  const char* kernel; /* the row that runs, e.g. qgemm_u8_12x32x4_avx512vnni */
  uint64_t macs;      /* of convolutions, in one frame */
  double nanoseconds; /* of the last profiled run; 0 before */
  double predicted_cycles;
  double unfused_cycles; /* predicted for the ops of a fused group one by one; else predicted_cycles */
} ek_op_info;

/* Dense C-order memory of one input or output for `batch` frames. */
typedef struct ek_buffer {
  void* data;
  size_t bytes;
} ek_buffer;

typedef struct ek_frame {
  size_t struct_size;
  const uint8_t* data;
  int32_t width, height; /* pixels */
  ptrdiff_t row_stride;  /* bytes; never read outside [row, row + width * channels) */
  ek_channels channels;
} ek_frame;

typedef struct ek_box {
  int32_t x, y, width, height; /* pixels, top-left origin; partly outside is clipped */
} ek_box;

EK_API const char* ek_version(void);
EK_API ek_status ek_isa_available(char* names, size_t size); /* "avx2,avxvnni" or "scalar" */

EK_API ek_status ek_model_load(const void* data, size_t bytes, ek_model** model); /* copies */
EK_API ek_status ek_model_load_file(const char* path, ek_model** model);
EK_API void ek_model_free(ek_model* model);
EK_API ek_status ek_model_describe(const ek_model* model, ek_model_info* info);
EK_API ek_status ek_model_input(const ek_model* model, int32_t index, ek_tensor_info* info);
EK_API ek_status ek_model_output(const ek_model* model, int32_t index, ek_tensor_info* info);
EK_API ek_status ek_model_label(const ek_model* model, int32_t index, const char** label);

EK_API ek_status ek_session_create(const ek_model* model, const ek_session_options* options, ek_session** session);
EK_API void ek_session_free(ek_session* session);
EK_API ek_status ek_session_memory(const ek_session* session, ek_memory_info* info);
EK_API ek_status ek_session_op_count(const ek_session* session, int32_t* count);
/* EK_BUSY while the session runs in another thread. */
EK_API ek_status ek_session_op(const ek_session* session, int32_t index, ek_op_info* info);
/* Copies tensor `name` of the last run, dense int8 (int16, float32) without halo; needs options.trace. */
EK_API ek_status ek_session_tensor(const ek_session* session, const char* name, void* data, size_t bytes);

/* One output per model output; raw != 0 leaves outputs as the int8 or int16 inside. */
EK_API ek_status ek_session_run(ek_session* session, const ek_buffer* inputs, int32_t input_count, ek_buffer* outputs,
                                int32_t output_count, int32_t batch, int32_t raw);
/* Same, and times every op (ek_session_op). Not for the hot path. */
EK_API ek_status ek_session_profile(ek_session* session, const ek_buffer* inputs, int32_t input_count,
                                    ek_buffer* outputs, int32_t output_count, int32_t rounds);
/* Crops each box from the frame as the file's preprocess says, and runs it; every output gets box_count
 * rows. boxes == NULL: the whole frame, one row. */
EK_API ek_status ek_session_run_regions(ek_session* session, const ek_frame* frame, const ek_box* boxes,
                                        int32_t box_count, ek_buffer* outputs, int32_t output_count, int32_t raw);

/* Text of this thread's last failure: what, where, what to do. Never NULL. */
EK_API const char* ek_last_error(void);
/* Where: of EK_CORRUPT_MODEL, EK_VERSION and EK_SELFTEST the byte in the model file; of field "boxes" the index of the
 * refused box; else 0. */
EK_API uint64_t ek_last_error_offset(void);
/* The field of the file, or the argument of the call, that was refused; "" where no single one is to blame. */
EK_API const char* ek_last_error_field(void);

#ifdef __cplusplus
}
#endif
#endif /* EDGEKERN_H */
