# SPDX-License-Identifier: Apache-2.0
"""The same elements in another shape; flattening is one of these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgekern import quant
from edgekern.errors import ShapeError
from edgekern.ops._op import Example, Op, pick, registered
from edgekern.types import Array, TensorType, WeightScale

__all__ = ["Reshape"]


@registered
@dataclass(frozen=True, slots=True)
class Reshape(Op):
    """x in C order as [b, *shape].

    Attributes:
        shape: Without the batch. A file keeps it as the shape of the result.
    """

    opcode: ClassVar[str] = "Reshape"
    kernels: ClassVar[tuple[str, ...]] = ("move", "wide")
    rescales: ClassVar[bool] = True

    shape: tuple[int, ...]

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        if math.prod(self.shape) != inputs[0].size or len(self.shape) > 5:
            raise ShapeError(f"{inputs[0].shape} cannot be reshaped to {self.shape}")
        return replace(inputs[0], shape=(inputs[0].shape[0], *self.shape))

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        return inputs[0].reshape(len(inputs[0]), *self.shape)

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
        x = inputs[0]
        if types[0].quant and out.quant:
            x = quant.rescale(x, types[0].quant, out.quant, out.dtype)
        return x.reshape(len(x), *self.shape)

    def lower(self) -> tuple[int, ...]:
        return ()

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        return cls(output.shape[1:])

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        elements = math.prod(shape[1:])
        rows = pick(draw, [n for n in range(1, elements + 1) if elements % n == 0])
        columns = pick(draw, [n for n in range(1, elements // rows + 1) if elements // rows % n == 0])
        rest = elements // rows // columns
        return Example(cls(pick(draw, ((elements,), (rows, columns * rest), (rows, columns, rest)))))
