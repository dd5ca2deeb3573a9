// SPDX-License-Identifier: Apache-2.0
/// Failure as a value: cpp/ neither throws, prints nor aborts.
#pragma once
#include <cstdarg>
#include <cstdint>

#include "edgekern/edgekern.h"

namespace ek {

/// What went wrong, where and what to do. Filled by the function that returns a status other than EK_OK.
struct Error {
  ek_status code = EK_OK;
  uint64_t offset = 0;    ///< byte in the model file, or index of a box; else 0
  char field[48] = {};    ///< field of the file or argument of the call
  char text[400] = {};    ///< one sentence: what, where, what to do
};

/// Fills `error` (may be null) and returns `code`, so that a check reads `return fail(...)`.
[[gnu::format(printf, 5, 6)]] ek_status fail(Error* error, ek_status code, uint64_t offset, const char* field,
                                             const char* format, ...);

}  // namespace ek
