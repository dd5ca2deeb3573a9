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
/// weave.h walks over runs and planes. 16 pixels of up to four planes are woven, or taken apart, by the loads and
/// stores themselves; pixels that lie farther apart than their planes go lane by lane, a plane, two or four at once.
/// Clipping: fmaxnm with the bound answers the bound for NaN (a division leaves none that signals); what is too great
/// saturates on its way to bytes. Memory: reads and writes exactly the elements named; floats need no alignment; x and
/// y do not overlap.
#include "kernels/isa/arm_neon.h"

#include "kernels/edge/weave.h"

namespace ek {

void edge_quantise_neon(const EdgeRun& run);
void edge_dequantise_neon(const EdgeRun& run);
void edge_bytes_neon(const EdgeRun& run);

namespace {

// What a run does with 16 elements: floats to bytes, bytes to floats, bytes to bytes.

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

/// 64 bytes at a time: loads and stores of two vectors each.
EK_INLINE void move_line(const Bytes& op, const uint8_t* x, uint8_t* y, ptrdiff_t n) {
  ptrdiff_t i = 0;
  for (; i + 4 * kPixels <= n; i += 4 * kPixels) {
    uint8x16_t u_u8x16[4];
    EK_UNROLL
    for (int k = 0; k < 4; ++k) u_u8x16[k] = op.load_u8x16(x + i + k * kPixels);
    EK_UNROLL
    for (int k = 0; k < 4; ++k) vst1q_u8(y + i + k * kPixels, u_u8x16[k]);
  }
  for (; i + kPixels <= n; i += kPixels) op.move(x + i, y + i);
  if (i < n) op.move(x + n - kPixels, y + n - kPixels);
}

template <int kLane, class Vector, class Value>
EK_INLINE Vector with_lane(Vector v, Value value) {
  if constexpr (sizeof(Value) == 1) return vsetq_lane_u8(value, v, kLane);
  if constexpr (sizeof(Value) == 2) return vsetq_lane_u16(value, v, kLane);
  if constexpr (sizeof(Value) == 4) return vsetq_lane_u32(value, v, kLane);
}

/// As many values as a vector has lanes, a step apart.
template <class Value, int kLane = 0, class Vector>
EK_INLINE Vector load_lanes(const uint8_t* x, ptrdiff_t x_step, Vector v) {
  Value value;
  __builtin_memcpy(&value, x, sizeof(value));
  v = with_lane<kLane>(v, value);
  if constexpr ((kLane + 1) * sizeof(Value) < sizeof(Vector)) {
    v = load_lanes<Value, kLane + 1>(in_register(x + x_step), x_step, v);
  }
  return v;
}

/// Lane i of 16, in one vector or several. A subscript takes what an intrinsic does not: the variable of a loop.
template <class Value, class Vector, int N>
EK_INLINE void store_lane(uint8_t* y, const Vector (&v)[N], int i) {
  const Value value = v[i * N / kPixels][i % (kPixels / N)];
  __builtin_memcpy(y, &value, sizeof(value));
}

/// 16 pixels of kPlanes bytes, a step apart (weave.h).
struct Pixels {
  using Vector = uint8x16_t;

  template <int kPlanes>
  static EK_MEMBER void store(uint8_t* y, ptrdiff_t y_step, const uint8x16_t (&v)[4]) {
    const uint8x16x2_t two = {{v[0], v[1]}};  // clang's stores are macros, which braces would cut up
    const uint8x16x3_t three = {{v[0], v[1], v[2]}};
    const uint8x16x4_t four = {{v[0], v[1], v[2], v[3]}};
    if (kPlanes == 2 && y_step == 2) return vst2q_u8(y, two);
    if (kPlanes == 3 && y_step == 3) return vst3q_u8(y, three);
    if (kPlanes == 4 && y_step == 4) return vst4q_u8(y, four);
    const uint8x16_t last_u8x16[1] = {v[kPlanes - 1]};
    const uint16x8_t ab_u16x8[2] = {vreinterpretq_u16_u8(vzip1q_u8(v[0], v[1])),
                                    vreinterpretq_u16_u8(vzip2q_u8(v[0], v[1]))};
    const uint16x8_t cd_u16x8[2] = {vreinterpretq_u16_u8(vzip1q_u8(v[2], v[3])),
                                    vreinterpretq_u16_u8(vzip2q_u8(v[2], v[3]))};
    const uint32x4_t abcd_u32x4[4] = {vreinterpretq_u32_u16(vzip1q_u16(ab_u16x8[0], cd_u16x8[0])),
                                      vreinterpretq_u32_u16(vzip2q_u16(ab_u16x8[0], cd_u16x8[0])),
                                      vreinterpretq_u32_u16(vzip1q_u16(ab_u16x8[1], cd_u16x8[1])),
                                      vreinterpretq_u32_u16(vzip2q_u16(ab_u16x8[1], cd_u16x8[1]))};
    EK_UNROLL
    for (int i = 0; i < kPixels; ++i, y = in_register(y + y_step)) {
      if (kPlanes == 4) store_lane<uint32_t>(y, abcd_u32x4, i);
      if (kPlanes == 2 || kPlanes == 3) store_lane<uint16_t>(y, ab_u16x8, i);
      if (kPlanes % 2 == 1) store_lane<uint8_t>(y + kPlanes - 1, last_u8x16, i);
    }
  }

