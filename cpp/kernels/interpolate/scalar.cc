// SPDX-License-Identifier: Apache-2.0
/// interpolate in plain C++, for CPUs without any of the ISA rows:
///
///   h = x[i] * (2048 - f) + x[i + 1] * f of both rows;   y = (h_top * (2048 - g) + h_bottom * g + 2^21) >> 22
///
/// Channels are innermost, so that a compiler makes vectors of them. A pixel at a whole position is copied.
/// Bounds: h <= 255 * 2048 < 2^19, the sum before the shift <= 255 * 2^22 + 2^21 < 2^31.
/// Memory: reads c bytes of each pixel it mixes, nothing beside them; writes c bytes of each output pixel.
#include <cstring>

#include "kernels/interpolate/interpolate.h"

namespace ek {
namespace {

/// Where one output pixel lies: the pixels left and right of it in both rows, and the weights of the latter.
struct Corners {
  const uint8_t *top, *top_right, *bottom, *bottom_right;
  int32_t f, g;
};

void mix(const Corners& p, int32_t c, uint8_t* y) {
  for (int32_t n = 0; n < c; ++n) {
    const int32_t top = p.top[n] * (2048 - p.f) + p.top_right[n] * p.f;
    const int32_t bottom = p.bottom[n] * (2048 - p.f) + p.bottom_right[n] * p.f;
    y[n] = static_cast<uint8_t>((top * (2048 - p.g) + bottom * p.g + (1 << 21)) >> 22);
  }
}

}  // namespace

void interpolate_scalar(const InterpolateArgs& args) {
  uint8_t* y = args.y;
  for (int32_t j = 0; j < args.m; ++j, y += args.y_px) {
    const int32_t f = args.columns[j] & 2047;
    const ptrdiff_t left = ptrdiff_t{args.columns[j] >> 11} * args.x_px, right = f != 0 ? left + args.x_px : left;
    if ((f | args.weight) == 0) {
      std::memcpy(y, args.top + left, static_cast<size_t>(args.c));
    } else {
      mix({args.top + left, args.top + right, args.bottom + left, args.bottom + right, f, args.weight}, args.c, y);
    }
  }
}

}  // namespace ek
