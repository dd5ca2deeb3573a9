/* SPDX-License-Identifier: Apache-2.0
 * Counts every way to get memory while frames run by tensors and by boxes, in turns; exits 0 when there was none.
 *
 *   count_allocations MODEL FRAMES [THREADS]    with -DPLANT one malloc is hidden among the frames
 *
 * The functions below stand before the C library's: those of the program win for every object in the process.
 * operator new reaches malloc. */
#define _GNU_SOURCE
#include <edgekern/edgekern.h>
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { kWidth = 320, kHeight = 240, kPorts = 4, kPage = 4096 };

static volatile int counting = 0;
static volatile long counted = 0;

extern void* __libc_malloc(size_t size);
extern void* __libc_calloc(size_t count, size_t size);
extern void* __libc_realloc(void* data, size_t size);
extern void* __libc_memalign(size_t alignment, size_t size);
extern void* __sbrk(intptr_t step);

static void note(void) {
  if (counting) ++counted;
}

void* malloc(size_t size) {
  note();
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  note();
  return __libc_calloc(count, size);
}
void* realloc(void* data, size_t size) {
  note();
  return __libc_realloc(data, size);
}
void* reallocarray(void* data, size_t count, size_t size) {
  note();
  if (size != 0 && count > (size_t)-1 / size) return NULL;
  return __libc_realloc(data, count * size);
}
void* memalign(size_t alignment, size_t size) {
  note();
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  note();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** data, size_t alignment, size_t size) {
  note();
  *data = __libc_memalign(alignment, size);
  return *data == NULL ? ENOMEM : 0;
}
void* valloc(size_t size) {
  note();
  return __libc_memalign(kPage, size);
}
void* pvalloc(size_t size) {
  note();
  return __libc_memalign(kPage, (size + kPage - 1) / kPage * kPage);
}
void* mmap(void* address, size_t size, int protection, int flags, int file, off_t offset) {
  note();
  return (void*)syscall(SYS_mmap, address, size, protection, flags, file, offset);
}
void* mmap64(void* address, size_t size, int protection, int flags, int file, off64_t offset) {
  note();
  return (void*)syscall(SYS_mmap, address, size, protection, flags, file, offset);
}
void* mremap(void* address, size_t size, size_t wanted, int flags, ...) {
  va_list more;
  void* target = NULL;
  note();
  if (flags & MREMAP_FIXED) {
    va_start(more, flags);
    target = va_arg(more, void*);
    va_end(more);
  }
  return (void*)syscall(SYS_mremap, address, size, wanted, flags, target);
}
int brk(void* end) {
  note();
  return syscall(SYS_brk, end) == (long)end ? 0 : -1;
}
void* sbrk(intptr_t step) {
  note();
  return __sbrk(step);
}

/* Calls each of the functions above once; returns how many there are. The compiler must not see through the calls. */
static int use_each(void) {
  enum { kAnonymous = MAP_PRIVATE | MAP_ANONYMOUS, kAccess = PROT_READ | PROT_WRITE };
  void* volatile p;
  void* got = NULL;
  int calls = 0;
  p = malloc(1), ++calls;
  p = realloc(p, 2), ++calls;
  p = reallocarray(p, 3, 4), ++calls;
  free(p);
  p = calloc(1, 1), ++calls, free(p);
  p = memalign(64, 1), ++calls, free(p);
  p = aligned_alloc(64, 64), ++calls, free(p);
  if (posix_memalign(&got, 64, 1) == 0) p = got, ++calls, free(p);
  p = valloc(1), ++calls, free(p);
  p = pvalloc(1), ++calls, free(p);
  p = mmap(NULL, kPage, kAccess, kAnonymous, -1, 0), ++calls;
  p = mremap(p, kPage, 2 * kPage, MREMAP_MAYMOVE), ++calls;
  munmap(p, 2 * kPage);
  p = mmap64(NULL, kPage, kAccess, kAnonymous, -1, 0), ++calls;
  munmap(p, kPage);
  p = sbrk(0), ++calls;
  if (brk(p) == 0) ++calls;
  return calls;
}

static uint8_t frame_bytes[kWidth * kHeight * 3];

static void check(ek_status status) {
  if (status == EK_OK) return;
  fprintf(stderr, "status %d: %s\n", (int)status, ek_last_error());
  exit(2);
}

