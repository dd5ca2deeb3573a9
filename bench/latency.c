/* SPDX-License-Identifier: Apache-2.0
 * Times crop + resize + classify of camera boxes around the C call.
 *   latency MODEL.ekm SCENE.bin ROUNDS SAMPLES.bin
 * SCENE.bin: int32 frames, width, height, boxes per frame; the boxes (int32 x, y, width, height); the RGB frames.
 * SAMPLES.bin gets nanoseconds as doubles: of each call, which runs one frame's boxes; then of an empty loop as long
 * that runs after every second call: what the machine adds by itself. Progress goes to stderr after each tenth of the
 * calls, rounded down. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "edgekern/edgekern.h"

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* One lane of the empty loop: three operations. */
static uint64_t turned(uint64_t value) { return (value ^ (value >> 7)) + 0x9e3779b97f4a7c15u; }

/* Touches no memory, so what varies is the machine. Six lanes keep the ports of a core busy: a single chain would wait
 * for itself, and not feel who shares the core. */
static uint64_t empty_loop(uint64_t steps, uint64_t value) {
  uint64_t a = value, b = value + 1, c = value + 2, d = value + 3, e = value + 4, f = value + 5;
  for (; steps > 0; --steps) {
    a = turned(a), b = turned(b), c = turned(c);
    d = turned(d), e = turned(e), f = turned(f);
  }
  return a ^ b ^ c ^ d ^ e ^ f;
}

static void* read_file(const char* path, size_t* bytes) {
  FILE* file = fopen(path, "rb");
  void* data;
  if (file == NULL) return NULL;
  fseek(file, 0, SEEK_END);
  *bytes = (size_t)ftell(file);
  rewind(file);
  data = malloc(*bytes);
  if (data != NULL && fread(data, 1, *bytes, file) != *bytes) data = NULL;
  fclose(file);
  return data;
}

static int fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, ek_last_error());
  return 1;
}

int main(int argc, char** argv) {
  size_t bytes = 0, classes = 1;
  int32_t* scene;
  ek_model* model = NULL;
  ek_session* session = NULL;
  ek_session_options options = {0};
  ek_tensor_info output = {0};
  int i, call, calls;
  FILE* samples;
  if (argc != 5) return fprintf(stderr, "usage: latency MODEL.ekm SCENE.bin ROUNDS SAMPLES.bin\n"), 2;
  scene = read_file(argv[2], &bytes);
  if (scene == NULL) return fprintf(stderr, "cannot read %s\n", argv[2]), 1;
  if (ek_model_load_file(argv[1], &model) != EK_OK) return fail("load");
  output.struct_size = sizeof output;
  if (ek_model_output(model, 0, &output) != EK_OK) return fail("output");
  for (i = 1; i < output.rank; ++i) classes *= (size_t)output.shape[i];

  const int32_t frames = scene[0], width = scene[1], height = scene[2], boxes = scene[3];
  const ek_box* box = (const ek_box*)(scene + 4);
  const uint8_t* pixels = (const uint8_t*)(box + (size_t)frames * (size_t)boxes);
  options.struct_size = sizeof options;
  options.threads = 1;
  options.max_batch = boxes;
  if (ek_session_create(model, &options, &session) != EK_OK) return fail("session");

  calls = atoi(argv[3]) * frames;
  const size_t count = (size_t)calls + (size_t)calls / 2;
  double* spent = malloc(sizeof(double) * count);
  if (spent == NULL) return fprintf(stderr, "no memory for %d calls\n", calls), 1;
  memset(spent, 0, sizeof(double) * count); /* the pages are there before anything is timed */
  double* idle = spent + calls;
  ek_buffer result = {malloc(classes * sizeof(float) * (size_t)boxes), classes * sizeof(float) * (size_t)boxes};
  const uint64_t trial = 1000000;
  const double begin = now_ns();
  uint64_t value = empty_loop(trial, (uint64_t)calls);
  const double step_ns = (now_ns() - begin) / (double)trial;
  uint64_t steps = 0;
  for (call = -frames; call < calls; ++call) { /* one turn of all frames first, uncounted */
    const int32_t f = (call + frames) % frames;
    ek_frame frame = {
        sizeof frame, pixels + (size_t)f * (size_t)width * (size_t)height * 3, width, height, (ptrdiff_t)width * 3,
        EK_RGB};
    const double start = now_ns();
    if (ek_session_run_regions(session, &frame, box + (size_t)f * (size_t)boxes, boxes, &result, 1, 0) != EK_OK)
      return fail("run");
    const double end = now_ns();
    if (call < 0) {
      steps = (uint64_t)((end - start) / step_ns);
      continue;
    }
    spent[call] = end - start;
    if (call % 2 == 1) {
      const double between = now_ns();
      value = empty_loop(steps, value);
      idle[call / 2] = now_ns() - between;
    }
    if ((call + 1) % (calls / 10 > 0 ? calls / 10 : 1) == 0) fprintf(stderr, "%d of %d frames\n", call + 1, calls);
  }
  volatile uint64_t kept = value; /* or a compiler leaves the empty loops out */
  (void)kept;
  samples = fopen(argv[4], "wb");
  if (samples == NULL || fwrite(spent, sizeof(double), count, samples) != count || fclose(samples) != 0)
    return fprintf(stderr, "cannot write %s\n", argv[4]), 1;
  ek_session_free(session);
  ek_model_free(model);
  return 0;
}
