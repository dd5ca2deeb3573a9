# SPDX-License-Identifier: Apache-2.0
"""Constants that a source model holds as integers."""

from __future__ import annotations

import numpy as np

from edgekern.errors import CompileError, ShapeError
from edgekern.types import Array

__all__ = ["real_values"]


def real_values(integers: Array, scales: Array, zeros: Array, axis: int) -> Array:
    """(integers - zeros) * scales in float64, rounded to float32.

    Args:
        integers: Any shape.
        scales: One, or one for each place along `axis`.
        zeros: Likewise.
        axis: Of the scales, counted from the front.

    Raises:
        ShapeError: Scales and shape do not fit.
        CompileError: A value is not finite.
    """
    for given in (scales, zeros):
        if given.size > 1 and (axis >= integers.ndim or integers.shape[axis] != given.size):
            raise ShapeError(f"{given.size} scales or zero points for axis {axis} of {list(integers.shape)}")
    along = [-1 if i == axis else 1 for i in range(integers.ndim)]
    spread = [x.reshape(along if x.size > 1 else [1] * integers.ndim) for x in (scales, zeros)]
    with np.errstate(all="ignore"):
        shifted = integers.astype(np.int64) - spread[1].astype(np.int64)
        real = (shifted * spread[0].astype(np.float64)).astype(np.float32)
    if not np.isfinite(real).all():
        raise CompileError("a quantised constant has values that are not finite: its scale is wrong")
    return np.asarray(real)
