# SPDX-License-Identifier: Apache-2.0
"""The operators of TFLite: each becomes nodes of ours. Both sides are NHWC, so nothing moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgekern.errors import ShapeError, UnsupportedOpError
from edgekern.importers._tflite_call import Call, Constant, handles
from edgekern.ops._op import NO_CLIP, Op
from edgekern.ops.add import Add
from edgekern.ops.affine import Affine
from edgekern.ops.average_pool import AveragePool2D
from edgekern.ops.concat import Concat
from edgekern.ops.conv2d import Conv2D, Pads
from edgekern.ops.depthwise import DepthwiseConv2D
from edgekern.ops.linear import linear
from edgekern.ops.max_pool import MaxPool2D
from edgekern.ops.mean import Mean
from edgekern.ops.mul import Mul
from edgekern.ops.pad import Pad
from edgekern.ops.reshape import Reshape
from edgekern.ops.softmax import Softmax
from edgekern.ops.table import Table
from edgekern.ops.transpose import Transpose
from edgekern.types import Array

__all__ = ["bias_of", "fused_clip", "named_like", "scales_of"]

_SAME, _VALID = 0, 1
_ACTIVATIONS = {0: NO_CLIP, 1: (0.0, math.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}
_FUNCTIONS = {
    "ABS": ("abs", ()),
    "COS": ("cos", ()),
    "ELU": ("elu", (1.0,)),
    "EXP": ("exp", ()),
    "FLOOR": ("floor", ()),
    "CEIL": ("ceil", ()),
    "HARD_SWISH": ("hard_swish", ()),
    "LOG": ("log", ()),
    "LOGISTIC": ("sigmoid", ()),
    "NEG": ("neg", ()),
    "RELU": ("relu", ()),
    "RELU6": ("clip", (0.0, 6.0)),
    "RELU_0_TO_1": ("clip", (0.0, 1.0)),
    "RELU_N1_TO_1": ("clip", (-1.0, 1.0)),
    "ROUND": ("round", ()),
    "RSQRT": ("pow", (-0.5,)),
    "SIGN": ("sign", ()),
    "SIN": ("sin", ()),
    "SQRT": ("sqrt", ()),
    "SQUARE": ("pow", (2.0,)),
    "TANH": ("tanh", ()),
}


# ---- pieces -------------------------------------------------------------------------------------


def fused_clip(options: Any) -> tuple[float, float]:
    number = options.FusedActivationFunction() if options is not None else 0
    if number not in _ACTIVATIONS:
        raise UnsupportedOpError(f"the fused activation {number}", hint="RELU, RELU6 and RELU_N1_TO_1 run.")
    return _ACTIVATIONS[number]


def _padding(options: Any, shape: Sequence[int], kernel: Sequence[int], dilation: Sequence[int] = (1, 1)) -> Pads:
    """top, left, bottom, right of SAME (the odd pixel comes last) or VALID."""
    if options.Padding() == _VALID:
        return (0, 0, 0, 0)
    if options.Padding() != _SAME:
        raise UnsupportedOpError(f"the padding {options.Padding()}")
    before, after = [], []
    for size, k, d, s in zip(shape[1:3], kernel, dilation, (options.StrideH(), options.StrideW()), strict=True):
        total = max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
        before.append(total // 2)
        after.append(total - total // 2)
    return (before[0], before[1], after[0], after[1])


def _image(call: Call) -> tuple[int, ...]:
    shape = call.type(0).shape
    if len(shape) != 4:
        raise ShapeError(f"its input has shape {shape}, not [b, h, w, c]")
    return shape


def _weighted(call: Call, op: Op, tensor: str, weights: Constant, values: Array, axis: int) -> str:
    """Emits a weighted operator with the bias at input 2; `axis` of `weights.values` is the output channel."""
    channels = weights.values.shape[axis]
    bias = bias_of(call, weights, channels, axis)
    output = call.build.emit(op, [tensor], [values, bias])
    call.build.keep_integers(scales_of(weights, channels, axis))
    return output


def scales_of(weights: Constant, channels: int, axis: int) -> Array | None:
    """One scale per output channel, where the file gives them so."""
    if weights.scale is None or (len(weights.scale) > 1 and weights.axis != axis):
        return None
    return np.ascontiguousarray(np.broadcast_to(weights.scale, channels)).astype(np.float32)


def bias_of(call: Call, weights: Constant, channels: int, axis: int, x: int = 0, at: int = 2) -> Array:
    """The bias at input `at`, of an activation at input x: float, in units of s_in * s_w where the file holds integers.

    float64 where float32 would lose some.
    """
    held = call.constant(at)
    if held is None:
        return np.zeros(channels, np.float32)
    if held.values.shape != (channels,):
        raise ShapeError(f"a bias of shape {list(held.values.shape)} for {channels} channels")
    if held.values.dtype.kind == "f":
        return held.values
    quant, scales = call.type(x).quant, scales_of(weights, channels, axis)
    if quant is None or scales is None:
        raise UnsupportedOpError("an integer bias where input or weights are not 8-bit integers")
    real = held.values.astype(np.float64) * np.float64(np.float32(quant.scale)) * scales.astype(np.float64)
    small = np.abs(held.values.astype(np.int64)).max(initial=0) < 1 << 22
    return real.astype(np.float32) if small else np.asarray(real)


# ---- convolutions -------------------------------------------------------------------------------


@handles("CONV_2D")
def _conv(call: Call) -> str:
    options, weights, shape = call.options, call.constant(1), _image(call)
    if weights is None or weights.values.ndim != 4:
        raise UnsupportedOpError("weights that are no constant [N, h, w, c]")
    _, kh, kw, per_group = weights.values.shape
    dilation = (options.DilationHFactor(), options.DilationWFactor())
    op = Conv2D(
        kernel=(kh, kw),
        stride=(options.StrideH(), options.StrideW()),
        dilation=dilation,
        pads=_padding(options, shape, (kh, kw), dilation),
        groups=shape[3] // max(per_group, 1),
        clip=fused_clip(options),
    )
    return _weighted(call, op, call.tensor(0), weights, weights.values, 0)


@handles("DEPTHWISE_CONV_2D")
def _depthwise(call: Call) -> str:
    options, weights, shape = call.options, call.constant(1), _image(call)
    if weights is None or weights.values.ndim != 4 or weights.values.shape[0] != 1:
        raise UnsupportedOpError("weights that are no constant [1, h, w, c]")
    _, kh, kw, channels = weights.values.shape
    stride = (options.StrideH(), options.StrideW())
    dilation = (options.DilationHFactor(), options.DilationWFactor())
    pads = _padding(options, shape, (kh, kw), dilation)
    if channels == shape[3]:
        op: Op = DepthwiseConv2D((kh, kw), stride, dilation, pads, clip=fused_clip(options))
        return _weighted(call, op, call.tensor(0), weights, weights.values[0], 3)
    op = Conv2D(
        (kh, kw), stride, dilation, pads, groups=shape[3], clip=fused_clip(options)
    )  # several outputs a channel
    return _weighted(call, op, call.tensor(0), weights, np.transpose(weights.values, (3, 1, 2, 0)), 3)


@handles("FULLY_CONNECTED")
def _fully_connected(call: Call) -> str:
    options, weights, tensor = call.options, call.constant(1), call.tensor(0)
    if options.WeightsFormat() != 0:
        raise UnsupportedOpError("shuffled weights")
    if weights is None or weights.values.ndim != 2:
        raise UnsupportedOpError("weights that are no constant [N, K]")
    n, k = weights.values.shape
    size = call.type(0).size
    if size == k:
        tensor = call.build.reshaped(tensor, (1, k))
    elif call.type(0).shape[-1] == k:  # every row of a longer tensor
        tensor = call.build.reshaped(tensor, (1, size // k, 1, k))
    else:
        raise ShapeError(f"weights {weights.values.shape} do not fit an input {call.type(0).shape}")
    op, values = linear(weights.values, (1, k), fused_clip(options))
    made = _weighted(call, op, tensor, weights, values, 0)
    shape = (1, n) if size == k and len(call.shape) == 2 else (*call.type(0).shape[:-1], n)
    return named_like(call, made, call.build.reshaped(made, shape))


def named_like(call: Call, made: str, tensor: str) -> str:
    """A tensor that only reshapes what was made: both have the result's quantisation."""
    if made != tensor:
        call.build.types[made] = replace(call.build.types[made], quant=call.quant)
    return tensor


