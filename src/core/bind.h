// SPDX-License-Identifier: Apache-2.0
/// One function per file of src/core; module.cc calls them.
#pragma once
#include <pybind11/pybind11.h>

void bind_kernels(pybind11::module_& m);
void bind_qgemm(pybind11::module_& m);
void bind_firstconv(pybind11::module_& m);
void bind_winograd(pybind11::module_& m);
void bind_dwconv(pybind11::module_& m);
void bind_resize(pybind11::module_& m);
void bind_pool(pybind11::module_& m);
void bind_eltwise(pybind11::module_& m);
void bind_softmax(pybind11::module_& m);
void bind_layernorm(pybind11::module_& m);
void bind_move(pybind11::module_& m);
void bind_edge(pybind11::module_& m);
void bind_interpolate(pybind11::module_& m);
void bind_wide(pybind11::module_& m);
void bind_session(pybind11::module_& m);
void bind_frame(pybind11::module_& m);
void bind_direct(pybind11::module_& m);
