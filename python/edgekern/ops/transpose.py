# SPDX-License-Identifier: Apache-2.0
"""A permutation of dimensions; the batch stays first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgekern import quant
from edgekern.errors import ShapeError
from edgekern.ops._op import Example, Op, quant_of, registered
from edgekern.types import Array, TensorType, WeightScale

__all__ = ["Transpose"]

_MOST_DIMENSIONS = 6


@registered
@dataclass(frozen=True, slots=True)
class Transpose(Op):
    """Dimension i of the result is dimension perm[i] of the input; perm[0] is 0."""

    opcode: ClassVar[str] = "Transpose"
    kernels: ClassVar[tuple[str, ...]] = ("move", "wide")
    rescales: ClassVar[bool] = True

    perm: tuple[int, ...]

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        shape = inputs[0].shape
        if sorted(self.perm) != list(range(len(shape))) or self.perm[0] != 0 or len(shape) > _MOST_DIMENSIONS:
            raise ShapeError(f"perm {self.perm} does not fit {shape} with the batch in front")
        return replace(inputs[0], shape=tuple(shape[i] for i in self.perm))

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        y: Array = inputs[0].transpose(self.perm)
        return y

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
        y: Array = quant.rescale(inputs[0], quant_of(types[0]), quant_of(out), out.dtype).transpose(self.perm)
        return y

    def lower(self) -> tuple[int, ...]:
        return (*self.perm, *[0] * (_MOST_DIMENSIONS - len(self.perm)))

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        return cls(tuple(params[: len(output.shape)]))

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        if len(shape) < 2:
            return None
        return Example(cls((0, *(int(i) + 1 for i in draw.permutation(len(shape) - 1)))))
