// SPDX-License-Identifier: Apache-2.0
/// Between the caller's dense tensors and the tensors of the arena, one frame at a time.
#pragma once
#include "kernels/edge/edge.h"
#include "runtime/plan.h"

namespace ek {

/// One direction of one port, resolved. `run` moves a frame between `outside` and the arena.
struct Edge {
  void (*convert)(const EdgeArgs& args);  ///< int8 tensors, and int16 ones with float32 outside
  void (*copy)(const MoveArgs& args);     ///< float32 or int16 tensors, the same outside
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

/// Resolves a port of a bound plan. `raw` leaves outputs as the int8 or int16 inside.
Edge make_edge(const Plan& plan, const PortRecord& port, bool input, bool raw);

/// Bytes of one frame outside.
uint64_t edge_bytes(const Plan& plan, const PortRecord& port, bool input, bool raw);

/// An edge that copies tensor `index` out of the arena in its own dimensions and dtype.
Edge make_tensor_edge(const Plan& plan, uint32_t index);

}  // namespace ek
