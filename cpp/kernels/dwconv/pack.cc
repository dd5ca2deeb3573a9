// SPDX-License-Identifier: Apache-2.0
/// Packing of weights at load time.
///
///   kTaps    int8 [ky][kx][channel], channels rounded up to the row's block
///
///   kDots    int8 [block][group][vector][lane][4]    4 taps of one channel to a 32-bit lane
///   kPairs   int16 [block][group][vector][lane][2]   2 taps of one channel to a 32-bit lane
///   kBytePairs int8 [block][group][channel][2]       2 taps of one channel to a 16-bit lane
///
/// A block is one vector with the channels in order, or for kDots four: the ISA rows interleave the bytes of these with
/// unpack instructions, which work inside 128-bit lanes, so channel i meets vector (i % 16) / 4, lane
/// 4 * (i / 16) + i % 4. Channels left at the end are done by single vectors. kDense is kDots with one block, in which
/// the channels repeat. kSignedDots is kDots for taps interleaved another way (arm_neondot.cc): of 16 channels of 3x3
/// the even ones come first, and an odd one's third tap stands fourth; 8 channels of 5x5 are in order. Bias and scale
/// have the order of the lanes. The tables below say which tap stands in which element of a group; -1 is a zero.
#include <cstring>

#include "kernels/dwconv/dwconv.h"
#include "kernels/weights.h"

