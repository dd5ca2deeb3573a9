# SPDX-License-Identifier: Apache-2.0
"""Source operators that take parts of an activation."""

from __future__ import annotations

from itertools import accumulate

from edgekern.errors import CompileError, ShapeError
from edgekern.importers._layout import Value
from edgekern.importers._source import Source, handles
from edgekern.ops.concat import Concat
from edgekern.ops.slice import Slice

__all__ = ["repeated"]


@handles("Slice")
def _slice(s: Source) -> Value:
    value = s.value(0)
    rank = len(value.groups)
    starts, ends = s.ints(1, "starts"), s.ints(2, "ends")
    if starts is None or ends is None:
        raise CompileError("its starts or ends are missing")
    axes = s.ints(3, "axes", range(len(starts))) or []
    steps = s.ints(4, "steps", [1] * len(starts)) or []
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ShapeError(f"starts {starts}, ends {ends}, axes {axes} and steps {steps} are not of one length")
    s.refuse(min(steps, default=1) < 1, f"a slice with steps {steps}", "Only forwards: steps of 1 and more.")
    for start, end, axis, step in zip(starts, ends, (s.axis(a, rank) for a in axes), steps, strict=True):
        if axis == value.batch:
            whole = range(s.batch)[start:end:step] == range(s.batch)
            s.refuse(not whole, "a slice of the batch", "Each frame is run alone.")
        else:
            value = _part(s, value, axis, range(s.shape(value)[axis])[start:end:step])
    return value


@handles("Split")
def _split(s: Source) -> list[Value]:
    value = s.value(0)
    axis = s.axis(int(s.get("axis", 0)), len(value.groups))
    length = s.batch if axis == value.batch else s.shape(value)[axis]
    sizes = s.ints(1, "split")
    if sizes is None:
        count = int(s.get("num_outputs", len(s.outputs)))
        if count < 1 or ("num_outputs" not in s.attributes and length % count):
            raise ShapeError(f"{length} elements do not make {count} equal parts")
        size = -(-length // count)  # the last part may be shorter
        sizes = [min(size, length - k * size) for k in range(count)]
    if sum(sizes) != length or len(sizes) != len(s.outputs):
        raise ShapeError(f"parts of {sizes} for {len(s.outputs)} outputs of a dimension of {length}")
    s.refuse(axis == value.batch and len(sizes) > 1, "a split of the batch", "Each frame is run alone.")
    parts = []
    for name, end, size in zip(s.outputs, accumulate(sizes), sizes, strict=True):
        s.build.place = name or s.build.place
        parts.append(value if size == length else _part(s, value, axis, range(end - size, end)))
    return parts


def repeated(s: Source, value: Value, axis: int, places: tuple[list[int], list[int]]) -> Value:
    """The value with single places of a source dimension once more, before its first and after its last."""
    if len(value.groups[axis]) != 1:
        value = _in_one(s, value)
    s.refuse(len(value.groups[axis]) != 1, f"a repetition along dimension {axis}, of size 1")
    (dimension,) = value.groups[axis]
    lines = {k: s.build.emit(Slice(dimension, k, 1, 1), [value.tensor]) for k in sorted({*places[0], *places[1]})}
    before, after = ([lines[k] for k in side] for side in places)
    return Value(s.build.emit(Concat(dimension), [*before, value.tensor, *after]), value.groups)


def _in_one(s: Source, value: Value) -> Value:
    """The value with each source dimension in one of ours."""
    source = s.shape(value)
    body = [i for i in value.natural_order() if i != value.batch and source[i] > 1]
    tensor = s.build.materialise(value, body, (1, *(source[i] for i in body)))
    return s.build.plain(tensor, body, len(source), value.batch)


def _part(s: Source, value: Value, axis: int, taken: range) -> Value:
    """The elements `taken` of a source dimension; the value itself if that is all of them."""
    source = s.shape(value)
    s.refuse(len(taken) == 0, f"a tensor without elements: none of dimension {axis} of shape {list(source)}")
    if len(taken) == source[axis]:
        return value
    if len(value.groups[axis]) != 1:  # it runs over several dimensions of ours
        value = _in_one(s, value)
    (dimension,) = value.groups[axis]
    tensor = s.build.emit(Slice(dimension, taken.start, len(taken), taken.step), [value.tensor])
    if len(taken) > 1:
        return Value(tensor, value.groups)
    return Value(tensor, (*value.groups[:axis], (), *value.groups[axis + 1 :]))
