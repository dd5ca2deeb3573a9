// SPDX-License-Identifier: Apache-2.0
/// qgemm for AVX-VNNI and one pixel (fully connected layers): 1 pixel x 64 columns, k in groups of 4.
///
///   y(n) = requant(bias(n) + sum over taps, k of a_u8(tap, k) * w_s8(n; tap, k), scale(n))
///
///   intrinsic                        instruction                 Zen 5 per cycle   Golden Cove
///   _mm256_dpbusd_avx_epi32(load)    {vex} VPDPBUSD y, y, m256   2                 2 (p01)
///   _mm256_set1_epi32(load)          VPBROADCASTD y, m32         2 (load port)     3
///   requantise and store             see isa/x86_avx2.h
///
/// Algebra, exactness and bounds are those of x86_avxvnni.cc; weights are the memory operand, which is the signed one.
/// What differs: see x86_avx512vnni_m1.cc. A k group of 64 columns is 8 dots (4 cycles) against 9 loads (3 or 4.5),
/// where panels of 16 columns need 12 loads and four calls. Registers: 8 sums, 1 broadcast. Loop and memory touched:
/// x86_pixel.h.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

// clang-format off: x86_pixel.h builds on what the isa header defines, which x86_ymm.h brings
#include "kernels/qgemm/x86_ymm.h"
#include "kernels/qgemm/x86_pixel.h"
// clang-format on

namespace ek {

void qgemm_u8_1x64x4_avxvnni(const QGemmArgs& args);

namespace {

struct Ymm {
  using Vector = __m256i;
  using Rounding = Requant256;
  static constexpr int kLanes = 8;
  static EK_MEMBER Vector load(const void* p) { return load256(p); }
  static EK_MEMBER Vector zero() { return _mm256_setzero_si256(); }
  static EK_MEMBER Vector add(Vector a_s32x8, Vector b_s32x8) { return _mm256_add_epi32(a_s32x8, b_s32x8); }
  static EK_MEMBER Vector broadcast(int32_t a_u8x4) { return _mm256_set1_epi32(a_u8x4); }
  static EK_MEMBER Vector dot(Vector sum_s32x8, Vector a_u8x32, const int8_t* w) {
    return _mm256_dpbusd_avx_epi32(sum_s32x8, a_u8x32, load(w));
  }
  static EK_MEMBER Rounding rounding(const Requant& out) { return load_requant256(out); }
  static EK_MEMBER Vector round(Vector sum_s32x8, const float* scale, const Rounding& r) {
    return round_s32x8(sum_s32x8, _mm256_loadu_ps(scale), r);
  }
  static EK_MEMBER Vector bytes(const Vector (&q_s32x8)[4], const Rounding& r) {
    return bytes_u8x32(q_s32x8[0], q_s32x8[1], q_s32x8[2], q_s32x8[3], r);
  }
  static EK_MEMBER void store(const QGemmArgs& args, int32_t n, Vector y_u8x32) {
    store_u8x32(args.y + n, y_u8x32, args.n - n);
  }
};

}  // namespace

void qgemm_u8_1x64x4_avxvnni(const QGemmArgs& args) { run_pixel<Ymm>(args); }

}  // namespace ek
