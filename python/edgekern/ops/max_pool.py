# SPDX-License-Identifier: Apache-2.0
"""2-D max pooling. Padding never wins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgekern import quant
from edgekern.errors import ShapeError
from edgekern.ops._op import NO_CLAMP, NO_CLIP, Example, Op, draw_fitting, pick, quant_of, registered
from edgekern.ops.conv2d import Pads, conv_extent, pad_image, taps
from edgekern.types import Array, TensorType, WeightScale

__all__ = ["MaxPool2D", "pool_shape"]


def pool_shape(shape: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int], pads: Pads) -> tuple[int, ...]:
    """Shape of a pooled image.

    Raises:
        ShapeError: The input is no image, or a window would lie wholly in the padding.
    """
    top, left, bottom, right = pads
    if len(shape) != 4:
        raise ShapeError(f"pooling needs an image [b, h, w, c], not {shape}")
    if max(top, bottom) >= kernel[0] or max(left, right) >= kernel[1]:
        raise ShapeError(f"padding {pads} is not smaller than the pooling window {kernel}")
    b, h, w, c = shape
    oh, ow = conv_extent(h, kernel[0], stride[0], 1, top, bottom), conv_extent(w, kernel[1], stride[1], 1, left, right)
    if oh < 1 or ow < 1:
        raise ShapeError(f"pooling window {kernel} is larger than the padded input {h}x{w}")
    return (b, oh, ow, c)


@registered
@dataclass(frozen=True, slots=True)
class MaxPool2D(Op):
    """y[b, i, j, c] = max over ky, kx of x[b, i*s + ky, j*s + kx, c], inside the image. Keeps the quantisation."""

    opcode: ClassVar[str] = "MaxPool2D"
    kernels: ClassVar[tuple[str, ...]] = ("pool",)

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    clip: tuple[float, float] = NO_CLIP
    clamp: tuple[int, int] = NO_CLAMP

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        return replace(inputs[0], shape=pool_shape(inputs[0].shape, self.kernel, self.stride, self.pads))

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        x = pad_image(inputs[0], self.pads, -np.inf)
        y: Array = np.maximum.reduce(taps(x, self.kernel, self.stride))
        return np.clip(y, *self.clip).astype(np.float32)

    def quantise(
        self,
        inputs: Sequence[TensorType],
        output: TensorType,
        constants: Sequence[Array],
        weight_scale: WeightScale | None = None,
    ) -> tuple[Op, tuple[Array, ...]]:
        return replace(self, clamp=quant.clamp_bounds(quant_of(output), *self.clip), clip=NO_CLIP), ()

    def reference(
        self, inputs: Sequence[Array], constants: Sequence[Array], types: Sequence[TensorType], out: TensorType
    ) -> Array:
        x = pad_image(inputs[0], self.pads, -128)
        y = np.full((len(x), *out.shape[1:]), -128, np.int8)
        for tap in taps(x, self.kernel, self.stride):
            y = np.maximum(y, tap)
        return np.clip(y, *self.clamp).astype(np.int8)

    def lower(self) -> tuple[int, ...]:
        return (*self.kernel, *self.stride, *self.pads, *self.clamp)

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        kh, kw, sh, sw, top, left, bottom, right, lo, hi = params
        return cls((kh, kw), (sh, sw), (top, left, bottom, right), clamp=(lo, hi))

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        def make() -> Example:
            kh, kw = pick(draw, (1, 2, 3)), pick(draw, (1, 2, 3))
            pads = [int(draw.integers(0, k)) for k in (kh, kw, kh, kw)]
            op = cls(
                kernel=(kh, kw),
                stride=(pick(draw, (1, 2, 3)), pick(draw, (1, 2, 3))),
                pads=(pads[0], pads[1], pads[2], pads[3]),
                clip=pick(draw, (NO_CLIP, NO_CLIP, (0.0, math.inf), (-1.0, 2.5))),
            )
            return Example(op)

        return draw_fitting(make, shape)
