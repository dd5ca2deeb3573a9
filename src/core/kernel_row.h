// SPDX-License-Identifier: Apache-2.0
/// What the raw kernel calls of tests and benches share: rows by name, caller addresses, words for enums.
#pragma once
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "kernels/kernel.h"

/// The row called `name`, or ValueError where there is none or this CPU cannot run it.
template <typename Kernel>
const Kernel& runnable_row(const Kernel* rows, size_t count, const std::string& name) {
  for (size_t i = 0; i < count; ++i) {
    if (name != rows[i].row.name) continue;
    if ((rows[i].row.isa & ek::detect_isa()) != rows[i].row.isa) {
      throw pybind11::value_error("kernel " + name + " needs an instruction set this CPU has not");
    }
    return rows[i];
  }
  throw pybind11::value_error("no kernel is called " + name);
}

/// The row called `name` whatever this CPU can run (packing and prediction are plain code).
template <typename Kernel>
const Kernel& any_row(const Kernel* rows, size_t count, const std::string& name) {
  for (size_t i = 0; i < count; ++i) {
    if (name == rows[i].row.name) return rows[i];
  }
  throw pybind11::value_error("no kernel is called " + name);
}

/// Caller memory given as an address.
template <typename T>
T* at(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

inline const char* word_of(ek::Elem elem) { return elem == ek::Elem::kU8 ? "u8" : "s16"; }

/// Parses an ISA cap; ValueError where a name is unknown or absent.
inline ek::IsaSet cap_of(const std::string& names) {
  ek::IsaSet cap = ek::kScalar;
  if (!ek::parse_isa_cap(names.c_str(), ek::detect_isa(), &cap)) {
    throw pybind11::value_error("unknown or absent instruction set in " + names);
  }
  return cap;
}
