// SPDX-License-Identifier: Apache-2.0
/// How activations lie in memory. Every kernel of every operator speaks these words.
///
/// An activation byte in memory is always the *biased* byte u = q + 128 (q is the int8 of the
/// specification), on every architecture. Zero points beside kernels are biased as well: uz = z + 128.
/// Sums are unchanged by that: sum(w * (q - z)) == sum(w * (u - uz)).
#pragma once
#include <cstddef>
#include <cstdint>

namespace ek {

/// Element of an activation operand as one kernel row reads it.
enum class Elem : uint8_t { kU8 = 1, kS16 = 2 };  // the value is the size in bytes

constexpr ptrdiff_t kSlack = 64;         ///< readable bytes before and after every arena tensor
constexpr int32_t kChannelAlign = 4;     ///< arena pixels start at multiples of 4 bytes (images: dense)

/// One frame of an NHWC tensor, with a halo of zero-point pixels that its producer writes.
///
///   at(y, x) for -top <= y < h + bottom and -left <= x < w + right
struct Nhwc {
  int32_t h = 1, w = 1, c = 1;
  int32_t top = 0, left = 0, bottom = 0, right = 0;
  int32_t px = 1;        ///< bytes from pixel to pixel (>= c)
  ptrdiff_t row = 1;     ///< bytes from row to row (>= (left + w + right) * px)
  size_t bytes() const { return static_cast<size_t>(row) * static_cast<size_t>(top + h + bottom); }
  /// Offset of pixel (0, 0) from the first byte of the halo.
  ptrdiff_t origin() const { return top * row + ptrdiff_t{left} * px; }
};

/// Ring: the last `rows` rows of a tensor, interleaved so that one 32-bit lane holds one channel of one
/// pixel in 4 (u8) or 2 (s16) consecutive rows. Row y sits in plane (y mod rows) / per_lane(), slot
/// y mod per_lane() of each lane. One dot instruction then multiplies a whole column of taps.
///
///   u8,  rows 4: [ c0: y0 y1 y2 y3 | c1: y0 y1 y2 y3 | … ] one plane
///   u8,  rows 8: two such planes;   s16, rows 4: two planes of 2 rows; s16, rows 8: four planes
struct Ring {
  int32_t rows = 4;        ///< 4 or 8
  Elem elem = Elem::kU8;
  int32_t lanes = 0;       ///< 32-bit lanes per pixel (channels rounded up to the kernel's block)
  int32_t pixels = 0;      ///< pixels per row, side halo included
  int32_t per_lane() const { return 4 / static_cast<int32_t>(elem); }
  int32_t planes() const { return rows / per_lane(); }
  ptrdiff_t px() const { return ptrdiff_t{lanes} * 4; }
  ptrdiff_t plane() const { return px() * pixels; }
  size_t bytes() const { return static_cast<size_t>(plane()) * static_cast<size_t>(planes()); }
};

}  // namespace ek
