# SPDX-License-Identifier: Apache-2.0
"""Source operators that move or rename elements and compute nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgekern.errors import ShapeError
from edgekern.importers._layout import Value
from edgekern.importers._slices import repeated
from edgekern.importers._source import Source, handles
from edgekern.importers._text import type_name
from edgekern.ops.concat import Concat
from edgekern.ops.pad import Pad
from edgekern.types import Array

__all__: list[str] = []


@handles("Identity", "Dropout")
def _identity(s: Source) -> Value:
    training = s.has(2) and bool(np.any(s.constant(2, "training_mode")))
    drops = not s.has(1) or bool(np.any(s.constant(1, "ratio") != 0))
    s.refuse(training and drops, "training_mode 1", "Export the model in evaluation mode.")
    return s.value(0)


@handles("Cast")
def _cast(s: Source) -> Value:
    value, kind = s.value(0), type_name(int(s.get("to", 0)))
    s.refuse(kind.lower() != (value.integers or "float"), f"a cast of an activation to {kind}", "float32 only.")
    return value


@handles("Shape")
def _shape(s: Source) -> Array:
    shape = s.shape(s.value(0))
    first, last = int(s.get("start", 0)), s.get("end")
    return np.array(shape[first : None if last is None else int(last)], np.int64)


@handles("Size")
def _size(s: Source) -> Array:
    return np.array(math.prod(s.shape(s.value(0))), np.int64)


@handles("Transpose")
def _transpose(s: Source) -> Value:
    value = s.value(0)
    perm = [int(i) for i in s.get("perm", reversed(range(len(value.groups))))]
    if sorted(perm) != list(range(len(value.groups))):
        raise ShapeError(f"perm {perm} of a tensor of {len(value.groups)} dimensions")
    return Value(value.tensor, tuple(value.groups[i] for i in perm))


@handles("Reshape")
def _reshape(s: Source) -> Value:
    value = s.value(0)
    asked = s.ints(1, "shape") or []
    return s.build.reshape(value, resolve(asked, s.shape(value), s.batch, bool(s.get("allowzero", 0))))


def resolve(asked: Sequence[int], source: Sequence[int], batch: int, allowzero: bool = False) -> list[int]:
    """The target shape for one frame, with 0 (copy), -1 (the rest) and the batch filled in.

    Args:
        asked: As the model says.
        source: Of the activation, the batch as 1.
        batch: The model was exported with.
        allowzero: 0 means an empty dimension.

    Raises:
        ShapeError: It does not fit.

    >>> resolve([8, -1], (1, 3, 4), batch=8)
    [1, 12]
    """
    wrong = ShapeError(f"shape {list(asked)} does not fit a tensor of shape {list(source)}")
    if asked.count(-1) > 1 or (0 in asked and (allowzero or asked.index(0) >= len(source))):
        raise wrong
    target = [source[i] if n == 0 and i < len(source) else n for i, n in enumerate(asked)]
    total = math.prod(source)
    for scale in dict.fromkeys((1, batch)):
        known = math.prod(n for n in target if n != -1)
        if scale > 1:
            if not target or target[0] == -1 or target[0] % scale:
                continue
            known //= scale
        if -1 in target and known > 0 and total % known == 0:
            filled = [total // known if n == -1 else n for n in target]
        elif -1 not in target and known == total:
            filled = list(target)
        else:
            continue
        if scale > 1:
            filled[0] //= scale
        return filled
    raise wrong


@handles("Flatten")
def _flatten(s: Source) -> Value:
    value = s.value(0)
    source = s.shape(value)
    axis = int(s.get("axis", 1))
    axis = axis if axis == len(source) else s.axis(axis, len(source))
    return s.build.reshape(value, (math.prod(source[:axis]), math.prod(source[axis:])))


@handles("Squeeze")
def _squeeze(s: Source) -> Value:
    value = s.value(0)
    source = s.shape(value)
    axes = s.ints(1, "axes")
    if axes is None:
        dropped = {i for i, n in enumerate(source) if n == 1 and (i != value.batch or s.batch == 1)}
    else:
        dropped = {s.axis(a, len(source)) for a in axes}
    if any(source[i] != 1 for i in dropped):
        raise ShapeError(f"squeeze of dimensions {sorted(dropped)} of shape {list(source)}")
    return Value(value.tensor, tuple(g for i, g in enumerate(value.groups) if i not in dropped))


@handles("Unsqueeze")
def _unsqueeze(s: Source) -> Value:
    value = s.value(0)
    axes = s.ints(1, "axes") or []
    rank = len(value.groups) + len(axes)
    new = {s.axis(a, rank) for a in axes}
    rest = iter(value.groups)
    return Value(value.tensor, tuple(() if i in new else next(rest) for i in range(rank)))


@handles("DepthToSpace", "SpaceToDepth")
def _blocks(s: Source) -> Value:
    """Channels become pixels of a block, or back: a split, a turn, a join."""
    value, size = s.value(0), int(s.attributes["blocksize"])
    n, c, h, w = s.shape(value)
    column_first = s.get("mode", "DCR") == "CRD"
    if s.kind == "SpaceToDepth":
        shape = (n, c, h // size, size, w // size, size)
        perm = (0, 1, 3, 5, 2, 4) if column_first else (0, 3, 5, 1, 2, 4)
        joined = (n, c * size * size, h // size, w // size)
    else:
        depth = c // (size * size)
        shape = (n, depth, size, size, h, w) if column_first else (n, size, size, depth, h, w)
        perm = (0, 1, 4, 2, 5, 3) if column_first else (0, 3, 4, 1, 5, 2)
        joined = (n, depth, h * size, w * size)
    split = s.build.reshape(value, shape)
    return s.build.reshape(Value(split.tensor, tuple(split.groups[i] for i in perm)), joined)


@handles("Concat")
def _concat(s: Source) -> Value:
    values = [s.value(i) for i in range(len(s.inputs))]
    rank = len(values[0].groups)
    axis = s.axis(int(s.attributes["axis"]), rank)
    s.refuse(any(v.batch == axis for v in values), "a concatenation along the batch", "Use another axis.")
    shapes = [s.shape(v) for v in values]
    rests = {tuple(n for i, n in enumerate(shape) if i != axis) for shape in shapes}
    if len(rests) > 1 or any(len(shape) != rank for shape in shapes):
        raise ShapeError(f"shapes {[list(shape) for shape in shapes]} do not join along axis {axis}")
    if len(values) == 1:
        return values[0]
    first = values[0]
    same = all(v.groups == first.groups and len(s.build.ours(v)) == len(s.build.ours(first)) for v in values)
    if same and len(first.groups[axis]) == 1:
        y = s.build.emit(Concat(first.groups[axis][0]), [v.tensor for v in values])
        return Value(y, first.groups)
    body = [i for i in first.natural_order() if i != first.batch]
    tensors = [
        s.build.materialise(v, body, (1, *(shape[i] for i in body))) for v, shape in zip(values, shapes, strict=True)
    ]
    return s.build.plain(s.build.emit(Concat(1 + body.index(axis)), tensors), body, rank, first.batch)


@handles("Pad")
def _pad(s: Source) -> Value:
    value = s.value(0)
    mode = s.get("mode", "constant")
    s.refuse(mode not in ("constant", "edge", "reflect"), f"mode {mode!r}", "Use constant, edge or reflect.")
    rank = len(value.groups)
    pads = s.ints(1, "pads") if "paddings" not in s.attributes else list(s.attributes["paddings"])
    axes = [s.axis(int(a), rank) for a in s.constant(3, "axes")] if s.has(3) else list(range(rank))
    if pads is None or len(pads) != 2 * len(axes):
        raise ShapeError(f"pads {pads} for {len(axes)} dimensions")
    fill = float(s.floats(2, "value").reshape(-1)[0]) if s.has(2) else float(s.get("value", 0.0))
    before = dict(zip(axes, pads[: len(axes)], strict=True))
    after = dict(zip(axes, pads[len(axes) :], strict=True))
    s.refuse(min(pads, default=0) < 0, f"negative pads {pads}", "Slice the tensor instead.")
    touched = [i for i in value.natural_order() if before.get(i, 0) or after.get(i, 0)]
    s.refuse(value.batch in touched, "padding of the batch")
    if not touched:
        return value
    source = s.shape(value)
    if mode != "constant":
        for i in touched:
            value = repeated(s, value, i, _outside(source[i], before.get(i, 0), after.get(i, 0), mode))
        return value
    h, w, c = _three(value, source, touched)
    x = s.build.materialise(value, (*h, *w, *c), (1, *(math.prod(source[i] for i in part) for part in (h, w, c))))
    edges = [(sum(before.get(i, 0) for i in part), sum(after.get(i, 0) for i in part)) for part in (h, w, c)]
    (top, bottom), (left, right), (front, back) = edges
    y = s.build.emit(Pad((top, left, bottom, right), (front, back), fill), [x])
    grown = [n + before.get(i, 0) + after.get(i, 0) for i, n in enumerate(source)]
    order = [*h, *w, *c]
    split = s.build.reshape(
        Value(y, tuple((d,) for d in (1, 2, 3) if s.build.types[y].shape[d] > 1)), [grown[i] for i in order]
    )
    groups = [split.groups[order.index(i)] if i in order else () for i in range(rank)]
    if value.batch is not None:
        groups[value.batch] = (0,)
    return Value(split.tensor, tuple(groups))


def _outside(size: int, before: int, after: int, mode: str) -> tuple[list[int], list[int]]:
    """Which places of a dimension stand before its first and after its last."""
    if mode == "edge":
        return [0] * before, [size - 1] * after
    if max(before, after) >= size:
        raise ShapeError(f"a reflection of {max(before, after)} places of {size}")
    return list(range(before, 0, -1)), list(range(size - 2, size - 2 - after, -1))


def _three(value: Value, source: Sequence[int], touched: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Source dimensions as height, width and channels, such that padded ones stand alone."""
    body = [i for i in value.natural_order() if i != value.batch and (source[i] > 1 or i in touched)]
    parts: list[list[int]] = []
    for i in body:
        if i in touched or not parts or parts[-1][0] in touched:
            parts.append([i])
        else:
            parts[-1].append(i)
    if len(parts) > 3:
        raise ShapeError(f"padding of dimensions {sorted(touched)} of shape {list(source)} at once")
    if len(parts) < 3 and len(parts[-1]) == 1 and parts[-1][0] in touched and len(body) < 3:
        parts.append([])
    while len(parts) < 3:
        parts.insert(0, [])
    return parts[0], parts[1], parts[2]
