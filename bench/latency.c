/* SPDX-License-Identifier: Apache-2.0
 * Times crop + resize + classify of camera boxes around the C call.
 *   latency MODEL.ekm SCENE.bin ROUNDS
 * SCENE.bin: int32 frames, width, height, boxes per frame; the boxes (int32 x, y, width, height); the RGB frames.
 * Prints one JSON line: nanoseconds per box (p50, p99, max over calls of one frame's boxes / boxes), and p99 / p50 of
 * an empty loop of a call's length that runs after each: what the machine adds by itself. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "edgekern/edgekern.h"

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

/* `steps` dependent multiplications: touches no memory, so what varies is the machine. */
static uint64_t empty_loop(uint64_t steps, uint64_t value) {
  for (; steps > 0; --steps) value = value * 6364136223846793005u + 1u;
  return value;
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
  if (argc != 4) return fprintf(stderr, "usage: latency MODEL.ekm SCENE.bin ROUNDS\n"), 2;
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
  double* spent = malloc(sizeof(double) * (size_t)calls);
  ek_buffer result = {malloc(classes * sizeof(float) * (size_t)boxes), classes * sizeof(float) * (size_t)boxes};
  double* idle = malloc(sizeof(double) * (size_t)calls);
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
    spent[call] = (end - start) / boxes;
    value = empty_loop(steps, value);
    idle[call] = now_ns() - end;
  }
  qsort(spent, (size_t)calls, sizeof(double), by_value);
  qsort(idle, (size_t)calls, sizeof(double), by_value);
  const int p99 = (int)((double)calls * 0.99);
  printf("{\"p50_ns\": %.0f, \"p99_ns\": %.0f, \"max_ns\": %.0f, \"calls\": %d, ", spent[calls / 2], spent[p99],
         spent[calls - 1], calls);
  printf("\"idle_p99_to_p50\": %.3f, \"idle_result\": %d}\n", idle[p99] / idle[calls / 2], (int)(value & 1u));
  ek_session_free(session);
  ek_model_free(model);
  return 0;
}