# ---- pools --------------------------------------------------------------------------------------


@handles("AVERAGE_POOL_2D", "MAX_POOL_2D")
def _pool(call: Call) -> str:
    options, shape = call.options, _image(call)
    kernel = (options.FilterHeight(), options.FilterWidth())
    stride = (options.StrideH(), options.StrideW())
    pads, clip = _padding(options, shape, kernel), fused_clip(options)
    if call.name == "MAX_POOL_2D":
        return call.build.emit(MaxPool2D(kernel, stride, pads, clip), [call.tensor(0)])
    return call.build.emit(AveragePool2D(kernel, stride, pads, origin=call.origin, clip=clip), [call.tensor(0)])


@handles("MEAN")
def _mean(call: Call) -> str:
    shape = _image(call)
    axes = call.constant(1)
    if axes is None or sorted(int(a) % 4 for a in np.atleast_1d(axes.values)) != [1, 2]:
        raise UnsupportedOpError("a mean over other axes than height and width")
    made = call.build.emit(Mean(), [call.tensor(0)])
    keep = call.options is not None and call.options.KeepDims()
    return named_like(call, made, made if keep else call.build.reshaped(made, (1, shape[3])))


# ---- elementwise --------------------------------------------------------------------------------


@handles("ADD")
def _add(call: Call) -> str:
    return _sum(call, 1.0)


