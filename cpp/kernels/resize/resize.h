// SPDX-License-Identifier: Apache-2.0
/// resize: fixed-point bilinear crop-resize of one box of a strided camera frame to the model's input image.
///
///   p = floor((2d+1) * W * 1024 / O) - 1024 in 1/2048 px, clamped to [0, (W-1) * 2048]; i = p >> 11, f = p & 2047
///   h = a*(2048-f) + b*f;   v = (h0*(2048-g) + h1*g + 2^21) >> 22;   edge pixels repeat
///
/// then channel order by `order` and one byte table per channel (the file's normalisation).
#pragma once
#include "kernels/kernel.h"

namespace ek {

struct ResizeArgs {
  const uint8_t* box;       ///< first byte of the clipped box in the frame
  ptrdiff_t row_stride;     ///< bytes
  int32_t width, height;    ///< of the clipped box, >= 1; bytes outside the box's rows are never read
  int32_t src_channels;     ///< 1, 3 or 4 bytes per source pixel
  int32_t channels;         ///< 1, 3 or 4 of the output
  int32_t order[4];         ///< source channel of each output channel; grey from colour is `gray`
  int32_t gray;             ///< nonzero: y = (77 R + 150 G + 29 B + 128) >> 8 of the resized pixel, order = R, G, B
  int32_t out_w, out_h;
  const uint8_t* table;     ///< [channels][256] biased bytes, or null for identity
  uint8_t* y;               ///< pixel (0, 0) of the output
  ptrdiff_t y_px, y_row;
  int32_t* scratch;         ///< resize_scratch() bytes, 64-aligned: taps of the columns, then two rows of h
};

/// Where an output position reads one axis: pixels `index` and `index + 1` with weights 2048 - weight and weight.
/// The last pixel is (index = size - 2, weight = 2048), so the pair lies inside the box whenever size >= 2.
struct ResizeTap {
  int32_t index, weight;
};

/// Walks the taps of one axis without a division per step.
struct ResizeAxis {
  int64_t quotient, rest;            ///< of (2d+1) * size * 1024 by out
  int64_t step_quotient, step_rest;  ///< of 2 * size * 1024 by out
  int64_t out, size;
};
ResizeAxis resize_axis(int32_t size, int32_t out);
ResizeTap resize_next(ResizeAxis* axis);

/// Walks the output rows: interpolate(row, h) makes h of one source row, output(y, h0, h1, weight) mixes two of them.
/// Each source row is interpolated once and kept while output rows use it: rows j and j + 1 differ in their last bit,
/// so h of row r lives in buffer r & 1, behind the columns' taps in the scratch.
template <typename Interpolate, typename Output>
static inline void resize_walk(const ResizeArgs& args, Interpolate interpolate, Output output) {
  int32_t* h[2];
  h[0] = args.scratch + 2 * round_up(args.out_w, 16);
  h[1] = h[0] + 4 * round_up(args.out_w, 16);
  ResizeAxis axis = resize_axis(args.height, args.out_h);
  int32_t held[2] = {-1, -1};
  for (int32_t y = 0; y < args.out_h; ++y) {
    const ResizeTap tap = resize_next(&axis);
    const int32_t rows[2] = {tap.index, args.height > 1 ? tap.index + 1 : tap.index};
    for (const int32_t row : rows) {
      if (held[row & 1] == row) continue;
      interpolate(row, h[row & 1]);
      held[row & 1] = row;
    }
    output(y, h[rows[0] & 1], h[rows[1] & 1], tap.weight);
  }
}

struct ResizeKernel {
  KernelRow row;
  void (*run)(const ResizeArgs& args);
};

extern const ResizeKernel kResizeKernels[];
extern const size_t kResizeKernelCount;
const ResizeKernel* select_resize(IsaSet cap);

/// `tables` ([channels][256]), or null where every one of them is the identity.
const uint8_t* resize_tables(const uint8_t* tables, int32_t channels);

/// Bytes of scratch of an output `out_w` pixels wide, enough for every row of the table and any channels.
size_t resize_scratch(int32_t out_w);

}  // namespace ek
