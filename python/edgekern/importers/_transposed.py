# SPDX-License-Identifier: Apache-2.0
"""A transposed convolution as an ordinary one: y[i * s + k] += w[k] * x[i], along both sides of an image.

With stride s, output pixel q * s + r is the sum of w[r + s * j] * x[q - j] over j: for each phase r an ordinary
convolution of x with a part of the kernel, turned round. One convolution makes all phases side by side as channels, a
reshape and a transpose put them where they belong, and a slice cuts the padding off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekern.errors import ShapeError
from edgekern.importers._builder import Builder
from edgekern.ops._op import NO_CLIP
from edgekern.ops.conv2d import Conv2D
from edgekern.ops.depthwise import DepthwiseConv2D
from edgekern.ops.reshape import Reshape
from edgekern.ops.slice import Slice
from edgekern.ops.transpose import Transpose
from edgekern.types import Array

__all__ = ["Transposed", "transposed"]

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Transposed:
    """Attributes of a transposed convolution.

    Attributes:
        stride: Distance of two input pixels in the output.
        begin: Rows and columns cut off at the top and left of what the kernel reaches.
        size: Rows and columns of the result. What no kernel reaches holds the bias.
        groups: Of channels.
        clip: A fused activation.
    """

    stride: Pair
    begin: Pair
    size: Pair
    groups: int = 1
    clip: tuple[float, float] = NO_CLIP


@dataclass(frozen=True, slots=True)
class _Side:
    """One direction: `taps` of each phase, padding of the convolution, its result's length, first pixel kept."""

    taps: int
    before: int
    after: int
    length: int
    first: int


def _side(size: int, kernel: int, stride: int, begin: int, count: int) -> _Side:
    taps = -(-kernel // stride)
    skipped = min(begin // stride, taps - 1)  # whole strides that need not be computed
    end = -(-(begin + count) // stride)
    after = max(0, end - size)
    return _Side(taps, taps - 1 - skipped, after, size + after - skipped, begin - skipped * stride)


def transposed(build: Builder, x: str, op: Transposed, weights: Array, bias: Array, scales: Array | None = None) -> str:
    """The tensor [1, *size, O] of an image x.

    Args:
        build: Where nodes go.
        x: Name of a tensor [1, h, w, I].
        op: Attributes.
        weights: [I, O / groups, kh, kw].
        bias: [O].
        scales: Of the weights per output channel, where the source model holds them as integers; each phase has them.

    Raises:
        ShapeError: They do not fit.
    """
    _, height, width, channels = build.types[x].shape
    inputs, outputs, *kernel = weights.shape
    (sh, sw), groups = op.stride, op.groups
    if groups < 1 or inputs != channels or inputs % groups or min(*kernel, *op.stride, *op.size, outputs) < 1:
        raise ShapeError(f"a weight of shape {list(weights.shape)} in {groups} groups for {channels} channels")
    if bias.shape != (groups * outputs,):
        raise ShapeError(f"a bias of shape {list(bias.shape)} for {groups * outputs} output channels")
    rows = _side(height, kernel[0], sh, op.begin[0], op.size[0])
    columns = _side(width, kernel[1], sw, op.begin[1], op.size[1])
    whole = np.zeros((inputs, outputs, rows.taps * sh, columns.taps * sw), weights.dtype)
    whole[:, :, : kernel[0], : kernel[1]] = weights
    parts = whole.reshape(groups, inputs // groups, outputs, rows.taps, sh, columns.taps, sw)
    parts = parts[:, :, :, ::-1, :, ::-1].transpose(0, 4, 6, 2, 3, 5, 1)  # [g, sh, sw, O / g, taps, taps, I / g]
    filters = parts.reshape(-1, rows.taps, columns.taps, inputs // groups)
    taps, pads = (rows.taps, columns.taps), (rows.before, columns.before, rows.after, columns.after)
    if inputs == groups == len(filters) > 1:  # each channel has a filter of its own
        deep = DepthwiseConv2D(taps, pads=pads, clip=op.clip)
        y = build.emit(deep, [x], [filters[..., 0].transpose(1, 2, 0), bias])
    else:
        y = build.emit(Conv2D(taps, pads=pads, groups=groups, clip=op.clip), [x], [filters, _phases(op, bias)])
    build.keep_integers(None if scales is None else _phases(op, scales))
    y = _woven(build, y, op, outputs)
    for axis, (side, count) in enumerate(((rows, op.size[0]), (columns, op.size[1])), start=1):
        if build.types[y].shape[axis] != count:
            y = build.emit(Slice(axis, side.first, count), [y])
    return y


def _phases(op: Transposed, values: Array) -> Array:
    """Values per output channel as the channels of all phases have them."""
    phases = op.stride[0] * op.stride[1]
    return np.repeat(values.reshape(op.groups, 1, -1), phases, axis=1).reshape(-1)


def _woven(build: Builder, y: str, op: Transposed, outputs: int) -> str:
    """[1, h, w, g * sh * sw * O] to [1, h * sh, w * sw, g * O]."""
    (sh, sw), g = op.stride, op.groups
    if op.stride == (1, 1):
        return y
    _, h, w, _ = build.types[y].shape
    if g > 1 and outputs > 1:  # groups last, behind the phases
        y = build.emit(Reshape((h * w, g, sh * sw, outputs)), [y])
        y = build.emit(Transpose((0, 1, 3, 2, 4)), [y])
        g, outputs = 1, g * outputs
    if g > 1:
        y = build.emit(Transpose((0, 1, 4, 2, 5, 3)), [build.emit(Reshape((h, w, g, sh, sw)), [y])])
    else:
        y = build.emit(Transpose((0, 1, 3, 2, 4, 5)), [build.emit(Reshape((h, w, sh, sw, outputs)), [y])])
    return build.emit(Reshape((h * sh, w * sw, g * outputs)), [y])
