// SPDX-License-Identifier: Apache-2.0
/// eltwise: the walks over a strip of pixels that the vector rows share. After the isa header.
#pragma once
#include "kernels/eltwise/eltwise.h"

namespace ek {
namespace {

/// pixel(a, b, y) for each pixel of add and mul.
template <class Args, class Pixel>
EK_INLINE void each_pair(const Args& args, const Pixel& pixel) {
  for (int32_t p = 0; p < args.pixels; ++p) {
    const uint8_t* a = args.a + p * args.a_px;
    const uint8_t* b = args.b + p * args.b_px;
    pixel(a, b, args.y + p * args.y_px);
  }
}

/// pixel(x, y) for each pixel of affine and table.
template <class Args, class Pixel>
EK_INLINE void each_pixel(const Args& args, const Pixel& pixel) {
  for (int32_t p = 0; p < args.pixels; ++p) pixel(args.x + p * args.x_px, args.y + p * args.y_px);
}

/// Constants of kBytes channels.
template <int32_t kBytes>
struct Channels {
  int8_t w[kBytes];
  int32_t bias[kBytes];
  float scale[kBytes];
};

/// affine: block(x, w, bias, scale, y, n) for n channels, kBytes of them but for the last of a pixel. Their constants
/// are zero padded: constants have no slack.
template <int32_t kBytes, class Block>
EK_INLINE void each_block(const AffineArgs& args, const Block& block) {
  const int8_t* w = args.w;
  const int32_t* bias = args.bias;
  const float* scale = args.scale;
  const int32_t whole = args.c / kBytes * kBytes, rest = args.c - whole;
  Channels<kBytes> last;
  if (rest != 0) {
    const size_t n = static_cast<size_t>(rest);
    last = {};
    __builtin_memcpy(last.w, w + whole, n);
    __builtin_memcpy(last.bias, bias + whole, 4 * n);
    __builtin_memcpy(last.scale, scale + whole, 4 * n);
  }
  each_pixel(args, [&](const uint8_t* x, uint8_t* y) __attribute__((always_inline)) {
    for (int32_t c = 0; c < whole; c += kBytes) block(x + c, w + c, bias + c, scale + c, y + c, kBytes);
    if (rest != 0) block(x + whole, last.w, last.bias, last.scale, y + whole, rest);
  });
}

}  // namespace
}  // namespace ek
