// SPDX-License-Identifier: Apache-2.0
/// What one call of the plan carries: everything that does not change from frame to frame.
#pragma once
#include "kernels/dwconv/dwconv.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/firstconv/firstconv.h"
#include "kernels/pool/pool.h"
#include "kernels/qgemm/qgemm.h"
#include "kernels/softmax/softmax.h"

namespace ek {

struct MoveArgs;

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
  const uint8_t** rows;              ///< kh pointers, in scratch
  const uint8_t* in;                 ///< first tap of output pixel (0, 0)
  ptrdiff_t in_row, in_group;        ///< bytes
  uint8_t* y;
  ptrdiff_t y_strip, y_group;
  int32_t strips, m, m_last, groups;
  int32_t sy, dy;                    ///< input rows from strip to strip, from tap to tap
  Panels panels;
  // s16 rows: the last `wide_rows` input rows, widened once each, row r in slot r mod wide_rows
  WidenFn widen;
  int16_t* wide;
  ptrdiff_t wide_row;                ///< elements
  int32_t wide_rows, wide_count, wide_count_last;
};

struct FirstConvStep {
  FirstConvArgs args;
  void (*run)(const FirstConvArgs& args);
  const uint8_t** rows;
  const uint8_t* in;
  ptrdiff_t in_row;
  uint8_t* y;
  ptrdiff_t y_row;
  int32_t strips, sy, dy;
  Panels panels;
};

struct DwConvStep {
  DwConvArgs args;
  DwConvFn run;
  const uint8_t** rows;
  const uint8_t* in;                 ///< first tap of output pixel (0, 0)
  ptrdiff_t in_row, y_row;
  int32_t strips, sy, dy;
};

struct PoolStep {
  PoolArgs args;
  void (*run)(const PoolArgs& args);
  ptrdiff_t y_row;
  int32_t strips;
};

struct MeanStep {
  MeanArgs args;
  void (*run)(const MeanArgs& args);
};

/// Strips of an elementwise op; `pixels` per strip stands in the arguments.
struct EltwiseStep {
  union {
    AddArgs add;
    AffineArgs affine;
    TableArgs table;
  };
  const EltwiseKernel* kernel;
  ptrdiff_t a_row, b_row, y_row;
  int32_t strips;
};

struct SoftmaxStep {
  SoftmaxArgs args;
  void (*run)(const SoftmaxArgs& args);
  int32_t rows, pixels;
  ptrdiff_t x_row, x_px, y_row, y_px;
};

struct MoveStep {
  void (*copy)(const MoveArgs& args);
  const MoveArgs* parts;
  uint32_t first, count;  ///< of the plan's moves
};

struct Step {
  void (*run)(const Step& step);
  // The halo that this step owes its output; null when it has none.
  void (*halo)(const Nhwc& shape, uint8_t* base, uint8_t zero);
  Nhwc out_shape;
  uint8_t* out_base;
  uint8_t out_zero;

  uint32_t op;  ///< index in the model
  const char* name;
  const char* op_name;
  const char* kernel;
  uint64_t macs;
  double cycles;       ///< predicted
  double nanoseconds;  ///< least of the last profiled run
  uint64_t weights_bytes, scratch_bytes;

  union {
    ConvStep conv;
    FirstConvStep firstconv;
    DwConvStep dwconv;
    PoolStep pool;
    MeanStep mean;
    EltwiseStep eltwise;
    SoftmaxStep softmax;
    MoveStep move;
  };
};

}  // namespace ek
