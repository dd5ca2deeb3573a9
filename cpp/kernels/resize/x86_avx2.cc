// SPDX-License-Identifier: Apache-2.0
/// resize for AVX2: fixed-point bilinear crop-resize of one box of camera bytes.
///
///   h(r, x) = a*(2048 - f) + b*f of source row r;   v(y, x) = (h(j)*(2048 - g) + h(j + 1)*g + 2^21) >> 22
///
///   instruction                  per cycle, Zen 5 / Haswell
///   VMOVQ           x, m64            2 / 2     pixels i and i + 1 of 3 or 4 bytes, two output pixels a vector
///   VPSHUFB         y, y, y           2 / 1     to (a, b) pairs of 16 bits, in output channel order
///   VPMADDWD        y, y, y           2 / 1     h of 8 channels
///   VPMULLD         y, y, y           2 / 0.5   v of 8 channels, two of them
///   VPACKUS, VPERMD y                 2 / 1     8 pixels of 4 bytes
///
/// A pixel of an interpolated row takes four int32; one of a grey source takes one.
/// Bounds: 2048 fits int16; h <= 255 * 2048 < 2^19; v before the shift <= 255 * 2^22 + 2^21 < 2^31.
/// Memory: reads pixels 0 .. width - 1 of the rows it needs, nothing beside them: a load of 8 bytes that would end
/// behind the row starts earlier (`edge`), and a row shorter than that is copied first. Writes out_w x out_h x
/// channels bytes.
#include "kernels/isa/x86_avx2.h"

#include "kernels/resize/columns.h"

namespace ek {

void resize_avx2(const ResizeArgs& args);

namespace {

constexpr int32_t kGroup = 8;  ///< output pixels of one store

/// A load to pairs (a, b) of 16 bits, one for each output channel.
struct Pairs {
  __m128i u8x16;
};

/// Shuffle of a load that begins `back` bytes before the pixel pair.
Pairs pairs_of(const ResizeArgs& args, int32_t back) {
  alignas(16) int8_t from[16];
  for (int32_t n = 0; n < 4; ++n) {
    const int32_t a = back + args.order[n < (args.gray ? 3 : args.channels) ? n : 0];
    from[4 * n] = static_cast<int8_t>(a);
    from[4 * n + 2] = static_cast<int8_t>(a + args.src_channels);
    from[4 * n + 1] = from[4 * n + 3] = -1;
  }
  return {_mm_load_si128(reinterpret_cast<const __m128i*>(from))};
}

EK_INLINE __m128i load_u8x8(const uint8_t* p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)); }

/// One source row of 3 or 4 bytes a pixel.
void interpolate_colour(const Columns<Pairs>& columns, int32_t out_w, const uint8_t* source, int32_t* h) {
  const __m256i pairs = _mm256_broadcastsi128_si256(columns.inside.u8x16);
  const __m256i each_four = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
  int32_t x = 0;
  for (; x + 2 <= columns.edge; x += 2) {
    const __m128i first = load_u8x8(source + columns.offset[x]), second = load_u8x8(source + columns.offset[x + 1]);
    const __m256i ab_s16x16 = _mm256_shuffle_epi8(_mm256_set_m128i(second, first), pairs);
    const __m128i two = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(columns.weight + x));
    const __m256i w_s16x16 = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(two), each_four);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(h + 4 * x), _mm256_madd_epi16(ab_s16x16, w_s16x16));
  }
  for (; x < out_w; ++x) {
    const __m128i shuffle = x < columns.edge ? columns.inside.u8x16 : columns.at_edge.u8x16;
    const __m128i ab_s16x8 = _mm_shuffle_epi8(load_u8x8(source + columns.offset[x]), shuffle);
    const __m128i w_s16x8 = _mm_set1_epi32(columns.weight[x]);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(h + 4 * x), _mm_madd_epi16(ab_s16x8, w_s16x8));
  }
}

/// One source row of 1 byte a pixel.
void interpolate_grey(const Columns<Pairs>& columns, int32_t out_w, const uint8_t* source, int32_t* h) {
  int32_t x = 0;
  for (; x + kGroup <= out_w; x += kGroup) {
    alignas(16) uint16_t ab[kGroup];
    for (int32_t i = 0; i < kGroup; ++i) __builtin_memcpy(ab + i, source + columns.offset[x + i], 2);
    const __m256i ab_s16x16 = _mm256_cvtepu8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(ab)));
    const __m256i w_s16x16 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(columns.weight + x));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(h + x), _mm256_madd_epi16(ab_s16x16, w_s16x16));
  }
  interpolate_last_grey(columns, x, out_w, source, h);
}

void interpolate(const ResizeArgs& args, const Columns<Pairs>& columns, int32_t row, int32_t* h) {
  uint8_t copy[kLoad] = {};
  const uint8_t* source = source_row(args, row, copy);
  if (args.src_channels == 1) return interpolate_grey(columns, args.out_w, source, h);
  interpolate_colour(columns, args.out_w, source, h);
}

/// Two interpolated rows and their weights.
struct RowPair {
  const int32_t *h0, *h1;
  __m256i g0_s32x8, g1_s32x8;
};

