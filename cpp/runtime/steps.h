// SPDX-License-Identifier: Apache-2.0
/// What one call of the plan carries: everything that does not change from frame to frame.
#pragma once
#include "kernels/dwconv/dwconv.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/firstconv/firstconv.h"
#include "kernels/interpolate/interpolate.h"
#include "kernels/layernorm/layernorm.h"
#include "kernels/pool/pool.h"
#include "kernels/qgemm/qgemm.h"
#include "kernels/softmax/softmax.h"
#include "kernels/wide/wide.h"
#include "kernels/winograd/winograd.h"

namespace ek {

struct MoveArgs;

/// Rows of an image in memory: all of them, or the last `count` in turns (a fused group keeps only those).
template <class Byte>
struct Rows {
  Byte* base;
  ptrdiff_t step;     ///< bytes
  int32_t count = 0;  ///< 0: all
  int32_t first = 0;  ///< slot of row 0

  Byte* at(int32_t row) const { return base + (count == 0 ? row : (row + first) % count) * step; }
};

/// Where packed panels lie: panel p of group g.
struct Panels {
  const uint8_t* w;
  const int32_t* bias;
  const float* scale;
  size_t panel_bytes, group_bytes;  ///< from panel to panel, from group to group
  int32_t count, nr, n_last;        ///< panels per group, columns per panel and of the last one
};

/// Convolution as a GEMM over strips: an output row, or a piece of an image that is one long row.
struct ConvStep {
  QGemmArgs args;                    ///< all that strips and panels share
  QGemmFn run;
  const uint8_t** rows;              ///< args.kh pointers, in scratch
  Rows<const uint8_t> in;  ///< row 0 at the first tap of output pixel (0, 0)
  Rows<uint8_t> y;
  ptrdiff_t in_group, y_group;  ///< bytes from group to group
  int32_t strips, m, m_last, groups;
  int32_t kh, sy, dy;  ///< input rows of a strip, from strip to strip, from tap to tap
  Panels panels;
  // s16 rows: the last `wide_rows` input rows widened, row r in slot r mod wide_rows; `wide_batch` strips share a
  // pass over the weights, one of them reads `wide_window` rows
  WidenFn widen;
  int16_t* wide;
  ptrdiff_t wide_row;                ///< elements
  int32_t wide_batch, wide_rows, wide_window, wide_count, wide_count_last;
  ATermsFn a_terms;                  ///< null: the row has none
  int32_t* terms;                    ///< [wide_batch][m]
  // Strips that lie apart in the output alone: up to `together` are multiplied as one into `spread`, [m][channels]
  int32_t together;                  ///< 0: each by itself
  uint8_t* spread;
};

struct FirstConvStep {
  FirstConvArgs args;
  void (*run)(const FirstConvArgs& args);
  const uint8_t** rows;
  Rows<const uint8_t> in;
  Rows<uint8_t> y;
  int32_t sy, dy;
};

/// Strips are rows of 2x2 tiles.
struct WinogradStep {
  WinogradArgs args;
  void (*transform)(const WinogradArgs& args);
  void (*multiply)(const WinogradArgs& args);
  const uint8_t** rows;
  Rows<const uint8_t> in;
  Rows<uint8_t> y;
  int32_t h, strips, tile_rows;  ///< output rows and strips of the picture, tile rows of a strip
  Panels panels;
};

struct DwConvStep {
  DwConvArgs args;
  DwConvFn run;
  const uint8_t** rows;
  Rows<const uint8_t> in;
  Rows<uint8_t> y;
  int32_t kh, sy, dy;
};

struct PoolStep {
  PoolArgs args;
  void (*run)(const PoolArgs& args);
  const uint8_t** rows;  ///< the window's rows inside the image, in scratch
  Rows<const uint8_t> in;
  Rows<uint8_t> y;
  int32_t h, sy, top;
};

struct MeanStep {
  MeanArgs args;
  void (*run)(const MeanArgs& args);
};

/// Strips of an elementwise op; `pixels` per strip stands in the arguments.
struct EltwiseStep {
  union {
    AffineArgs affine;
    TableArgs table;
    MulArgs mul;
  };
  const EltwiseKernel* kernel;
  ptrdiff_t a_row, b_row, y_row;
};

struct AddStep {
  AddArgs args;
  void (*run)(const AddArgs& args);
  Rows<const uint8_t> a, b;
  Rows<uint8_t> y;
  int32_t pixels_last, c_last;  ///< of the last strip
};

struct SoftmaxStep {
  SoftmaxArgs args;
  void (*run)(const SoftmaxArgs& args);
  int32_t pixels;
  ptrdiff_t x_row, x_px, y_row, y_px;
};

struct InterpolateStep {
  InterpolateArgs args;  ///< top is row 0 of the input
  void (*run)(const InterpolateArgs& args);
  const int32_t* rows;  ///< a position per output row, in 1/2048 pixel
  ptrdiff_t x_row, y_row;
};

struct LayerNormStep {
  LayerNormArgs args;
  void (*run)(const LayerNormArgs& args);
  ptrdiff_t x_row, y_row;
};

struct MoveStep {
  void (*copy)(const MoveArgs& args);
  const MoveArgs* parts;
  uint32_t first, count;  ///< of the plan's moves
  // With a 16-bit operand: how each part changes its elements.
  void (*wide)(const MoveArgs& args, const WideMove& how);
  const WideMove* how;
};

/// Convolution with a 16-bit operand: windows of a few pixels of an output row, gathered, by all panels.
struct WideConvStep {
  WideConvArgs args;
  void (*run)(const WideConvArgs& args);
  const uint8_t** rows;         ///< kh pointers, in scratch
  int16_t *high, *low;          ///< planes in scratch; low null for an 8-bit input
  Rows<const uint8_t> in;
  Rows<uint8_t> y;
  ptrdiff_t in_group, y_group, y_panel;  ///< bytes from group to group, and from panel to panel
  ptrdiff_t a_px, a_kx;         ///< bytes in the input from output pixel to output pixel, from run to run
  int32_t m, pixels, groups;    ///< output pixels of a row; of a strip at most
  int32_t parts, kh, runs, run_length;  ///< a window: parts of kh rows of `runs` runs of contiguous elements
  int32_t sy, dy, zero;
  Panels panels;
};

struct WideDwConvStep {
  WideDwConvArgs args;
  void (*run)(const WideDwConvArgs& args);
  const uint8_t** rows;
  Rows<const uint8_t> in;
  Rows<uint8_t> y;
  int32_t kh, sy, dy;
};

struct WidePairStep {
  WidePairArgs args;
  void (*run)(const WidePairArgs& args);
  ptrdiff_t a_row, b_row, y_row;
};

struct WideMeanStep {
  WideMeanArgs args;
  void (*run)(const WideMeanArgs& args);
};

struct Step;

constexpr int32_t kMaxMembers = 4;

/// One op of a fused group, and the rows that lie between it and the next.
struct Member {
  const Step* step;
  int32_t strip, batch;      ///< output rows of a strip of the step; that it makes at once
  int32_t sy, window, lead;  ///< an output row y reads rows y * sy - lead + [0, window) of the member before
  // Its output; of the last member the height alone. Row r of the padded image stands in slot r mod ring.count.
  Nhwc shape;
  Rows<uint8_t> ring;
  uint8_t zero;
};

/// A fused group: ops of which each but the last feeds the next alone. What lies between them exists only as the few
/// rows that are alive.
struct FusedStep {
  Member members[kMaxMembers];
  int32_t count, rows;  ///< members; output rows of a strip of the group
  void (*halo)(const Nhwc& shape, uint8_t* base, uint8_t zero);
  char kernel[160];  ///< names of the members' kernels
};

struct Step {
  void (*run)(const Step& step, int32_t first, int32_t end);  ///< strips first <= s < end
  int32_t strips;
  // The halo that this step owes its output; null when it has none.
  void (*halo)(const Nhwc& shape, uint8_t* base, uint8_t zero);
  Nhwc out_shape;
  uint8_t* out_base;
  uint8_t out_zero;

  uint32_t op;  ///< index in the model; of a group, its last
  bool group;   ///< which member of the union is meant
  bool shared;  ///< its strips are divided among the threads
  const char* name;
  const char* op_name;
  const char* kernel;
  uint64_t macs;
  double cycles;       ///< predicted
  double apart;        ///< predicted for the ops of a group one by one; else the same
  double nanoseconds;  ///< least of the last profiled run
  uint64_t weights_bytes, scratch_bytes;

  union {
    ConvStep conv;
    FirstConvStep firstconv;
    WinogradStep winograd;
    DwConvStep dwconv;
    PoolStep pool;
    MeanStep mean;
    EltwiseStep eltwise;
    AddStep add;
    SoftmaxStep softmax;
    LayerNormStep layernorm;
    MoveStep move;
    InterpolateStep interpolate;
    FusedStep fused;
    WideConvStep wide_conv;
    WideDwConvStep wide_dwconv;
    WidePairStep wide_pair;
    WideMeanStep wide_mean;
  };
};

}  // namespace ek
