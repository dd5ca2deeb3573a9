// SPDX-License-Identifier: Apache-2.0
/// Every kernel of every family in one walk: tests, benches and `edgekern kernels` see this list.
#include "kernels/dwconv/dwconv.h"
#include "kernels/edge/edge.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/firstconv/firstconv.h"
#include "kernels/interpolate/interpolate.h"
#include "kernels/kernel.h"
#include "kernels/layernorm/layernorm.h"
#include "kernels/move/move.h"
#include "kernels/pool/pool.h"
#include "kernels/qgemm/qgemm.h"
#include "kernels/resize/resize.h"
#include "kernels/softmax/softmax.h"
#include "kernels/wide/wide.h"
#include "kernels/winograd/winograd.h"

namespace ek {

void for_each_kernel(void (*visit)(const KernelRow& row, void* context), void* context) {
  for (size_t i = 0; i < kQGemmKernelCount; ++i) visit(kQGemmKernels[i].row, context);
  for (size_t i = 0; i < kFirstConvKernelCount; ++i) visit(kFirstConvKernels[i].row, context);
  for (size_t i = 0; i < kWinogradKernelCount; ++i) visit(kWinogradKernels[i].row, context);
  for (size_t i = 0; i < kDwConvKernelCount; ++i) visit(kDwConvKernels[i].row, context);
  for (size_t i = 0; i < kResizeKernelCount; ++i) visit(kResizeKernels[i].row, context);
  for (size_t i = 0; i < kEdgeKernelCount; ++i) visit(kEdgeKernels[i].row, context);
  for (size_t i = 0; i < kEltwiseKernelCount; ++i) visit(kEltwiseKernels[i].row, context);
  for (size_t i = 0; i < kMoveKernelCount; ++i) visit(kMoveKernels[i].row, context);
  for (size_t i = 0; i < kPoolKernelCount; ++i) visit(kPoolKernels[i].row, context);
  for (size_t i = 0; i < kInterpolateKernelCount; ++i) visit(kInterpolateKernels[i].row, context);
  for (size_t i = 0; i < kSoftmaxKernelCount; ++i) visit(kSoftmaxKernels[i].row, context);
  for (size_t i = 0; i < kLayerNormKernelCount; ++i) visit(kLayerNormKernels[i].row, context);
  for (size_t i = 0; i < kWideKernelCount; ++i) visit(kWideKernels[i].row, context);
}

}  // namespace ek
