// SPDX-License-Identifier: Apache-2.0
/// The shape rule of every operator, and the proof that no accumulator can overflow.
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <initializer_list>

#include "model/reader.h"

namespace ek {
namespace {

constexpr int32_t kMaxWindow = 1 << 15;      // kernel sides, strides, dilations, padding
constexpr int64_t kMaxPixels = 1 << 23;      // summed by one mean: 255 * 2^23 < 2^31
constexpr float kMaxMultiplier = 0x1p31f;    // |acc| < 2^31, so the product stays finite
constexpr int64_t kAccumulator = (int64_t{1} << 31) - 1;
constexpr uint64_t kMaxWork = uint64_t{1} << 36;  // of one frame: minutes on the slowest row, not days

/// One op under the rules; `status` is the first refusal.
struct Check {
  const ModelView& m;
  OpView op;
  uint32_t index;
  uint64_t* work;  // of the ops so far, this one included
  Error* e;

  const TensorRecord& in(uint32_t i = 0) const { return m.tensors[op.inputs[i]]; }
  const TensorRecord& out() const { return m.tensors[op.outputs[0]]; }
  /// Adds to the work of a frame. Called before the visits it counts, so that a refusal comes in time.
  ek_status charge(uint64_t more) const {
    *work += more;  // each call adds less than 2^60
    if (*work <= kMaxWork) return EK_OK;
    return fail(e, EK_CORRUPT_MODEL, m.at(op.record), "op.work",
                "op %u (%s \"%s\"): with it a frame takes %" PRIu64 " steps of work; at most 2^36", index, op.row->name,
                m.name(op.record->name), *work);
  }
  ek_status bad(const void* where, const char* field, const char* why, int64_t value) const {
    return fail(e, EK_CORRUPT_MODEL, m.at(where), field, "op %u (%s \"%s\"): %s, not %" PRId64, index, op.row->name,
                m.name(op.record->name), why, value);
  }
  ek_status bad_real(const float* value, const char* field, const char* why) const {
    return fail(e, EK_CORRUPT_MODEL, m.at(value), field, "op %u (%s \"%s\"): %s, not %g", index, op.row->name,
                m.name(op.record->name), why, static_cast<double>(*value));
  }
};

#define EK_TRY(call)                      \
  do {                                    \
    const ek_status status_ = (call);     \
    if (status_ != EK_OK) return status_; \
  } while (false)

ek_status in_range(const Check& c, const int32_t& value, const char* field, int64_t least, int64_t most) {
  if (value >= least && value <= most) return EK_OK;
  char why[64];
  std::snprintf(why, sizeof why, "it lies within %" PRId64 " to %" PRId64, least, most);
  return c.bad(&value, field, why, value);
}

ek_status clamp_rule(const Check& c, const int32_t& lo, const int32_t& hi) {
  EK_TRY(in_range(c, lo, "op.lo", -128, 127));
  return in_range(c, hi, "op.hi", lo, 127);
}

ek_status is_int8(const Check& c, const TensorRecord& t) {
  return t.dtype == EK_INT8 ? EK_OK : c.bad(&t.dtype, "tensor.dtype", "it works on INT8 (2)", t.dtype);
}

/// An int8 image [1][h][w][c], or a vector [1][c] as an image of one pixel.
ek_status is_image(const Check& c, const TensorRecord& t) {
  EK_TRY(is_int8(c, t));
  return t.rank == 4 || t.rank == 2 ? EK_OK : c.bad(&t.rank, "tensor.rank", "it works on rank 4 or 2", t.rank);
}

ek_status same_shape(const Check& c, const TensorRecord& a, const TensorRecord& b) {
  if (a.rank != b.rank) return c.bad(&b.rank, "tensor.rank", "ranks must agree", b.rank);
  for (int i = 0; i < a.rank; ++i) {
    if (a.dims[i] != b.dims[i]) return c.bad(&b.dims[i], "tensor.dims", "shapes must agree", b.dims[i]);
  }
  return EK_OK;
}

ek_status same_quant(const Check& c) {
  const TensorRecord &a = c.in(), &b = c.out();
  if (a.scale != b.scale) return c.bad_real(&b.scale, "tensor.scale", "it keeps the scale of its input");
  if (a.zero_point == b.zero_point) return EK_OK;
  return c.bad(&b.zero_point, "tensor.zero_point", "it keeps the zero point of its input", b.zero_point);
}

/// The runtime multiplies by s_in / s_out: it must be a number, or 0 times it is none.
ek_status rescale_rule(const Check& c, const TensorRecord& x, const TensorRecord& y) {
  if (x.scale / y.scale < kMaxMultiplier) return EK_OK;
  return c.bad_real(&y.scale, "tensor.scale", "the scale of its input is below 2^31 times that of its output");
}

/// A window along one axis: its parameters are sane and the output has the size that follows from them.
struct Axis {
  const int32_t &kernel, &stride, &dilation, &before, &after;
  int32_t in;
  const int32_t& out;
};

ek_status window_rule(const Check& c, const Axis& a, bool pool) {
  EK_TRY(in_range(c, a.kernel, "op.kernel", 1, kMaxWindow));
  EK_TRY(in_range(c, a.stride, "op.stride", 1, kMaxWindow));
  EK_TRY(in_range(c, a.dilation, "op.dilation", 1, kMaxWindow));
  const int32_t most = pool ? a.kernel - 1 : kMaxWindow;  // so that every pooling window meets the image
  EK_TRY(in_range(c, a.before, "op.padding", 0, most));
  EK_TRY(in_range(c, a.after, "op.padding", 0, most));
  const int64_t extent = int64_t{a.kernel - 1} * a.dilation + 1;
  const int64_t room = int64_t{a.in} + a.before + a.after - extent;
  if (room < 0) return c.bad(&a.kernel, "op.kernel", "the kernel passes the padded image", a.kernel);
  if (a.out != room / a.stride + 1) {
    return c.bad(&a.out, "tensor.dims", "the output side does not follow from kernel, stride and padding", a.out);
  }
  return EK_OK;
}

constexpr int32_t kNoDilation = 1;

template <class Params>
ek_status window_rules(const Check& c, const Params& p, const int32_t& dh, const int32_t& dw, bool pool) {
  EK_TRY(is_image(c, c.in()));
  EK_TRY(is_image(c, c.out()));
  const Hwc in = hwc(c.in());
  const TensorRecord& y = c.out();  // of a vector, dims[0] = 1 stands for its sides
  EK_TRY(window_rule(c, {p.kh, p.sh, dh, p.top, p.bottom, in.h, y.dims[y.rank == 4 ? 1 : 0]}, pool));
  EK_TRY(window_rule(c, {p.kw, p.sw, dw, p.left, p.right, in.w, y.dims[y.rank == 4 ? 2 : 0]}, pool));
  return clamp_rule(c, p.lo, p.hi);
}

ek_status constant_rule(const Check& c, uint32_t slot, uint16_t dtype, std::initializer_list<int32_t> shape) {
  const ConstantRecord& r = c.m.constants[c.op.constants[slot]];
  if (r.dtype != dtype) return c.bad(&r.dtype, "constant.dtype", "a constant of another dtype is needed", r.dtype);
  if (r.rank != shape.size()) return c.bad(&r.rank, "constant.rank", "a constant of another rank is needed", r.rank);
  const int32_t* dim = r.dims;
  for (const int32_t want : shape) {
    if (*dim != want) return c.bad(dim, "constant.dims", "a constant of another shape is needed", *dim);
    ++dim;
  }
  return EK_OK;
}

/// Every element of the tensors and constants that the op names is visited, by the checks, the packing or a frame.
ek_status charge_operands(const Check& c) {
  uint64_t visits = 0;
  for (const uint32_t tensor : c.op.inputs) visits += static_cast<uint64_t>(element_count(c.m.tensors[tensor]));
  for (const uint32_t tensor : c.op.outputs) visits += static_cast<uint64_t>(element_count(c.m.tensors[tensor]));
  for (const uint32_t constant : c.op.constants) {
    const ConstantRecord& r = c.m.constants[constant];
    visits += r.size / dtype_bytes(r.dtype);
  }
  return c.charge(visits);
}

/// Each element of the output looks at `taps` others.
ek_status charge_window(const Check& c, int64_t taps) {
  return c.charge(static_cast<uint64_t>(element_count(c.out())) * static_cast<uint64_t>(taps));
}

/// Bias and multiplier of `count` channels, and per channel: sum|w| * max|a - za| + |bias| < 2^31.
/// Weight k of channel n is w[n * channel_step + k * step].
ek_status accumulator_rule(const Check& c, int32_t count, int64_t taps, int64_t channel_step, int64_t step) {
  EK_TRY(constant_rule(c, 1, EK_INT32, {count}));
  EK_TRY(constant_rule(c, 2, EK_FLOAT32, {count}));
  const auto* w = c.m.constant<int8_t>(c.op.constants[0]);
  const auto* bias = c.m.constant<int32_t>(c.op.constants[1]);
  const auto* scale = c.m.constant<float>(c.op.constants[2]);
  const int64_t zero = c.in().zero_point;
  const int64_t reach = 127 - zero > zero + 128 ? 127 - zero : zero + 128;
  for (int32_t n = 0; n < count; ++n) {
    if (!(scale[n] == 0.0f || (std::isnormal(scale[n]) && scale[n] > 0.0f && scale[n] < kMaxMultiplier)) ||
        std::signbit(scale[n])) {
      return c.bad_real(scale + n, "constant.multiplier", "a multiplier is 0, or normal and below 2^31");
    }
    int64_t sum = 0;
    for (int64_t k = 0; k < taps; ++k) {
      const int8_t weight = w[n * channel_step + k * step];
      sum += weight < 0 ? -weight : weight;
    }
    const int64_t most = sum * reach + (bias[n] < 0 ? -int64_t{bias[n]} : int64_t{bias[n]});
    if (most > kAccumulator) {
      return c.bad(bias + n, "constant.bias", "the accumulator of every channel stays below 2^31 for any input", most);
    }
  }
  return EK_OK;
}

ek_status check_Conv2D(const Check& c) {
  const auto& p = c.op.as<Conv2DParams>();
  EK_TRY(window_rules(c, p, p.dh, p.dw, false));
  const int32_t channels = hwc(c.in()).c, columns = hwc(c.out()).c;
  EK_TRY(in_range(c, p.groups, "op.groups", 1, channels));
  if (channels % p.groups != 0 || columns % p.groups != 0) {
    return c.bad(&p.groups, "op.groups", "groups must divide the channels in and out", p.groups);
  }
  const int32_t kc = channels / p.groups;
  EK_TRY(constant_rule(c, 0, EK_INT8, {columns, p.kh, p.kw, kc}));
  const int64_t taps = int64_t{p.kh} * p.kw * kc;
  EK_TRY(charge_window(c, taps));
  return accumulator_rule(c, columns, taps, taps, 1);
}

ek_status check_DepthwiseConv2D(const Check& c) {
  const auto& p = c.op.as<DepthwiseConv2DParams>();
  EK_TRY(window_rules(c, p, p.dh, p.dw, false));
  const int32_t channels = hwc(c.in()).c;
  if (hwc(c.out()).c != channels) {
    return c.bad(&c.out().dims[c.out().rank - 1], "tensor.dims", "it keeps the channels", hwc(c.out()).c);
  }
  EK_TRY(constant_rule(c, 0, EK_INT8, {p.kh, p.kw, channels}));
  EK_TRY(charge_window(c, int64_t{p.kh} * p.kw));
  return accumulator_rule(c, channels, int64_t{p.kh} * p.kw, 1, channels);
}

template <class Params>
ek_status pool_rules(const Check& c, const Params& p) {
  EK_TRY(window_rules(c, p, kNoDilation, kNoDilation, true));
  if (int64_t{p.kh} * p.kw > kMaxPixels) return c.bad(&p.kh, "op.kernel", "a window has at most 2^23 pixels", p.kh);
  EK_TRY(charge_window(c, int64_t{p.kh} * p.kw));
  if (hwc(c.in()).c == hwc(c.out()).c) return EK_OK;
  return c.bad(&c.out().dims[c.out().rank - 1], "tensor.dims", "it keeps the channels", hwc(c.out()).c);
}

ek_status check_MaxPool2D(const Check& c) {
  EK_TRY(pool_rules(c, c.op.as<MaxPool2DParams>()));
  return same_quant(c);
}

ek_status check_AveragePool2D(const Check& c) {
  const auto& p = c.op.as<AveragePool2DParams>();
  EK_TRY(pool_rules(c, p));
  EK_TRY(rescale_rule(c, c.in(), c.out()));
  return in_range(c, p.count_include_pad, "op.count_include_pad", 0, 1);
}

ek_status check_Mean(const Check& c) {
  const auto& p = c.op.as<MeanParams>();
  EK_TRY(is_image(c, c.in()));
  EK_TRY(is_image(c, c.out()));
  const Hwc x = hwc(c.in()), y = hwc(c.out());
  if (y.h != 1 || y.w != 1 || y.c != x.c) {
    return c.bad(c.out().dims, "tensor.dims", "it makes one pixel of the same channels", element_count(c.out()));
  }
  if (int64_t{x.h} * x.w > kMaxPixels) {
    return c.bad(c.in().dims, "tensor.dims", "at most 2^23 pixels are summed", int64_t{x.h} * x.w);
  }
  if (!(p.m == 0.0f || std::isnormal(p.m)) || std::signbit(p.m) || p.m >= kMaxMultiplier) {
    return c.bad_real(&p.m, "op.m", "a multiplier is 0, or normal and below 2^31");
  }
  return clamp_rule(c, p.lo, p.hi);
}

ek_status check_Add(const Check& c) {
  const auto& p = c.op.as<AddParams>();
  for (uint32_t i = 0; i < 2; ++i) {
    EK_TRY(is_int8(c, c.in(i)));
    EK_TRY(same_shape(c, c.in(i), c.out()));
  }
  EK_TRY(is_int8(c, c.out()));
  EK_TRY(in_range(c, p.shift, "op.shift", 13, 30));
  EK_TRY(in_range(c, p.m, "op.m", 0, 1 << 21));  // 2 * 255 * 2^21 + 2^29 < 2^31
  EK_TRY(in_range(c, p.n, "op.n", 0, 1 << 21));
  return clamp_rule(c, p.lo, p.hi);
}

ek_status check_Affine(const Check& c) {
  const auto& p = c.op.as<AffineParams>();
  EK_TRY(is_int8(c, c.in()));
  EK_TRY(is_int8(c, c.out()));
  EK_TRY(same_shape(c, c.in(), c.out()));
  const int32_t channels = hwc(c.in()).c;
  EK_TRY(constant_rule(c, 0, EK_INT8, {channels}));
  EK_TRY(accumulator_rule(c, channels, 1, 1, 1));
  return clamp_rule(c, p.lo, p.hi);
}

ek_status check_Table(const Check& c) {
  EK_TRY(is_int8(c, c.in()));
  EK_TRY(is_int8(c, c.out()));
  EK_TRY(same_shape(c, c.in(), c.out()));
  return constant_rule(c, 0, EK_INT8, {256});
}

ek_status check_Softmax(const Check& c) {
  EK_TRY(is_int8(c, c.in()));
  if (c.out().dtype != EK_FLOAT32) EK_TRY(is_int8(c, c.out()));
  EK_TRY(same_shape(c, c.in(), c.out()));
  EK_TRY(constant_rule(c, 0, EK_INT32, {256}));
  const auto* table = c.m.constant<uint32_t>(c.op.constants[0]);
  uint32_t last = 1u << 23;
  if (table[0] != last) return c.bad(table, "constant.table", "exp(0) is 2^23", table[0]);
  for (int d = 0; d < 256; ++d) {
    if (table[d] > last) return c.bad(table + d, "constant.table", "a table of exp(-d) does not rise", table[d]);
    last = table[d];
  }
  return EK_OK;
}

ek_status check_Concat(const Check& c) {
  const TensorRecord& y = c.out();
  const int32_t& axis = c.op.as<ConcatParams>().axis;
  EK_TRY(is_int8(c, y));
  EK_TRY(in_range(c, axis, "op.axis", 1, y.rank - 1));
  int64_t sum = 0;
  for (uint32_t i = 0; i < c.op.inputs.size; ++i) {
    const TensorRecord& x = c.in(i);
    EK_TRY(is_int8(c, x));
    EK_TRY(rescale_rule(c, x, y));
    if (x.rank != y.rank) return c.bad(&x.rank, "tensor.rank", "ranks must agree", x.rank);
    for (int d = 0; d < y.rank; ++d) {
      if (d != axis && x.dims[d] != y.dims[d]) return c.bad(&x.dims[d], "tensor.dims", "shapes must agree", x.dims[d]);
    }
    sum += x.dims[axis];
  }
  return sum == y.dims[axis] ? EK_OK : c.bad(&y.dims[axis], "tensor.dims", "it is as long as its parts", y.dims[axis]);
}

ek_status check_Pad(const Check& c) {
  const auto& p = c.op.as<PadParams>();
  EK_TRY(is_image(c, c.in()));
  EK_TRY(is_image(c, c.out()));
  const int32_t* amounts[] = {&p.top, &p.left, &p.bottom, &p.right, &p.front, &p.back};
  for (const int32_t* amount : amounts) EK_TRY(in_range(c, *amount, "op.padding", 0, 1 << 24));
  EK_TRY(in_range(c, p.value, "op.value", -128, 127));
  EK_TRY(rescale_rule(c, c.in(), c.out()));
  const Hwc x = hwc(c.in()), y = hwc(c.out());
  if (y.h != x.h + p.top + p.bottom || y.w != x.w + p.left + p.right || y.c != x.c + p.front + p.back) {
    return c.bad(c.out().dims, "tensor.dims", "the output is as large as the padding makes it", element_count(c.out()));
  }
  return EK_OK;
}

ek_status check_Reshape(const Check& c) {
  const TensorRecord &x = c.in(), &y = c.out();
  if (x.dtype != EK_FLOAT32) EK_TRY(is_int8(c, x));
  if (x.dtype != y.dtype) return c.bad(&y.dtype, "tensor.dtype", "it keeps the dtype", y.dtype);
  if (x.dtype != EK_FLOAT32) EK_TRY(rescale_rule(c, x, y));
  if (element_count(x) == element_count(y)) return EK_OK;
  return c.bad(y.dims, "tensor.dims", "it keeps the number of elements", element_count(y));
}

ek_status check_Transpose(const Check& c) {
  const TensorRecord &x = c.in(), &y = c.out();
  const auto& perm = c.op.as<TransposeParams>().perm;
  EK_TRY(is_int8(c, x));
  EK_TRY(is_int8(c, y));
  EK_TRY(rescale_rule(c, x, y));
  if (x.rank != y.rank) return c.bad(&y.rank, "tensor.rank", "ranks must agree", y.rank);
  uint32_t seen = 0;
  for (int i = 0; i < 6; ++i) {
    EK_TRY(in_range(c, perm[i], "op.perm", 0, i == 0 || i >= x.rank ? 0 : x.rank - 1));
    if (i < x.rank && (seen >> perm[i] & 1) != 0) return c.bad(perm + i, "op.perm", "no dimension twice", perm[i]);
    seen |= 1u << perm[i];
    if (i < x.rank && y.dims[i] != x.dims[perm[i]]) {
      return c.bad(y.dims + i, "tensor.dims", "dimension i is the input's perm[i]", y.dims[i]);
    }
  }
  return EK_OK;
}

}  // namespace

ek_status verify_op(const ModelView& m, uint32_t index, uint64_t* work, Error* e) {
  const Check check{m, m.op(index), index, work, e};
  EK_TRY(charge_operands(check));
  switch (static_cast<Opcode>(check.op.record->opcode)) {
#define EK_OPCODE(Name, number, inputs, outputs, constants, params) \
  case Opcode::k##Name:                                             \
    return check_##Name(check);
#include "model/opcodes.def"
#undef EK_OPCODE
  }
  return check.bad(&check.op.record->opcode, "op.opcode", "an opcode without a rule", check.op.record->opcode);
}

}  // namespace ek
