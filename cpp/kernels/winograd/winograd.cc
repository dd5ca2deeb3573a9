// SPDX-License-Identifier: Apache-2.0
#include "kernels/winograd/winograd.h"

#include <cstring>

#include "kernels/select.h"
#include "kernels/weights.h"

namespace ek {

#define EK_WINOGRAD_KERNEL(name, isa, nr, kr, fits, cycles) \
  void name##_transform(const WinogradArgs& args);          \
  void name##_multiply(const WinogradArgs& args);
#include "kernels/winograd/kernels.def"
#undef EK_WINOGRAD_KERNEL

namespace {

bool fits_channels(const WinogradProblem& problem) { return problem.c <= kWinogradMaxChannels; }

/// What a row does per cycle.
struct Rates {
  int32_t nr;
  double products;  ///< int16 products per cycle
  double input;     ///< cycles to transform 16 channels of a tile
  double output;    ///< cycles to transform and requantise a tile of one panel
  double block;     ///< cycles of loop control per tile and plane
};
constexpr double kNearWeights = 32768.0;  // bytes that stay in L1
constexpr double kStream = 16.0;          // bytes of weights per cycle from further away

double predict(const Rates& row, const WinogradProblem& p) {
  const double tiles = static_cast<double>((p.h + 1) / 2) * ((p.w + 1) / 2);
  const double kc = round_up(p.c, kWinogradChannelAlign), panels = (p.n + row.nr - 1) / row.nr;
  const double weights = 2.0 * 16.0 * kc * panels * row.nr;
  const double products = 16.0 * tiles * kc * row.nr * panels / row.products;
  const double stream = weights > kNearWeights ? weights / kStream : 0.0;
  return (products > stream ? products : stream) + tiles * kc / 16.0 * row.input +
         panels * tiles * (row.output + 16.0 * row.block);
}

#if defined(EK_ARCH_X86)
double cycles_avx2(const WinogradProblem& p) { return predict({16, 25.0, 28.0, 60.0, 4.0}, p); }
#endif
double cycles_scalar(const WinogradProblem& p) { return predict({8, 0.75, 180.0, 300.0, 10.0}, p); }

/// 2G g (2G)' of one column and channel, [4][4]; taps are `step` apart.
void transform_weights(const int8_t* g, ptrdiff_t step, int16_t (&u)[16]) {
  int32_t rows[4][3];
  for (ptrdiff_t b = 0; b < 3; ++b) {
    const int32_t g0 = g[b * step], g1 = g[(3 + b) * step], g2 = g[(6 + b) * step];
    rows[0][b] = 2 * g0;
    rows[1][b] = g0 + g1 + g2;
    rows[2][b] = g0 - g1 + g2;
    rows[3][b] = 2 * g2;
  }
  for (int32_t i = 0; i < 4; ++i) {
    const int32_t r0 = rows[i][0], r1 = rows[i][1], r2 = rows[i][2];
    u[4 * i] = static_cast<int16_t>(2 * r0);
    u[4 * i + 1] = static_cast<int16_t>(r0 + r1 + r2);
    u[4 * i + 2] = static_cast<int16_t>(r0 - r1 + r2);
    u[4 * i + 3] = static_cast<int16_t>(2 * r2);
  }
}

}  // namespace

const WinogradKernel kWinogradKernels[] = {
#define EK_WINOGRAD_KERNEL(name, isa, nr, kr, fits, cycles) \
  {{#name, "winograd", isa}, nr, kr, fits, cycles, name##_transform, name##_multiply},
#include "kernels/winograd/kernels.def"
#undef EK_WINOGRAD_KERNEL
};
const size_t kWinogradKernelCount = sizeof(kWinogradKernels) / sizeof(kWinogradKernels[0]);

const WinogradKernel* select_winograd(const WinogradProblem& problem, IsaSet cap) {
  return cheapest_allowed(kWinogradKernels, problem, cap);
}

size_t winograd_panel_bytes(const WinogradKernel& kernel, int32_t kc) {
  return sizeof(int16_t) * 16 * static_cast<size_t>(kc) * static_cast<size_t>(kernel.nr);
}

void winograd_pack(const WinogradKernel& kernel, const int8_t* w, int32_t c, const int32_t* bias, const float* scale,
                   int32_t first, int32_t columns, int32_t input_zero, int16_t* panel, int32_t* panel_bias,
                   float* panel_scale) {
  const int32_t kc = round_up(c, kWinogradChannelAlign), nr = kernel.nr, kr = kernel.kr;
  const ptrdiff_t plane = ptrdiff_t{kc} * nr;
  std::memset(panel, 0, winograd_panel_bytes(kernel, kc));
  std::memset(panel_bias, 0, sizeof(int32_t) * static_cast<size_t>(nr));
  std::memset(panel_scale, 0, sizeof(float) * static_cast<size_t>(nr));
  for (int32_t n = 0; n < columns; ++n) {
    const int8_t* g = w + ptrdiff_t{first + n} * 9 * c;
    for (int32_t k = 0; k < c; ++k) {
      int16_t u[16];
      transform_weights(g + k, c, u);
      int16_t* at = panel + (ptrdiff_t{k / kr} * nr + n) * kr + k % kr;
      for (int32_t i = 0; i < 16; ++i) at[i * plane] = u[i];
    }
    panel_bias[n] = fold_bias(bias[first + n], weight_sum(g, 9 * static_cast<size_t>(c)), input_zero);
    panel_scale[n] = scale[first + n];
  }
}

}  // namespace ek
