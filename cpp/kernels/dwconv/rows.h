// SPDX-License-Identifier: Apache-2.0
/// How a call of dwconv is cut into blocks of channels (block.h), and two cases that a block alone does not do
/// well: few channels (`pairs`), and 3x3 at stride 1 with too few registers for its weights (`twos`).
#pragma once
#include "kernels/dwconv/block.h"

namespace ek {
namespace {

/// The same call from output pixel x on; `rows` is where its pointers go.
template <int K>
EK_INLINE DwConvArgs from_pixel(const DwConvArgs& args, int32_t x, const uint8_t* (&rows)[K]) {
  DwConvArgs rest = args;
  for (int ky = 0; ky < K; ++ky) rows[ky] = args.rows[ky] + x * args.in_px;
  rest.rows = rows;
  rest.y += x * args.y_px;
  rest.m -= x;
  return rest;
}

/// 3x3 at stride 1, two outputs at a time, so that each weight is loaded once for both. sum[0] has the first two
/// columns of the next output, sum[1] the first of the one behind it. Vectors 2 * kHalf and 2 * kHalf + 1.
template <int kHalf, typename Isa>
EK_INLINE void finish_two(Lanes<Isa, 4> (&sum)[2], Lanes<Isa, 4> (&q)[2], const Block<Isa, 3, 4>& b,
                          const typename Isa::Rounding& r) {
  using Vector = typename Isa::Vector;
  const Column<Isa, 3, 4> near = load_column<2>(b), far = load_column<3>(b);
  EK_UNROLL
  for (int j = 2 * kHalf; j < 2 * kHalf + 2; ++j) {
    const Vector n = Isa::vector(near.column, j), f = Isa::vector(far.column, j);
    const auto weights = [&](int group) {
      Vector w = b.weights(group, j);
      hold(w);
      return w;
    };
    Vector w = weights(2);
    Vector q0_s32 = Isa::dot(sum[0].v[j], n, w), q1_s32 = Isa::dot(sum[1].v[j], f, w);
    w = weights(1);
    q1_s32 = Isa::dot(q1_s32, n, w);
    Vector next0_s32 = Isa::dot(Isa::load(b.bias + Isa::kLanes * j), f, w);
    w = weights(0);
    next0_s32 = Isa::dot(next0_s32, n, w);
    Vector next1_s32 = Isa::dot(Isa::load(b.bias + Isa::kLanes * j), f, w);
    sum[0].v[j] = next0_s32;
    sum[1].v[j] = next1_s32;
    hold(sum[0].v[j]);
    hold(sum[1].v[j]);
    q[0].v[j] = Isa::round(q0_s32, b.scale + Isa::kLanes * j, r);
    q[1].v[j] = Isa::round(q1_s32, b.scale + Isa::kLanes * j, r);
  }
}

/// Moves b on by `pixels`; a new address of everything it reads, so that no load is carried over in memory.
template <typename Isa>
EK_INLINE void advance(Block<Isa, 3, 4>& b, int pixels) {
  EK_UNROLL
  for (int ky = 0; ky < 3; ++ky) b.row[ky] = in_register(b.row[ky] + pixels * b.in_px);
  b.y = in_register(b.y + pixels * b.y_px);
  b.w = in_register(b.w);
  b.bias = in_register(b.bias);
}

/// An odd output stays alone.
template <typename Isa>
void twos(const DwConvArgs& args, int32_t first) {
  const typename Isa::Rounding r = Isa::rounding(args.out);
  Block<Isa, 3, 4> b = load_block<Isa, 3, 4>(args, first);
  Lanes<Isa, 4> sum[2];
  add_column<1, 0, 0>(sum, b);
  add_column<1, 1, 0>(sum, b);
  for (int32_t left = args.m; left > 1; left -= 2) {
    Lanes<Isa, 4> q[2];
    finish_two<0>(sum, q, b, r);
    advance(b, 0);
    finish_two<1>(sum, q, b, r);
    Isa::store(b.y, b.valid, q[0].v, r);
    Isa::store(b.y + b.y_px, b.valid, q[1].v, r);
    advance(b, 2);
  }
  const uint8_t* rows[3];
  if (args.m % 2 != 0) block<Isa, 3, 1, 4>(from_pixel<3>(args, args.m - 1, rows), first);
}

/// `Isa`, storing half of what four vectors hold.
template <typename Isa>
struct Half : Isa {
  static EK_MEMBER void store(uint8_t* y, typename Isa::Mask, const typename Isa::Vector (&q)[4],
                              const typename Isa::Rounding& r) {
    Isa::store_half(y, q, r);
  }
};

/// Half the channels of N vectors, without gaps, stride 1: two pixels are one of twice the channels at stride 2
/// (pack.cc repeats the channels). Of an odd number the last pair starts one pixel earlier.
template <typename Isa, int K, int N>
void pairs(const DwConvArgs& args) {
  if (args.in_px != args.c || args.y_px != args.c || args.m < 2) {
    if constexpr (N == 4) return block<Half<Isa>, K, 1, N>(args, 0);
    return block<Isa, K, 1, N>(args, 0);
  }
  DwConvArgs two = args;
  two.m = args.m / 2;
  two.c = 2 * args.c;
  two.y_px = 2 * args.y_px;
  block<Isa, K, 2, N>(two, 0);
  if (args.m % 2 == 0) return;
  const uint8_t* rows[K];
  two = from_pixel<K>(args, args.m - 2, rows);
  two.m = 1;
  two.c = 2 * args.c;
  block<Isa, K, 2, N>(two, 0);
}

/// Blocks of four vectors, then of one. Sixteen registers are too few for the sums of 5x5 in four vectors.
template <typename Isa, int K, int S>
void row(const DwConvArgs& args) {
  constexpr int32_t kLanes = Isa::kLanes;
  int32_t first = 0;
  if constexpr (K == 3 || Isa::kHolds) {
    if (S == 1 && args.c == 2 * kLanes) return pairs<Isa, K, 4>(args);
    for (; args.c - first >= 4 * kLanes; first += 4 * kLanes) {
      if constexpr (K == 3 && S == 1 && !Isa::kHolds) {
        twos<Isa>(args, first);
      } else {
        block<Isa, K, S, 4>(args, first);
      }
    }
  }
  if (S == 1 && 2 * args.c == kLanes) return pairs<Isa, K, 1>(args);
  for (; first < args.c; first += kLanes) block<Isa, K, S, 1>(args, first);
}

}  // namespace
}  // namespace ek
