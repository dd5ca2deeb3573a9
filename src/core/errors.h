// SPDX-License-Identifier: Apache-2.0
/// Statuses of the C ABI as exceptions of edgekern.errors.
#pragma once
#include <pybind11/pybind11.h>

#include "edgekern/edgekern.h"

/// Sets the Python exception of the last failure on this thread. Needs the GIL.
void set_error(ek_status status);

/// For pybind11 functions: throws where `status` is a failure.
inline void check(ek_status status) {
  if (status == EK_OK) return;
  set_error(status);
  throw pybind11::error_already_set();
}
