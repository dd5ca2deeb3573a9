// SPDX-License-Identifier: Apache-2.0
#include "base/status.h"

#include <cstdio>
#include <cstring>

namespace ek {

ek_status fail(Error* error, ek_status code, uint64_t offset, const char* field, const char* format, ...) {
  if (error != nullptr) {
    error->code = code;
    error->offset = offset;
    std::snprintf(error->field, sizeof error->field, "%s", field);
    va_list args;
    va_start(args, format);
    std::vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
  }
  return code;
}

}  // namespace ek
