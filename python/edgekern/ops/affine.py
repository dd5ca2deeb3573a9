# SPDX-License-Identifier: Apache-2.0
"""Per-channel affine, such as a batch norm that cannot be folded into a convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgekern import quant
from edgekern.errors import ShapeError
from edgekern.ops._op import NO_CLAMP, NO_CLIP, Example, Op, draw_clip, quant_of, registered
from edgekern.ops.conv2d import quantise_channels
from edgekern.types import Array, TensorType, WeightScale

__all__ = ["Affine"]


@registered
@dataclass(frozen=True, slots=True)
class Affine(Op):
    """y[..., c] = x[..., c] * a[c] + b[c]; a depthwise convolution of one tap, so a becomes +-127 and a scale.

    Constants: a [C], b [C]; the integer form: weights int8 [C], bias int32 [C], m [C].
    """

    opcode: ClassVar[str] = "Affine"
    kernels: ClassVar[tuple[str, ...]] = ("eltwise", "wide")

    clip: tuple[float, float] = NO_CLIP
    clamp: tuple[int, int] = NO_CLAMP

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        shape = inputs[0].shape
        if len(shape) < 2 or any(c.shape != shape[-1:] for c in constants):
            raise ShapeError(f"affine constants {[c.shape for c in constants]} do not fit an input {shape}")
        return TensorType(shape, inputs[0].dtype)

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        a, b = constants
        y: Array = np.clip(inputs[0] * a + b, *self.clip)
        return y.astype(np.float32)

    def quantise(
        self,
        inputs: Sequence[TensorType],
        output: TensorType,
        constants: Sequence[Array],
        weight_scale: WeightScale | None = None,
    ) -> tuple[Op, tuple[Array, ...]]:
        a, b = constants
        op = replace(self, clamp=quant.clamp_bounds(quant_of(output), *self.clip, output.dtype), clip=NO_CLIP)
        weights, bias, m = quantise_channels(a, b, weight_scale, quant_of(inputs[0]).scale, quant_of(output).scale)
        return op, (weights.astype(np.int8), bias, m)

    def reference(
        self, inputs: Sequence[Array], constants: Sequence[Array], types: Sequence[TensorType], out: TensorType
    ) -> Array:
        weights, bias, m = constants
        zero = quant_of(out).zero_point
        sums = [plane * weights for plane in quant.planes(inputs[0], quant_of(types[0]).zero_point)]
        sums[-1] += bias
        if types[0].wide:
            return quant.requantise_wide(sums[0], sums[1], m, zero, *self.clamp, out.dtype)
        return quant.requantise(sums[0], m, zero, *self.clamp, out.dtype)

    def lower(self) -> tuple[int, ...]:
        return self.clamp

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        lo, hi = params
        return cls(clamp=(lo, hi))

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        if len(shape) < 2:
            return None
        a, b = draw.normal(size=(2, shape[-1])).astype(np.float32)
        return Example(cls(clip=draw_clip(draw)), (), (a, b))
