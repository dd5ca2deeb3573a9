// SPDX-License-Identifier: Apache-2.0
/// The second loop of x86_avx2.cc: int32 sums in a buffer to bytes in memory, 32 at a time.
#pragma once
#include "kernels/dwconv/dwconv.h"
#include "kernels/isa/x86_avx2.h"

namespace ek {
namespace {

constexpr int32_t kLanes = 8;  ///< channels of a block

/// Four vectors of sums to bytes [a0..a7 | b0..b7 | c0..c7 | d0..d7]; kPlain: zero is 0 and no byte is out of bounds.
template <bool kPlain>
EK_INLINE __m256i sums_u8x32(const int32_t* const (&sum)[4], const __m256 (&scale_f32x8)[4], const ByteBounds256& r) {
  __m256i q_s32x8[4];
  EK_UNROLL
  for (int i = 0; i < 4; ++i) q_s32x8[i] = round_s32x8(load256(sum[i]), scale_f32x8[i]);
  if (!kPlain) return across_lanes_u8x32(bytes_in_lanes_u8x32(q_s32x8[0], q_s32x8[1], q_s32x8[2], q_s32x8[3], r));
  const __m256i ab_s16x16 = _mm256_packs_epi32(q_s32x8[0], q_s32x8[1]);
  const __m256i cd_s16x16 = _mm256_packs_epi32(q_s32x8[2], q_s32x8[3]);
  return across_lanes_u8x32(_mm256_packus_epi16(ab_s16x16, cd_s16x16));
}

/// 4 / kPixels blocks of m pixels, kPixels at a time; of a lone block the first `valid` channels. Behind the last
/// pixel the last one is computed again and not stored.
template <int kPixels, bool kPlain>
EK_INLINE void finish_blocks(const DwConvArgs& args, int32_t m, int32_t valid, const int32_t* sums, const float* scale,
                             uint8_t* y, const ByteBounds256& r) {
  constexpr int kBlocks = 4 / kPixels;
  __m256 scale_f32x8[4];
  EK_UNROLL
  for (int i = 0; i < 4; ++i) scale_f32x8[i] = _mm256_loadu_ps(scale + i % kBlocks * kLanes);
  for (int32_t x = 0; x < m; x += kPixels, y += kPixels * args.y_px) {
    const int32_t *sum[4], *block = sums + ptrdiff_t{x} * kLanes;
    EK_UNROLL
    for (int i = 0; i < 4; ++i) {
      // that the first pixel is there, clang does not see
      const ptrdiff_t px = i < kBlocks || i / kBlocks < m - x ? i / kBlocks : m - x - 1;
      sum[i] = block + (i % kBlocks * ptrdiff_t{m} + px) * kLanes;
    }
    const __m256i u_u8x32 = sums_u8x32<kPlain>(sum, scale_f32x8, r);
    const __m128i half_u8x16[2] = {_mm256_castsi256_si128(u_u8x32), _mm256_extracti128_si256(u_u8x32, 1)};
    if (kPixels == 1) _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), u_u8x32);
    EK_UNROLL
    for (int i = 0; kPixels > 1 && i < kPixels; ++i) {
      if (i >= m - x) return;
      const __m128i u_u8x16 = half_u8x16[2 * i / kPixels];
      if (kPixels == 2) _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i * args.y_px), u_u8x16);
      if (kPixels == 4) store_u8x8(y + i * args.y_px, i % 2 ? _mm_unpackhi_epi64(u_u8x16, u_u8x16) : u_u8x16, valid);
    }
  }
}

/// Bytes of channels c..end - 1 of m outputs from x on, from what add_up left.
template <bool kPlain>
__attribute__((noinline)) void finish(const DwConvArgs& args, int32_t x, int32_t m, int32_t c, int32_t end,
                                      const int32_t* sums, const ByteBounds256& r) {
  uint8_t* y = args.y + x * args.y_px;
  for (; end - c >= 32; c += 32, sums += 32 * m) finish_blocks<1, kPlain>(args, m, 8, sums, args.scale + c, y + c, r);
  if (end - c >= 16) {
    finish_blocks<2, kPlain>(args, m, 8, sums, args.scale + c, y + c, r);
    c += 16, sums += 16 * m;
  }
  for (; c < end; c += 8, sums += 8 * m) finish_blocks<4, kPlain>(args, m, end - c, sums, args.scale + c, y + c, r);
}

}  // namespace
}  // namespace ek
