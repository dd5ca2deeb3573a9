# SPDX-License-Identifier: Apache-2.0
"""Real functions of one variable: each in NumPy for float graphs, and with 50 digits for byte tables.

A function takes its parameters after x. The exact one gets one `Decimal` under a context of 60 digits, and may
answer infinity or NaN.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache

import numpy as np

from edgekern.types import Array

__all__ = ["FUNCTIONS", "exact", "fast"]

Exact = Callable[..., Decimal]
Fast = Callable[..., Array]

_INF, _NAN = Decimal("Infinity"), Decimal("NaN")
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
_SELU = Decimal("1.6732632423543772848170429916717"), Decimal("1.0507009873554804934193349852946")
_DIGITS = decimal.Context(prec=60, traps=[decimal.InvalidOperation, decimal.DivisionByZero])  # overflow: infinity
_FAR = 140  # beyond it exp(-x) is below 60 digits


def _sigmoid(x: Decimal) -> Decimal:
    return 1 / (1 + (-x).exp())


def _tanh(x: Decimal) -> Decimal:
    return 2 * _sigmoid(2 * x) - 1


def _softplus(x: Decimal) -> Decimal:
    return x if x > _FAR else (1 + x.exp()).ln()


def _erf(x: Decimal) -> Decimal:
    """2 / sqrt(pi) * exp(-x^2) * sum of 2^n x^(2n+1) / (1 * 3 * ... * (2n+1)): no term changes sign."""
    if abs(x) > 12:
        return Decimal(1).copy_sign(x)
    term = total = x
    n = 0
    while abs(term) > abs(total) * Decimal("1e-60"):
        n += 1
        term = term * 2 * x * x / (2 * n + 1)
        total += term
    return 2 / _PI.sqrt() * (-x * x).exp() * total


def _sin(x: Decimal) -> Decimal:
    x = x % (2 * _PI)
    term = total = x
    n = 1
    while abs(term) > Decimal("1e-60"):
        term = -term * x * x / ((n + 1) * (n + 2))
        n += 2
        total += term
    return total


def _pow(x: Decimal, p: Decimal) -> Decimal:
    if p == p.to_integral_value():
        if x == 0:
            return Decimal(1) if p == 0 else Decimal(0) if p > 0 else _INF
        return x ** int(p)
    if x <= 0:
        return _NAN if x < 0 else Decimal(0) if p > 0 else _INF
    return (p * x.ln()).exp()


def _clip(x: Decimal, lo: Decimal, hi: Decimal) -> Decimal:
    return min(max(x, lo), hi)


def _hard_sigmoid(x: Decimal, alpha: Decimal, beta: Decimal) -> Decimal:
    return _clip(alpha * x + beta, Decimal(0), Decimal(1))


def _gelu_tanh(x: Decimal) -> Decimal:
    return x * _sigmoid(2 * (2 / _PI).sqrt() * (x + Decimal("0.044715") * x * x * x))


def _atan(x: Decimal) -> Decimal:
    """By atan(x) = 2 atan(x / (1 + sqrt(1 + x^2))) until x is small, then x - x^3/3 + x^5/5 - …."""
    for _ in range(4):
        x = x / (1 + (1 + x * x).sqrt())
    power = total = x
    n = 1
    while abs(power) > Decimal("1e-62"):
        power *= -x * x
        n += 2
        total += power / n
    return 16 * total


def _asin(x: Decimal) -> Decimal:
    if abs(x) >= 1:
        return (_PI / 2).copy_sign(x) if abs(x) == 1 else _NAN
    return _atan(x / (1 - x * x).sqrt())


def _asinh(x: Decimal) -> Decimal:
    return (abs(x) + (x * x + 1).sqrt()).ln().copy_sign(x)


def _atanh(x: Decimal) -> Decimal:
    if abs(x) >= 1:
        return _INF.copy_sign(x) if abs(x) == 1 else _NAN
    return ((1 + x) / (1 - x)).ln() / 2


def _round_down(x: Decimal) -> Decimal:
    return x.to_integral_value(decimal.ROUND_FLOOR)


_EXACT: dict[str, Exact] = {
    "abs": abs,
    "acos": lambda x: _PI / 2 - _asin(x),
    "acosh": lambda x: (x + (x * x - 1).sqrt()).ln() if x >= 1 else _NAN,
    "affine": lambda x, a, b: a * x + b,
    "asin": _asin,
    "asinh": _asinh,
    "atan": _atan,
    "atanh": _atanh,
    "ceil": lambda x: -_round_down(-x),
    "celu": lambda x, a: x if x > 0 else a * ((x / a).exp() - 1),
    "clip": _clip,
    "cos": lambda x: _sin(x + _PI / 2),
    "cosh": lambda x: (x.exp() + (-x).exp()) / 2,
    "elu": lambda x, a: x if x > 0 else a * (x.exp() - 1),
    "erf": _erf,
    "exp": lambda x: x.exp(),
    "floor": _round_down,
    "gelu": lambda x: x * (1 + _erf(x / Decimal(2).sqrt())) / 2,
    "gelu_tanh": _gelu_tanh,
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": lambda x: x * _clip(x + 3, Decimal(0), Decimal(6)) / 6,
    "leaky_relu": lambda x, a: x if x >= 0 else a * x,
    "log": lambda x: x.ln() if x > 0 else (-_INF if x == 0 else _NAN),
    "mish": lambda x: x * _tanh(_softplus(x)),
    "neg": lambda x: -x,
    "pow": _pow,
    "reciprocal": lambda x: 1 / x if x != 0 else _INF,
    "relu": lambda x: max(x, Decimal(0)),
    "round": lambda x: x.to_integral_value(decimal.ROUND_HALF_EVEN),
    "selu": lambda x: _SELU[1] * (x if x > 0 else _SELU[0] * (x.exp() - 1)),
    "sigmoid": _sigmoid,
    "sign": lambda x: Decimal((x > 0) - (x < 0)),
    "silu": lambda x: x * _sigmoid(x),
    "sin": _sin,
    "sinh": lambda x: (x.exp() - (-x).exp()) / 2,
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + abs(x)),
    "sqrt": lambda x: x.sqrt() if x >= 0 else _NAN,
    "tan": lambda x: _sin(x) / _sin(x + _PI / 2),
    "tanh": _tanh,
    "thresholded_relu": lambda x, a: x if x > a else Decimal(0),
}


@lru_cache(maxsize=1)
def _erf_grid() -> tuple[Array, Array]:
    x = np.linspace(-6.0, 6.0, 1 << 16)
    return x, np.array([math.erf(v) for v in x])


def _fast_erf(x: Array) -> Array:
    return np.interp(x, *_erf_grid())


def _fast_sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _fast_softplus(x: Array) -> Array:
    return np.logaddexp(x, 0)


_FAST: dict[str, Fast] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "affine": lambda x, a, b: a * x + b,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "celu": lambda x, a: np.where(x > 0, x, a * np.expm1(x / a)),
    "clip": np.clip,
    "cos": np.cos,
    "cosh": np.cosh,
    "elu": lambda x, a: np.where(x > 0, x, a * np.expm1(x)),
    "erf": _fast_erf,
    "exp": np.exp,
    "floor": np.floor,
    "gelu": lambda x: x * (1 + _fast_erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * _fast_sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
    "hard_sigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "leaky_relu": lambda x, a: np.where(x >= 0, x, a * x),
    "log": np.log,
    "mish": lambda x: x * np.tanh(_fast_softplus(x)),
    "neg": np.negative,
    "pow": np.power,
    "reciprocal": np.reciprocal,
    "relu": lambda x: np.maximum(x, 0),
    "round": np.rint,
    "selu": lambda x: float(_SELU[1]) * np.where(x > 0, x, float(_SELU[0]) * np.expm1(x)),
    "sigmoid": _fast_sigmoid,
    "sign": np.sign,
    "silu": lambda x: x * _fast_sigmoid(x),
    "sin": np.sin,
    "sinh": np.sinh,
    "softplus": _fast_softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
    "thresholded_relu": lambda x, a: np.where(x > a, x, 0),
}

#: Parameters of each function: their number.
FUNCTIONS: dict[str, int] = {
    name: {"affine": 2, "clip": 2, "hard_sigmoid": 2}.get(
        name, int(name in {"celu", "elu", "leaky_relu", "pow", "thresholded_relu"})
    )
    for name in _EXACT
}


def exact(function: str, parameters: Sequence[float], values: Sequence[Decimal]) -> list[Decimal]:
    """The function of each value, to 50 digits.

    >>> [str(v)[:12] for v in exact("gelu", (), [Decimal(1)])]
    ['0.8413447460']
    """
    with decimal.localcontext(_DIGITS):
        given = [Decimal(p) for p in parameters]
        return [_EXACT[function](x, *given) for x in values]


def fast(function: str, parameters: Sequence[float], x: Array) -> Array:
    """The function of float32 values, through float64."""
    with np.errstate(all="ignore"):
        return np.asarray(_FAST[function](x.astype(np.float64), *parameters)).astype(np.float32)
