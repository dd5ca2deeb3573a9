// SPDX-License-Identifier: Apache-2.0
/// A nest of at most six strided loops over one source and one destination, for operations that are the same for
/// every element. The order of such loops is free: dimensions that lie dense behind one another become one, and where
/// the last one is very short (the three channels of an image) the longest one changes places with it, so that an
/// innermost run is worth a call.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

namespace ek {

struct Nest {
  int32_t rank = 1;
  ptrdiff_t extent[6] = {1, 1, 1, 1, 1, 1};
  ptrdiff_t x[6] = {}, y[6] = {};  ///< strides in bytes

  /// From arrays of six, leading ones 1. An extent of 0 leaves nothing to do.
  Nest(const int32_t (&extents)[6], const ptrdiff_t (&x_stride)[6], const ptrdiff_t (&y_stride)[6]) {
    rank = 0;
    for (int d = 0; d < 6; ++d) {
      if (extents[d] == 1) continue;
      const bool dense = rank > 0 && x[rank - 1] == x_stride[d] * extents[d] && y[rank - 1] == y_stride[d] * extents[d];
      if (!dense) extent[rank++] = 1;
      extent[rank - 1] *= extents[d];
      x[rank - 1] = x_stride[d];
      y[rank - 1] = y_stride[d];
    }
    if (rank == 0) rank = 1;
    int32_t longest = rank - 1;
    for (int32_t d = 0; d < rank; ++d) {
      if (extent[d] > extent[longest]) longest = d;
    }
    if (extent[rank - 1] < kShort) {
      std::swap(extent[longest], extent[rank - 1]);
      std::swap(x[longest], x[rank - 1]);
      std::swap(y[longest], y[rank - 1]);
    }
  }

  /// Calls row(x, y, count, x_step, y_step) once for each innermost run.
  template <class Row>
  void for_each_row(const uint8_t* source, uint8_t* target, const Row& row) const {
    const int32_t inner = rank - 1;
    walk(inner, source, target, [&](const uint8_t* s, uint8_t* t) { row(s, t, extent[inner], x[inner], y[inner]); });
  }

  /// Makes the loop around the innermost one that which steps least on either side: where a layout changes, the one
  /// that is dense on the side where the innermost one is not (the planes of an image). Afterwards rank is at least 2.
  void bring_planes_inside() {
    if (rank == 1) {
      extent[1] = extent[0], x[1] = x[0], y[1] = y[0];
      extent[0] = 1, x[0] = y[0] = 0;
      rank = 2;
      return;
    }
    int32_t least = rank - 2;
    for (int32_t d = rank - 3; d >= 0; --d) {
      if (step(d) < step(least)) least = d;
    }
    std::swap(extent[least], extent[rank - 2]);
    std::swap(x[least], x[rank - 2]);
    std::swap(y[least], y[rank - 2]);
  }

  /// Calls tile(x, y) once for each start of the two innermost loops. Needs bring_planes_inside().
  template <class Tile>
  void for_each_tile(const uint8_t* source, uint8_t* target, const Tile& tile) const {
    walk(rank - 2, source, target, tile);
  }

 private:
  static constexpr ptrdiff_t kShort = 8;

  ptrdiff_t step(int32_t d) const {
    const ptrdiff_t from = x[d] < 0 ? -x[d] : x[d], to = y[d] < 0 ? -y[d] : y[d];
    return from < to ? from : to;
  }

  /// Calls call(x, y) for every index of the first `depth` loops.
  template <class Call>
  void walk(int32_t depth, const uint8_t* source, uint8_t* target, const Call& call) const {
    for (int32_t d = 0; d < rank; ++d) {
      if (extent[d] == 0) return;
    }
    ptrdiff_t index[6] = {};
    for (;;) {
      call(source, target);
      int32_t d = depth - 1;
      for (; d >= 0; --d) {
        source += x[d];
        target += y[d];
        if (++index[d] < extent[d]) break;
        source -= x[d] * extent[d];
        target -= y[d] * extent[d];
        index[d] = 0;
      }
      if (d < 0) return;
    }
  }
};

}  // namespace ek
