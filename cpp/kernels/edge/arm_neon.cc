// SPDX-License-Identifier: Apache-2.0
/// edge in NEON (armv8.0):
///
///   quantise    u = clamp(rne(x / s) + zero, 0, 255); NaN gives 0
///   dequantise  x = float(u - zero) * s
///   bytes       u = x ^ flip
///
/// | instruction    | per cycle A53, A72, N1 | use                                                        |
/// |----------------|------------------------|------------------------------------------------------------|
/// | fdiv 4s        | 1/14, 1/34, 1/7        | x / s, a true division: the bound                          |
/// | fcvtns 4s      | 1, 1, 1/2              | rounds to nearest, ties to even, and saturates             |
/// | st3 16b        | 1/3, 1/6, 1/2          | three planes to pixels                                     |
/// | ld3 16b        | 1/4, 1/3, 1/2          | and back                                                   |
///
/// Runs dense on both sides go in vectors, the last one shifted back over the one before it: its elements are made
/// twice and are the same. Where a layout changes, 16 pixels of up to four planes are woven into pixels, or taken
/// apart, by the loads and stores themselves; pixels that lie farther apart than their planes go by a local array.
/// What is left, runs shorter than a vector and odd strides, goes through a local array too.
/// Clipping: fmaxnm with the bound answers the bound for NaN (a division leaves none that signals); what is too great
/// saturates on its way to bytes.
/// Memory: reads and writes exactly the elements named; floats need no alignment; x and y do not overlap.
#include "kernels/isa/arm_neon.h"

#include "kernels/edge/run.h"

