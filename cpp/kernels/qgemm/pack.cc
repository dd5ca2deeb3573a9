// SPDX-License-Identifier: Apache-2.0
/// Packing of weights at load time; one loop serves every row of the table.
///
///   panel[ky][kx][k / KR][column][k % KR], columns rounded up to a vector, k to KR, both with zeros
///   panel[column / block][ky][kx][k / KR][column % block][k % KR] where a row's tiles are narrower than its panel
///
/// For KR = 4 and 16 lanes one vector of the panel is one k group of 16 columns:
///   [ n0: k0 k1 k2 k3 | n1: k0 k1 k2 k3 | … | n15: k0 k1 k2 k3 ]
/// Rows with terms of A alone take k two by two instead, so that a vector has one pair of each column.
#include <cstring>

#include "kernels/qgemm/qgemm.h"
#include "kernels/weights.h"

namespace ek {
namespace {

/// Taps as the kernel walks them: `count` of `length` contiguous elements.
struct Taps {
  int32_t count, length, padded;
};

Taps taps_of(const QGemmKernel& kernel, int32_t kh, int32_t kw, int32_t kc) {
  return {kh * kw, kc, round_up(kc, kernel.kr)};
}

/// Sum of w0 w2 + w1 w3 over the k groups of all taps: what the weights alone contribute to Winograd's inner product.
uint32_t weight_terms(const Taps& taps, const int8_t* w) {
  uint32_t sum = 0;
  for (int32_t tap = 0; tap < taps.count; ++tap, w += taps.length) {
    for (int32_t k = 0; k + 2 < taps.length; ++k) {
      if (k % 4 < 2) sum += static_cast<uint32_t>(w[k] * w[k + 2]);
    }
  }
  return sum;
}

/// Where a column's block of the panel begins, in elements, and how wide it is.
struct Block {
  size_t at;
  int32_t first, width;
};

Block block_of(const QGemmKernel& kernel, const Taps& taps, int32_t column, int32_t width) {
  const int32_t block = kernel.block != 0 ? kernel.block : width;
  const int32_t first = column / block * block;
  const size_t depth = static_cast<size_t>(taps.count) * static_cast<size_t>(taps.padded);
  return {static_cast<size_t>(first) * depth, first, width - first < block ? width - first : block};
}

template <typename Element>
void pack_column(const QGemmKernel& kernel, const Taps& taps, const int8_t* w, int32_t column, int32_t width,
                 Element* panel) {
  const int32_t together = kernel.a_terms != nullptr ? kernel.kr / 2 : kernel.kr;  // elements of a column side by side
  const Block block = block_of(kernel, taps, column, width);
  for (int32_t tap = 0; tap < taps.count; ++tap) {
    for (int32_t k = 0; k < taps.length; ++k) {
      const size_t group =
          static_cast<size_t>(tap) * static_cast<size_t>(taps.padded / together) + static_cast<size_t>(k / together);
      const size_t lane = group * static_cast<size_t>(block.width) + static_cast<size_t>(column - block.first);
      panel[block.at + lane * static_cast<size_t>(together) + static_cast<size_t>(k % together)] = *w++;
    }
  }
}

}  // namespace

bool qgemm_unbounded(const int8_t* w, int32_t n, int32_t k, const int32_t* bias, const float* scale) {
  for (int32_t column = 0; column < n; ++column, w += k) {
    if (reaches_2_30(weight_abs_sum(w, static_cast<size_t>(k)), bias[column], scale[column])) return true;
  }
  return false;
}

size_t qgemm_panel_bytes(const QGemmKernel& kernel, int32_t kh, int32_t kw, int32_t kc, int32_t columns) {
  const size_t depth = static_cast<size_t>(kh) * static_cast<size_t>(kw) * static_cast<size_t>(round_up(kc, kernel.kr));
  return depth * static_cast<size_t>(round_up(columns, kernel.lanes)) * static_cast<size_t>(kernel.weights);
}

void qgemm_pack(const QGemmKernel& kernel, const int8_t* w, int32_t kh, int32_t kw, int32_t kc, const int32_t* bias,
                const float* scale, int32_t first, int32_t columns, int32_t input_zero, void* panel,
                int32_t* panel_bias, float* panel_scale) {
  const Taps taps = taps_of(kernel, kh, kw, kc);
  const int32_t width = round_up(columns, kernel.lanes);
  const size_t depth = static_cast<size_t>(kh) * static_cast<size_t>(kw) * static_cast<size_t>(kc);
  const size_t padded = static_cast<size_t>(taps.count) * static_cast<size_t>(taps.padded);
  std::memset(panel, 0, padded * static_cast<size_t>(width) * static_cast<size_t>(kernel.weights));
  std::memset(panel_bias, 0, sizeof(int32_t) * static_cast<size_t>(kernel.nr));
  std::memset(panel_scale, 0, sizeof(float) * static_cast<size_t>(kernel.nr));
  for (int32_t column = 0; column < columns; ++column) {
    const int32_t n = first + column;
    const int8_t* w_n = w + static_cast<size_t>(n) * depth;
    if (kernel.weights == Elem::kU8) {
      pack_column(kernel, taps, w_n, column, width, static_cast<int8_t*>(panel));
    } else {
      pack_column(kernel, taps, w_n, column, width, static_cast<int16_t*>(panel));
    }
    panel_bias[column] = fold_bias(bias[n], weight_sum(w_n, depth), input_zero - kernel.a_zero);
    if (kernel.a_terms != nullptr) panel_bias[column] = fold_bias(panel_bias[column], weight_terms(taps, w_n), 1);
    panel_scale[column] = scale[n];
  }
}

}  // namespace ek
