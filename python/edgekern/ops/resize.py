# SPDX-License-Identifier: Apache-2.0
"""An image in another size: nearest neighbours or bilinear, wherever the source model places the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgekern.errors import ShapeError
from edgekern.ops._op import Example, Op, pick, registered
from edgekern.types import Array, TensorType, WeightScale

__all__ = ["ONE", "Resize2D"]

ONE = 2048  # positions count in 1/2048 pixel


@registered
@dataclass(frozen=True, slots=True)
class Resize2D(Op):
    """y[b, i, j, c] = x at row rows[i] / 2048 and column columns[j] / 2048, between pixels linear in both directions.

    Constants, of the float and the integer form alike: rows int32 [OH], columns int32 [OW], each from 0 to
    (side - 1) * 2048. Whole multiples of 2048 take a pixel as it is. Keeps the quantisation.
    """

    opcode: ClassVar[str] = "Resize2D"
    kernels: ClassVar[tuple[str, ...]] = ("interpolate",)

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        shape = inputs[0].shape
        if len(shape) != 4:
            raise ShapeError(f"resizing needs an image [b, h, w, c], not {shape}")
        for positions, side in zip(constants, shape[1:3], strict=True):
            if positions.ndim != 1 or positions.size < 1 or positions.dtype != np.int32:
                raise ShapeError(f"positions are int32 [n], not {positions.dtype} {positions.shape}")
            if positions.min() < 0 or positions.max() > (side - 1) * ONE:
                raise ShapeError(f"a position outside 0 to {(side - 1) * ONE}, the last of {side} pixels")
        rows, columns = constants
        return replace(inputs[0], shape=(shape[0], len(rows), len(columns), shape[3]))

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        y = np.asarray(inputs[0], np.float32)
        for axis, positions in enumerate(constants, start=1):
            first, second, weight = _pairs(positions, axis)
            if weight.any():
                t = weight.astype(np.float32) / np.float32(ONE)
                y = y.take(first, axis) * (1 - t) + y.take(second, axis) * t
            else:
                y = y.take(first, axis)
        return y

    def quantise(
        self,
        inputs: Sequence[TensorType],
        output: TensorType,
        constants: Sequence[Array],
        weight_scale: WeightScale | None = None,
    ) -> tuple[Op, tuple[Array, ...]]:
        return self, tuple(constants)

    def reference(
        self, inputs: Sequence[Array], constants: Sequence[Array], types: Sequence[TensorType], out: TensorType
    ) -> Array:
        (top, bottom, g), (left, right, f) = (_pairs(p, axis) for axis, p in enumerate(constants, start=1))
        x = inputs[0].astype(np.int32)
        h = x.take(left, 2) * (ONE - f) + x.take(right, 2) * f  # |h| <= 2^18
        v = h.take(top, 1) * (ONE - g) + h.take(bottom, 1) * g  # |v| <= 2^29
        return np.asarray((v + (1 << 21)) >> 22, np.int8)

    def lower(self) -> tuple[int, ...]:
        return ()

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        return cls()

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        if len(shape) != 4:
            return None
        return Example(cls(), (), (_draw_positions(draw, shape[1]), _draw_positions(draw, shape[2])))


def _pairs(positions: Array, axis: int) -> tuple[Array, Array, Array]:
    """The pixels before and after each position and the weight of the latter, along an axis of an image."""
    first, weight = positions >> 11, positions & (ONE - 1)
    return first, first + (weight > 0), weight.reshape([-1 if k == axis else 1 for k in range(4)])


def _draw_positions(draw: np.random.Generator, side: int) -> Array:
    """Of one axis: any positions, evenly spaced ones as resizing has them, or whole pixels; both ends among them."""
    count, last = int(draw.integers(1, 2 * side + 3)), (side - 1) * ONE
    kind = pick(draw, ("any", "even", "whole"))
    if kind == "any":
        return np.append(draw.integers(0, last + 1, count), last).astype(np.int32)
    even = np.linspace(0, last, count).astype(np.int32)
    return even if kind == "even" else (even + ONE // 2) // ONE * ONE
