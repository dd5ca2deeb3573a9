# SPDX-License-Identifier: Apache-2.0
"""A part of a tensor along one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgekern import quant
from edgekern.errors import ShapeError
from edgekern.ops._op import Example, Op, pick, quant_of, registered
from edgekern.types import Array, TensorType, WeightScale

__all__ = ["Slice"]


@registered
@dataclass(frozen=True, slots=True)
class Slice(Op):
    """Elements begin, begin + step, ... of `axis`, `size` of them.

    Attributes:
        axis: 1 to rank - 1.
        begin: First element taken, counted from 0.
        size: How many. A file keeps it in the shape of the result.
        step: From one taken to the next, at least 1.
    """

    opcode: ClassVar[str] = "Slice"
    kernels: ClassVar[tuple[str, ...]] = ("move", "wide")
    rescales: ClassVar[bool] = True

    axis: int
    begin: int
    size: int
    step: int = 1

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        shape = inputs[0].shape
        fits = 1 <= self.axis < len(shape) and self.begin >= 0 and self.size >= 1 and self.step >= 1
        if not fits or self.begin + (self.size - 1) * self.step >= shape[self.axis]:
            taken = f"{self.size} from {self.begin} by {self.step}"
            raise ShapeError(f"a slice of {taken} along axis {self.axis} does not fit {shape}")
        return replace(inputs[0], shape=(*shape[: self.axis], self.size, *shape[self.axis + 1 :]))

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        return self._part(inputs[0])

    def quantise(
        self,
        inputs: Sequence[TensorType],
        output: TensorType,
        constants: Sequence[Array],
        weight_scale: WeightScale | None = None,
    ) -> tuple[Op, tuple[Array, ...]]:
        return self, ()

    def reference(
        self, inputs: Sequence[Array], constants: Sequence[Array], types: Sequence[TensorType], out: TensorType
    ) -> Array:
        return self._part(quant.rescale(inputs[0], quant_of(types[0]), quant_of(out), out.dtype))

    def lower(self) -> tuple[int, ...]:
        return (self.axis, self.begin, self.step)

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        axis, begin, step = params
        size = output.shape[axis] if 0 <= axis < len(output.shape) else 0  # infer refuses the rest
        return cls(axis, begin, size, step)

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        if len(shape) < 2:
            return None
        axis = int(draw.integers(1, len(shape)))
        begin = int(draw.integers(shape[axis])) if draw.random() < 0.6 else 0
        step = pick(draw, (1, 1, 2, 2, 3))
        most = (shape[axis] - 1 - begin) // step + 1
        size = most if draw.random() < 0.5 else int(draw.integers(1, most + 1))
        return Example(cls(axis, begin, size, step))

    def _part(self, x: Array) -> Array:
        last = self.begin + (self.size - 1) * self.step
        return x[(slice(None),) * self.axis + (slice(self.begin, last + 1, self.step),)]
