# SPDX-License-Identifier: Apache-2.0
"""An activation times a constant plus a constant."""

from __future__ import annotations

import numpy as np

from edgekern.importers._layout import Value
from edgekern.importers._source import Source
from edgekern.ops.affine import Affine
from edgekern.types import Array

__all__ = ["affine"]


def affine(s: Source, value: Value, factor: Array | np.float32, offset: Array | np.float32) -> Value:
    """value * factor + offset with the source's broadcasting.

    Constants that vary along our last dimension only become an Affine of its channels; others an Affine of the
    flattened tensor.
    """
    factor, offset = np.asarray(factor, np.float32), np.asarray(offset, np.float32)
    source = s.shape(value)
    both = np.broadcast_shapes(factor.shape, offset.shape)
    if len(both) > len(source):  # the constant has more dimensions: new ones of size 1 in front
        value = s.build.reshape(value, (1,) * (len(both) - len(source)) + source)
        source = s.shape(value)
    factor, offset = _one_frame(s, value, factor), _one_frame(s, value, offset)
    grown = np.broadcast_shapes(factor.shape, offset.shape, source)
    s.refuse(
        grown != source,
        f"a constant of shape {list(both)} that enlarges an activation of shape {list(source)}",
        "Expand the activation before, or drop the dimension.",
    )
    ours = s.build.ours(value)
    placed = [s.build.spread(value, factor), s.build.spread(value, offset)]
    rows = [x.reshape(-1, x.shape[-1]) for x in placed]
    if all((row == row[0]).all() for row in rows):
        constants = [np.broadcast_to(row[0], ours[-1]) for row in rows]
        return Value(s.build.emit(Affine(), [value.tensor], constants), value.groups)
    constants = [np.broadcast_to(x, ours).reshape(-1) for x in placed]
    y = s.build.emit(Affine(), [s.build.reshaped(value.tensor, (1, 1, 1, constants[0].size))], constants)
    return Value(s.build.reshaped(y, ours), value.groups)


def _one_frame(s: Source, value: Value, constant: Array) -> Array:
    """The constant for one frame: a batch dimension that repeats it (or holds one frame) is dropped to 1."""
    batch, rank = value.batch, len(value.groups)
    if batch is None or constant.ndim < rank - batch:
        return constant
    axis = constant.ndim - (rank - batch)
    if constant.shape[axis] == s.batch > 1:
        first = constant.take([0], axis)
        s.refuse(bool((constant != first).any()), "a constant that differs between frames of the batch")
        return first
    return constant
