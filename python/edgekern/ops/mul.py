# SPDX-License-Identifier: Apache-2.0
"""Product of two tensors of one shape, or of an image and one number per channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgekern import quant
from edgekern.errors import QuantizationError, ShapeError
from edgekern.ops._op import NO_CLAMP, NO_CLIP, Example, Op, draw_clip, quant_of, registered
from edgekern.types import Array, DType, TensorType, WeightScale

__all__ = ["Mul"]

_MOST = 2.0**31  # of a multiplier in a file, exclusive


@registered
@dataclass(frozen=True, slots=True)
class Mul(Op):
    """y = a * b, elementwise; integer: requantise((a - za) * (b - zb), m), m = s_a * s_b / s_y.

    b has the shape of a, or is one pixel [b, 1, 1, c] that every pixel of an image a is multiplied with.

    Attributes:
        m: A float32 value; 0 before `quantise`.
    """

    opcode: ClassVar[str] = "Mul"
    kernels: ClassVar[tuple[str, ...]] = ("eltwise", "wide")

    m: float = 0.0
    clip: tuple[float, float] = NO_CLIP
    clamp: tuple[int, int] = NO_CLAMP

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        a, b = inputs
        pixel = len(a.shape) == 4 and b.shape == (a.shape[0], 1, 1, a.shape[3])
        if not (pixel or a.shape == b.shape) or (a.dtype is DType.FLOAT32) != (b.dtype is DType.FLOAT32):
            raise ShapeError(
                f"mul needs two tensors of one type, of one shape or the second one pixel, not {a.shape} and {b.shape}"
            )
        return TensorType(a.shape, a.dtype)

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        y: Array = np.clip(inputs[0] * inputs[1], *self.clip)
        return y.astype(np.float32)

    def quantise(
        self,
        inputs: Sequence[TensorType],
        output: TensorType,
        constants: Sequence[Array],
        weight_scale: WeightScale | None = None,
    ) -> tuple[Op, tuple[Array, ...]]:
        a, b, y = quant_of(inputs[0]), quant_of(inputs[1]), quant_of(output)
        m = float(quant.fold_multiplier(a.scale, np.float32(b.scale), y.scale))
        if not m < _MOST:
            raise QuantizationError(f"scales {a.scale} and {b.scale} of the factors against {y.scale} of the product")
        return replace(self, m=m, clamp=quant.clamp_bounds(y, *self.clip, output.dtype), clip=NO_CLIP), ()

    def reference(
        self, inputs: Sequence[Array], constants: Sequence[Array], types: Sequence[TensorType], out: TensorType
    ) -> Array:
        za, zb, zy = (quant_of(t).zero_point for t in (*types, out))
        product = (inputs[0].astype(np.int32) - za) * (inputs[1].astype(np.int32) - zb)
        return quant.requantise(product, np.float32(self.m), zy, *self.clamp, out.dtype)

    def lower(self) -> tuple[int, ...]:
        return (*self.clamp, int(np.float32(self.m).view(np.int32)))

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        lo, hi, bits = params
        return cls(float(np.int32(bits).view(np.float32)), clamp=(lo, hi))

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        pixel = len(shape) == 4 and draw.random() < 0.5
        return Example(cls(clip=draw_clip(draw)), ((shape[0], 1, 1, shape[3]) if pixel else shape,))
