# SPDX-License-Identifier: Apache-2.0
"""2-D average pooling. Edge windows count only the pixels inside, unless count_include_pad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgekern import quant
from edgekern.ops._op import NO_CLAMP, NO_CLIP, Example, Op, draw_clip, draw_fitting, pick, quant_of, registered
from edgekern.ops.conv2d import Pads, pad_image, taps
from edgekern.ops.max_pool import pool_shape
from edgekern.types import Array, TensorType, WeightScale

__all__ = ["AveragePool2D"]


@registered
@dataclass(frozen=True, slots=True)
class AveragePool2D(Op):
    """y[b, i, j, c] = S / n, S the sum over the n pixels of a window. Keeps the quantisation where we choose.

    Integer: in the quantisation of the input, S / n of the int8 values is rounded half away from `origin`. Where an
    imported model gives the output another one, y = requantise(S - n * zx, m) with m = s_x / (s_y * n).

    Attributes:
        origin: 0, or -128 where the source model's values are uint8 and its 0 is our -128.
    """

    opcode: ClassVar[str] = "AveragePool2D"
    kernels: ClassVar[tuple[str, ...]] = ("pool",)
    rescales: ClassVar[bool] = True

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    count_include_pad: bool = False
    origin: int = 0
    clip: tuple[float, float] = NO_CLIP
    clamp: tuple[int, int] = NO_CLAMP

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        return replace(inputs[0], shape=pool_shape(inputs[0].shape, self.kernel, self.stride, self.pads))

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        x = pad_image(inputs[0], self.pads, 0)
        y = sum(taps(x, self.kernel, self.stride)) / self._count(inputs[0]).astype(np.float32)
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
        q_x, q_y = quant_of(types[0]), quant_of(out)
        n = self._count(inputs[0])
        x = pad_image(inputs[0].astype(np.int32), self.pads, q_x.zero_point if self.count_include_pad else 0)
        total = np.zeros((len(x), *out.shape[1:]), np.int32)
        for tap in taps(x, self.kernel, self.stride):
            total += tap
        if q_x == q_y:
            y = quant.average(total - n * self.origin, n) + self.origin
            return np.asarray(np.clip(y, *self.clamp), np.int8)
        m = np.float32(q_x.scale) / (np.float32(q_y.scale) * n.astype(np.float32))
        return quant.requantise(total - n * q_x.zero_point, m, q_y.zero_point, *self.clamp)

    def lower(self) -> tuple[int, ...]:
        return (*self.kernel, *self.stride, *self.pads, int(self.count_include_pad), self.origin, *self.clamp)

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        kh, kw, sh, sw, top, left, bottom, right, count, origin, lo, hi = params
        return cls((kh, kw), (sh, sw), (top, left, bottom, right), bool(count), origin, clamp=(lo, hi))

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        def make() -> Example:
            kh, kw = pick(draw, (1, 2, 3)), pick(draw, (1, 2, 3))
            pads = [int(draw.integers(0, k)) for k in (kh, kw, kh, kw)]
            op = cls(
                kernel=(kh, kw),
                stride=(pick(draw, (1, 2, 3)), pick(draw, (1, 2, 3))),
                pads=(pads[0], pads[1], pads[2], pads[3]),
                count_include_pad=pick(draw, (False, True)),
                origin=pick(draw, (0, -128)),
                clip=draw_clip(draw),
            )
            return Example(op)

        return draw_fitting(make, shape)

    def _count(self, x: Array) -> Array:
        """Pixels that count in each window, int32 [1, oh, ow, 1]."""
        ones = np.ones((1, *x.shape[1:3], 1), np.int32)
        inside = pad_image(ones, self.pads, int(self.count_include_pad))
        return np.asarray(np.sum(taps(inside, self.kernel, self.stride), axis=0, dtype=np.int32))
