// SPDX-License-Identifier: Apache-2.0
/// How activations lie in memory. Every kernel of every operator speaks these words.
///
/// An activation byte in memory is always the *biased* byte u = q + 128 (q is the int8 of the
/// specification), on every architecture. Zero points beside kernels are biased as well: uz = z + 128.
/// Sums are unchanged by that: sum(w * (q - z)) == sum(w * (u - uz)).
/// Only an int16 activation (kernels/wide) lies as it is, two bytes with zero point 0.
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
  int32_t px = 1;        ///< bytes from pixel to pixel (>= c elements)
  ptrdiff_t row = 1;     ///< bytes from row to row (>= (left + w + right) * px)
  size_t bytes() const { return static_cast<size_t>(row) * static_cast<size_t>(top + h + bottom); }
  /// Offset of pixel (0, 0) from the first byte of the halo.
  ptrdiff_t origin() const { return top * row + ptrdiff_t{left} * px; }
};

}  // namespace ek
