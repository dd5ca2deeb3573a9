// SPDX-License-Identifier: Apache-2.0
/// Most firstconv rows are a gather followed by the qgemm row of the same ISA: camera pixels are 3 bytes, so a dot
/// instruction on 4 bytes needs its operand put together anyway, and once that is done (for a batch of pixels and all
/// panels, into 8 KB of stack that never leave L1) what remains is a GEMM with one dense tap.
#include "kernels/firstconv/firstconv.h"

#include "kernels/firstconv/gather.h"
#include "kernels/qgemm/qgemm.h"
#include "kernels/select.h"

namespace ek {

#define EK_QGEMM_KERNEL(name, isa, elem, a_zero, mr, nr, kr, lanes, fits, cycles) void name(const QGemmArgs& args);
#include "kernels/qgemm/kernels.def"
#undef EK_QGEMM_KERNEL

#define EK_FIRSTCONV_KERNEL(name, isa, elem, a_zero, gather, qgemm, mr, nr, kr, lanes, fits, cycles)
#define EK_FIRSTCONV_LANE_KERNEL(name, isa, elem, mr, nr, kr, lanes, fits, cycles) void name(const FirstConvArgs& args);
#include "kernels/firstconv/kernels.def"
#undef EK_FIRSTCONV_LANE_KERNEL
#undef EK_FIRSTCONV_KERNEL

namespace {

constexpr Elem kU8 = Elem::kU8;
[[maybe_unused]] constexpr Elem kS16 = Elem::kS16;
constexpr int32_t kBatchBytes = 8192, kBatchPixels = 48;

int32_t taps_of(const FirstConvProblem& problem) { return problem.kh * problem.kw * problem.c; }
bool fits_all(const FirstConvProblem& problem) { return taps_of(problem) <= kFirstConvMaxTaps; }
#if defined(EK_ARCH_X86)
bool fits_k32(const FirstConvProblem& problem) { return taps_of(problem) <= 32; }

/// 3x3 on dense pixels of three or one channels, strides 1 and 2: two neighbours' taps are within 16 bytes of a row.
bool fits_lanes(const FirstConvProblem& p) {
  const int32_t channels = p.kw * p.c / 3;
  return p.kh == 3 && (p.kw * p.c == 9 || p.kw * p.c == 3) && (p.a_px == channels || p.a_px == 2 * channels) &&
         p.m >= 16;
}

/// For 16 pixels; 8 columns at a time.
double cycles_lanes_avx512vnni(const FirstConvProblem& p) {
  const int32_t blocks = (p.m + 15) / 16, octs = (p.n + 7) / 8, groups = (taps_of(p) + 3) / 4;
  return blocks * (10.0 + octs * (27.0 + 5.0 * groups));
}
#endif

#if defined(EK_ARCH_ARM)
bool fits_no_minus_128(const FirstConvProblem& problem) { return fits_all(problem) && !problem.has_minus_128; }
#endif

/// Panel p of what `args` points to, as the arguments of a GEMM or of a row that takes one panel.
template <int32_t kNr, class Args>
void set_panel(const FirstConvArgs& args, int32_t p, Args* one) {
  one->w = args.w + static_cast<size_t>(p) * args.panel_bytes;
  one->bias = args.bias + p * kNr;
  one->scale = args.scale + p * kNr;
  one->n = args.n - p * kNr < kNr ? args.n - p * kNr : kNr;
}

/// A row that takes one panel, for each of them.
template <void (*kRun)(const FirstConvArgs&), int32_t kNr>
[[maybe_unused]] void each_panel(const FirstConvArgs& args) {
  FirstConvArgs one = args;
  for (int32_t p = 0; p * kNr < args.n; ++p) {
    set_panel<kNr>(args, p, &one);
    one.y = args.y + p * kNr;
    kRun(one);
  }
}

/// Runs a strip as batches of whole tiles: gather, then multiply by all panels.
template <GatherFn kGather, QGemmFn kMultiply, Elem kElem, int32_t kMr, int32_t kNr>
void run(const FirstConvArgs& args) {
  constexpr int32_t kBytes = static_cast<int32_t>(kElem);
  alignas(64) uint8_t batch[kBatchBytes + kSlack];
  static_assert(kGatherSpill <= kSlack, "the last pixel's spill stays inside the batch");
  const uint8_t* const first_tap = batch;
  const int32_t taps = args.kh * args.row_taps;
  const int32_t step = round_up(taps * kBytes, taps * kBytes > 32 ? 64 : 32) / kBytes;
  int32_t room = kBatchBytes / (step * kBytes) / kMr * kMr;
  if (room > kBatchPixels) room = kBatchPixels;
  const int32_t batches = (args.m + room - 1) / room;
  const int32_t pixels = args.m / batches, longer = args.m % batches;  // the first `longer` have one pixel more
  QGemmArgs gemm{};
  gemm.rows = &first_tap;
  gemm.kh = gemm.kw = 1;
  gemm.kc = taps;
  gemm.a_px = ptrdiff_t{step} * kBytes;
  gemm.out = args.out;
  gemm.y_px = args.y_px;
  int32_t first = 0;
  for (int32_t i = 0; i < batches; ++i, first += gemm.m) {
    gemm.m = pixels + (i < longer);
    kGather(args, first, gemm.m, step, batch);
    for (int32_t p = 0; p * kNr < args.n; ++p) {
      set_panel<kNr>(args, p, &gemm);
      gemm.y = args.y + first * args.y_px + p * kNr;
      kMultiply(gemm);
    }
  }
}

/// The qgemm row behind a firstconv row: packing and prediction are its.
const QGemmKernel& qgemm_row(QGemmFn run) {
  size_t i = 0;
  while (i + 1 < kQGemmKernelCount && kQGemmKernels[i].run != run) ++i;
  return kQGemmKernels[i];
}

/// `short_row`: cycles to gather a kernel row that the row's gather keeps in registers; others are copied.
template <QGemmFn kMultiply>
double predict(const FirstConvProblem& problem, double short_row) {
  constexpr double kCopy = 2.5;    // cycles for 16 bytes, stalls of the loads that straddle two copies included
  constexpr double kBatch = 20.0;  // cycles
#if defined(EK_ARCH_X86)
  constexpr double kWait = 120.0;  // cycles until the dots of a batch can load what two copies wrote
#else
  constexpr double kWait = 0.0;
#endif
  const QGemmKernel& gemm = qgemm_row(kMultiply);
  const int32_t batches = (problem.m + kBatchPixels - 1) / kBatchPixels;
  const bool copied = taps_of(problem) > 64 || problem.kh > 5;
  const int32_t copies = (problem.kw * problem.c + 15) / 16;
  const double gather = problem.kh * (copied ? kCopy * copies : short_row);
  const QGemmProblem dense = {problem.m, problem.n, taps_of(problem), true, 1};
  return gemm.cycles(dense) + gather * problem.m + (kBatch + (copied ? kWait : 0.0)) * batches;
}

}  // namespace

const FirstConvKernel kFirstConvKernels[] = {
#define EK_FIRSTCONV_KERNEL(name, isa, elem, a_zero, gather, qgemm, mr, nr, kr, lanes, fits, cycles) \
  {{#name, "firstconv", isa},                                                                        \
   mr,                                                                                               \
   nr,                                                                                               \
   kr,                                                                                               \
   lanes,                                                                                            \
   elem,                                                                                             \
   a_zero,                                                                                           \
   fits,                                                                                             \
   [](const FirstConvProblem& problem) { return predict<qgemm>(problem, cycles); },                  \
   run<gather, qgemm, elem, mr, nr>,                                                                 \
   qgemm},
#define EK_FIRSTCONV_LANE_KERNEL(name, isa, elem, mr, nr, kr, lanes, fits, cycles) \
  {{#name, "firstconv", isa}, mr, nr, kr, lanes, elem, 0, fits, cycles, each_panel<name, nr>},
#include "kernels/firstconv/kernels.def"
#undef EK_FIRSTCONV_LANE_KERNEL
#undef EK_FIRSTCONV_KERNEL
};
const size_t kFirstConvKernelCount = sizeof(kFirstConvKernels) / sizeof(kFirstConvKernels[0]);

const FirstConvKernel* select_firstconv(const FirstConvProblem& problem, IsaSet cap) {
  return cheapest_allowed(kFirstConvKernels, problem, cap);
}

size_t firstconv_panel_bytes(const FirstConvKernel& kernel, int32_t taps, int32_t columns) {
  const size_t depth = static_cast<size_t>(round_up(taps, kernel.kr));
  return depth * static_cast<size_t>(round_up(columns, kernel.lanes)) * static_cast<size_t>(kernel.elem);
}

// OHWI weights [N][kh][row_taps] are dense: one tap of kh * row_taps elements for the GEMM.
void firstconv_pack(const FirstConvKernel& kernel, const int8_t* w, int32_t kh, int32_t row_taps, const int32_t* bias,
                    const float* scale, int32_t first, int32_t columns, int32_t input_zero, void* panel,
                    int32_t* panel_bias, float* panel_scale) {
  QGemmKernel gemm = {kernel.row,  kernel.mr,     kernel.nr, kernel.kr, kernel.lanes, kernel.elem,
                      kernel.elem, kernel.a_zero, nullptr,   nullptr,   nullptr};
  if (kernel.multiply != nullptr) gemm.block = qgemm_row(kernel.multiply).block;
  qgemm_pack(gemm, w, 1, 1, kh * row_taps, bias, scale, first, columns, input_zero, panel, panel_bias, panel_scale);
}

}  // namespace ek
