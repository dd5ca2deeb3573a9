// SPDX-License-Identifier: Apache-2.0
/// qgemm: one quantised GEMM with strided k loops. 1x1, dense, grouped and dilated convolution and fully
/// connected layers are all this, without an im2col buffer:
///
///   acc(i, n) = bias(n) + sum over ky < kh, kx < kw, k < kc of
///                 rows[ky][i * a_px + kx * a_kx + k] * w(n; ky, kx, k)
///   y(i, n)   = requant(acc(i, n), scale(n))
///
/// A call covers a strip of `m` output pixels of one output row (or of several rows where memory is
/// contiguous) times one packed panel of at most NR columns.
#pragma once
#include "kernels/kernel.h"

namespace ek {

struct QGemmArgs {
  // A: activations, u8 biased or widened to s16 as the row's `elem` says; steps in bytes.
  const uint8_t* const* rows;  ///< kh pointers to the first tap of output pixel 0
  int32_t kh, kw;              ///< the driver merges kx into k where pixels are dense: then kw is 1
  int32_t kc;                  ///< elements per (ky, kx); packed weights round it up to KR with zeros, so up to
               ///< KR - 1 elements behind a tap are read and multiplied by 0. Rows with `a_terms` add
               ///< weights to them first: they must be bytes or 0 there, that no int16 wraps
  ptrdiff_t a_px, a_kx;
  int32_t m;  ///< output pixels of the strip, >= 1
  // B: one packed panel, see pack.cc
  const void* w;
  const int32_t* bias;  ///< [NR] zero point folded in: bias(n) - uz * sum(w(n)); padded with zeros
  const float* scale;  ///< [NR] m = s_in * s_w / s_out; padded with zeros
  int32_t n;  ///< valid columns, 1..NR; nothing is written beyond them
  // Y
  Requant out;
  uint8_t* y;  ///< y[i * y_px + n]
  ptrdiff_t y_px;  ///< bytes
  const int32_t* a_terms = nullptr;  ///< [m], for rows that have `a_terms`
};

using QGemmFn = void (*)(const QGemmArgs& args);

/// What A alone contributes to the products of a row that multiplies by Winograd's inner product: for each of m pixels
/// the sum over taps and k groups of a0 a2 + a1 a3, modulo 2^32. One call for all panels of a strip; `args.rows` and
/// all sizes of A must be set.
using ATermsFn = void (*)(const QGemmArgs& args, int32_t* terms);

/// What a plan asks of a row before it chooses.
struct QGemmProblem {
  int32_t m, n, k;  ///< of one strip; k = kh * kw * kc
  bool has_minus_128;  ///< some weight is -128
  int32_t taps = 0;  ///< kh * kw of the calls; 0 = not told
  bool unbounded = false;  ///< qgemm_unbounded()
};

struct QGemmKernel {
  KernelRow row;
  int32_t mr, nr, kr;  ///< tile: pixels, columns, k group
  int32_t lanes;  ///< columns a panel is rounded up to (one vector)
  Elem elem;  ///< how it reads A
  Elem weights;  ///< what the panel holds: bytes or int16
  int32_t a_zero;  ///< taken from each byte as the row reads it: 128 where it flips to signed; pack folds it
  bool (*fits)(const QGemmProblem& problem);
  double (*cycles)(const QGemmProblem& problem);  ///< predicted, for one strip
  QGemmFn run;
  ATermsFn a_terms = nullptr;  ///< null: none; else the weights' own share is in the packed bias
  int32_t block = 0;  ///< columns that lie together in a panel, all taps of them before the next; 0: all
};

/// The deepest K, each tap rounded up to 8, of rows that copy pixels in pairs to the stack first: 3 x 3 x 512.
constexpr int32_t kPairedDepth = 4608;

extern const QGemmKernel kQGemmKernels[];
extern const size_t kQGemmKernelCount;

/// Whether float(acc) * scale of some of `n` columns of `k` weights [n][k] can reach 2^30 for any input. Output bytes
/// are hundreds, so no sensible model's does; where none can, rows may convert to int32 first and clip as bytes.
bool qgemm_unbounded(const int8_t* w, int32_t n, int32_t k, const int32_t* bias, const float* scale);

/// The eligible row (isa within `cap` and fits) of least predicted cycles, file order on ties. Never null:
/// scalar is last and fits everything.
const QGemmKernel* select_qgemm(const QGemmProblem& problem, IsaSet cap);

/// Bytes of one packed panel of `columns` (<= nr) columns, padding included.
size_t qgemm_panel_bytes(const QGemmKernel& kernel, int32_t kh, int32_t kw, int32_t kc, int32_t columns);

/// Packs columns [first, first + columns) of OHWI weights `w` (int8, [N][kh][kw][kc]) into one panel:
///   [ky][kx][k / KR][column, rounded up to lanes][KR], zero padded; int8, or int16 for rows that
/// multiply s16 by s16. Rows with `a_terms` (KR 4) have the first pairs of all columns before the second ones:
///   [ky][kx][k / 4][pair][column, rounded up to lanes][2].
/// Rows with a `block` have such a panel for each `block` columns, one behind the other.
/// A caller whose kw * kc elements are dense gives kw = 1 and kc = kw * kc.
/// Also writes nr entries of bias (folded with the biased input zero point `input_zero`) and scale.
void qgemm_pack(const QGemmKernel& kernel, const int8_t* w, int32_t kh, int32_t kw, int32_t kc, const int32_t* bias,
                const float* scale, int32_t first, int32_t columns, int32_t input_zero, void* panel,
                int32_t* panel_bias, float* panel_scale);

/// Widens `count` u8 bytes to s16 (the A operand of s16 rows).
using WidenFn = void (*)(const uint8_t* u8, int32_t count, int16_t* s16);
WidenFn select_widen(IsaSet cap);

}  // namespace ek
