// SPDX-License-Identifier: Apache-2.0
/// edgekern._core. Sessions are used by one thread at a time (the engine says so when they are not), and nothing
/// here keeps state of its own, so the module does not need the GIL.
#include "bind.h"
#include "edgekern/edgekern.h"

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  m.doc() = "The engine of edgekern.";
  m.attr("__version__") = ek_version();
  bind_session(m);
  bind_frame(m);
  bind_direct(m);
  bind_kernels(m);
  bind_qgemm(m);
  bind_firstconv(m);
  bind_winograd(m);
  bind_dwconv(m);
  bind_resize(m);
  bind_pool(m);
  bind_eltwise(m);
  bind_softmax(m);
  bind_layernorm(m);
  bind_move(m);
  bind_edge(m);
  bind_interpolate(m);
  bind_wide(m);
}
