// SPDX-License-Identifier: Apache-2.0
/// dwconv for NEON with dot products: 3x3, strides 1 and 2, 16 channels at a time. The loop is in block.h.
///
///   y(x, c) = requant(bias(c) + sum over ky, kx of rows[ky][(x*s + kx)*px + c] * w(ky, kx, c), scale(c))
///
///   instruction                     per cycle: A55  N1  N2    for 16 outputs, stride 1 / 2
///   EOR    16b                                  2    2   4    bytes to signed ones                  3 / 6
///   ZIP1, ZIP2  16b, 8h                         1    2   4    interleave three rows                 8 / 16
///   SDOT   4s, 16b, 16b                         1    2   4    4 taps of 4 channels                 12 / 12
///   SCVTF, FMUL, FCVTNS .. SQXTUN2              1    2   2    requantise                           18 / 18
///   LDR, LDP q                                  1    2   2    rows, bias, scale                     7 / 10
///
/// 56 and 72 instructions with steps, 4 more where the output's bytes are clipped. Registers hold the 12 vectors of
/// weights, 8 sums under way and what one column makes of them.
/// SDOT multiplies signed by signed: u * w = (u ^ 0x80 as s8) * w + 128 * w, and the packed bias holds the second term
/// (form kSignedDots). An int32 lane wraps modulo 2^32; the true sum fits int32 (proved by the verifier).
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

// clang-format off: rows.h builds on what arm_bytes.h defines
#include "kernels/dwconv/arm_bytes.h"
#include "kernels/dwconv/rows.h"
// clang-format on

namespace ek {

void dwconv_u8_3x3_neondot(const DwConvArgs& args);

namespace {

/// Whole blocks or the last channels; weights in registers or not; nothing to clip but what saturates.
template <bool kWhole, bool kHeld, bool kPlain>
struct NeonDot {
  using Vector = int32x4_t;
  using Mask = int32_t;
  using Rounding = ClipNeon;  ///< products are below 2^30 (fits)
  static constexpr int kLanes = 4;
  static constexpr bool kHolds = kHeld;

  /// Bytes of rows 0, 1 and of rows 2, 3 alternating, of channels 0..7 and then of 8..15.
  template <int N>
  struct Taps {
    int16x8_t v[N];
  };

  static EK_MEMBER Vector load(const void* p) { return vld1q_s32(static_cast<const int32_t*>(p)); }
  static EK_MEMBER Mask first(int32_t n) { return n; }
  static EK_MEMBER Rounding rounding(const Requant& out) { return load_clip_neon(out); }
  static EK_MEMBER int8x16_t flipped(const uint8_t* p) {
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(p), vdupq_n_u8(0x80)));
  }

  template <int K>
  static EK_MEMBER void interleave(const uint8_t* const (&row)[4], Taps<4>& taps) {
    const int8x16_t a_s8x16 = flipped(row[0]), b_s8x16 = flipped(row[1]), c_s8x16 = flipped(row[2]);
    const int8x16_t d_s8x16 = K == 3 ? c_s8x16 : flipped(row[3]);
    taps.v[0] = vreinterpretq_s16_s8(vzip1q_s8(a_s8x16, b_s8x16));
    taps.v[1] = vreinterpretq_s16_s8(vzip1q_s8(c_s8x16, d_s8x16));
    taps.v[2] = vreinterpretq_s16_s8(vzip2q_s8(a_s8x16, b_s8x16));
    taps.v[3] = vreinterpretq_s16_s8(vzip2q_s8(c_s8x16, d_s8x16));
  }

  static EK_MEMBER int8x16_t vector(const Taps<4>& taps, int j) {
    const int16x8_t ab_s8x16 = taps.v[j / 2 * 2], cd_s8x16 = taps.v[j / 2 * 2 + 1];
    return vreinterpretq_s8_s16(j % 2 == 0 ? vzip1q_s16(ab_s8x16, cd_s8x16) : vzip2q_s16(ab_s8x16, cd_s8x16));
  }

  static EK_MEMBER Vector dot(Vector sum_s32x4, int8x16_t taps_s8x16, Vector w_s8x16) {
    return vdotq_s32(sum_s32x4, taps_s8x16, vreinterpretq_s8_s32(w_s8x16));
  }

  static EK_MEMBER Vector round(Vector sum_s32x4, const float* scale, const Rounding&) {
    return round_s32x4(sum_s32x4, scale);
  }

  static EK_MEMBER void store(uint8_t* y, Mask valid, const Vector (&q)[4], const Rounding& r) {
    store_u8x16(y, clipped_u8x16<kPlain>(q, r), kWhole ? 16 : valid);
  }

  static EK_MEMBER void store_half(uint8_t* y, const Vector (&q)[4], const Rounding& r) {
    vst1_u8(y, vget_low_u8(clipped_u8x16<kPlain>(q, r)));
  }
};

template <int K, int S, bool kPlain>
void channels(const DwConvArgs& args) {
  using Whole = NeonDot<true, K == 3, kPlain>;
  if (S == 1 && args.c == 8) return pairs<Whole, K, 4>(args);
  int32_t first = 0;
  for (; args.c - first >= 16; first += 16) block<Whole, K, S, 4>(args, first);
  if (first < args.c) block<NeonDot<false, K == 3, false>, K, S, 4>(args, first);
}

}  // namespace

void dwconv_u8_3x3_neondot(const DwConvArgs& args) {
  const bool plain = is_plain(args.out);
  if (args.sx == 1) return plain ? channels<3, 1, true>(args) : channels<3, 1, false>(args);
  return plain ? channels<3, 2, true>(args) : channels<3, 2, false>(args);
}

}  // namespace ek
