# SPDX-License-Identifier: Apache-2.0
"""Operators of a TFLite file that take parts of an activation, and the one that stacks several."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from edgekern.errors import ShapeError, UnsupportedOpError
from edgekern.importers._tflite_call import Call, handles
from edgekern.importers._tflite_ops import named_like
from edgekern.ops.concat import Concat
from edgekern.ops.slice import Slice

__all__: list[str] = []


def _ints(call: Call, k: int, what: str) -> list[int]:
    held = call.constant(k)
    if held is None:
        raise ShapeError(f"its {what} (input {k}) is missing")
    return [int(n) for n in np.atleast_1d(held.values)]


def _parts(call: Call, tensor: str, taken: list[range]) -> str:
    """What `taken` says of every dimension, the batch as the file has it."""
    shape = call.build.types[tensor].shape
    if any(len(part) == 0 for part in taken):
        raise UnsupportedOpError("a tensor without elements")
    if taken[0] != range(call.batch):
        raise UnsupportedOpError("a slice of the batch", hint="Each frame is run alone.")
    for axis, part in enumerate(taken[1:], start=1):
        if len(part) != shape[axis]:
            tensor = call.build.emit(Slice(axis, part.start, len(part), part.step), [tensor])
    return tensor


def _whole(call: Call, k: int) -> list[range]:
    """Every dimension of input k, all of it."""
    return [range(n) for n in (call.batch, *call.type(k).shape[1:])]


@handles("SLICE")
def _slice(call: Call) -> str:
    whole = _whole(call, 0)
    begins, sizes = _ints(call, 1, "begin"), _ints(call, 2, "size")
    if not len(begins) == len(sizes) == len(whole):
        raise ShapeError(f"begin {begins} and size {sizes} of a tensor of {len(whole)} dimensions")
    taken = []
    for all_of_it, begin, size in zip(whole, begins, sizes, strict=True):
        n = len(all_of_it)
        end = n if size == -1 else begin + size
        if not 0 <= begin <= end <= n:
            raise ShapeError(f"begin {begins} and size {sizes} do not fit {call.type(0).shape}")
        taken.append(range(begin, end))
    return _parts(call, call.tensor(0), taken)


@handles("STRIDED_SLICE")
def _strided_slice(call: Call) -> str:
    options, whole = call.options, _whole(call, 0)
    if options is not None and (options.EllipsisMask() or options.NewAxisMask() or options.Offset()):
        raise UnsupportedOpError("a strided slice with an ellipsis, a new axis or an offset")
    masks = (options.BeginMask(), options.EndMask(), options.ShrinkAxisMask()) if options is not None else (0, 0, 0)
    begins, ends, steps = _ints(call, 1, "begin"), _ints(call, 2, "end"), _ints(call, 3, "strides")
    if not len(begins) == len(ends) == len(steps) <= len(whole):
        raise ShapeError(f"begin {begins}, end {ends} and strides {steps} of a tensor of {len(whole)} dimensions")
    if min(steps) < 1:
        raise UnsupportedOpError(f"a slice with strides {steps}", hint="Only forwards: strides of 1 and more.")
    taken, dropped = whole, []
    for axis, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        open_begin, open_end, shrink = (bool(mask >> axis & 1) for mask in masks)
        n = len(whole[axis])
        if shrink:  # one element; the end and its mask say nothing
            at = 0 if open_begin else begin + n * (begin < 0)
            if axis == 0 or not 0 <= at < n:
                raise UnsupportedOpError(f"element {begin} of dimension {axis} of {call.type(0).shape}")
            taken[axis] = range(at, at + 1)
            dropped.append(axis)
        else:
            taken[axis] = range(n)[None if open_begin else begin : None if open_end else end : step]
    made = _parts(call, call.tensor(0), taken)
    shape = [n for axis, n in enumerate(call.build.types[made].shape) if axis not in dropped]
    return named_like(call, made, call.build.reshaped(made, shape)) if dropped else made


@handles("SPLIT")
def _split(call: Call) -> list[str]:
    (axis,) = _ints(call, 0, "axis")
    length, count = _length(call, 1, axis), len(call.outputs)
    if length % count:
        raise ShapeError(f"{length} elements do not make {count} equal parts")
    return _pieces(call, 1, axis, [length // count] * count)


@handles("SPLIT_V")
def _split_by_sizes(call: Call) -> list[str]:
    (axis,) = _ints(call, 2, "axis")
    sizes, length = _ints(call, 1, "sizes"), _length(call, 0, axis)
    if sizes.count(-1) == 1:
        rest = length - sum(n for n in sizes if n != -1)
        sizes = [rest if n == -1 else n for n in sizes]
    if sum(sizes) != length or min(sizes) < 0 or len(sizes) != len(call.outputs):
        raise ShapeError(f"parts of {sizes} for {len(call.outputs)} results of a dimension of {length}")
    return _pieces(call, 0, axis, sizes)


def _length(call: Call, k: int, axis: int) -> int:
    whole = _whole(call, k)
    if not -len(whole) <= axis < len(whole):
        raise ShapeError(f"axis {axis} of a tensor of {len(whole)} dimensions")
    return len(whole[axis])


def _pieces(call: Call, k: int, axis: int, sizes: list[int]) -> list[str]:
    """Input k cut along an axis, each piece under the name of its result."""
    made = []
    for name, end, size in zip(call.outputs, accumulate(sizes), sizes, strict=True):
        taken = _whole(call, k)
        taken[axis] = range(end - size, end)
        call.build.place = name
        made.append(_parts(call, call.tensor(k), taken))
    return made


@handles("UNPACK")
def _unpack(call: Call) -> list[str]:
    axis, shape = call.options.Axis() if call.options is not None else 0, call.type(0).shape
    if _length(call, 0, axis) != len(call.outputs):
        raise ShapeError(f"{len(call.outputs)} results of axis {axis} of {shape}")
    if axis % len(shape) == 0:
        raise UnsupportedOpError("the batch in parts", hint="Each frame is run alone.")
    pieces = _pieces(call, 0, axis, [1] * len(call.outputs))
    made = []
    for name, piece in zip(call.outputs, pieces, strict=True):
        call.build.place = name
        kept = [n for d, n in enumerate(shape) if d != axis % len(shape)]
        made.append(named_like(call, piece, call.build.reshaped(piece, kept)))
    return made


@handles("PACK")
def _pack(call: Call) -> str:
    tensors = [call.tensor(k) for k in range(len(call.inputs))]
    shape, axis = list(call.type(0).shape), call.options.Axis() if call.options is not None else 0
    axis += (len(shape) + 1) * (axis < 0)
    if not 1 <= axis <= len(shape):
        raise UnsupportedOpError(f"a stack along axis {axis}", hint="The batch stays first.")
    layers = [call.build.reshaped(tensor, (*shape[:axis], 1, *shape[axis:])) for tensor in tensors]
    return call.build.emit(Concat(axis), layers)
