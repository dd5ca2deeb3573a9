# SPDX-License-Identifier: Apache-2.0
"""Source operators that multiply matrices: an activation and a constant."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgekern.errors import ShapeError
from edgekern.importers._affine import affine
from edgekern.importers._layout import Value
from edgekern.importers._source import Source, handles
from edgekern.ops.conv2d import Conv2D
from edgekern.ops.linear import linear
from edgekern.types import Array

__all__: list[str] = []


@handles("Gemm")
def _gemm(s: Source) -> Value:
    value, b = s.value(0), s.floats(1, "matrix B")
    if s.get("transA", 0):
        value = Value(value.tensor, value.groups[::-1])
    alpha = np.float32(s.get("alpha", 1.0))
    b = (b.T if s.get("transB", 0) else b) * alpha
    y = _linear(s, value, b, s.scales(1, 0 if s.get("transB", 0) else 1) if alpha == 1 else None)
    if not s.has(2):
        return y
    return affine(s, y, np.float32(1), s.floats(2, "matrix C") * np.float32(s.get("beta", 1.0)))


@handles("MatMul")
def _matmul(s: Source) -> Value:
    s.refuse(
        len(s.inputs) > 1 and isinstance(s.inputs[0], Value) and isinstance(s.inputs[1], Value),
        "a product of two activations",
        "One side must be a constant.",
    )
    if isinstance(s.inputs[1], Value):
        return _matmul_constant_left(s)
    value, b = s.value(0), s.floats(1, "matrix B")
    scales = s.scales(1, b.ndim - 1)
    while b.ndim > 2 and b.shape[0] == 1:
        b = b[0]
    if b.ndim > 2:
        return _stacked(s, value, b, scales)
    if b.ndim == 1:
        y = _linear(s, value, b[:, None])
        return s.build.reshape(y, s.shape(y)[:-1])
    return _linear(s, value, b, scales)


def _matmul_constant_left(s: Source) -> Value:
    """A @ x = (x' @ A')' where ' swaps the last two dimensions."""
    a, value = s.floats(0, "matrix A"), s.value(1)
    while a.ndim > 2 and a.shape[0] == 1:
        a = a[0]
    s.refuse(a.ndim != 2 or len(value.groups) < 2, f"a constant of shape {list(a.shape)} on the left")
    y = _linear(s, _swap(value), np.ascontiguousarray(a.T))
    return _swap(y)


def _stacked(s: Source, value: Value, b: Array, scales: Array | None) -> Value:
    """A matrix for each slice, b [*S, K, N]: one wide matrix if x has no slices of its own, else a grouped 1x1."""
    source = s.shape(value)
    k, n = b.shape[-2:]
    if source[-1] != k:
        raise ShapeError(f"shapes {list(source)} and {list(b.shape)} do not multiply")
    row = value.groups[-2] if len(source) > 1 else ()
    rows = source[-2] if len(source) > 1 else 1
    lead = np.broadcast_shapes(source[:-2], b.shape[:-2])
    slices = math.prod(lead)
    if value.batch is not None:
        place = value.batch + len(lead) - (len(source) - 2)
        inside = value.batch < len(source) - 2 and lead[place] == 1
        s.refuse(not inside, f"a constant of shape {list(b.shape)} along the batch")
    if math.prod(source[:-2]) == 1:
        wide = np.broadcast_to(b, (*lead, k, n)).reshape(slices, k, n).transpose(1, 0, 2).reshape(k, slices * n)
        wide_scales = None if scales is None else np.tile(scales, slices)
        flat = _linear(s, Value(value.tensor, (row, value.groups[-1])), wide, wide_scales)
    else:
        s.refuse(lead != source[:-2], f"slices {list(source[:-2])} that a constant {list(b.shape)} repeats")
        each = np.broadcast_to(b, (*lead, k, n)).reshape(slices, k, n)
        order = [len(source) - 2, *range(len(source) - 2), len(source) - 1]
        x = s.build.materialise(value, order, (1, 1, rows, slices * k))
        weights = each.transpose(0, 2, 1).reshape(slices * n, 1, 1, k)
        y = s.build.emit(Conv2D((1, 1), groups=slices), [x], [weights, np.zeros(slices * n, np.float32)])
        s.build.keep_integers(None if scales is None else np.tile(scales, slices))
        flat = s.build.plain(y, [-1, 0, 1], 2, None)
    split = s.build.reshape(flat, (rows, *lead, n))
    groups = [*split.groups[1:-1], *([split.groups[0]] if len(source) > 1 else []), split.groups[-1]]
    if value.batch is not None:
        groups[value.batch + len(groups) - len(source)] = (0,)
    return Value(split.tensor, tuple(() if g == (0,) and i != value.batch else g for i, g in enumerate(groups)))


def _swap(value: Value) -> Value:
    *first, a, b = value.groups
    return Value(value.tensor, (*first, b, a))


def _linear(s: Source, value: Value, b: Array, scales: Array | None = None) -> Value:
    """Contracts the last source dimension with b [K, N]: a convolution over the whole map, or a 1x1 one.

    Args:
        s: The node.
        value: What is multiplied.
        b: The matrix.
        scales: [N], where the model holds b as integers.
    """
    source = s.shape(value)
    if b.ndim != 2 or not source or source[-1] != b.shape[0]:
        raise ShapeError(f"shapes {list(source)} and {list(b.shape)} do not multiply")
    s.refuse(value.batch == len(source) - 1, "a product over the batch", "Keep the batch first.")
    rows = [i for i in range(len(source) - 1) if source[i] > 1]
    ours = s.build.ours(value)
    n = b.shape[1]
    bias = np.zeros(n, np.float32)
    if not rows:
        sequence = value.groups[-1]
        order = sorted(sequence)
        extents = [ours[d] for d in sequence]
        permuted = b.reshape(*extents, n).transpose(len(sequence), *(sequence.index(d) for d in order))
        x = value.tensor if len(ours) in (2, 4) else s.build.reshaped(value.tensor, (1, b.shape[0]))
        op, weights = linear(permuted.reshape(n, b.shape[0]), s.build.types[x].shape)
        y = s.build.emit(op, [x], [weights, bias])
        s.build.keep_integers(scales)
        body = [-1] * (len(s.build.types[y].shape) - 2) + [len(source) - 1]
        return s.build.plain(y, body, len(source), value.batch)
    if len(ours) == 4 and value.groups[-1] == (3,):  # a 1x1 convolution where the tensor lies
        y = s.build.emit(Conv2D((1, 1)), [value.tensor], [b.T.reshape(n, 1, 1, b.shape[0]), bias])
        s.build.keep_integers(scales)
        return Value(y, (*value.groups[:-1], (3,) if n > 1 else ()))
    height = source[rows[0]] if len(rows) > 1 else 1
    width = math.prod(source[i] for i in rows[1:]) if len(rows) > 1 else source[rows[0]]
    x = s.build.materialise(value, range(len(source)), (1, height, width, source[-1]))
    y = s.build.emit(Conv2D((1, 1)), [x], [b.T.reshape(n, 1, 1, b.shape[0]), bias])
    s.build.keep_integers(scales)
    return _row_result(s, y, value, source[:-1], n)


def _row_result(s: Source, y: str, value: Value, lead: Sequence[int], n: int) -> Value:
    """The result [1, H, W, N] of a product as the source value [*lead, N]; the batch stays where it was."""
    shape = s.build.types[y].shape
    groups = tuple((d,) for d in (1, 2, 3) if shape[d] > 1)
    done = s.build.reshape(Value(y, groups), (*lead, n))
    if value.batch is None:
        return done
    return Value(done.tensor, tuple((0,) if i == value.batch else g for i, g in enumerate(done.groups)))
