/* SPDX-License-Identifier: Apache-2.0
 * What the C ABI says of this CPU and of a damaged file, with no Python near.
 *
 *   refusals MODEL          exits 0 when every damage was refused with words and the whole file was not */
#include <edgekern/edgekern.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(what)                                                                                       \
  do {                                                                                                     \
    if (!(what)) return fprintf(stderr, "%s:%d: %s; %s\n", __FILE__, __LINE__, #what, ek_last_error()), 1; \
  } while (0)

static unsigned char* read_file(const char* path, size_t* bytes) {
  FILE* file = fopen(path, "rb");
  unsigned char* data;
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) exit(2);
  *bytes = (size_t)ftell(file);
  rewind(file);
  data = malloc(*bytes);
  if (data == NULL || fread(data, 1, *bytes, file) != *bytes) exit(2);
  fclose(file);
  return data;
}

/* Whether a file is refused as damaged: no model, a text, a field and an offset inside or just behind the file. */
static int refused(const unsigned char* data, size_t bytes) {
  ek_model* model = NULL;
  const ek_status status = ek_model_load(data, bytes, &model);
  const int words = strlen(ek_last_error()) > 10 && strlen(ek_last_error_field()) > 0;
  ek_model_free(model);
  return (status == EK_CORRUPT_MODEL || status == EK_VERSION) && model == NULL && words;
}

int main(int argc, char** argv) {
  char names[256], name[1];
  ek_model* model = NULL;
  ek_session* session = NULL;
  ek_session_options options;
  unsigned char* data;
  size_t bytes, i;
  if (argc != 2) return 2;

  EXPECT(strlen(ek_version()) > 0);
  EXPECT(ek_isa_available(names, sizeof names) == EK_OK && strlen(names) > 0);
  EXPECT(ek_isa_available(name, sizeof name) == EK_INVALID_ARGUMENT); /* no name fits */

  data = read_file(argv[1], &bytes);
  EXPECT(ek_model_load(NULL, bytes, &model) == EK_INVALID_ARGUMENT && model == NULL);
  for (i = 0; i < bytes; i += i < 512 ? 1 : bytes / 31) EXPECT(refused(data, i)); /* cut short */
  for (i = 0; i < bytes; i += i < 512 ? 7 : bytes / 31) {                         /* one bit turned */
    data[i] ^= 0x10;
    EXPECT(refused(data, bytes));
    data[i] ^= 0x10;
  }

  EXPECT(ek_model_load(data, bytes, &model) == EK_OK && model != NULL);
  memset(&options, 0, sizeof options);
  options.struct_size = sizeof options;
  options.threads = 1;
  options.max_batch = 1;
  options.isa = "sse9";
  EXPECT(ek_session_create(model, &options, &session) == EK_ISA && session == NULL);
  EXPECT(strstr(ek_last_error(), "sse9") != NULL);
  options.isa = "scalar";
  options.memory_limit = 1000;
  EXPECT(ek_session_create(model, &options, &session) == EK_MEMORY_LIMIT && session == NULL);
  options.memory_limit = 0;
  options.selftest = 1;
  EXPECT(ek_session_create(model, &options, &session) == EK_OK);
  ek_session_free(session);
  ek_model_free(model);
  free(data);
  printf("%s: %s\n", ek_version(), names);
  return 0;
}
