# SPDX-License-Identifier: Apache-2.0
"""Source operators with weights or windows: convolutions, batch norm, pooling, means, softmax."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgekern.errors import CompileError, ShapeError
from edgekern.importers._affine import affine
from edgekern.importers._layout import Value
from edgekern.importers._source import Source, handles
from edgekern.ops.average_pool import AveragePool2D
from edgekern.ops.conv2d import Conv2D, Pads
from edgekern.ops.depthwise import DepthwiseConv2D
from edgekern.ops.max_pool import MaxPool2D
from edgekern.ops.mean import Mean
from edgekern.ops.softmax import Softmax
from edgekern.types import Array

__all__ = ["pair"]

Pair = tuple[int, int]


# ---- windows ------------------------------------------------------------------------------------


def pair(values: Sequence[int] | None, rank: int, default: int = 1) -> Pair:
    """Two numbers (height, width) of an attribute given per spatial dimension; a row has height 1."""
    given = [default] * (rank - 2) if values is None else [int(v) for v in values]
    if len(given) != rank - 2:
        raise ShapeError(f"{len(given)} window numbers for {rank - 2} spatial dimensions")
    return (given[0], given[1]) if rank == 4 else (1, given[0])


def _pads(s: Source, size: Pair, kernel: Pair, stride: Pair, dilation: Pair, rank: int) -> Pads:
    """Top, left, bottom, right of `pads` or `auto_pad`, and what `ceil_mode` adds at the end."""
    mode = s.get("auto_pad", "NOTSET") or "NOTSET"
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        total = [max((math.ceil(n / t) - 1) * t + r - n, 0) for n, t, r in zip(size, stride, reach, strict=True)]
        less = [t // 2 for t in total]
        more = [t - h for t, h in zip(total, less, strict=True)]
        before, after = (less, more) if mode == "SAME_UPPER" else (more, less)
        return before[0], before[1], after[0], after[1]
    given = [0] * (2 * (rank - 2)) if mode == "VALID" else list(s.get("pads", [0] * (2 * (rank - 2))))
    s.refuse(mode not in ("NOTSET", "VALID"), f"auto_pad {mode!r}")
    s.refuse(min(given, default=0) < 0, f"negative pads {given}", "Slice the input instead.")
    top, left, bottom, right = given if rank == 4 else (0, given[0], 0, given[1])
    if s.get("ceil_mode", 0):
        ends = []
        for n, t, r, first, last in zip(size, stride, reach, (top, left), (bottom, right), strict=True):
            count = math.ceil((n + first + last - r) / t) + 1
            count -= (count - 1) * t >= n + first  # a window must not start in the padding at the end
            ends.append(max((count - 1) * t + r - n - first, last))
        bottom, right = ends
    return top, left, bottom, right


def image_and_filters(s: Source) -> tuple[str, int, Array]:
    """Of a convolution: its input as an image, how many dimensions that has in the model, and filters of four."""
    value, weights = s.value(0), s.floats(1, "weight")
    rank = len(s.shape(value))
    x = s.build.image(value, s.kind)
    if weights.ndim != rank:
        raise ShapeError(f"a weight of {weights.ndim} dimensions for an input of {rank}")
    if rank == 3:
        weights = weights[:, :, None]
    kernel = (weights.shape[2], weights.shape[3])
    given = s.get("kernel_shape")
    if given is not None and pair(given, rank) != kernel:
        raise ShapeError(f"kernel_shape {list(given)}, but the weight has {kernel}")
    return x, rank, weights


@handles("Conv")
def _conv(s: Source) -> Value:
    x, rank, weights = image_and_filters(s)
    _, h, w, c = s.build.types[x].shape
    groups = int(s.get("group", 1))
    kernel = (weights.shape[2], weights.shape[3])
    if groups < 1 or weights.shape[1] * groups != c or weights.shape[0] % groups:
        raise ShapeError(f"a weight of shape {list(weights.shape)} in {groups} groups for {c} channels")
    stride, dilation = pair(s.get("strides"), rank), pair(s.get("dilations"), rank)
    pads = _pads(s, (h, w), kernel, stride, dilation, rank)
    bias = s.floats(2, "bias") if s.has(2) else np.zeros(weights.shape[0], np.float32)
    if bias.shape != weights.shape[:1]:
        raise ShapeError(f"a bias of shape {list(bias.shape)} for {weights.shape[0]} output channels")
    y = _convolved(s, x, Conv2D(kernel, stride, dilation, pads, groups), weights, bias)
    s.build.keep_integers(s.scales(1, 0))
    return s.build.image_value(y, rank)


def _convolved(s: Source, x: str, conv: Conv2D, weights: Array, bias: Array) -> str:
    """The convolution with weights [O, I / groups, h, w]; depthwise where every channel has a filter of its own."""
    if conv.groups == s.build.types[x].shape[3] == weights.shape[0] > 1:
        depthwise = DepthwiseConv2D(conv.kernel, conv.stride, conv.dilation, conv.pads)
        return s.build.emit(depthwise, [x], [weights[:, 0].transpose(1, 2, 0), bias])
    return s.build.emit(conv, [x], [weights.transpose(0, 2, 3, 1), bias])


@handles("MaxPool", "AveragePool")
def _pool(s: Source) -> Value:
    value = s.value(0)
    rank = len(s.shape(value))
    x = s.build.image(value, s.kind)
    _, h, w, c = s.build.types[x].shape
    kernel = pair(s.attributes["kernel_shape"], rank)
    stride, dilation = pair(s.get("strides"), rank), pair(s.get("dilations"), rank)
    pads = _pads(s, (h, w), kernel, stride, dilation, rank)
    if s.kind == "AveragePool" and dilation != (1, 1) and not any(pads):  # its weights are all equal
        weights = np.full((c, 1, *kernel), 1 / math.prod(kernel), np.float32)
        conv = Conv2D(kernel, stride, dilation, pads, groups=c)
        return s.build.image_value(_convolved(s, x, conv, weights, np.zeros(c, np.float32)), rank)
    s.refuse(
        dilation != (1, 1), f"dilations {dilation} of a pooling window", "Dilation 1 only, or a mean without pads."
    )
    if s.kind == "MaxPool":
        return s.build.image_value(s.build.emit(MaxPool2D(kernel, stride, pads), [x]), rank)
    include = bool(s.get("count_include_pad", 0))
    if include and s.get("ceil_mode", 0):
        given = [int(v) for v in s.get("pads", [0] * (2 * (rank - 2)))]
        s.refuse(
            pads[2:] != pair(given[rank - 2 :], rank, 0) and any(pads),
            "ceil_mode together with count_include_pad",
            "Use one of them.",
        )
        include = any(given)
    return s.build.image_value(s.build.emit(AveragePool2D(kernel, stride, pads, include), [x]), rank)


@handles("GlobalAveragePool", "GlobalMaxPool")
def _global(s: Source) -> Value:
    value = s.value(0)
    return _over(s, value, range(2, len(s.shape(value))), keep=True)


@handles("ReduceMean", "ReduceMax")
def _reduce(s: Source) -> Value:
    value = s.value(0)
    rank = len(s.shape(value))
    axes = s.ints(1, "axes")
    if not axes:
        if s.get("noop_with_empty_axes", 0):
            return value
        axes = list(range(rank))
    return _over(s, value, [s.axis(a, rank) for a in axes], keep=bool(s.get("keepdims", 1)))


def _over(s: Source, value: Value, axes: Sequence[int], keep: bool) -> Value:
    """The mean or maximum over some source dimensions: those become height and width, the others channels."""
    source = s.shape(value)
    s.refuse(value.batch in axes, f"{s.kind} over the batch", "Keep the batch dimension.")
    natural = value.natural_order()
    reduced = sorted(axes, key=natural.index)
    kept = [i for i in natural if i not in axes]
    extents = [source[i] for i in reduced]
    height, width = extents if len(extents) == 2 else (math.prod(extents), 1)
    shape = (1, height, width, math.prod(source[i] for i in kept))
    order = [*reduced, *kept]
    ours = s.build.ours(value)
    turned = {d for i in reduced for d in value.groups[i]}, {d for i in kept for d in value.groups[i]}
    if len(ours) == 4 and turned[0] <= {1, 2} and turned[1] <= {0, 3}:  # as the tensor lies
        (height, width), shape, x = ours[1:3], ours, value.tensor
    else:
        x = s.build.materialise(value, order, shape)
    op = MaxPool2D((height, width)) if s.kind in ("GlobalMaxPool", "ReduceMax") else Mean()
    y = s.build.emit(op, [x])
    result = [1 if i in axes else n for i, n in enumerate(source)]
    target = result if keep else [n for i, n in enumerate(result) if i not in axes]
    flat = Value(y, ((3,) if shape[3] > 1 else (),))
    if kept != sorted(kept):  # channels stand in our order, not in the source's
        split = s.build.reshape(flat, [source[i] for i in kept])
        back = [kept.index(i) for i in sorted(kept)]
        flat = Value(split.tensor, tuple(split.groups[i] for i in back))
    done = s.build.reshape(flat, target)
    batch = value.batch
    if batch is None:
        return Value(done.tensor, tuple(() if g == (0,) else g for g in done.groups))
    where = batch if keep else batch - sum(a < batch for a in axes)
    groups = [() if g == (0,) else g for g in done.groups]
    groups[where] = (0,)
    return Value(done.tensor, tuple(groups))


# ---- normalisation ------------------------------------------------------------------------------


@handles("BatchNormalization")
def _batch_norm(s: Source) -> Value:
    s.refuse(bool(s.get("training_mode", 0)), "training_mode 1", "Export the model in evaluation mode.")
    scale, shift, mean, variance = (
        s.floats(i, what) for i, what in enumerate(("scale", "bias", "mean", "variance"), start=1)
    )
    if (variance < 0).any():
        raise CompileError("its variance is negative")
    value = s.value(0)
    channels = s.shape(value)[1] if len(s.shape(value)) > 1 else 1
    if not scale.shape == shift.shape == mean.shape == variance.shape == (channels,):
        raise ShapeError(f"parameters of shape {list(scale.shape)} for {channels} channels")
    epsilon = float(s.get("epsilon", 1e-5))
    factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    offset = shift.astype(np.float64) - mean.astype(np.float64) * factor
    spread = (channels,) + (1,) * (len(s.shape(value)) - 2)
    return affine(s, value, factor.astype(np.float32).reshape(spread), offset.astype(np.float32).reshape(spread))


@handles("Softmax")
def _softmax(s: Source) -> Value:
    value = s.value(0)
    source = s.shape(value)
    rank = len(source)
    axis = s.axis(int(s.get("axis", 1 if s.opset < 13 else -1)), rank)
    if s.opset < 13 and axis < rank - 1:
        flat = s.build.reshape(value, (math.prod(source[:axis]), math.prod(source[axis:])))
        return s.build.reshape(_softmax_over(s, flat, 1), source)
    return _softmax_over(s, value, axis)


def _softmax_over(s: Source, value: Value, axis: int) -> Value:
    s.refuse(value.batch == axis, "a softmax over the batch")
    ours, group = s.build.ours(value), value.groups[axis]
    if group == (len(ours) - 1,) and len(ours) > len(value.groups) and math.prod(ours) == ours[-1]:
        value = s.build.plain(s.build.reshaped(value.tensor, (1, ours[-1])), [axis], len(value.groups), value.batch)
        ours, group = s.build.ours(value), value.groups[axis]
    if group == (len(ours) - 1,):
        return Value(s.build.emit(Softmax(), [value.tensor]), value.groups)
    source = s.shape(value)
    body = [i for i in range(len(source)) if i not in (axis, value.batch)]
    x = s.build.materialise(value, [*body, axis], (1, *(source[i] for i in body), source[axis]))
    return s.build.plain(s.build.emit(Softmax(), [x]), [*body, axis], len(source), value.batch)
