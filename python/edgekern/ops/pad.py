# SPDX-License-Identifier: Apache-2.0
"""A border of one value round an image, and channels of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgekern import quant
from edgekern.errors import ShapeError
from edgekern.ops._op import Example, Op, pick, quant_of, registered
from edgekern.ops.conv2d import Pads, conv_extent
from edgekern.types import Array, TensorType, WeightScale

__all__ = ["Pad"]


@registered
@dataclass(frozen=True, slots=True)
class Pad(Op):
    """x within a border of `value`. Padding with 0 keeps the quantisation.

    Attributes:
        pads: Pixels added at top, left, bottom and right.
        channels: Channels added in front and behind.
        value: A real number, until `quantise` turns it into `fill`.
        fill: An int8 of the output.
    """

    opcode: ClassVar[str] = "Pad"
    kernels: ClassVar[tuple[str, ...]] = ("move",)
    rescales: ClassVar[bool] = True

    pads: Pads = (0, 0, 0, 0)
    channels: tuple[int, int] = (0, 0)
    value: float = 0.0
    fill: int = 0

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        if len(inputs[0].shape) != 4 or min(*self.pads, *self.channels) < 0:
            raise ShapeError(f"pads {self.pads} and {self.channels} do not fit an input {inputs[0].shape}")
        b, h, w, c = inputs[0].shape
        top, left, bottom, right = self.pads
        shape = (b, conv_extent(h, 1, 1, 1, top, bottom), conv_extent(w, 1, 1, 1, left, right), c + sum(self.channels))
        return replace(inputs[0], shape=shape, quant=inputs[0].quant if self.value == 0 else None)

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        return self._border(inputs[0], self.value)

    def quantise(
        self,
        inputs: Sequence[TensorType],
        output: TensorType,
        constants: Sequence[Array],
        weight_scale: WeightScale | None = None,
    ) -> tuple[Op, tuple[Array, ...]]:
        fill = int(quant.quantise(np.float32(self.value), quant_of(output)))
        return replace(self, value=0.0, fill=fill), ()

    def reference(
        self, inputs: Sequence[Array], constants: Sequence[Array], types: Sequence[TensorType], out: TensorType
    ) -> Array:
        return self._border(quant.rescale(inputs[0], quant_of(types[0]), quant_of(out)), self.fill)

    def lower(self) -> tuple[int, ...]:
        return (*self.pads, *self.channels, self.fill)

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        top, left, bottom, right, front, back, fill = params
        return cls((top, left, bottom, right), (front, back), fill=fill)

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        if len(shape) != 4:
            return None
        amounts = [pick(draw, (0, 1, 2)) for _ in range(6)]
        top, left, bottom, right, front, back = amounts
        return Example(cls((top, left, bottom, right), (front, back), pick(draw, (0.0, 0.0, 0.75))))

    def _border(self, x: Array, value: float) -> Array:
        top, left, bottom, right = self.pads
        return np.pad(x, ((0, 0), (top, bottom), (left, right), self.channels), constant_values=value)
