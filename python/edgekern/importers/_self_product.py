# SPDX-License-Identifier: Apache-2.0
"""Products of an activation with a function of itself: the many spellings of silu, hard_swish, gelu and mish."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekern.importers._affine import affine
from edgekern.importers._layout import Value
from edgekern.importers._source import Source
from edgekern.ops.add import Add
from edgekern.ops.affine import Affine
from edgekern.ops.pointwise import FUNCTIONS, fast
from edgekern.ops.table import Table
from edgekern.types import Array

__all__ = ["self_product"]

Function = Callable[[Array], Array]

_DEPTH = 12  # nodes looked back
_NEAR = np.linspace(-9.7, 9.7, 389).astype(np.float32)
_TAIL = np.geomspace(10, 1e5, 65)  # a limit beyond the near ones shows here
_FAR = np.concatenate([-_TAIL, _TAIL]).astype(np.float32)


def self_product(s: Source, a: Value, b: Value, divide: bool) -> Value | None:
    """x * sigmoid(x) and its kin, however spelled: both factors are functions of one tensor, so their product is one.

    The product is tabulated and compared with every function of one variable that a Table knows, up to a factor; None
    where it is none of them.
    """
    of_a, of_b = _functions(s, a.tensor), _functions(s, b.tensor)
    common = next((tensor for tensor in of_a if tensor in of_b), None)
    if common is not None and a.groups == b.groups:
        with np.errstate(all="ignore"):
            probes = np.concatenate([_NEAR, _FAR, _edges(s)])
            left, right = of_a[common](probes), of_b[common](probes)
            found = _recognise(probes, left / right if divide else left * right)
        if found is not None:
            function, parameters, factor = found
            y = Value(s.build.emit(Table(function, parameters), [common]), a.groups)
            return y if factor == 1 else affine(s, y, np.float32(factor), np.float32(0))
    return None


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


def _edges(s: Source) -> Array:
    """Around the parameters of every Table so far: a function may change course there and nowhere near a probe."""
    parameters = {p for node in s.build.nodes if isinstance(node.op, Table) for p in node.op.parameters}
    around = [sign * scale * p for p in sorted(parameters) for sign in (-1, 1) for scale in (0.5, 1, 2)]
    return np.array([p for p in around if np.isfinite(p)], np.float32)


def _recognise(probes: Array, values: Array) -> tuple[str, tuple[float, ...], float] | None:
    """(function, parameters, factor) with values = factor * function(probes).

    The factor is fitted to the near probes, where everything must be finite; the others are compared where both sides
    are (a spelling such as log(1 + exp(x)) overflows far out, the function it spells does not).
    """
    near = slice(len(_NEAR))
    if not np.isfinite(values[near]).all():
        return None
    noise = 3e-6 * float(np.abs(values[near]).max())
    candidates = [(name, ()) for name, count in FUNCTIONS.items() if count == 0]
    for name, parameters in [*candidates, ("pow", (2.0,)), ("pow", (3.0,))]:
        wanted = fast(name, parameters, probes).astype(np.float64)
        if not np.isfinite(wanted[near]).all():
            continue
        square = float(wanted[near] @ wanted[near])
        factor = float(values[near].astype(np.float64) @ wanted[near] / max(square, 1e-30))
        if abs(factor - round(factor, 5)) < 2e-6:
            factor = round(factor, 5)
        error = np.abs(values - factor * wanted)
        far = np.isfinite(error)
        far[near] = False
        close = (error[near] <= noise).all() and (error[far] <= noise + 1e-5 * np.abs(values[far])).all()
        if close and factor != 0:
            return name, tuple(parameters), factor
    return None
