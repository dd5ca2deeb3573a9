// SPDX-License-Identifier: Apache-2.0
#include "kernels/wide/wide.h"

#include <cstring>

#include "kernels/select.h"

namespace ek {

#define EK_WIDE_KERNEL(name, isa, nr, kr, conv, dwconv, add, mul, mean, move) \
  void mul(const WidePairArgs& args);                                         \
  void conv(const WideConvArgs& args);                                        \
  void dwconv(const WideDwConvArgs& args);                                    \
  void add(const WidePairArgs& args);                                         \
  void mean(const WideMeanArgs& args);                                        \
  void move(const MoveArgs& args, const WideMove& how);
#include "kernels/wide/kernels.def"
#undef EK_WIDE_KERNEL

const WideKernel kWideKernels[] = {
#define EK_WIDE_KERNEL(name, isa, nr, kr, conv, dwconv, add, mul, mean, move) \
  {{#name, "wide", isa}, nr, kr, conv, dwconv, add, mul, mean, move},
#include "kernels/wide/kernels.def"
#undef EK_WIDE_KERNEL
};
const size_t kWideKernelCount = sizeof(kWideKernels) / sizeof(kWideKernels[0]);

const WideKernel* select_wide(IsaSet cap) { return first_allowed(kWideKernels, cap); }

void wide_split(const uint8_t* x, int32_t count, int32_t zero, int16_t* high, int16_t* low) {
  if (low == nullptr) {
    for (int32_t i = 0; i < count; ++i) high[i] = static_cast<int16_t>(x[i] - zero);
    return;
  }
  const auto* v = reinterpret_cast<const int16_t*>(x);
  for (int32_t i = 0; i < count; ++i) {
    high[i] = static_cast<int16_t>(v[i] >> 8);
    low[i] = static_cast<int16_t>(v[i] & 255);
  }
}

uint64_t wide_panel_bytes(const WideKernel& kernel, int64_t k) {
  return static_cast<uint64_t>((k + kernel.kr - 1) / kernel.kr * kernel.kr) * static_cast<uint64_t>(kernel.nr);
}

void wide_pack(const WideKernel& kernel, const int8_t* w, int64_t k, const int32_t* bias, const float* scale,
               int32_t first, int32_t columns, void* panel, int32_t* panel_bias, float* panel_scale) {
  auto* to = static_cast<int8_t*>(panel);
  std::memset(to, 0, wide_panel_bytes(kernel, k));
  for (int32_t n = 0; n < kernel.nr; ++n) {
    const bool held = n < columns;
    panel_bias[n] = held ? bias[first + n] : 0;
    panel_scale[n] = held ? scale[first + n] : 0.0f;
    for (int64_t i = 0; held && i < k; ++i) {
      to[(i / kernel.kr * kernel.nr + n) * kernel.kr + i % kernel.kr] = w[(first + n) * k + i];
    }
  }
}

}  // namespace ek