  template <int kPlanes>
  static EK_MEMBER void load(const uint8_t* x, ptrdiff_t x_step, uint8x16_t (&v)[4]) {
    if (kPlanes == 2 && x_step == 2) {
      const uint8x16x2_t two = vld2q_u8(x);
      v[0] = two.val[0], v[1] = two.val[1];
      return;
    }
    if (kPlanes == 3 && x_step == 3) {
      const uint8x16x3_t three = vld3q_u8(x);
      v[0] = three.val[0], v[1] = three.val[1], v[2] = three.val[2];
      return;
    }
    if (kPlanes == 4 && x_step == 4) {
      const uint8x16x4_t four = vld4q_u8(x);
      v[0] = four.val[0], v[1] = four.val[1], v[2] = four.val[2], v[3] = four.val[3];
      return;
    }
    if constexpr (kPlanes % 2 == 1) v[kPlanes - 1] = load_lanes<uint8_t>(x + kPlanes - 1, x_step, vdupq_n_u8(0));
    if constexpr (kPlanes == 2 || kPlanes == 3) {
      const uint8x16_t ab0_u8x16 = vreinterpretq_u8_u16(load_lanes<uint16_t>(x, x_step, vdupq_n_u16(0)));
      const uint8x16_t ab8_u8x16 = vreinterpretq_u8_u16(load_lanes<uint16_t>(x + 8 * x_step, x_step, vdupq_n_u16(0)));
      v[0] = vuzp1q_u8(ab0_u8x16, ab8_u8x16), v[1] = vuzp2q_u8(ab0_u8x16, ab8_u8x16);
    }
    if constexpr (kPlanes == 4) {
      uint16x8_t px_u16x8[4];
      EK_UNROLL
      for (int i = 0; i < 4; ++i) {
        px_u16x8[i] = vreinterpretq_u16_u32(load_lanes<uint32_t>(x + 4 * i * x_step, x_step, vdupq_n_u32(0)));
      }
      const uint8x16_t ab0_u8x16 = vreinterpretq_u8_u16(vuzp1q_u16(px_u16x8[0], px_u16x8[1]));
      const uint8x16_t cd0_u8x16 = vreinterpretq_u8_u16(vuzp2q_u16(px_u16x8[0], px_u16x8[1]));
      const uint8x16_t ab8_u8x16 = vreinterpretq_u8_u16(vuzp1q_u16(px_u16x8[2], px_u16x8[3]));
      const uint8x16_t cd8_u8x16 = vreinterpretq_u8_u16(vuzp2q_u16(px_u16x8[2], px_u16x8[3]));
      v[0] = vuzp1q_u8(ab0_u8x16, ab8_u8x16), v[1] = vuzp2q_u8(ab0_u8x16, ab8_u8x16);
      v[2] = vuzp1q_u8(cd0_u8x16, cd8_u8x16), v[3] = vuzp2q_u8(cd0_u8x16, cd8_u8x16);
    }
  }
};

}  // namespace

void edge_quantise_neon(const EdgeRun& run) { move_planes<Pixels, Quantise>(run); }
void edge_dequantise_neon(const EdgeRun& run) { move_planes<Pixels, Dequantise>(run); }
void edge_bytes_neon(const EdgeRun& run) { move_planes<Pixels, Bytes>(run); }

}  // namespace ek
