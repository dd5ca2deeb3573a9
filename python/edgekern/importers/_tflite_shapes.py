# SPDX-License-Identifier: Apache-2.0
"""Operators of TFLite on constants: how Keras spells the size of a result when its batch is open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgekern.types import Array

__all__ = ["folded"]


def folded(name: str, options: Any, values: Sequence[Array], shape: Sequence[int] | None) -> Array | None:
    """The value of an operator that depends on shapes and constants only; None if it is none of these.

    Args:
        name: Of the operator.
        options: Its table.
        values: Of its inputs, if all are constant.
        shape: Of the activation at input 0, if it is one.
    """
    if name == "SHAPE":
        return np.asarray(values[0].shape if shape is None else shape, np.int32)
    if shape is not None or not values or options is None:
        return None
    if name == "PACK":
        return np.stack(values, options.Axis())
    if name == "STRIDED_SLICE" and not (options.EllipsisMask() or options.NewAxisMask()):
        return _strided_slice(options, *values)
    return None


def _strided_slice(options: Any, x: Array, begins: Array, ends: Array, steps: Array) -> Array:
    index: list[int | slice] = []
    for k, (begin, end, step) in enumerate(zip(begins.tolist(), ends.tolist(), steps.tolist(), strict=True)):
        if options.ShrinkAxisMask() >> k & 1:
            index.append(begin)
            continue
        first = None if options.BeginMask() >> k & 1 else begin
        index.append(slice(first, None if options.EndMask() >> k & 1 else end, step))
    return np.asarray(x[tuple(index)])
