// SPDX-License-Identifier: Apache-2.0
/// edge: the walks over runs and planes that the vector rows share. After the isa header.
///
/// Runs dense on both sides go in vectors, the last one shifted back over the one before it: its elements are made
/// twice and are the same. Where a layout changes, 16 pixels of up to four planes are woven into pixels, or taken
/// apart. What is left, runs shorter than a vector and odd strides, goes through a local array.
///
/// `Op` says what a run does with 16 elements:
///   kX, kY                            bytes of an element of x, of y
///   move(x, y)                        all of it
///   load_u8x16(x)                     16 elements of x to bytes, where kY is 1
///   store(y, u_u8x16)                 16 bytes to elements of y, where kX is 1
/// `Pixels` says how 16 pixels are woven:
///   Vector                            16 bytes of a plane
///   store<kPlanes>(y, y_step, v), load<kPlanes>(x, x_step, v)      v[p][i] is byte p of pixel i
/// Memory: reads and writes exactly the elements named.
#pragma once
#include "kernels/edge/run.h"

namespace ek {
namespace {

constexpr ptrdiff_t kPixels = 16;
constexpr ptrdiff_t kFloat = sizeof(float);

/// Offsets 0, 16, 32, …, the last one shifted back so that it ends at n >= 16.
template <class Step>
EK_INLINE void every_16(ptrdiff_t n, const Step& step) {
  for (ptrdiff_t i = 0; i + kPixels <= n; i += kPixels) step(i);
  if (n % kPixels != 0) step(n - kPixels);
}

/// n >= 16 elements, dense on both sides. An ISA may overload it for an Op.
template <class Op>
EK_INLINE void move_line(const Op& op, const uint8_t* x, uint8_t* y, ptrdiff_t n) {
  every_16(n, [&](ptrdiff_t i) __attribute__((always_inline)) { op.move(x + i * Op::kX, y + i * Op::kY); });
}

template <class Op>
EK_INLINE void lines(const EdgeRun& run) {
  const Op op(run);
  const bool dense = run.x_step == Op::kX && run.y_step == Op::kY && run.n >= kPixels;
  for (ptrdiff_t p = 0; p < run.planes; ++p) {
    const uint8_t* x = run.x + p * run.x_plane;
    uint8_t* y = run.y + p * run.y_plane;
    if (dense) {
      move_line(op, x, y, run.n);
      continue;
    }
    for (ptrdiff_t i = 0; i < run.n; i += kPixels) {
      const ptrdiff_t n = run.n - i < kPixels ? run.n - i : kPixels;
      alignas(32) uint8_t from[kPixels * Op::kX] = {}, to[kPixels * Op::kY];
      if (run.x_step == Op::kX) {
        __builtin_memcpy(from, x + i * Op::kX, static_cast<size_t>(n * Op::kX));
      } else {
        for (ptrdiff_t k = 0; k < n; ++k) __builtin_memcpy(from + k * Op::kX, x + (i + k) * run.x_step, Op::kX);
      }
      op.move(from, to);
      if (run.y_step == Op::kY) {
        __builtin_memcpy(y + i * Op::kY, to, static_cast<size_t>(n * Op::kY));
      } else {
        for (ptrdiff_t k = 0; k < n; ++k) __builtin_memcpy(y + (i + k) * run.y_step, to + k * Op::kY, Op::kY);
      }
    }
  }
}

/// kPlanes planes of x, dense in themselves, to pixels.
template <class Pixels>
struct Together {
  template <int kPlanes, class Op>
  static EK_MEMBER void move(const EdgeRun& run, const Op& op, ptrdiff_t plane) {
    const ptrdiff_t x_plane = run.x_plane;  // bytes stored could be those of `run`
    const uint8_t* x = run.x + plane * x_plane;
    uint8_t* y = run.y + plane;
    every_16(run.n, [&](ptrdiff_t i) __attribute__((always_inline)) {
      typename Pixels::Vector v_u8x16[4] = {};
      EK_UNROLL
      for (int p = 0; p < kPlanes; ++p) v_u8x16[p] = op.load_u8x16(x + p * x_plane + i * Op::kX);
      Pixels::template store<kPlanes>(y + i * run.y_step, run.y_step, v_u8x16);
    });
  }
};

/// Pixels of x to kPlanes planes, dense in themselves.
template <class Pixels>
struct Apart {
  template <int kPlanes, class Op>
  static EK_MEMBER void move(const EdgeRun& run, const Op& op, ptrdiff_t plane) {
    const ptrdiff_t y_plane = run.y_plane;
    const uint8_t* x = run.x + plane;
    uint8_t* y = run.y + plane * y_plane;
    every_16(run.n, [&](ptrdiff_t i) __attribute__((always_inline)) {
      typename Pixels::Vector v_u8x16[4];
      Pixels::template load<kPlanes>(x + i * run.x_step, run.x_step, v_u8x16);
      EK_UNROLL
      for (int p = 0; p < kPlanes; ++p) op.store(y + p * y_plane + i * Op::kY, v_u8x16[p]);
    });
  }
};

/// All planes, four at a time.
template <class Way, class Op>
EK_INLINE void planes(const EdgeRun& run) {
  const Op op(run);
  ptrdiff_t plane = 0;
  for (; plane + 4 <= run.planes; plane += 4) Way::template move<4>(run, op, plane);
  if (run.planes - plane == 3) Way::template move<3>(run, op, plane);
  if (run.planes - plane == 2) Way::template move<2>(run, op, plane);
  if (run.planes - plane == 1) Way::template move<1>(run, op, plane);
}

/// The row's function: weaves where the runs are dense on one side alone, and neighbours on the other from plane to
/// plane.
template <class Pixels, class Op>
EK_INLINE void move_planes(const EdgeRun& run) {
  const bool dense_x = run.n >= kPixels && run.x_step == Op::kX, dense_y = run.n >= kPixels && run.y_step == Op::kY;
  if constexpr (Op::kY == 1) {
    if (dense_x && run.y_step != Op::kY && (run.planes == 1 || run.y_plane == 1)) {
      return planes<Together<Pixels>, Op>(run);
    }
  }
  if constexpr (Op::kX == 1) {
    if (dense_y && run.x_step != Op::kX && (run.planes == 1 || run.x_plane == 1)) {
      return planes<Apart<Pixels>, Op>(run);
    }
  }
  lines<Op>(run);
}

}  // namespace
}  // namespace ek
