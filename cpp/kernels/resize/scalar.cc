// SPDX-License-Identifier: Apache-2.0
/// resize in plain C++, for CPUs without any of the ISA rows, and the ancestor of the others:
///
///   h(r, x) = a*(2048 - f) + b*f of source row r;   v(y, x) = (h(j)*(2048 - g) + h(j + 1)*g + 2^21) >> 22
///
/// Bounds: h <= 255 * 2048 < 2^19, v before the shift <= 255 * 2^22 + 2^21 < 2^31.
/// Memory: reads pixels 0 .. width - 1 of the rows it needs, nothing beside them; writes out_w x out_h x channels
/// bytes.
#include "kernels/resize/resize.h"

namespace ek {
namespace {

/// Channels that are interpolated: of the output, or R, G, B of the source for grey.
int32_t lanes_of(const ResizeArgs& args) { return args.gray ? 3 : args.channels; }

void interpolate_row(const ResizeArgs& args, const ResizeTap* columns, int32_t row, int32_t* h) {
  const uint8_t* source = args.box + row * args.row_stride;
  const int32_t lanes = lanes_of(args), next = args.width > 1 ? args.src_channels : 0;
  for (int32_t x = 0; x < args.out_w; ++x, h += lanes) {
    const uint8_t* a = source + ptrdiff_t{columns[x].index} * args.src_channels;
    const int32_t f = columns[x].weight;
    for (int32_t n = 0; n < lanes; ++n) {
      const int32_t channel = args.order[n];
      h[n] = a[channel] * (2048 - f) + a[channel + next] * f;
    }
  }
}

uint8_t mix(int32_t h0, int32_t h1, int32_t g) {
  return static_cast<uint8_t>((h0 * (2048 - g) + h1 * g + (1 << 21)) >> 22);
}

void output_row(const ResizeArgs& args, const int32_t* h0, const int32_t* h1, int32_t g, uint8_t* y) {
  const int32_t lanes = lanes_of(args);
  for (int32_t x = 0; x < args.out_w; ++x, y += args.y_px, h0 += lanes, h1 += lanes) {
    uint8_t v[4] = {};
    for (int32_t n = 0; n < lanes; ++n) v[n] = mix(h0[n], h1[n], g);
    if (args.gray) v[0] = static_cast<uint8_t>((77 * v[0] + 150 * v[1] + 29 * v[2] + 128) >> 8);
    for (int32_t n = 0; n < args.channels; ++n) y[n] = args.table ? args.table[256 * n + v[n]] : v[n];
  }
}

}  // namespace

void resize_scalar(const ResizeArgs& args) {
  ResizeTap* columns = reinterpret_cast<ResizeTap*>(args.scratch);
  ResizeAxis axis = resize_axis(args.width, args.out_w);
  for (int32_t x = 0; x < args.out_w; ++x) columns[x] = resize_next(&axis);
  resize_walk(
      args, [&](int32_t row, int32_t* h) { interpolate_row(args, columns, row, h); },
      [&](int32_t y, const int32_t* h0, const int32_t* h1, int32_t g) {
        output_row(args, h0, h1, g, args.y + y * args.y_row);
      });
}

}  // namespace ek
