// SPDX-License-Identifier: Apache-2.0
/// The shape rule of every operator, and the proof that no accumulator can overflow. check.h has what they share.
/// Longer than 300 lines: a rule is read beside those of its neighbours.
#include <cinttypes>
#include <cmath>
#include <cstring>

#include "model/check.h"

namespace ek {
namespace {

constexpr int32_t kMaxWindow = 1 << 15;      // kernel sides, strides, dilations, padding
constexpr int64_t kMaxPixels = 1 << 23;      // summed by one mean or layer norm: 255 * 2^23 < 2^31
constexpr float kMaxMultiplier = 0x1p31f;    // |acc| < 2^31, so the product stays finite
constexpr float kMaxEpsilon = 0x1p96f;       // so that no reciprocal of its root is subnormal
constexpr int64_t kAccumulator = (int64_t{1} << 31) - 1;

/// The runtime multiplies by s_in / s_out: it must be a number, or 0 times it is none.
ek_status rescale_rule(const Check& c, const TensorRecord& x, const TensorRecord& y) {
  if (x.scale / y.scale < kMaxMultiplier) return EK_OK;
  return c.bad_real(&y.scale, "tensor.scale", "the scale of its input is below 2^31 times that of its output");
}

bool is_multiplier(float m) { return (m == 0.0f || std::isnormal(m)) && !std::signbit(m) && m < kMaxMultiplier; }

ek_status multiplier_rule(const Check& c, const float& m) {
  if (is_multiplier(m)) return EK_OK;
  return c.bad_real(&m, "op.m", "a multiplier is 0, or normal and below 2^31");
}

/// A multiplier that stands among integers by its bits.
ek_status ratio_rule(const Check& c, const int32_t& bits, const char* field) {
  float ratio;
  std::memcpy(&ratio, &bits, sizeof ratio);
  if (is_multiplier(ratio)) return EK_OK;
  return c.bad(&bits, field, "the bits of a float that is 0, or normal and below 2^31", bits);
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
  EK_TRY(is_image(c, c.in(), !pool));
  EK_TRY(is_image(c, c.out(), !pool));
  const Hwc in = hwc(c.in());
  const TensorRecord& y = c.out();  // of a vector, dims[0] = 1 stands for its sides
  EK_TRY(window_rule(c, {p.kh, p.sh, dh, p.top, p.bottom, in.h, y.dims[y.rank == 4 ? 1 : 0]}, pool));
  EK_TRY(window_rule(c, {p.kw, p.sw, dw, p.left, p.right, in.w, y.dims[y.rank == 4 ? 2 : 0]}, pool));
  return clamp_rule(c, p.lo, p.hi);
}

/// Bias and multiplier of `count` channels, and per channel: sum|w| * max|a - za| + |bias| < 2^31. Of an INT16 input
/// there are two sums: that of the low bytes, at most 255, has the bias; that of the high ones, at most 128, is less.
/// Weight k of channel n is w[n * channel_step + k * step].
ek_status accumulator_rule(const Check& c, int32_t count, int64_t taps, int64_t channel_step, int64_t step) {
  EK_TRY(c.charge_weights());
  EK_TRY(constant_rule(c, 1, EK_INT32, {count}));
  EK_TRY(constant_rule(c, 2, EK_FLOAT32, {count}));
  const auto* w = c.m.constant<int8_t>(c.op.constants[0]);
  const auto* bias = c.m.constant<int32_t>(c.op.constants[1]);
  const auto* scale = c.m.constant<float>(c.op.constants[2]);
  const int64_t zero = c.in().zero_point;
  const int64_t reach = c.in().dtype == EK_INT16 ? 255 : 127 - zero > zero + 128 ? 127 - zero : zero + 128;
  for (int32_t n = 0; n < count; ++n) {
    if (!is_multiplier(scale[n])) {
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

/// How many 8-bit kernels, one below the other along dimension `axis`, add up to the weights: 1 to 3, 1 where the
/// shape says nothing of the kind (which the rule of the shape then refuses).
int32_t parts_of(const Check& c, int axis, int32_t kh) {
  const int32_t rows = c.m.constants[c.op.constants[0]].dims[axis];
  return rows == 2 * kh ? 2 : rows == 3 * kh ? 3 : 1;
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
  const int32_t parts = parts_of(c, 1, p.kh);
  EK_TRY(constant_rule(c, 0, EK_INT8, {columns, parts * p.kh, p.kw, kc}));
  const int64_t taps = int64_t{parts} * p.kh * p.kw * kc;
  return accumulator_rule(c, columns, taps, taps, 1);
}

ek_status check_DepthwiseConv2D(const Check& c) {
  const auto& p = c.op.as<DepthwiseConv2DParams>();
  EK_TRY(window_rules(c, p, p.dh, p.dw, false));
  const int32_t channels = hwc(c.in()).c;
  if (hwc(c.out()).c != channels) {
    return c.bad(&c.out().dims[c.out().rank - 1], "tensor.dims", "it keeps the channels", hwc(c.out()).c);
  }
  const int32_t parts = parts_of(c, 0, p.kh);
  EK_TRY(constant_rule(c, 0, EK_INT8, {parts * p.kh, p.kw, channels}));
  return accumulator_rule(c, channels, int64_t{parts} * p.kh * p.kw, 1, channels);
}

template <class Params>
ek_status pool_rules(const Check& c, const Params& p) {
  EK_TRY(window_rules(c, p, kNoDilation, kNoDilation, true));
  if (int64_t{p.kh} * p.kw > kMaxPixels) return c.bad(&p.kh, "op.kernel", "a window has at most 2^23 pixels", p.kh);
  EK_TRY(c.charge_window(int64_t{p.kh} * p.kw));
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
  EK_TRY(in_range(c, p.count_include_pad, "op.count_include_pad", 0, 1));
  if (p.origin == 0 || p.origin == -128) return EK_OK;
  return c.bad(&p.origin, "op.origin", "averages round away from 0, or from -128", p.origin);
}

ek_status check_Mean(const Check& c) {
  const auto& p = c.op.as<MeanParams>();
  EK_TRY(is_image(c, c.in(), true));
  EK_TRY(is_image(c, c.out(), true));
  const Hwc x = hwc(c.in()), y = hwc(c.out());
  if (y.h != 1 || y.w != 1 || y.c != x.c) {
    return c.bad(c.out().dims, "tensor.dims", "it makes one pixel of the same channels", element_count(c.out()));
  }
  if (int64_t{x.h} * x.w > kMaxPixels) {
    return c.bad(c.in().dims, "tensor.dims", "at most 2^23 pixels are summed", int64_t{x.h} * x.w);
  }
  EK_TRY(multiplier_rule(c, p.m));
  return clamp_rule(c, p.lo, p.hi);
}

ek_status check_Add(const Check& c) {
  const auto& p = c.op.as<AddParams>();
  for (uint32_t i = 0; i < 2; ++i) {
    EK_TRY(is_int8_or_int16(c, c.in(i)));
    EK_TRY(same_shape(c, c.in(i), c.out()));
  }
  EK_TRY(is_int8_or_int16(c, c.out()));
  if (c.in().dtype == EK_INT16 || c.in(1).dtype == EK_INT16 || c.out().dtype == EK_INT16) {
    EK_TRY(in_range(c, p.shift, "op.shift", 0, 0));  // m and n are ratios, by the bits of a float
    EK_TRY(ratio_rule(c, p.m, "op.m"));
    EK_TRY(ratio_rule(c, p.n, "op.n"));
    return clamp_rule(c, p.lo, p.hi);
  }
  EK_TRY(in_range(c, p.shift, "op.shift", 13, 30));
  EK_TRY(in_range(c, p.m, "op.m", 0, 1 << 21));  // 2 * 255 * 2^21 + 2^29 < 2^31
  EK_TRY(in_range(c, p.n, "op.n", 0, 1 << 21));
  return clamp_rule(c, p.lo, p.hi);
}

ek_status check_Affine(const Check& c) {
  const auto& p = c.op.as<AffineParams>();
  EK_TRY(is_int8_or_int16(c, c.in()));
  EK_TRY(is_int8_or_int16(c, c.out()));
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
  EK_TRY(is_int8_or_int16(c, y));
  EK_TRY(in_range(c, axis, "op.axis", 1, y.rank - 1));
  int64_t sum = 0;
  for (uint32_t i = 0; i < c.op.inputs.size; ++i) {
    const TensorRecord& x = c.in(i);
    EK_TRY(is_int8_or_int16(c, x));
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
  if (x.dtype == EK_FLOAT32 && y.dtype != EK_FLOAT32) {
    return c.bad(&y.dtype, "tensor.dtype", "it keeps FLOAT32", y.dtype);
  }
  if (x.dtype != EK_FLOAT32) {
    EK_TRY(is_int8_or_int16(c, x));
    EK_TRY(is_int8_or_int16(c, y));
    EK_TRY(rescale_rule(c, x, y));
  }
  if (element_count(x) == element_count(y)) return EK_OK;
  return c.bad(y.dims, "tensor.dims", "it keeps the number of elements", element_count(y));
}

ek_status check_Transpose(const Check& c) {
  const TensorRecord &x = c.in(), &y = c.out();
  const auto& perm = c.op.as<TransposeParams>().perm;
  EK_TRY(is_int8_or_int16(c, x));
  EK_TRY(is_int8_or_int16(c, y));
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

ek_status check_Mul(const Check& c) {
  const auto& p = c.op.as<MulParams>();
  const TensorRecord &b = c.in(1), &y = c.out();
  EK_TRY(is_int8_or_int16(c, c.in()));
  EK_TRY(is_int8_or_int16(c, b));
  EK_TRY(is_int8_or_int16(c, y));
  EK_TRY(same_shape(c, c.in(), y));
  const bool pixel = b.rank == 4 && y.rank == 4 && b.dims[1] == 1 && b.dims[2] == 1 && b.dims[3] == y.dims[3];
  if (!pixel) EK_TRY(same_shape(c, b, y));
  EK_TRY(multiplier_rule(c, p.m));
  return clamp_rule(c, p.lo, p.hi);
}

/// `count` float constants that no product makes infinite.
ek_status reals_rule(const Check& c, uint32_t slot, int32_t count) {
  EK_TRY(constant_rule(c, slot, EK_FLOAT32, {count}));
  const auto* values = c.m.constant<float>(c.op.constants[slot]);
  for (int32_t n = 0; n < count; ++n) {
    if ((values[n] == 0.0f || std::isnormal(values[n])) && std::fabs(values[n]) < kMaxMultiplier) continue;
    return c.bad_real(values + n, "constant.real", "it is 0, or normal and of a magnitude below 2^31");
  }
  return EK_OK;
}

ek_status check_LayerNorm(const Check& c) {
  const auto& p = c.op.as<LayerNormParams>();
  EK_TRY(is_int8(c, c.in()));
  EK_TRY(is_int8(c, c.out()));
  EK_TRY(same_shape(c, c.in(), c.out()));
  const int32_t channels = hwc(c.in()).c;
  if (channels > kMaxPixels) {
    return c.bad(&c.in().dims[c.in().rank - 1], "tensor.dims", "at most 2^23 channels are summed", channels);
  }
  if (!std::isnormal(p.epsilon) || p.epsilon < 0.0f || !(p.epsilon < kMaxEpsilon)) {
    return c.bad_real(&p.epsilon, "op.epsilon", "it is normal, above 0 and below 2^96");
  }
  EK_TRY(reals_rule(c, 0, channels));
  EK_TRY(reals_rule(c, 1, channels));
  return clamp_rule(c, p.lo, p.hi);
}

ek_status check_Slice(const Check& c) {
  const TensorRecord &x = c.in(), &y = c.out();
  const auto& p = c.op.as<SliceParams>();
  EK_TRY(is_int8_or_int16(c, x));
  EK_TRY(is_int8_or_int16(c, y));
  EK_TRY(rescale_rule(c, x, y));
  if (x.rank != y.rank) return c.bad(&y.rank, "tensor.rank", "ranks must agree", y.rank);
  EK_TRY(in_range(c, p.axis, "op.axis", 1, y.rank - 1));
  for (int d = 0; d < y.rank; ++d) {
    if (d != p.axis && x.dims[d] != y.dims[d]) {
      return c.bad(&y.dims[d], "tensor.dims", "shapes must agree but along the axis", y.dims[d]);
    }
  }
  const int64_t last = x.dims[p.axis] - 1;
  EK_TRY(in_range(c, p.begin, "op.begin", 0, last));
  EK_TRY(in_range(c, p.step, "op.step", 1, INT32_MAX));
  const int64_t reach = p.begin + (int64_t{y.dims[p.axis]} - 1) * p.step;  // below 2^62 + 2^31
  if (reach <= last) return EK_OK;
  return c.bad(&y.dims[p.axis], "tensor.dims", "every element taken lies within the input", y.dims[p.axis]);
}

/// A position per output row or column, on a pixel or between two.
ek_status position_rule(const Check& c, uint32_t slot, int32_t in, int32_t out) {
  EK_TRY(constant_rule(c, slot, EK_INT32, {out}));
  const auto* positions = c.m.constant<int32_t>(c.op.constants[slot]);
  const int64_t last = (int64_t{in} - 1) * 2048;
  for (int32_t i = 0; i < out; ++i) EK_TRY(in_range(c, positions[i], "constant.position", 0, last));
  return EK_OK;
}

ek_status check_Resize2D(const Check& c) {
  const TensorRecord &x = c.in(), &y = c.out();
  EK_TRY(is_int8(c, x));
  EK_TRY(is_int8(c, y));
  if (x.rank != 4) return c.bad(&x.rank, "tensor.rank", "it works on rank 4", x.rank);
  if (y.rank != 4) return c.bad(&y.rank, "tensor.rank", "it works on rank 4", y.rank);
  if (x.dims[3] != y.dims[3]) return c.bad(&y.dims[3], "tensor.dims", "it keeps the channels", y.dims[3]);
  EK_TRY(c.charge_window(4));
  EK_TRY(position_rule(c, 0, x.dims[1], y.dims[1]));
  EK_TRY(position_rule(c, 1, x.dims[2], y.dims[2]));
  return same_quant(c);
}

}  // namespace

ek_status verify_op(const ModelView& m, uint32_t index, uint64_t* work, Error* e) {
  const Check check{m, m.op(index), index, work, e};
  EK_TRY(check.charge_operands());
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
