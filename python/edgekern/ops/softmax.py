# SPDX-License-Identifier: Apache-2.0
"""Softmax over the last axis, by a table of exponentials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgekern import quant
from edgekern.errors import ShapeError
from edgekern.ops._op import Example, Op, pick, quant_of, registered
from edgekern.types import Array, DType, Quant, TensorType, WeightScale

__all__ = ["PROBABILITY", "Softmax"]

PROBABILITY = Quant(1 / 256, -128)


@registered
@dataclass(frozen=True, slots=True)
class Softmax(Op):
    """p[i] = exp(x[i] / temperature) / sum of exp(x / temperature), over the last axis.

    Constants of the integer form: table int32 [256], table[d] = round(2^23 * exp(-d * scale / temperature)). With
    d = max - x: e = table[d], S = sum of e in uint64, p = float32(e) / float32(S), a true division. An output tensor
    typed float32 gets p itself; an int8 one clamp(rne(p / s_y) + zy).
    """

    opcode: ClassVar[str] = "Softmax"
    kernels: ClassVar[tuple[str, ...]] = ("softmax",)
    rescales: ClassVar[bool] = True

    temperature: float = 1.0

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        if len(inputs[0].shape) < 2:
            raise ShapeError(f"softmax needs an axis after the batch, not {inputs[0].shape}")
        return replace(inputs[0], quant=PROBABILITY if inputs[0].dtype is DType.INT8 else None)

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        x = inputs[0].astype(np.float64) / self.temperature
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        p: Array = e / e.sum(axis=-1, keepdims=True)
        return p.astype(np.float32)

    def quantise(
        self,
        inputs: Sequence[TensorType],
        output: TensorType,
        constants: Sequence[Array],
        weight_scale: WeightScale | None = None,
    ) -> tuple[Op, tuple[Array, ...]]:
        table = quant.exp_table(quant_of(inputs[0]).scale, self.temperature)
        return replace(self, temperature=1.0), (table.astype(np.int32),)

    def reference(
        self, inputs: Sequence[Array], constants: Sequence[Array], types: Sequence[TensorType], out: TensorType
    ) -> Array:
        x = inputs[0].astype(np.int32)
        e = constants[0][x.max(axis=-1, keepdims=True) - x]
        total = e.sum(axis=-1, keepdims=True, dtype=np.uint64)
        p = e.astype(np.float32) / total.astype(np.float32)
        return p if out.quant is None else quant.quantise(p, out.quant)

    def lower(self) -> tuple[int, ...]:
        return ()

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        return cls()

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        return Example(cls(pick(draw, (1.0, 0.75, 2.0)))) if len(shape) > 1 else None