@handles("SUB")
def _sub(call: Call) -> str:
    if not isinstance(call.inputs[1], Constant):
        raise UnsupportedOpError("the difference of two activations", hint="Multiply one by -1 and add.")
    return _sum(call, -1.0)


def _sum(call: Call, sign: float) -> str:
    first, second = call.inputs[0], call.inputs[1]
    if isinstance(first, str) and isinstance(second, str):
        if call.type(0).shape != call.type(1).shape:
            raise UnsupportedOpError(f"a sum of shapes {call.type(0).shape} and {call.type(1).shape}")
        return call.build.emit(Add(clip=fused_clip(call.options)), [first, second])
    tensor, held = _with_constant(call)
    channels = call.build.types[tensor].shape[-1]
    return call.build.emit(
        Affine(fused_clip(call.options)), [tensor], [np.ones(channels, np.float32), sign * _per_channel(held, channels)]
    )


@handles("MUL")
def _mul(call: Call) -> str:
    if isinstance(call.inputs[0], str) and isinstance(call.inputs[1], str):
        tensors = [call.tensor(0), call.tensor(1)]
        if call.type(0).size < call.type(1).size:  # one pixel for each of an image comes second
            tensors.reverse()
        return call.build.emit(Mul(clip=fused_clip(call.options)), tensors)
    tensor, held = _with_constant(call)
    channels = call.build.types[tensor].shape[-1]
    factors = _per_channel(held, channels)
    return call.build.emit(Affine(fused_clip(call.options)), [tensor], [factors, np.zeros(channels, np.float32)])


def _with_constant(call: Call) -> tuple[str, Constant]:
    """The activation and the constant of an operator of two inputs."""
    first, second = call.inputs[0], call.inputs[1]
    if isinstance(first, str) and isinstance(second, Constant):
        return first, second
    if isinstance(first, Constant) and isinstance(second, str) and call.name != "SUB":
        return second, first
    raise UnsupportedOpError("two activations", hint="One of them must be constant.")


def _per_channel(held: Constant, channels: int) -> Array:
    """A constant that is one number, or one per channel."""
    values = np.asarray(held.values, np.float32)
    if values.size not in (1, channels) or (values.size > 1 and values.shape[-1] != channels):
        raise UnsupportedOpError(f"a constant of shape {list(values.shape)} for {channels} channels")
    return np.ascontiguousarray(np.broadcast_to(values.reshape(-1), channels))


