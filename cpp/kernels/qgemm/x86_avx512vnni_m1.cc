// SPDX-License-Identifier: Apache-2.0
/// qgemm for AVX-512 VNNI and one pixel (fully connected layers): 1 pixel x 128 columns, k in groups of 4.
///
///   y(n) = requant(bias(n) + sum over taps, k of a_u8(tap, k) * w_s8(n; tap, k), scale(n))
///
///   intrinsic                    instruction               Zen 5 per cycle   Zen 4
///   _mm512_dpbusd_epi32(load)    VPDPBUSD z, z, m512       2                 1
///   _mm512_set1_epi32(load)      VPBROADCASTD z, m32       2 (load port)     2
///   requantise and store         see isa/x86_avx512vnni.h
///
/// Algebra, exactness and bounds are those of x86_avx512vnni.cc; weights are the memory operand, which is the signed
/// one. What differs: with one pixel every weight is used once, so the layer lasts as long as its weights take to
/// arrive (Zen 4: 32 bytes per cycle from L2, Zen 5: 64), if nothing stands between them. A panel is one stream of 512
/// bytes per k group, and a layer of 128 outputs is one call with one way from sums to bytes, where panels of 32
/// columns are four. Registers: 8 sums, 1 broadcast. Loop and memory touched: x86_pixel.h.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

// clang-format off: x86_pixel.h builds on what the isa header defines
#include "kernels/isa/x86_avx512vnni.h"
#include "kernels/qgemm/x86_pixel.h"
// clang-format on

namespace ek {

void qgemm_u8_1x128x4_avx512vnni(const QGemmArgs& args);

namespace {

struct Zmm {
  using Vector = __m512i;
  using Rounding = Requant512;
  static constexpr int kLanes = 16;
  static EK_MEMBER Vector load(const void* p) { return _mm512_loadu_si512(p); }
  static EK_MEMBER Vector zero() { return _mm512_setzero_si512(); }
  static EK_MEMBER Vector add(Vector a_s32x16, Vector b_s32x16) { return _mm512_add_epi32(a_s32x16, b_s32x16); }
  static EK_MEMBER Vector broadcast(int32_t a_u8x4) { return _mm512_set1_epi32(a_u8x4); }
  static EK_MEMBER Vector dot(Vector sum_s32x16, Vector a_u8x64, const int8_t* w) {
    return _mm512_dpbusd_epi32(sum_s32x16, a_u8x64, load(w));
  }
  static EK_MEMBER Rounding rounding(const Requant& out) { return load_requant512(out); }
  static EK_MEMBER Vector round(Vector sum_s32x16, const float* scale, const Rounding&) {
    return round_s32x16(sum_s32x16, _mm512_loadu_ps(scale));
  }
  static EK_MEMBER Vector bytes(const Vector (&q_s32x16)[4], const Rounding& r) {
    return bytes_u8x64(q_s32x16[0], q_s32x16[1], q_s32x16[2], q_s32x16[3], r);
  }
  static EK_MEMBER void store(const QGemmArgs& args, int32_t n, Vector y_u8x64) {
    _mm512_mask_storeu_epi8(args.y + n, first_bits(args.n - n), y_u8x64);
  }
};

}  // namespace

void qgemm_u8_1x128x4_avx512vnni(const QGemmArgs& args) { run_pixel<Zmm>(args); }

}  // namespace ek
