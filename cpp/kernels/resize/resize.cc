// SPDX-License-Identifier: Apache-2.0
#include "kernels/resize/resize.h"

#include "kernels/select.h"

namespace ek {

#define EK_RESIZE_KERNEL(name, isa) void name(const ResizeArgs& args);
#include "kernels/resize/kernels.def"
#undef EK_RESIZE_KERNEL

const ResizeKernel kResizeKernels[] = {
#define EK_RESIZE_KERNEL(name, isa) {{#name, "resize", isa}, name},
#include "kernels/resize/kernels.def"
#undef EK_RESIZE_KERNEL
};
const size_t kResizeKernelCount = sizeof(kResizeKernels) / sizeof(kResizeKernels[0]);

/// Every row takes every box, so the first that the CPU can run is the one.
const ResizeKernel* select_resize(IsaSet cap) { return first_allowed(kResizeKernels, cap); }

const uint8_t* resize_tables(const uint8_t* tables, int32_t channels) {
  for (int32_t i = 0; i < 256 * channels; ++i) {
    if (tables[i] != i % 256) return tables;
  }
  return nullptr;
}

/// One tap per column, then two rows of one int32 for each of up to 4 channels, rounded up to a cache line.
size_t resize_scratch(int32_t out_w) {
  const size_t columns = static_cast<size_t>(round_up(out_w, 16));
  return columns * (sizeof(ResizeTap) + 2 * 4 * sizeof(int32_t));
}

ResizeAxis resize_axis(int32_t size, int32_t out) {
  const int64_t half = int64_t{size} * 1024;
  return {half / out, half % out, 2 * half / out, 2 * half % out, out, size};
}

ResizeTap resize_next(ResizeAxis* axis) {
  const int64_t last = (axis->size - 1) * 2048;
  int64_t p = axis->quotient - 1024;
  p = p < 0 ? 0 : p > last ? last : p;
  axis->quotient += axis->step_quotient;
  axis->rest += axis->step_rest;
  if (axis->rest >= axis->out) {
    axis->rest -= axis->out;
    ++axis->quotient;
  }
  ResizeTap tap = {static_cast<int32_t>(p >> 11), static_cast<int32_t>(p & 2047)};
  if (p == last && p > 0) tap = {tap.index - 1, 2048};
  return tap;
}

}  // namespace ek
