// SPDX-License-Identifier: Apache-2.0
/// Between the caller's dense tensors and the tensors of the arena, one frame at a time.
#pragma once
#include "kernels/edge/edge.h"
#include "runtime/plan.h"

namespace ek {

/// One direction of one port, resolved. `run` moves a frame between `outside` and the arena.
struct Edge {
  void (*convert)(const EdgeArgs& args);  ///< int8 tensors
  void (*copy)(const MoveArgs& args);     ///< float32 tensors, float32 outside
  EdgeArgs args;
  MoveArgs move;
  bool input;
  uint64_t frame_bytes;  ///< outside
  // The halo of an input tensor is written here: the edge is its producer.
  void (*halo)(const Nhwc& shape, uint8_t* base, uint8_t zero);
  Nhwc shape;
  uint8_t* base;
  uint8_t zero;

  void run(void* outside) const;
};

/// Resolves a port of a bound plan. `raw` leaves outputs as the int8 inside.
Edge make_edge(const Plan& plan, const PortRecord& port, bool input, bool raw);

/// Bytes of one frame outside.
uint64_t edge_bytes(const Plan& plan, const PortRecord& port, bool input, bool raw);

/// An edge that copies tensor `index` out of the arena in its own dimensions, int8 or float32.
Edge make_tensor_edge(const Plan& plan, uint32_t index);

}  // namespace ek
