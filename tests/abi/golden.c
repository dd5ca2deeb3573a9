/* SPDX-License-Identifier: Apache-2.0
 * A stranger's C program: loads a model, runs tensors or boxes of a frame, writes the bytes of output 0.
 *
 *   golden run MODEL TENSORS BATCH OUT
 *   golden regions MODEL FRAME WIDTH HEIGHT BOXES COUNT OUT        boxes: int32 x y width height */
#include <edgekern/edgekern.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(ek_status status) {
  if (status != EK_OK) {
    fprintf(stderr, "status %d: %s\n", (int)status, ek_last_error());
    exit(1);
  }
}

static void* read_file(const char* path, size_t* bytes) {
  FILE* file = fopen(path, "rb");
  void* data;
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) exit(2);
  *bytes = (size_t)ftell(file);
  rewind(file);
  data = malloc(*bytes);
  if (data == NULL || fread(data, 1, *bytes, file) != *bytes) exit(2);
  fclose(file);
  return data;
}

static void write_file(const char* path, const void* data, size_t bytes) {
  FILE* file = fopen(path, "wb");
  if (file == NULL || fwrite(data, 1, bytes, file) != bytes || fclose(file) != 0) exit(2);
}

static size_t frame_bytes(const ek_tensor_info* info) {
  size_t bytes = info->dtype == EK_FLOAT32 ? 4 : 1;
  int32_t i;
  for (i = 1; i < info->rank; ++i) bytes *= (size_t)info->shape[i];
  return bytes;
}

int main(int argc, char** argv) {
  ek_model* model = NULL;
  ek_session* session = NULL;
  ek_session_options options;
  ek_tensor_info output;
  ek_buffer in, out;
  size_t count;

  if (argc < 6) return 2;
  memset(&options, 0, sizeof options);
  memset(&output, 0, sizeof output);
  check(ek_model_load_file(argv[2], &model));
  output.struct_size = sizeof output;
  check(ek_model_output(model, 0, &output));
  count = (size_t)atoi(strcmp(argv[1], "run") == 0 ? argv[4] : argv[7]);
  options.struct_size = sizeof options;
  options.max_batch = (int32_t)count;
  options.selftest = 1;
  check(ek_session_create(model, &options, &session));
  ek_model_free(model); /* the session keeps what it needs */

  out.bytes = count * frame_bytes(&output);
  out.data = malloc(out.bytes);
  if (out.data == NULL) return 2;
  if (strcmp(argv[1], "run") == 0) {
    in.data = read_file(argv[3], &in.bytes);
    check(ek_session_run(session, &in, 1, &out, 1, (int32_t)count, 0));
    write_file(argv[5], out.data, out.bytes);
    free(in.data);
  } else {
    size_t bytes;
    uint8_t* pixels = read_file(argv[3], &bytes);
    ek_box* boxes = read_file(argv[6], &bytes);
    ek_frame frame;
    memset(&frame, 0, sizeof frame);
    frame.struct_size = sizeof frame;
    frame.data = pixels;
    frame.width = atoi(argv[4]);
    frame.height = atoi(argv[5]);
    frame.row_stride = (ptrdiff_t)frame.width * 3;
    frame.channels = EK_RGB;
    check(ek_session_run_regions(session, &frame, boxes, (int32_t)count, &out, 1, 0));
    write_file(argv[8], out.data, out.bytes);
    free(pixels);
    free(boxes);
  }
  free(out.data);
  ek_session_free(session);
  return 0;
}