EK_INLINE __m256i blend_s32x8(const RowPair& rows, int32_t at) {
  const __m256i h0_s32x8 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows.h0 + at));
  const __m256i h1_s32x8 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows.h1 + at));
  const __m256i sum_s32x8 =
      _mm256_add_epi32(_mm256_mullo_epi32(h0_s32x8, rows.g0_s32x8), _mm256_mullo_epi32(h1_s32x8, rows.g1_s32x8));
  return _mm256_srli_epi32(_mm256_add_epi32(sum_s32x8, _mm256_set1_epi32(1 << 21)), 22);
}

/// Eight output pixels, one to a 32-bit lane; channel n in byte n.
EK_INLINE __m256i pixels_u8x32(const ResizeArgs& args, const RowPair& rows, int32_t x) {
  if (args.src_channels == 1) return _mm256_mullo_epi32(blend_s32x8(rows, x), _mm256_set1_epi32(0x01010101));
  const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i p0246_u16x16 = _mm256_packus_epi32(blend_s32x8(rows, 4 * x), blend_s32x8(rows, 4 * x + 8));
  const __m256i p4657_u16x16 = _mm256_packus_epi32(blend_s32x8(rows, 4 * x + 16), blend_s32x8(rows, 4 * x + 24));
  if (!args.gray) {
    return _mm256_permutevar8x32_epi32(_mm256_packus_epi16(p0246_u16x16, p4657_u16x16), in_order);
  }
  const __m256i luma_s16x16 = _mm256_set1_epi64x(77 | (150 << 16) | (int64_t{29} << 32));
  const __m256i sum_s32x8 =
      _mm256_hadd_epi32(_mm256_madd_epi16(p0246_u16x16, luma_s16x16), _mm256_madd_epi16(p4657_u16x16, luma_s16x16));
  const __m256i grey_s32x8 = _mm256_srli_epi32(_mm256_add_epi32(sum_s32x8, _mm256_set1_epi32(128)), 8);
  return _mm256_permutevar8x32_epi32(grey_s32x8, in_order);
}

/// The first n (1..8) of eight pixels of C channels, through the tables if there are any.
template <int C>
EK_INLINE void store_few(const ResizeArgs& args, uint8_t* y, const uint8_t* bytes, int32_t n) {
  if (!args.table) {
    for (int32_t i = 0; i < n; ++i, y += args.y_px) __builtin_memcpy(y, bytes + 4 * i, C);
    return;
  }
  const uint8_t* table = args.table;
  const ptrdiff_t y_px = args.y_px;
  for (int32_t i = 0; i < n; ++i, y += y_px) {
    uint8_t v[C];
    for (int c = 0; c < C; ++c) v[c] = table[256 * c + bytes[4 * i + c]];
    __builtin_memcpy(y, v, C);
  }
}

void store_some(const ResizeArgs& args, uint8_t* y, __m256i pixels, int32_t n) {
  alignas(32) uint8_t bytes[4 * kGroup];
  _mm256_store_si256(reinterpret_cast<__m256i*>(bytes), pixels);
  if (args.channels == 3) return store_few<3>(args, y, bytes, n);
  if (args.channels == 4) return store_few<4>(args, y, bytes, n);
  store_few<1>(args, y, bytes, n);
}

/// Eight pixels without gaps.
EK_INLINE void store_dense(const ResizeArgs& args, uint8_t* y, __m256i pixels) {
  if (args.channels == 4) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), pixels);
  const bool grey = args.channels == 1;
  const __m128i squeeze = grey ? _mm_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1)
                               : _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  const __m256i join = grey ? _mm256_setr_epi32(0, 4, 1, 1, 1, 1, 1, 1) : _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 3);
  pixels = _mm256_shuffle_epi8(pixels, _mm256_broadcastsi128_si256(squeeze));
  pixels = _mm256_permutevar8x32_epi32(pixels, join);
  __m128i low = _mm256_castsi256_si128(pixels);
  if (!grey) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), low);
    low = _mm256_extracti128_si256(pixels, 1);
    y += 16;
  }
  _mm_storel_epi64(reinterpret_cast<__m128i*>(y), low);
}

void output_row(const ResizeArgs& args, const RowPair& rows, uint8_t* y) {
  const bool dense = !args.table && args.y_px == args.channels;
  int32_t x = 0;
  for (; x + kGroup <= args.out_w; x += kGroup, y += kGroup * args.y_px) {
    const __m256i pixels = pixels_u8x32(args, rows, x);
    dense ? store_dense(args, y, pixels) : store_some(args, y, pixels, kGroup);
  }
  if (x < args.out_w) store_some(args, y, pixels_u8x32(args, rows, x), args.out_w - x);
}

}  // namespace

void resize_avx2(const ResizeArgs& args) {
  const Columns<Pairs> columns = find_columns(args, pairs_of);
  resize_walk(
      args, [&](int32_t row, int32_t* h) { interpolate(args, columns, row, h); },
      [&](int32_t y, const int32_t* h0, const int32_t* h1, int32_t g) {
        const RowPair pair = {h0, h1, _mm256_set1_epi32(2048 - g), _mm256_set1_epi32(g)};
        output_row(args, pair, args.y + y * args.y_row);
      });
}

}  // namespace ek
