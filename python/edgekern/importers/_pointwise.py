# SPDX-License-Identifier: Apache-2.0
"""Source operators on single elements: activation functions, arithmetic with constants, sums of activations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekern.errors import CompileError
from edgekern.importers._affine import affine
from edgekern.importers._layout import Value
from edgekern.importers._source import Source, handles
from edgekern.ops.add import Add
from edgekern.ops.affine import Affine
from edgekern.ops.pointwise import FUNCTIONS, fast
from edgekern.ops.table import Table
from edgekern.types import Array

__all__: list[str] = []

Function = Callable[[Array], Array]

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
    constants = [i for i, given in enumerate(s.inputs) if not isinstance(given, Value)]
    s.refuse(len(s.inputs) - len(constants) != 1, f"{s.kind} of two activations", "One activation and constants.")
    value = next(given for given in s.inputs if isinstance(given, Value))
    limits = [s.floats(i, "limit") for i in constants]
    for limit in limits:
        ends = (limit, np.float32(np.inf)) if s.kind == "Max" else (np.float32(-np.inf), limit)
        value = _limited(s, value, np.asarray(ends[0]), np.asarray(ends[1]))
    return value


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
    shape_a, shape_b = s.shape(a), s.shape(b)
    rank = max(len(shape_a), len(shape_b))
    shape_a, shape_b = ((1,) * (rank - len(n)) + n for n in (shape_a, shape_b))
    s.refuse(
        shape_a != shape_b,
        f"a sum of activations of shapes {list(shape_a)} and {list(shape_b)}",
        "Both must have one shape.",
    )
    a, b = (v if len(v.groups) == rank else s.build.reshape(v, shape_a) for v in (a, b))
    a, b = s.build.align([a, b])
    return Value(s.build.emit(Add(), [a.tensor, b.tensor]), a.groups)


@handles("Mul", "Div")
def _product(s: Source) -> Value:
    a, b = s.inputs[:2]
    divide = s.kind == "Div"
    if isinstance(a, Value) and isinstance(b, Value):
        return _product_of_two(s, a, b, divide)
    if isinstance(a, Value):
        factor = s.floats(1, "constant")
        if divide and (factor == 0).any():
            raise CompileError("a division by 0")
        return affine(s, a, np.float32(1) / factor if divide else factor, np.float32(0))
    value = s.value(1)
    if divide:
        value = _table(s, value, "reciprocal")
    return affine(s, value, s.floats(0, "constant"), np.float32(0))


@handles("Pow")
def _power(s: Source) -> Value:
    exponent = s.constant(1, "exponent")
    s.refuse(exponent.size != 1, "an exponent that differs between elements", "One number.")
    return _table(s, s.value(0), "pow", float(exponent.reshape(-1)[0]))


# ---- products of an activation with a function of itself ------------------------------------------

_DEPTH = 12  # nodes looked back
_PROBES = np.linspace(-9.7, 9.7, 389).astype(np.float32)


def _product_of_two(s: Source, a: Value, b: Value, divide: bool) -> Value:
    """x * sigmoid(x) and its kin, however spelled: both factors are functions of one tensor, so their product is one.

    The product is tabulated and compared with every function of one variable that a Table knows, up to a factor.
    """
    of_a, of_b = _functions(s, a.tensor), _functions(s, b.tensor)
    common = next((tensor for tensor in of_a if tensor in of_b), None)
    if common is not None and a.groups == b.groups:
        with np.errstate(all="ignore"):
            left, right = of_a[common](_PROBES), of_b[common](_PROBES)
            found = _recognise(left / right if divide else left * right)
        if found is not None:
            function, parameters, factor = found
            y = Value(s.build.emit(Table(function, parameters), [common]), a.groups)
            return y if factor == 1 else affine(s, y, np.float32(factor), np.float32(0))
    s.refuse(
        True,
        f"a {'quotient' if divide else 'product'} of two activations",
        "Only x * f(x) that makes silu, hard_swish, gelu, mish or the like.",
    )
    raise AssertionError


def _functions(s: Source, tensor: str) -> dict[str, Function]:
    """The tensor as a function of itself and of every tensor it was computed from element by element."""
    makers = {node.output: node for node in s.build.nodes}

    def of(name: str, depth: int) -> dict[str, Function]:
        found: dict[str, Function] = {name: lambda x: x}
        node = makers.get(name)
        if node is None or depth == 0:
            return found
        if isinstance(node.op, Add):
            left, right = (of(i, depth - 1) for i in node.inputs)
            found.update({r: _summed(left[r], right[r]) for r in left if r in right})
            return found
        if isinstance(node.op, Table):
            outer: Function = _tabled(node.op)
        elif isinstance(node.op, Affine):
            weights, bias = (s.build.constants[c] for c in node.constants)
            if (weights != weights[0]).any() or (bias != bias[0]).any():
                return found
            outer = _scaled(float(weights[0]), float(bias[0]))
        else:
            return found
        found.update({r: _composed(outer, inner) for r, inner in of(node.inputs[0], depth - 1).items()})
        return found

    return of(tensor, _DEPTH)


def _tabled(op: Table) -> Function:
    return lambda x: fast(op.function, op.parameters, x)


def _scaled(a: float, b: float) -> Function:
    return lambda x: np.asarray(a * x + b)


def _summed(a: Function, b: Function) -> Function:
    return lambda x: a(x) + b(x)


def _composed(outer: Function, inner: Function) -> Function:
    return lambda x: outer(inner(x))


def _recognise(values: Array) -> tuple[str, tuple[float, ...], float] | None:
    """(function, parameters, factor) with values = factor * function(probes)."""
    if not np.isfinite(values).all():
        return None
    candidates = [(name, ()) for name, count in FUNCTIONS.items() if count == 0]
    for name, parameters in [*candidates, ("pow", (2.0,)), ("pow", (3.0,))]:
        wanted = fast(name, parameters, _PROBES).astype(np.float64)
        if not np.isfinite(wanted).all():
            continue
        factor = float(values.astype(np.float64) @ wanted / max(float(wanted @ wanted), 1e-30))
        if abs(factor - round(factor, 5)) < 2e-6:
            factor = round(factor, 5)
        if np.abs(values - factor * wanted).max() <= 3e-6 * np.abs(values).max() and factor != 0:
            return name, tuple(parameters), factor
    return None
