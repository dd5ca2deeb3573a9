# SPDX-License-Identifier: Apache-2.0
"""Global average pooling: the mean over height and width, which stay as dimensions of 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgekern import quant
from edgekern.errors import ShapeError
from edgekern.ops._op import NO_CLAMP, NO_CLIP, Example, Op, pick, quant_of, registered
from edgekern.types import Array, TensorType, WeightScale

__all__ = ["Mean"]

_MOST_PIXELS = 1 << 23  # 255 * 2^23 < 2^31


@registered
@dataclass(frozen=True, slots=True)
class Mean(Op):
    """y[b, 0, 0, c] = mean over h, w of x[b, h, w, c]; integer: requantise(S - n * zx, m), m = s_x / (s_y * n).

    S is the exact sum, of int16 values beyond int32.

    Attributes:
        m: A float32 value; 0 before `quantise`.
    """

    opcode: ClassVar[str] = "Mean"
    kernels: ClassVar[tuple[str, ...]] = ("pool", "wide")

    m: float = 0.0
    clip: tuple[float, float] = NO_CLIP
    clamp: tuple[int, int] = NO_CLAMP

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        shape = inputs[0].shape
        if len(shape) != 4 or shape[1] * shape[2] > _MOST_PIXELS:
            raise ShapeError(f"mean needs an image [b, h, w, c] of at most 2^23 pixels, not {shape}")
        return TensorType((shape[0], 1, 1, shape[3]), inputs[0].dtype)

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        y: Array = np.clip(inputs[0].mean(axis=(1, 2), keepdims=True, dtype=np.float64), *self.clip)
        return y.astype(np.float32)

    def quantise(
        self,
        inputs: Sequence[TensorType],
        output: TensorType,
        constants: Sequence[Array],
        weight_scale: WeightScale | None = None,
    ) -> tuple[Op, tuple[Array, ...]]:
        n = np.float32(inputs[0].shape[1] * inputs[0].shape[2])
        whole = float(np.float32(quant_of(output).scale) * n)
        m = quant.fold_multiplier(quant_of(inputs[0]).scale, np.float32(1), whole)
        clamp = quant.clamp_bounds(quant_of(output), *self.clip, output.dtype)
        return replace(self, m=float(m), clamp=clamp, clip=NO_CLIP), ()

    def reference(
        self, inputs: Sequence[Array], constants: Sequence[Array], types: Sequence[TensorType], out: TensorType
    ) -> Array:
        x = inputs[0].astype(np.int32) - quant_of(types[0]).zero_point
        total = x.sum(axis=(1, 2), keepdims=True, dtype=np.int64)
        return quant.requantise(total, np.float32(self.m), quant_of(out).zero_point, *self.clamp, out.dtype)

    def lower(self) -> tuple[int, ...]:
        return (*self.clamp, int(np.float32(self.m).view(np.int32)))

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        lo, hi, bits = params
        return cls(float(np.int32(bits).view(np.float32)), clamp=(lo, hi))

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        clip = pick(draw, (NO_CLIP, NO_CLIP, (-0.75, 0.75), (-1.0, math.inf)))
        return Example(cls(clip=clip)) if len(shape) == 4 else None
