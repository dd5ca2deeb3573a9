# SPDX-License-Identifier: Apache-2.0
"""Quantised ONNX: QuantizeLinear and DequantizeLinear around float operators, and the QLinear operators.

Neither becomes a node: they say in which quantisation a tensor or a constant is held, and that is taken over. uint8
values are taken 128 lower, as int8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgekern.errors import CompileError, UnsupportedOpError
from edgekern.importers._integers import real_values
from edgekern.importers._layout import Value
from edgekern.importers._source import HANDLERS, Scaled, Source, handles
from edgekern.types import Array, Quant

__all__: list[str] = []

_BYTES = {"uint8": 128, "int8": 0}  # what is taken off to make int8


def _quant(s: Source, scale: int, zero: int, default: str = "uint8") -> Quant:
    """Of an activation, from the inputs that hold its scale and zero point."""
    scales = s.floats(scale, "scale")
    zeros = s.constant(zero, "zero point") if s.has(zero) else np.zeros((), default)
    if scales.size != 1 or zeros.size != 1:
        raise UnsupportedOpError(f"an activation with {scales.size} scales", hint="Quantise activations per tensor.")
    kind = str(zeros.dtype)
    if kind not in _BYTES:
        raise UnsupportedOpError(f"an activation of type {kind}", hint="Quantise activations to int8 or uint8.")
    try:
        return Quant(float(scales.ravel()[0]), int(zeros.ravel()[0]) - _BYTES[kind])
    except ValueError as error:
        raise UnsupportedOpError(str(error)) from error


def _real(s: Source, integers: Array, scale: int, zero: int, axis: int) -> Array:
    """The real values of integers: with their scales remembered if they are weights."""
    scales = s.floats(scale, "scale")
    zeros = s.constant(zero, "zero point") if s.has(zero) else np.zeros(1, integers.dtype)
    if integers.dtype.kind not in "iu" or integers.dtype.itemsize > 4:
        raise UnsupportedOpError(f"a quantised constant of type {integers.dtype}")
    axis = s.axis(axis, integers.ndim) if scales.size > 1 else 0
    real = real_values(integers, scales, zeros, axis)
    if integers.dtype.itemsize > 1:
        return real
    found = real.view(Scaled)
    found.scale, found.axis = scales, axis
    return found


def _bias(s: Source, index: int) -> Array | None:
    """int32 in units of the scale of input 0 times those of the weights at input 3."""
    if not s.has(index):
        return None
    unit = s.floats(1, "scale").astype(np.float64).ravel()[0] * s.floats(4, "scale").astype(np.float64).ravel()
    return real_values(s.constant(index, "bias"), unit, np.zeros(1, np.int64), 0)


def _held(s: Source, value: Value, given: Quant) -> Value:
    """An activation in the quantisation of the source."""
    return Value(s.build.requantised(value.tensor, given), value.groups)


@handles("QuantizeLinear")
def _quantise(s: Source) -> Value:
    kind = {2: "uint8", 3: "int8"}.get(int(s.get("output_dtype", 0)), "uint8")
    held = _held(s, s.value(0), _quant(s, 1, 2, kind))
    return replace(held, integers=str(s.constant(2, "zero point").dtype) if s.has(2) else kind)


@handles("DequantizeLinear")
def _dequantise(s: Source) -> Value | Array:
    if not isinstance(s.inputs[0], Value):
        return _real(s, s.constant(0, "constant"), 1, 2, int(s.get("axis", 1)))
    value = replace(s.value(0), integers="")
    return _read_as(s, value, _quant(s, 1, 2))


def _read_as(s: Source, value: Value, given: Quant) -> Value:
    """Integers of the model read in a quantisation: the one they were made in."""
    known = s.build.types[value.tensor].quant
    if known not in (None, given):
        raise UnsupportedOpError(f"integers made with {known} and read with {given}", hint="Use one quantisation.")
    s.build.types[value.tensor] = replace(s.build.types[value.tensor], quant=given)
    return value


def _float_source(s: Source, kind: str, inputs: Sequence[Value | Array | None]) -> Value:
    """The result of a float operator of the same attributes."""
    made = HANDLERS[kind](replace(s, kind=kind, inputs=list(inputs)))
    if not isinstance(made, Value):
        raise CompileError(f"{kind} of constants")
    return made


@handles("QLinearConv")
def _convolve(s: Source) -> Value:
    x = _read_as(s, s.value(0), _quant(s, 1, 2))
    weights = _real(s, s.constant(3, "weight"), 4, 5, 0)
    return _held(s, _float_source(s, "Conv", (x, weights, _bias(s, 8))), _quant(s, 6, 7))


@handles("QLinearMatMul")
def _multiply(s: Source) -> Value:
    x = _read_as(s, s.value(0), _quant(s, 1, 2))
    matrix = s.constant(3, "matrix B")
    weights = _real(s, matrix, 4, 5, matrix.ndim - 1)
    return _held(s, _float_source(s, "MatMul", (x, weights)), _quant(s, 6, 7))


@handles("com.microsoft.QLinearAdd", "com.microsoft.QLinearMul")
def _of_two(s: Source) -> Value:
    a, b = _read_as(s, s.value(0), _quant(s, 1, 2)), _read_as(s, s.value(3), _quant(s, 4, 5))
    return _held(s, _float_source(s, s.kind.removeprefix("com.microsoft.QLinear"), (a, b)), _quant(s, 6, 7))


@handles("com.microsoft.QLinearConcat")
def _concat(s: Source) -> Value:
    parts = [_read_as(s, s.value(k), _quant(s, k + 1, k + 2)) for k in range(2, len(s.inputs), 3)]
    return _held(s, _float_source(s, "Concat", parts), _quant(s, 0, 1))


@handles(
    "com.microsoft.QLinearAveragePool",
    "com.microsoft.QLinearGlobalAveragePool",
    "com.microsoft.QLinearLeakyRelu",
    "com.microsoft.QLinearSigmoid",
    "com.microsoft.QLinearSoftmax",
)
def _one_input(s: Source) -> Value:
    s.refuse(bool(s.get("channels_last", 0)), "channels_last 1", "Export it with the channels second.")
    x = _read_as(s, s.value(0), _quant(s, 1, 2))
    kind = s.kind.removeprefix("com.microsoft.QLinear")
    return _held(s, _float_source(s, kind, (x,)), _quant(s, 3, 4))


@handles("com.microsoft.QGemm")
def _gemm(s: Source) -> Value:
    x = _read_as(s, s.value(0), _quant(s, 1, 2))
    weights = _real(s, s.constant(3, "matrix B"), 4, 5, 0 if s.get("transB", 0) else 1)
    return _held(s, _float_source(s, "Gemm", (x, weights, _bias(s, 6))), _quant(s, 7, 8))
