/* SPDX-License-Identifier: Apache-2.0
 * Counts every way to get memory while 10,000 boxes are classified; exits 0 when there was none.
 *
 *   count_allocations MODEL          with -DPLANT one malloc is hidden among the frames
 *
 * The functions below stand before the C library's: those of the program win for every object in the process.
 * operator new reaches malloc. */
#define _GNU_SOURCE
#include <edgekern/edgekern.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { kFrames = 10000, kWidth = 320, kHeight = 240, kClasses = 64 };

static volatile int counting = 0;
static volatile long counted = 0;

extern void* __libc_malloc(size_t size);
extern void* __libc_calloc(size_t count, size_t size);
extern void* __libc_realloc(void* data, size_t size);
extern void* __libc_memalign(size_t alignment, size_t size);

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
void* mmap(void* address, size_t size, int protection, int flags, int file, off_t offset) {
  note();
  return (void*)syscall(SYS_mmap, address, size, protection, flags, file, offset);
}
int brk(void* end) {
  note();
  return syscall(SYS_brk, end) == (long)end ? 0 : -1;
}

static uint8_t frame_bytes[kWidth * kHeight * 3];

static void check(ek_status status) {
  if (status == EK_OK) return;
  fprintf(stderr, "status %d: %s\n", (int)status, ek_last_error());
  exit(2);
}

int main(int argc, char** argv) {
  static float scores[kClasses];
  ek_model* model = NULL;
  ek_session* session = NULL;
  ek_tensor_info output;
  ek_frame frame;
  ek_buffer out;
  long before;
  int i;

  if (argc != 2) return 2;
  counting = 1; /* does the counting work at all? */
  free(malloc(1));
  before = counted;
  check(ek_model_load_file(argv[1], &model));
  check(ek_session_create(model, NULL, &session));
  if (before != 1 || counted < before + 3) {
    fprintf(stderr, "the counter sees nothing\n");
    return 2;
  }
  memset(&output, 0, sizeof output);
  output.struct_size = sizeof output;
  check(ek_model_output(model, 0, &output));
  out.data = scores;
  out.bytes = (size_t)output.shape[1] * sizeof(float);
  memset(&frame, 0, sizeof frame);
  frame.struct_size = sizeof frame;
  frame.data = frame_bytes;
  frame.width = kWidth;
  frame.height = kHeight;
  frame.row_stride = kWidth * 3;
  frame.channels = EK_RGB;
  for (i = 0; i < (int)sizeof frame_bytes; ++i) frame_bytes[i] = (uint8_t)(i * 2654435761u >> 24);

  counted = 0;
  for (i = 0; i < kFrames; ++i) {
    ek_box box;
    box.x = i % 200;
    box.y = i % 170;
    box.width = 8 + i % 100;
    box.height = 8 + i % 60;
#ifdef PLANT
    if (i == kFrames / 2) free(malloc(16));
#endif
    check(ek_session_run_regions(session, &frame, &box, 1, &out, 1, 0));
    if (i % 1000 == 0) { /* a refusal allocates nothing either */
      box.x = kWidth;
      if (ek_session_run_regions(session, &frame, &box, 1, &out, 1, 0) != EK_INVALID_ARGUMENT) return 2;
    }
  }
  counting = 0;
  printf("%ld allocations in %d frames\n", counted, kFrames);
  ek_session_free(session);
  ek_model_free(model);
  return counted == 0 ? 0 : 1;
}