/* The same memory as a batch. */
static void frames_of(const ek_buffer* one, int32_t count, int32_t frames, ek_buffer* batch) {
  int32_t i;
  for (i = 0; i < count; ++i) {
    batch[i] = one[i];
    batch[i].bytes *= (size_t)frames;
  }
}

typedef ek_status (*describe)(const ek_model* model, int32_t index, ek_tensor_info* info);

/* Memory for two frames of each input or output, filled with bytes that look random; `bytes` is of one. */
static void provide(const ek_model* model, describe of, int32_t count, ek_buffer* buffers) {
  int32_t i, k;
  size_t b;
  if (count > kPorts) exit(2);
  for (i = 0; i < count; ++i) {
    ek_tensor_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    check(of(model, i, &info));
    buffers[i].bytes = info.dtype == EK_FLOAT32 ? sizeof(float) : 1;
    for (k = 0; k < info.rank; ++k) buffers[i].bytes *= (size_t)info.shape[k];
    buffers[i].data = malloc(2 * buffers[i].bytes);
    for (b = 0; b < 2 * buffers[i].bytes; ++b) ((uint8_t*)buffers[i].data)[b] = (uint8_t)(b * 2654435761u >> 24);
  }
}

int main(int argc, char** argv) {
  ek_model* model = NULL;
  ek_session* session = NULL;
  ek_model_info about;
  ek_session_options options;
  ek_frame frame;
  ek_buffer in[kPorts], out[kPorts], x[kPorts], y[kPorts];
  int i, frames, ways;

  if (argc != 3 && argc != 4) return 2;
  memset(&options, 0, sizeof options);
  options.struct_size = sizeof options;
  options.threads = argc == 4 ? atoi(argv[3]) : 1;
  options.share_all = 1; /* workers even for a small model */
  options.max_batch = 2;
  frames = atoi(argv[2]);
  counting = 1; /* does the counting work at all? */
  ways = use_each();
  if (ways != 14 || counted != ways) {
    fprintf(stderr, "the counter sees %ld of %d calls\n", counted, ways);
    return 2;
  }
  check(ek_model_load_file(argv[1], &model));
  check(ek_session_create(model, &options, &session));
  if (counted < ways + 2) {
    fprintf(stderr, "the counter does not see the library\n");
    return 2;
  }
  memset(&about, 0, sizeof about);
  about.struct_size = sizeof about;
  check(ek_model_describe(model, &about));
  provide(model, ek_model_input, about.input_count, in);
  provide(model, ek_model_output, about.output_count, out);
  memset(&frame, 0, sizeof frame);
  frame.struct_size = sizeof frame;
  frame.data = frame_bytes;
  frame.width = kWidth;
  frame.height = kHeight;
  frame.row_stride = kWidth * 3;
  frame.channels = EK_RGB;
  for (i = 0; i < (int)sizeof frame_bytes; ++i) frame_bytes[i] = (uint8_t)(i * 2654435761u >> 24);

  counted = 0;
  for (i = 0; i < frames; ++i) {
    ek_box box, boxes[2];
    const int32_t batch = 1 + i / 2 % 2;
    box.x = i % 200;
    box.y = i % 170;
    box.width = 8 + i % 100;
    box.height = 8 + i % 60;
    boxes[0] = boxes[1] = box;
    frames_of(in, about.input_count, batch, x);
    frames_of(out, about.output_count, batch, y);
#ifdef PLANT
    if (i == frames / 2) free(malloc(16));
#endif
    if (i % 2 == 0) {
      check(ek_session_run(session, x, about.input_count, y, about.output_count, batch, 0));
    } else {
      check(ek_session_run_regions(session, &frame, boxes, batch, y, about.output_count, 0));
    }
    if (i % 1000 == 0) { /* a refusal allocates nothing either */
      box.x = kWidth;
      if (ek_session_run_regions(session, &frame, &box, 1, out, about.output_count, 0) != EK_INVALID_ARGUMENT) return 2;
      if (ek_session_run(session, in, 0, out, about.output_count, 1, 0) != EK_INVALID_ARGUMENT) return 2;
    }
  }
  counting = 0;
  printf("%ld allocations in %d frames\n", counted, frames);
  ek_session_free(session);
  ek_model_free(model);
  for (i = 0; i < about.input_count; ++i) free(in[i].data);
  for (i = 0; i < about.output_count; ++i) free(out[i].data);
  return counted == 0 ? 0 : 1;
}
