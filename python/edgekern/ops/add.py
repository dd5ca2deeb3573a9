# SPDX-License-Identifier: Apache-2.0
"""Residual add of two tensors of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgekern import quant
from edgekern.errors import QuantizationError, ShapeError
from edgekern.ops._op import NO_CLAMP, NO_CLIP, Example, Op, draw_clip, quant_of, registered
from edgekern.types import Array, DType, TensorType, WeightScale

__all__ = ["Add"]

_MOST = 2.0**31  # of a multiplier in a file, exclusive


@registered
@dataclass(frozen=True, slots=True)
class Add(Op):
    """y = a + b, elementwise; integer arithmetic as in `quant.requantise_add`, or `requantise_add_wide` on int16.

    Attributes:
        shift: Of the integer form, with the multipliers `m` of a and `n` of b; 0 before `quantise`. Where a tensor is
            int16 it stays 0, and the multipliers are float32 ratios by their bits.
    """

    opcode: ClassVar[str] = "Add"
    kernels: ClassVar[tuple[str, ...]] = ("eltwise", "wide")

    shift: int = 0
    m: int = 0
    n: int = 0
    clip: tuple[float, float] = NO_CLIP
    clamp: tuple[int, int] = NO_CLAMP

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        a, b = inputs
        if a.shape != b.shape or (a.dtype is DType.FLOAT32) != (b.dtype is DType.FLOAT32):
            raise ShapeError(f"add needs two tensors of one shape and type, not {a.shape} and {b.shape}")
        return TensorType(a.shape, a.dtype)

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        y: Array = np.clip(inputs[0] + inputs[1], *self.clip)
        return y.astype(np.float32)

    def quantise(
        self,
        inputs: Sequence[TensorType],
        output: TensorType,
        constants: Sequence[Array],
        weight_scale: WeightScale | None = None,
    ) -> tuple[Op, tuple[Array, ...]]:
        a, b, y = quant_of(inputs[0]), quant_of(inputs[1]), quant_of(output)
        clamp = quant.clamp_bounds(y, *self.clip, output.dtype)
        if any(t.wide for t in (*inputs, output)):
            ratios = [quant.fold_multiplier(q.scale, np.float32(1), y.scale) for q in (a, b)]
            if not max(ratios) < _MOST:
                raise QuantizationError(f"scales {a.scale} and {b.scale} of an add against {y.scale} of its result")
            m, n = (int(ratio.view(np.int32)) for ratio in ratios)
            return replace(self, shift=0, m=m, n=n, clamp=clamp, clip=NO_CLIP), ()
        try:
            shift, m, n = quant.add_parameters(a, b, y)
        except ValueError as error:
            raise QuantizationError(str(error)) from error
        return replace(self, shift=shift, m=m, n=n, clamp=clamp, clip=NO_CLIP), ()

    def reference(
        self, inputs: Sequence[Array], constants: Sequence[Array], types: Sequence[TensorType], out: TensorType
    ) -> Array:
        za, zb, zy = (quant_of(t).zero_point for t in (*types, out))
        a, b = inputs
        if any(t.wide for t in (*types, out)):
            ra, rb = (float(np.int32(bits).view(np.float32)) for bits in (self.m, self.n))
            return quant.requantise_add_wide(a, b, za, zb, zy, ra, rb, *self.clamp, out.dtype)
        return quant.requantise_add(a, b, za, zb, zy, self.shift, self.m, self.n, *self.clamp)

    def lower(self) -> tuple[int, ...]:
        return (self.shift, self.m, self.n, *self.clamp)

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        shift, m, n, lo, hi = params
        return cls(shift, m, n, clamp=(lo, hi))

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        return Example(cls(clip=draw_clip(draw)), (shape,))