@handles(*_FUNCTIONS)
def _function(call: Call) -> str:
    function, parameters = _FUNCTIONS[call.name]
    return call.build.emit(Table(function, parameters), [call.tensor(0)])


@handles("LEAKY_RELU")
def _leaky_relu(call: Call) -> str:
    return call.build.emit(Table("leaky_relu", (float(call.options.Alpha()),)), [call.tensor(0)])


@handles("GELU")
def _gelu(call: Call) -> str:
    near = call.options is not None and call.options.Approximate()
    return call.build.emit(Table("gelu_tanh" if near else "gelu"), [call.tensor(0)])


@handles("SOFTMAX")
def _softmax(call: Call) -> str:
    beta = float(call.options.Beta()) if call.options is not None else 1.0
    if not beta > 0:
        raise UnsupportedOpError(f"a softmax of beta {beta}")
    return call.build.emit(Softmax(1.0 / beta), [call.tensor(0)])


@handles("QUANTIZE", "DEQUANTIZE")
def _quantise(call: Call) -> str:
    """The same real values: a step of its own only from one quantisation to another."""
    tensor = call.tensor(0)
    held = call.type(0)
    if call.quant is None or call.quant == held.quant:
        return tensor
    if held.quant is None and all(node.output != tensor for node in call.build.nodes):  # a float input of the model
        call.build.types[tensor] = replace(held, quant=call.quant)
        return tensor
    return call.build.emit(Reshape(held.shape[1:]), [tensor])


# ---- moves --------------------------------------------------------------------------------------


@handles("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
def _reshape(call: Call) -> str:
    size = call.type(0).size
    shape = call.shape if math.prod(call.shape) == size else (1, *_asked(call, size))
    if math.prod(shape) != size or len(shape) < 2:
        raise ShapeError(f"{call.type(0).shape} cannot become {shape}")
    return call.build.emit(Reshape(shape[1:]), [call.tensor(0)])


def _asked(call: Call, size: int) -> tuple[int, ...]:
    """The shape that a RESHAPE names after the batch, its -1 filled in."""
    held = call.constant(1) if len(call.inputs) > 1 else None
    if held is None:
        return call.shape[1:]
    body = [int(n) for n in np.atleast_1d(held.values)][1:]
    known = math.prod(n for n in body if n > 0)
    return tuple(size // max(known, 1) if n < 0 else n for n in body)


@handles("TRANSPOSE")
def _transpose(call: Call) -> str:
    perm = call.constant(1)
    order = tuple(int(i) for i in np.atleast_1d(perm.values)) if perm is not None else ()
    if sorted(order) != list(range(len(call.type(0).shape))) or order[0] != 0:
        raise UnsupportedOpError(f"a transpose by {list(order)}", hint="The batch stays first.")
    return call.build.emit(Transpose(order), [call.tensor(0)])


@handles("PAD", "PADV2")
def _pad(call: Call) -> str:
    _image(call)
    held, fill = call.constant(1), call.constant(2)
    amounts = np.asarray(held.values, np.int64).reshape(-1, 2).tolist() if held is not None else []
    if len(amounts) != 4 or any(amounts[0]):
        raise UnsupportedOpError(f"a padding of {amounts}", hint="Height, width and channels of an image only.")
    (top, bottom), (left, right), (front, back) = amounts[1:]
    value = float(np.asarray(fill.values).ravel()[0]) if fill is not None else 0.0
    return call.build.emit(Pad((top, left, bottom, right), (front, back), value), [call.tensor(0)])


@handles("CONCATENATION")
def _concat(call: Call) -> str:
    tensors = [call.tensor(k) for k in range(len(call.inputs))]
    rank = len(call.type(0).shape)
    axis = call.options.Axis() % rank
    if axis == 0:
        raise UnsupportedOpError("a concatenation along the batch")
    made = call.build.emit(Concat(axis), tensors)
    if fused_clip(call.options) != NO_CLIP:
        made = named_like(call, made, call.build.emit(Table("clip", fused_clip(call.options)), [made]))
    return made
