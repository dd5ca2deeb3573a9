# SPDX-License-Identifier: Apache-2.0
"""Concatenation along one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgekern import quant
from edgekern.errors import ShapeError
from edgekern.ops._op import Example, Op, pick, quant_of, registered
from edgekern.types import Array, DType, TensorType, WeightScale

__all__ = ["Concat"]


@registered
@dataclass(frozen=True, slots=True)
class Concat(Op):
    """The inputs one after the other along `axis` (1 to rank - 1). Inputs of another quantisation are rescaled."""

    opcode: ClassVar[str] = "Concat"
    kernels: ClassVar[tuple[str, ...]] = ("move", "wide")
    rescales: ClassVar[bool] = True

    axis: int

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        first = inputs[0].shape
        rest = {(*t.shape[: self.axis], *t.shape[self.axis + 1 :]) for t in inputs}
        if not 1 <= self.axis < len(first) or len(rest) != 1 or len({t.dtype is DType.FLOAT32 for t in inputs}) != 1:
            raise ShapeError(f"shapes {[t.shape for t in inputs]} cannot be concatenated along axis {self.axis}")
        length = sum(t.shape[self.axis] for t in inputs)
        same = inputs[0].quant if len({(t.dtype, t.quant) for t in inputs}) == 1 else None
        return replace(inputs[0], shape=(*first[: self.axis], length, *first[self.axis + 1 :]), quant=same)

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        return np.concatenate(inputs, axis=self.axis)

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
        pairs = zip(inputs, types, strict=True)
        return np.concatenate(
            [quant.rescale(x, quant_of(t), quant_of(out), out.dtype) for x, t in pairs], axis=self.axis
        )

    def lower(self) -> tuple[int, ...]:
        return (self.axis,)

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        return cls(params[0])

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        if len(shape) < 2:
            return None
        axis = int(draw.integers(1, len(shape)))
        lengths = [int(draw.integers(1, 6)) for _ in range(pick(draw, (0, 0, 1, 2)))]
        return Example(cls(axis), tuple((*shape[:axis], n, *shape[axis + 1 :]) for n in lengths))