namespace ek {

void edge_quantise_neon(const EdgeRun& run);
void edge_dequantise_neon(const EdgeRun& run);
void edge_bytes_neon(const EdgeRun& run);

namespace {

constexpr ptrdiff_t kPixels = 16;
constexpr ptrdiff_t kFloat = sizeof(float);

/// What a run does with 16 elements: floats to bytes, bytes to floats, bytes to bytes.
struct Quantise {
  static constexpr ptrdiff_t kX = kFloat, kY = 1;
  explicit EK_MEMBER Quantise(const EdgeRun& run)
      : scale_f32x4(vdupq_n_f32(run.scale)),
        lo_f32x4(vdupq_n_f32(static_cast<float>(-run.zero))),
        zero_s16x8(vdupq_n_s16(static_cast<int16_t>(run.zero))) {}
  EK_MEMBER int32x4_t round_s32x4(const uint8_t* x) const {
    const float32x4_t x_f32x4 = vreinterpretq_f32_u8(vld1q_u8(x));
    return vcvtnq_s32_f32(vmaxnmq_f32(vdivq_f32(x_f32x4, scale_f32x4), lo_f32x4));
  }
  EK_MEMBER int16x8_t load_s16x8(const uint8_t* x) const {
    const int16x4_t low_s16x4 = vqmovn_s32(round_s32x4(x));
    return vqaddq_s16(vqmovn_high_s32(low_s16x4, round_s32x4(x + 4 * kFloat)), zero_s16x8);
  }
  EK_MEMBER uint8x16_t load_u8x16(const uint8_t* x) const {
    return vqmovun_high_s16(vqmovun_s16(load_s16x8(x)), load_s16x8(x + 8 * kFloat));
  }
  EK_MEMBER void move(const uint8_t* x, uint8_t* y) const { vst1q_u8(y, load_u8x16(x)); }
  float32x4_t scale_f32x4, lo_f32x4;
  int16x8_t zero_s16x8;
};

struct Dequantise {
  static constexpr ptrdiff_t kX = 1, kY = kFloat;
  explicit EK_MEMBER Dequantise(const EdgeRun& run)
      : scale_f32x4(vdupq_n_f32(run.scale)), zero_u8x16(vdupq_n_u8(static_cast<uint8_t>(run.zero))) {}
  EK_MEMBER void store_f32x4(uint8_t* y, int32x4_t q_s32x4) const {
    vst1q_u8(y, vreinterpretq_u8_f32(vmulq_f32(vcvtq_f32_s32(q_s32x4), scale_f32x4)));
  }
  EK_MEMBER void store_f32x8(uint8_t* y, int16x8_t q_s16x8) const {
    store_f32x4(y, vmovl_s16(vget_low_s16(q_s16x8)));
    store_f32x4(y + 4 * kFloat, vmovl_high_s16(q_s16x8));
  }
  EK_MEMBER void store(uint8_t* y, uint8x16_t u_u8x16) const {
    store_f32x8(y, vreinterpretq_s16_u16(vsubl_u8(vget_low_u8(u_u8x16), vget_low_u8(zero_u8x16))));
    store_f32x8(y + 8 * kFloat, vreinterpretq_s16_u16(vsubl_high_u8(u_u8x16, zero_u8x16)));
  }
  EK_MEMBER void move(const uint8_t* x, uint8_t* y) const { store(y, vld1q_u8(x)); }
  float32x4_t scale_f32x4;
  uint8x16_t zero_u8x16;
};

struct Bytes {
  static constexpr ptrdiff_t kX = 1, kY = 1;
  explicit EK_MEMBER Bytes(const EdgeRun& run) : flip_u8x16(vdupq_n_u8(run.flip)) {}
  EK_MEMBER uint8x16_t load_u8x16(const uint8_t* x) const { return veorq_u8(vld1q_u8(x), flip_u8x16); }
  EK_MEMBER void store(uint8_t* y, uint8x16_t u_u8x16) const { vst1q_u8(y, veorq_u8(u_u8x16, flip_u8x16)); }
  EK_MEMBER void move(const uint8_t* x, uint8_t* y) const { vst1q_u8(y, load_u8x16(x)); }
  uint8x16_t flip_u8x16;
};

/// 16 pixels of kPlanes bytes, y_step apart.
template <int kPlanes>
EK_INLINE void store_pixels(uint8_t* y, ptrdiff_t y_step, const uint8x16x4_t& v) {
  const uint8x16x2_t two = {{v.val[0], v.val[1]}};  // clang's stores are macros, which braces would cut up
  const uint8x16x3_t three = {{v.val[0], v.val[1], v.val[2]}};
  if (kPlanes == 2 && y_step == 2) return vst2q_u8(y, two);
  if (kPlanes == 3 && y_step == 3) return vst3q_u8(y, three);
  if (kPlanes == 4 && y_step == 4) return vst4q_u8(y, v);
  uint8_t pixels[4 * kPixels];
  vst4q_u8(pixels, v);
  for (ptrdiff_t i = 0; i < kPixels; ++i) __builtin_memcpy(y + i * y_step, pixels + 4 * i, kPlanes);
}

template <int kPlanes>
EK_INLINE uint8x16x4_t load_pixels(const uint8_t* x, ptrdiff_t x_step) {
  if (kPlanes == 2 && x_step == 2) {
    const uint8x16x2_t v = vld2q_u8(x);
    return {{v.val[0], v.val[1], v.val[1], v.val[1]}};
  }
  if (kPlanes == 3 && x_step == 3) {
    const uint8x16x3_t v = vld3q_u8(x);
    return {{v.val[0], v.val[1], v.val[2], v.val[2]}};
  }
  if (kPlanes == 4 && x_step == 4) return vld4q_u8(x);
  uint8_t pixels[4 * kPixels] = {};
  for (ptrdiff_t i = 0; i < kPixels; ++i) __builtin_memcpy(pixels + 4 * i, x + i * x_step, kPlanes);
  return vld4q_u8(pixels);
}

/// Offsets 0, 16, 32, …, the last one shifted back so that it ends at n >= 16.
template <class Step>
EK_INLINE void every_16(ptrdiff_t n, const Step& step) {
  for (ptrdiff_t i = 0; i + kPixels <= n; i += kPixels) step(i);
  if (n % kPixels != 0) step(n - kPixels);
}

template <class Op>
EK_INLINE void lines(const EdgeRun& run) {
  const Op op(run);
  const bool dense = run.x_step == Op::kX && run.y_step == Op::kY && run.n >= kPixels;
  for (ptrdiff_t p = 0; p < run.planes; ++p) {
    const uint8_t* x = run.x + p * run.x_plane;
    uint8_t* y = run.y + p * run.y_plane;
    if (dense) {
      every_16(run.n, [&](ptrdiff_t i) { op.move(x + i * Op::kX, y + i * Op::kY); });
      continue;
    }
    for (ptrdiff_t i = 0; i < run.n; i += kPixels) {
      const ptrdiff_t n = run.n - i < kPixels ? run.n - i : kPixels;
      uint8_t from[kPixels * Op::kX] = {}, to[kPixels * Op::kY];
      for (ptrdiff_t k = 0; k < n; ++k) __builtin_memcpy(from + k * Op::kX, x + (i + k) * run.x_step, Op::kX);
      op.move(from, to);
      for (ptrdiff_t k = 0; k < n; ++k) __builtin_memcpy(y + (i + k) * run.y_step, to + k * Op::kY, Op::kY);
    }
  }
}

/// kPlanes planes of x, dense in themselves, to pixels.
struct Together {
  template <int kPlanes, class Op>
  static EK_MEMBER void move(const EdgeRun& run, const Op& op, ptrdiff_t plane) {
    const uint8_t* x = run.x + plane * run.x_plane;
    uint8_t* y = run.y + plane;
    every_16(run.n, [&](ptrdiff_t i) {
      uint8x16x4_t v = {};
      EK_UNROLL
      for (int p = 0; p < kPlanes; ++p) v.val[p] = op.load_u8x16(x + p * run.x_plane + i * Op::kX);
      store_pixels<kPlanes>(y + i * run.y_step, run.y_step, v);
    });
  }
};

/// Pixels of x to kPlanes planes, dense in themselves.
struct Apart {
  template <int kPlanes, class Op>
  static EK_MEMBER void move(const EdgeRun& run, const Op& op, ptrdiff_t plane) {
    const uint8_t* x = run.x + plane;
    uint8_t* y = run.y + plane * run.y_plane;
    every_16(run.n, [&](ptrdiff_t i) {
      uint8x16x4_t v;
      v = load_pixels<kPlanes>(x + i * run.x_step, run.x_step);
      EK_UNROLL
      for (int p = 0; p < kPlanes; ++p) op.store(y + p * run.y_plane + i * Op::kY, v.val[p]);
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

/// Whether the runs are dense in x (y) alone, and neighbours in the other from plane to plane.
template <class Op>
EK_INLINE bool planar_x(const EdgeRun& run) {
  return run.n >= kPixels && run.x_step == Op::kX && run.y_step != Op::kY && (run.planes == 1 || run.y_plane == 1);
}
template <class Op>
EK_INLINE bool planar_y(const EdgeRun& run) {
  return run.n >= kPixels && run.y_step == Op::kY && run.x_step != Op::kX && (run.planes == 1 || run.x_plane == 1);
}

}  // namespace

void edge_quantise_neon(const EdgeRun& run) {
  if (planar_x<Quantise>(run)) return planes<Together, Quantise>(run);
  lines<Quantise>(run);
}

void edge_dequantise_neon(const EdgeRun& run) {
  if (planar_y<Dequantise>(run)) return planes<Apart, Dequantise>(run);
  lines<Dequantise>(run);
}

void edge_bytes_neon(const EdgeRun& run) {
  if (planar_x<Bytes>(run)) return planes<Together, Bytes>(run);
  if (planar_y<Bytes>(run)) return planes<Apart, Bytes>(run);
  lines<Bytes>(run);
}

}  // namespace ek
