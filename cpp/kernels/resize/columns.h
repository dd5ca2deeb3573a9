// SPDX-License-Identifier: Apache-2.0
/// resize: how the source's columns become the output's, for the vector rows. After the isa header.
///
///   h(r, x) = a*(2048 - f) + b*f of source row r
///
/// Memory: pixels 0 .. width - 1 of a row, nothing beside them: a load of 8 bytes that would end behind the row starts
/// earlier (`edge`), and a row shorter than that is copied first.
#pragma once
#include "kernels/resize/resize.h"

namespace ek {
namespace {

constexpr int32_t kLoad = 8;  ///< bytes of one source load

/// Shuffle: what brings a load into 16-bit lanes. Both arrays go on to a multiple of 4 with zeros.
template <class Shuffle>
struct Columns {
  int32_t* offset;  ///< [out_w] bytes from the row's first
  int32_t* weight;  ///< [out_w] 2048 - f in the low half, f in the high half
  int32_t edge;     ///< first column whose load starts early
  Shuffle inside, at_edge;
};

/// shuffle_of(args, back) is that of a load that begins `back` bytes before the pixel pair.
template <class Shuffle>
EK_INLINE Columns<Shuffle> find_columns(const ResizeArgs& args,
                                        Shuffle (*shuffle_of)(const ResizeArgs& args, int32_t back)) {
  Columns<Shuffle> columns = {args.scratch, args.scratch + round_up(args.out_w, 16), args.out_w, {}, {}};
  const int32_t row = args.width * args.src_channels;
  int32_t back = 0;
  ResizeAxis axis = resize_axis(args.width, args.out_w);
  for (int32_t x = 0; x < args.out_w; ++x) {
    const ResizeTap tap = resize_next(&axis);
    columns.offset[x] = tap.index * args.src_channels;
    columns.weight[x] = (2048 - tap.weight) | (tap.weight << 16);
    if (args.src_channels == 3 && row >= kLoad && columns.offset[x] > row - kLoad) {
      if (columns.edge > x) columns.edge = x;
      back = columns.offset[x] - (row - kLoad);
      columns.offset[x] = row - kLoad;
    }
  }
  for (int32_t x = args.out_w; x < round_up(args.out_w, 4); ++x) columns.offset[x] = columns.weight[x] = 0;
  columns.inside = shuffle_of(args, 0);
  columns.at_edge = shuffle_of(args, back);
  return columns;
}

/// Columns first .. out_w - 1 of h of a source row of 1 byte a pixel.
template <class Shuffle>
EK_INLINE void interpolate_last_grey(const Columns<Shuffle>& columns, int32_t first, int32_t out_w,
                                     const uint8_t* source, int32_t* h) {
  for (int32_t x = first; x < out_w; ++x) {
    const uint8_t* a = source + columns.offset[x];
    h[x] = a[0] * (columns.weight[x] & 0xffff) + a[1] * (columns.weight[x] >> 16);
  }
}

/// First byte of a source row, or of `copy` (zeros) if a load would end behind the row.
EK_INLINE const uint8_t* source_row(const ResizeArgs& args, int32_t row, uint8_t (&copy)[kLoad]) {
  const uint8_t* source = args.box + row * args.row_stride;
  const int32_t bytes = args.width * args.src_channels;
  if (bytes >= kLoad) return source;
  for (int32_t i = 0; i < bytes; ++i) copy[i] = source[i];
  return copy;
}

}  // namespace
}  // namespace ek
