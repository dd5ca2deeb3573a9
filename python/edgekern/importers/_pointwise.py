# SPDX-License-Identifier: Apache-2.0
"""Source operators on single elements: functions, arithmetic with constants, sums and products of activations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekern.errors import CompileError
from edgekern.importers._affine import affine
from edgekern.importers._layout import Value
from edgekern.importers._self_product import self_product
from edgekern.importers._source import Source, handles
from edgekern.ops.add import Add
from edgekern.ops.concat import Concat
from edgekern.ops.max_pool import MaxPool2D
from edgekern.ops.mul import Mul
from edgekern.ops.table import Table
from edgekern.types import Array

__all__: list[str] = []

_PLAIN = {
    "Abs": "abs",
    "Acos": "acos",
    "Acosh": "acosh",
    "Asin": "asin",
    "Asinh": "asinh",
    "Atan": "atan",
    "Atanh": "atanh",
    "Ceil": "ceil",
    "Cos": "cos",
    "Cosh": "cosh",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "HardSwish": "hard_swish",
    "Log": "log",
    "Mish": "mish",
    "Reciprocal": "reciprocal",
    "Relu": "relu",
    "Round": "round",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Sin": "sin",
    "Sinh": "sinh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Sqrt": "sqrt",
    "Tan": "tan",
    "Tanh": "tanh",
}
_WITH_ALPHA = {  # function, default of alpha
    "Celu": ("celu", 1.0),
    "Elu": ("elu", 1.0),
    "LeakyRelu": ("leaky_relu", 0.01),
    "ThresholdedRelu": ("thresholded_relu", 1.0),
}
_SELU = (1.67326319217681884765625, 1.05070102214813232421875)


def _table(s: Source, value: Value, function: str, *parameters: float) -> Value:
    return Value(s.build.emit(Table(function, parameters), [value.tensor]), value.groups)


# ---- functions ----------------------------------------------------------------------------------


@handles(*_PLAIN)
def _plain(s: Source) -> Value:
    return _table(s, s.value(0), _PLAIN[s.kind])


@handles(*_WITH_ALPHA)
def _with_alpha(s: Source) -> Value:
    function, default = _WITH_ALPHA[s.kind]
    return _table(s, s.value(0), function, float(s.get("alpha", default)))


@handles("Neg")
def _negative(s: Source) -> Value:
    return affine(s, s.value(0), np.float32(-1), np.float32(0))


@handles("HardSigmoid")
def _hard_sigmoid(s: Source) -> Value:
    return _table(s, s.value(0), "hard_sigmoid", float(s.get("alpha", 0.2)), float(s.get("beta", 0.5)))


@handles("Gelu")
def _gelu(s: Source) -> Value:
    return _table(s, s.value(0), "gelu_tanh" if s.get("approximate", "none") == "tanh" else "gelu")


@handles("Swish")
def _swish(s: Source) -> Value:
    s.refuse(s.get("alpha", 1.0) != 1.0, f"alpha {s.get('alpha')}", "Alpha 1 only.")
    return _table(s, s.value(0), "silu")


@handles("Selu")
def _selu(s: Source) -> Value:
    alpha, gamma = float(s.get("alpha", _SELU[0])), float(s.get("gamma", _SELU[1]))
    if np.allclose((alpha, gamma), _SELU, rtol=1e-6):
        return _table(s, s.value(0), "selu")
    return affine(s, _table(s, s.value(0), "elu", alpha), np.float32(gamma), np.float32(0))


@handles("PRelu")
def _prelu(s: Source) -> Value:
    """One slope is a leaky ReLU; several are max(x, 0) + slope * min(x, 0)."""
    value, slope = s.value(0), s.floats(1, "slope")
    if slope.size > 0 and (slope == slope.flat[0]).all():
        return _table(s, value, "leaky_relu", float(slope.flat[0]))
    below = affine(s, _table(s, value, "clip", -np.inf, 0.0), slope, np.float32(0))
    return _added(s, _table(s, value, "relu"), below)


@handles("Clip")
def _clip(s: Source) -> Value:
    low = s.floats(1, "min") if s.has(1) else np.float32(s.get("min", -np.inf))
    high = s.floats(2, "max") if s.has(2) else np.float32(s.get("max", np.inf))
    return _limited(s, s.value(0), np.asarray(low), np.asarray(high))


@handles("Max", "Min")
def _extreme(s: Source) -> Value:
    """Constants are limits; activations lie one above the other and are pooled, for Min with their signs turned."""
    sign = np.float32(1 if s.kind == "Max" else -1)
    values = [given for given in s.inputs if isinstance(given, Value)]
    y = values[0]
    if len(values) > 1:
        y = _greatest(s, [v if sign > 0 else affine(s, v, sign, np.float32(0)) for v in values])
        y = y if sign > 0 else affine(s, y, sign, np.float32(0))
    for i, given in enumerate(s.inputs):
        if not isinstance(given, Value):
            limit = s.floats(i, "limit")
            ends = (limit, np.float32(np.inf)) if s.kind == "Max" else (np.float32(-np.inf), limit)
            y = _limited(s, y, np.asarray(ends[0]), np.asarray(ends[1]))
    return y


def _greatest(s: Source, values: Sequence[Value]) -> Value:
    values = _in_one_shape(s, values, "maximum")
    ours = s.build.ours(values[0])
    rows = [s.build.reshaped(v.tensor, (1, 1, 1, s.build.types[v.tensor].size)) for v in values]
    y = s.build.emit(MaxPool2D((len(rows), 1)), [s.build.emit(Concat(1), rows)])
    return Value(s.build.reshaped(y, ours), values[0].groups)


def _limited(s: Source, value: Value, low: Array, high: Array) -> Value:
    s.refuse(low.size != 1 or high.size != 1, "a limit that differs between elements", "One number each.")
    lo, hi = float(low.reshape(-1)[0]), float(high.reshape(-1)[0])
    if np.isnan(lo) or np.isnan(hi):
        raise CompileError(f"limits {lo} and {hi}")
    if lo == -np.inf and hi == np.inf:
        return value
    return _table(s, value, "clip", min(lo, hi), hi)


# ---- arithmetic ---------------------------------------------------------------------------------


@handles("Add", "Sum", "Sub")
def _sum(s: Source) -> Value:
    total: Value | None = None
    constant = np.zeros((), np.float32)
    for i, given in enumerate(s.inputs):
        sign = np.float32(-1 if s.kind == "Sub" and i == 1 else 1)
        if not isinstance(given, Value):
            constant = constant + s.floats(i, "constant") * sign
            continue
        if sign < 0:
            given = affine(s, given, sign, np.float32(0))
        total = given if total is None else _added(s, total, given)
    assert total is not None
    return total if constant.ndim == 0 and constant == 0 else affine(s, total, np.float32(1), constant)


def _added(s: Source, a: Value, b: Value) -> Value:
    a, b = _in_one_shape(s, (a, b), "sum")
    return Value(s.build.emit(Add(), [a.tensor, b.tensor]), a.groups)


def _in_one_shape(s: Source, values: Sequence[Value], what: str) -> list[Value]:
    """The values in one layout; those of fewer dimensions get some of size 1 in front."""
    rank = max(len(v.groups) for v in values)
    shapes = [(1,) * (rank - len(v.groups)) + s.shape(v) for v in values]
    s.refuse(
        len(set(shapes)) > 1,
        f"a {what} of activations of shapes {' and '.join(str(list(shape)) for shape in shapes)}",
        "All must have one shape.",
    )
    return s.build.align(
        [v if len(v.groups) == rank else s.build.reshape(v, n) for v, n in zip(values, shapes, strict=True)]
    )


@handles("Mul", "Div")
def _product(s: Source) -> Value:
    a, b = s.inputs[:2]
    divide = s.kind == "Div"
    if isinstance(a, Value) and isinstance(b, Value):
        y = self_product(s, a, b, divide)
        s.refuse(y is None and divide, "a quotient of two activations", "Only x / f(x) that is softsign or the like.")
        return y or _multiplied(s, a, b)
    if isinstance(a, Value):
        factor = s.floats(1, "constant")
        if divide and (factor == 0).any():
            raise CompileError("a division by 0")
        return affine(s, a, np.float32(1) / factor if divide else factor, np.float32(0))
    value = s.value(1)
    if divide:
        value = _table(s, value, "reciprocal")
    return affine(s, value, s.floats(0, "constant"), np.float32(0))


def _multiplied(s: Source, a: Value, b: Value) -> Value:
    """Of one shape, or a gate [N, C, 1, 1] for each channel of an image [N, C, H, W]; both may be channels last."""
    a, b = sorted((a, b), key=lambda v: -s.build.types[v.tensor].size)
    image, gate = s.shape(a), s.shape(b)
    if image != gate and len(image) == 4 and gate == (image[0], 1, 1, image[3]):
        a, b = (Value(v.tensor, tuple(v.groups[i] for i in (0, 3, 1, 2))) for v in (a, b))
        made = _multiplied(s, a, b)
        return Value(made.tensor, tuple(made.groups[i] for i in (0, 2, 3, 1)))
    if image != gate and len(image) in (3, 4) and gate == (*image[:2], *(1,) * (len(image) - 2)):
        tensors = [s.build.image(v, "a product of activations") for v in (a, b)]
        return s.build.image_value(s.build.emit(Mul(), tensors), len(image))
    a, b = _in_one_shape(s, (a, b), "product")
    return Value(s.build.emit(Mul(), [a.tensor, b.tensor]), a.groups)


@handles("Pow")
def _power(s: Source) -> Value:
    exponent = s.constant(1, "exponent")
    s.refuse(exponent.size != 1, "an exponent that differs between elements", "One number.")
    return _table(s, s.value(0), "pow", float(exponent.reshape(-1)[0]))
