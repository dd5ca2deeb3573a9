# SPDX-License-Identifier: Apache-2.0
"""What callers hand to a model, checked before the engine sees it: tensors, frames, boxes, limits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgekern.errors import InputError
from edgekern.plan import TensorInfo
from edgekern.preprocess import Box
from edgekern.types import Array

__all__ = ["box_rows", "dense_frame", "fitting", "limit_in_bytes"]

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_BOX = "A box is (x, y, width, height) in pixels from the top left."


def limit_in_bytes(limit: int | str | None) -> int:
    """A memory limit in bytes; 0 is none.

    >>> limit_in_bytes("8 MiB"), limit_in_bytes(4096), limit_in_bytes(None)
    (8388608, 4096, 0)
    """
    if limit is None:
        return 0
    if isinstance(limit, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", limit.lower())
        if match is None or match[2] not in _UNITS:
            raise InputError(f"memory limit {limit!r} is not understood", hint='Write it like "8 MiB", or in bytes.')
        limit = int(float(match[1]) * _UNITS[match[2]])
    if limit < 1:
        raise InputError(f"memory limit {limit} is below one byte")
    return int(limit)


def fitting(array: Any, info: TensorInfo, what: str) -> Array:
    """The array itself, if its dtype and shape are those of `info` for some batch."""
    if not isinstance(array, np.ndarray):
        raise InputError(f"{what} {info.name!r} is a {type(array).__name__}, not a NumPy array")
    if array.dtype != info.dtype or array.shape[1:] != info.shape[1:] or array.ndim != len(info.shape):
        wanted = ", ".join(map(str, info.shape[1:]))
        raise InputError(
            f"{what} {info.name!r} is {array.dtype.name} {array.shape}, not {info.dtype.name} (batch, {wanted})"
        )
    return array


def dense_frame(frame: Any, depth: int) -> Array:
    """The frame itself if its pixels are dense, else a copy."""
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
        kind = getattr(frame, "dtype", type(frame).__name__)
        raise InputError(f"a frame is a uint8 NumPy array, not {kind}")
    if frame.ndim == 2 and depth == 1:
        frame = frame[..., None]
    if frame.ndim != 3 or frame.shape[2] != depth or 0 in frame.shape:
        raise InputError(f"a frame of shape {frame.shape} is not [height, width, {depth}]")
    dense = frame.strides[1] == depth and frame.strides[2] == 1
    pixels: Array = frame if dense else np.ascontiguousarray(frame)
    return pixels


def box_rows(boxes: Sequence[Box] | Array) -> Array:
    """int32 [n, 4]."""
    try:
        array = np.asarray(boxes)
    except ValueError:  # rows of different lengths
        raise InputError("boxes differ in length", hint=_BOX) from None
    if array.size == 0:
        return np.empty((0, 4), np.int32)
    if array.ndim != 2 or array.shape[1] != 4 or not np.issubdtype(array.dtype, np.integer):
        raise InputError(
            f"boxes are {array.dtype.name} {array.shape}, not integers [n, 4]",
            hint=_BOX,
        )
    if array.dtype != np.int32 and (np.abs(array.astype(np.float64)) >= 2**31).any():
        raise InputError("a box has a number beyond 32 bits")
    return np.ascontiguousarray(array, np.int32)