namespace ek {
namespace {

/// Taps ky * kw + kx of the elements of each group.
struct Groups {
  int32_t count;
  int8_t tap[16][4];
};

// 3x3: a column of 3 taps per group.
constexpr Groups kDots3 = {3, {{0, 3, 6, -1}, {1, 4, 7, -1}, {2, 5, 8, -1}}};

// 5x5: columns of rows 0..3; then row 4: its columns 1..4 at once, and column 0 where a group that ends there has it.
constexpr Groups kDots5 = {7,
                           {{0, 5, 10, 15},
                            {1, 6, 11, 16},
                            {2, 7, 12, 17},
                            {3, 8, 13, 18},
                            {4, 9, 14, 19},
                            {21, 22, 23, 24},
                            {-1, -1, -1, 20}}};

// By pairs of bytes: columns of rows 0 and 1; then row 2 as a pair and a tap.
constexpr Groups kBytePairs3 = {5, {{0, 3}, {1, 4}, {2, 5}, {6, 7}, {8, -1}}};
// The same of 5x5: rows 0, 1 and 2, 3 of each column; then row 4.
constexpr Groups kBytePairs5 = {13,
                                {{0, 5},
                                 {10, 15},
                                 {1, 6},
                                 {11, 16},
                                 {2, 7},
                                 {12, 17},
                                 {3, 8},
                                 {13, 18},
                                 {4, 9},
                                 {14, 19},
                                 {20, 21},
                                 {22, 23},
                                 {24, -1}}};

// By pairs: columns of rows two at a time; then the last row, whose columns x86_avx2.cc takes in twos: at stride 1 they
// are kx - 1, kx of one output or another for each kx = 0..kw, at stride 2 for every other.
constexpr Groups kPairs3 = {7, {{0, 3}, {1, 4}, {2, 5}, {-1, 6}, {6, 7}, {7, 8}, {8, -1}}};
constexpr Groups kPairs5 = {16,
                            {{0, 5},
                             {10, 15},
                             {1, 6},
                             {11, 16},
                             {2, 7},
                             {12, 17},
                             {3, 8},
                             {13, 18},
                             {4, 9},
                             {14, 19},
                             {-1, 20},
                             {20, 21},
                             {21, 22},
                             {22, 23},
                             {23, 24},
                             {24, -1}}};
/// The first `columns` groups, and every other of those of the last row.
constexpr Groups at_stride_2(const Groups& all, int32_t columns) {
  Groups groups = {};
  for (int32_t from = 0; from < all.count; from += from < columns ? 1 : 2) {
    for (int32_t e = 0; e < 4; ++e) groups.tap[groups.count][e] = all.tap[from][e];
    ++groups.count;
  }
  return groups;
}
constexpr Groups kPairs3Stride2 = at_stride_2(kPairs3, 3), kPairs5Stride2 = at_stride_2(kPairs5, 10);

const Groups& groups_of(const DwConvKernel& kernel, const DwConvProblem& p) {
  if (kernel.form == DwConvForm::kPairs) {
    if (p.sx == 2) return p.kh == 3 ? kPairs3Stride2 : kPairs5Stride2;
    return p.kh == 3 ? kPairs3 : kPairs5;
  }
  if (kernel.form == DwConvForm::kBytePairs) return p.kh == 3 ? kBytePairs3 : kBytePairs5;
  return p.kh == 3 ? kDots3 : kDots5;
}

/// Of all parts.
size_t taps(const DwConvProblem& p) {
  return static_cast<size_t>(p.parts) * static_cast<size_t>(p.kh) * static_cast<size_t>(p.kw);
}

/// Places that the channels fill when several pixels are taken for one, 0 where none are. Dots of channels that half
/// fill a block or a vector stand there twice if the stride is 1; in a dense block as often as they fit.
int32_t repeated(const DwConvKernel& kernel, const DwConvProblem& p) {
  if (kernel.form == DwConvForm::kDense) return kernel.block;
  if (kernel.form == DwConvForm::kPairs) return 0;
  return p.sx == 1 && (2 * p.c == kernel.block || 2 * p.c == kernel.lanes) ? 2 * p.c : 0;
}

/// Channels of the block at `first`: a whole block, at the end of the channels single vectors.
int32_t block_width(const DwConvKernel& kernel, const DwConvProblem& p, int32_t first) {
  return p.c - first >= kernel.block || repeated(kernel, p) == kernel.block ? kernel.block : kernel.lanes;
}

/// Channel at place `i` of the block at `first`, -1 where there is none.
int32_t channel_at(const DwConvKernel& kernel, const DwConvProblem& p, int32_t first, int32_t i) {
  if (repeated(kernel, p)) return i % p.c;
  return first + i < p.c ? first + i : -1;
}

/// Whether even and odd channels are apart.
bool by_parity(const DwConvKernel& kernel) { return kernel.form == DwConvForm::kSignedDots && kernel.block == 16; }

/// Position of channel `i` of a block among its 32-bit lanes, vectors one after the other.
int32_t lane_of(const DwConvKernel& kernel, int32_t width, int32_t i) {
  if (by_parity(kernel)) return i % 2 * 8 + i / 2;
  return width == kernel.lanes ? i : i % 16 / 4 * (width / 4) + i / 16 * 4 + i % 4;
}

/// Place of element `e` of channel `i` in its lane.
int32_t place_of(const DwConvKernel& kernel, int32_t i, int32_t e) {
  return by_parity(kernel) && i % 2 != 0 && e >= 2 ? 5 - e : e;
}

/// What a row takes from each byte as it reads it: 128 where it flips bytes to signed ones.
int32_t taken_from_bytes(const DwConvKernel& kernel) {
  return kernel.form == DwConvForm::kSignedDots || kernel.form == DwConvForm::kBytePairs ? 128 : 0;
}

/// Taps in a lane.
int32_t taps_together(DwConvForm form) { return form == DwConvForm::kPairs || form == DwConvForm::kBytePairs ? 2 : 4; }

void pack_taps(const DwConvProblem& p, ptrdiff_t lanes, const int8_t* w, int8_t* packed) {
  for (size_t tap = 0; tap < taps(p); ++tap, packed += lanes, w += p.c) {
    std::memcpy(packed, w, static_cast<size_t>(p.c));
  }
}

/// The weight of a tap and channel: what the parts have there, added up.
int32_t weight(const DwConvProblem& p, const int8_t* w, int32_t tap, int32_t c) {
  int32_t sum = 0;
  for (int32_t part = 0; part < p.parts; ++part) sum += w[(ptrdiff_t{part} * p.kh * p.kw + tap) * p.c + c];
  return sum;
}

template <typename Element>
void pack_groups(const DwConvKernel& kernel, const DwConvProblem& p, const int8_t* w, Element* packed) {
  const int32_t together = taps_together(kernel.form);
  const Groups& groups = groups_of(kernel, p);
  for (int32_t first = 0, width = 0; first < p.c; first += width) {
    width = block_width(kernel, p, first);
    for (int32_t group = 0; group < groups.count; ++group, packed += ptrdiff_t{width} * together) {
      for (int32_t i = 0; i < width; ++i) {
        const int32_t c = channel_at(kernel, p, first, i);
        Element* lane = packed + ptrdiff_t{lane_of(kernel, width, i)} * together;
        for (int32_t e = 0; e < together; ++e) {
          const int32_t tap = groups.tap[group][e];
          lane[place_of(kernel, i, e)] = static_cast<Element>(c < 0 || tap < 0 ? 0 : weight(p, w, tap, c));
        }
      }
    }
  }
}

/// Bias and scale in the order of the lanes, which the caller has cleared.
void pack_channels(const DwConvKernel& kernel, const DwConvProblem& p, const int8_t* w, const int32_t* bias,
                   const float* scale, int32_t input_zero, int32_t* packed_bias, float* packed_scale) {
  const bool in_order = kernel.form == DwConvForm::kTaps;
  for (int32_t first = 0, width = 0; first < p.c; first += width) {
    width = in_order ? p.c : block_width(kernel, p, first);
    for (int32_t i = 0; i < width; ++i) {
      const int32_t c = channel_at(kernel, p, first, i), lane = first + (in_order ? i : lane_of(kernel, width, i));
      if (c < 0) continue;
      packed_bias[lane] = fold_bias(bias[c], weight_sum(w + c, taps(p), static_cast<size_t>(p.c)),
                                    input_zero - taken_from_bytes(kernel));
      packed_scale[lane] = scale[c];
    }
  }
}

}  // namespace

bool dwconv_unbounded(const DwConvProblem& problem, const int8_t* w, const int32_t* bias, const float* scale) {
  const size_t channels = static_cast<size_t>(problem.c);
  for (size_t c = 0; c < channels; ++c) {
    if (reaches_2_30(weight_abs_sum(w + c, taps(problem), channels), bias[c], scale[c])) return true;
  }
  return false;
}

bool dwconv_narrow(const DwConvProblem& problem, const int8_t* w, const int32_t* bias, const float* scale) {
  const size_t channels = static_cast<size_t>(problem.c);
  for (size_t c = 0; c < channels; ++c) {
    // Two roundings add less than a half to 32767, which then rounds to what int16 holds.
    if (!(most_of(weight_abs_sum(w + c, taps(problem), channels), bias[c], scale[c]) < 32767.0)) return false;
  }
  return true;
}

int32_t dwconv_rows(const DwConvKernel& kernel, const DwConvProblem& problem) {
  return kernel.form == DwConvForm::kTaps ? problem.parts * problem.kh : problem.kh;
}

size_t dwconv_packed_bytes(const DwConvKernel& kernel, const DwConvProblem& problem) {
  const size_t lanes = static_cast<size_t>(round_up(problem.c, kernel.block));
  if (kernel.form == DwConvForm::kTaps) return taps(problem) * lanes;
  const size_t lane = kernel.form == DwConvForm::kBytePairs ? 2 : 4;
  return static_cast<size_t>(groups_of(kernel, problem).count) * lanes * lane;
}

void dwconv_pack(const DwConvKernel& kernel, const DwConvProblem& problem, const int8_t* w, const int32_t* bias,
                 const float* scale, int32_t input_zero, void* packed, int32_t* packed_bias, float* packed_scale) {
  const size_t lanes = static_cast<size_t>(round_up(problem.c, kernel.block));
  std::memset(packed, 0, dwconv_packed_bytes(kernel, problem));
  std::memset(packed_bias, 0, sizeof(int32_t) * lanes);
  std::memset(packed_scale, 0, sizeof(float) * lanes);
  pack_channels(kernel, problem, w, bias, scale, input_zero, packed_bias, packed_scale);
  if (kernel.form == DwConvForm::kTaps) {
    pack_taps(problem, static_cast<ptrdiff_t>(lanes), w, static_cast<int8_t*>(packed));
  } else if (kernel.form == DwConvForm::kPairs) {
    pack_groups(kernel, problem, w, static_cast<int16_t*>(packed));
  } else {
    pack_groups(kernel, problem, w, static_cast<int8_t*>(packed));
  }
}

}  // namespace ek
