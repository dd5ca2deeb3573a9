// SPDX-License-Identifier: Apache-2.0
/// How a strip is cut into tiles. After the isa header.
#pragma once
#include "kernels/qgemm/qgemm.h"

namespace ek {
namespace {

using TileFn = void (*)(const QGemmArgs& args, int32_t first);

/// The strip, in tiles of at most kMr pixels that differ by at most one.
template <int kMr>
EK_INLINE void run_tiles(const QGemmArgs& args, const TileFn (&tiles)[kMr]) {
  const int32_t count = (args.m + kMr - 1) / kMr;
  const int32_t pixels = args.m / count, longer = args.m % count;  // the first `longer` tiles have one pixel more
  int32_t first = 0;
  for (int32_t i = 0; i < count; ++i) {
    const int32_t mr = pixels + (i < longer);
    tiles[mr - 1](args, first);
    first += mr;
  }
}

}  // namespace
}  // namespace ek
