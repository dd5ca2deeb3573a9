// SPDX-License-Identifier: Apache-2.0
/// winograd in plain C++, for every CPU. The formula is in winograd.h, the bounds are in README.md.
///
/// Products are int16 x int16 summed over 16 channels that lie together: pmaddwd where the baseline is SSE2.
/// Sums are unsigned and wrap modulo 2^32; shifting the finished one right by two brings the true sum.
/// Memory: reads 16 bytes of each pixel at a time, so up to 15 behind the last; the panel; writes v, sums and the n
/// columns of the h x w_out pixels.
#include <cstring>

#include "kernels/winograd/winograd.h"

namespace ek {

void winograd_s16_scalar_transform(const WinogradArgs& args);
void winograd_s16_scalar_multiply(const WinogradArgs& args);

namespace {

constexpr int kNr = 8;
constexpr int kKr = 16;

/// B' d B of sixteen channels of one tile.
void transform_tile(const uint8_t* const (&pixel)[4][4], int16_t* v, ptrdiff_t v_plane) {
  int16_t d[4][4][kKr], t[4][4][kKr];
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 4; ++x) {
      uint8_t u[kKr];
      std::memcpy(u, pixel[y][x], kKr);
      for (int k = 0; k < kKr; ++k) d[y][x][k] = u[k];
    }
  }
  for (int x = 0; x < 4; ++x) {
    for (int k = 0; k < kKr; ++k) {
      t[0][x][k] = static_cast<int16_t>(d[0][x][k] - d[2][x][k]);
      t[1][x][k] = static_cast<int16_t>(d[1][x][k] + d[2][x][k]);
      t[2][x][k] = static_cast<int16_t>(d[2][x][k] - d[1][x][k]);
      t[3][x][k] = static_cast<int16_t>(d[1][x][k] - d[3][x][k]);
    }
  }
  for (int y = 0; y < 4; ++y) {
    int16_t* at = v + 4 * y * v_plane;
    for (int k = 0; k < kKr; ++k) {
      at[k] = static_cast<int16_t>(t[y][0][k] - t[y][2][k]);
      at[v_plane + k] = static_cast<int16_t>(t[y][1][k] + t[y][2][k]);
      at[2 * v_plane + k] = static_cast<int16_t>(t[y][2][k] - t[y][1][k]);
      at[3 * v_plane + k] = static_cast<int16_t>(t[y][1][k] - t[y][3][k]);
    }
  }
}

/// One plane of one tile by one panel.
void multiply_tile(const int16_t* v, const int16_t* w, int32_t kc, int32_t* sums) {
  uint32_t acc[kNr] = {};
  for (int32_t k = 0; k < kc; k += kKr, w += kNr * kKr) {
    for (int n = 0; n < kNr; ++n) {
      int32_t sum = 0;  // 16 products below 2^21
      for (int i = 0; i < kKr; ++i) sum += v[k + i] * w[n * kKr + i];
      acc[n] += static_cast<uint32_t>(sum);
    }
  }
  std::memcpy(sums, acc, sizeof acc);
}

/// A' m A of one column of one tile: four sums, row by row.
void transform_sums(const int32_t* sums, ptrdiff_t plane, uint32_t (&out)[4]) {
  uint32_t m[16], p[2][4];
  for (int i = 0; i < 16; ++i) m[i] = static_cast<uint32_t>(sums[i * plane]);
  for (int x = 0; x < 4; ++x) {
    p[0][x] = m[x] + m[4 + x] + m[8 + x];
    p[1][x] = m[4 + x] - m[8 + x] - m[12 + x];
  }
  for (int y = 0; y < 2; ++y) {
    out[2 * y] = p[y][0] + p[y][1] + p[y][2];
    out[2 * y + 1] = p[y][1] - p[y][2] - p[y][3];
  }
}

uint8_t requantise(uint32_t four_sums, int32_t bias, float scale, const Requant& out) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23, bits 0x4b400000
  int32_t sum, rounded;
  std::memcpy(&sum, &four_sums, sizeof sum);
  const uint32_t biased = static_cast<uint32_t>(sum >> 2) + static_cast<uint32_t>(bias);
  std::memcpy(&sum, &biased, sizeof sum);
  float t = static_cast<float>(sum) * scale;
  t = t < out.lo ? out.lo : t;
  t = t > out.hi ? out.hi : t;
  t += kMagic;
  std::memcpy(&rounded, &t, sizeof rounded);
  return static_cast<uint8_t>(rounded - 0x4b400000 + out.zero);
}

}  // namespace

void winograd_s16_scalar_transform(const WinogradArgs& args) {
  for (int32_t y = 0; y < args.tile_rows; ++y) {
    for (int32_t x = 0; x < args.tile_columns; ++x) {
      const uint8_t* pixel[4][4];
      for (int32_t k = 0; k < args.kc; k += kKr) {
        for (int i = 0; i < 16; ++i) {
          const int32_t column = 2 * x + i % 4 < args.columns ? 2 * x + i % 4 : args.columns - 1;
          pixel[i / 4][i % 4] = args.rows[2 * y + i / 4] + column * args.in_px + k;
        }
        transform_tile(pixel, args.v + (ptrdiff_t{y} * args.tile_columns + x) * args.kc + k, args.v_plane);
      }
    }
  }
}

void winograd_s16_scalar_multiply(const WinogradArgs& args) {
  const int32_t tiles = args.tile_rows * args.tile_columns;
  const ptrdiff_t plane = ptrdiff_t{tiles} * kNr;
  for (int32_t i = 0; i < 16; ++i) {
    const int16_t* w = args.w + i * ptrdiff_t{args.kc} * kNr;
    for (int32_t t = 0; t < tiles; ++t) {
      multiply_tile(args.v + i * args.v_plane + ptrdiff_t{t} * args.kc, w, args.kc, args.sums + i * plane + t * kNr);
    }
  }
  for (int32_t t = 0; t < tiles; ++t) {
    const int32_t y = 2 * (t / args.tile_columns), x = 2 * (t % args.tile_columns);
    for (int32_t n = 0; n < args.n; ++n) {
      uint32_t four_sums[4];
      transform_sums(args.sums + t * kNr + n, plane, four_sums);
      for (int i = 0; i < 4; ++i) {
        if (y + i / 2 >= args.h || x + i % 2 >= args.w_out) continue;
        args.y[(y + i / 2) * args.y_row + (x + i % 2) * args.y_px + n] =
            requantise(four_sums[i], args.bias[n], args.scale[n], args.out);
      }
    }
  }
}

}  // namespace ek
