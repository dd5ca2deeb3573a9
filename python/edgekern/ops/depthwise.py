# SPDX-License-Identifier: Apache-2.0
"""Depthwise 2-D convolution: every channel has its own kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgekern import quant
from edgekern.errors import ShapeError
from edgekern.ops._op import NO_CLAMP, NO_CLIP, Example, Op, draw_clip, draw_fitting, pick, quant_of, registered
from edgekern.ops.conv2d import Pads, conv_extent, image_shape, pad_image, quantise_channels, stacked, taps
from edgekern.types import Array, TensorType, WeightScale

__all__ = ["DepthwiseConv2D"]


@registered
@dataclass(frozen=True, slots=True)
class DepthwiseConv2D(Op):
    """y[b, i, j, c] = sum over ky, kx of x[b, i*s + ky*d, j*s + kx*d, c] * w[ky, kx, c] + bias[c].

    Constants: weights [kh, kw, C], bias [C]; the integer form adds m [C]. Integer weights beyond int8
    are the sum of up to 3 kernels, one below the other, as Conv2D's: [P * kh, kw, C].
    """

    opcode: ClassVar[str] = "DepthwiseConv2D"
    kernels: ClassVar[tuple[str, ...]] = ("dwconv", "wide")

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    clip: tuple[float, float] = NO_CLIP
    clamp: tuple[int, int] = NO_CLAMP

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        b, h, w, c = image_shape(inputs[0].shape)
        parts = max(1, constants[0].shape[0] // self.kernel[0])
        if constants[0].shape != (parts * self.kernel[0], self.kernel[1], c):
            raise ShapeError(f"weights {constants[0].shape} do not fit {c} channels and kernel {self.kernel}")
        top, left, bottom, right = self.pads
        oh = conv_extent(h, self.kernel[0], self.stride[0], self.dilation[0], top, bottom)
        ow = conv_extent(w, self.kernel[1], self.stride[1], self.dilation[1], left, right)
        if oh < 1 or ow < 1 or len(inputs[0].shape) != 4:
            raise ShapeError(f"kernel {self.kernel} does not fit the padded input {inputs[0].shape}")
        return TensorType((b, oh, ow, c), inputs[0].dtype)

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        weights, bias = constants
        x = pad_image(inputs[0], self.pads, 0)
        y = np.zeros((), np.float32) + bias
        by_part = weights.reshape(-1, *self.kernel, weights.shape[2])
        for tap, w in zip(self._taps(x), by_part.sum(axis=0).reshape(-1, weights.shape[2]), strict=True):
            y = y + tap * w
        return np.clip(y, *self.clip).astype(np.float32)

    def quantise(
        self,
        inputs: Sequence[TensorType],
        output: TensorType,
        constants: Sequence[Array],
        weight_scale: WeightScale | None = None,
    ) -> tuple[Op, tuple[Array, ...]]:
        by_channel = np.moveaxis(constants[0], 2, 0)
        weights, bias, m = quantise_channels(
            by_channel, constants[1], weight_scale, quant_of(inputs[0]).scale, quant_of(output).scale
        )
        op = replace(self, clamp=quant.clamp_bounds(quant_of(output), *self.clip, output.dtype), clip=NO_CLIP)
        return op, (stacked(np.moveaxis(weights, 0, 2), 0), bias, m)

    def reference(
        self, inputs: Sequence[Array], constants: Sequence[Array], types: Sequence[TensorType], out: TensorType
    ) -> Array:
        weights, bias, m = constants
        zero = quant_of(out).zero_point
        sums = []
        for plane in quant.planes(inputs[0], quant_of(types[0]).zero_point):
            views = self._taps(pad_image(plane, self.pads, 0)) * (len(weights) // self.kernel[0])
            acc = np.zeros((len(plane), *out.shape[1:]), np.int32)
            for w, tap in zip(weights.reshape(-1, weights.shape[2]), views, strict=True):
                acc += tap * w.astype(np.int32)
            sums.append(acc)
        sums[-1] += bias
        if types[0].wide:
            return quant.requantise_wide(sums[0], sums[1], m, zero, *self.clamp, out.dtype)
        return quant.requantise(sums[0], m, zero, *self.clamp, out.dtype)

    def macs(self, output: TensorType, constants: Sequence[Array]) -> int:
        return output.size * self.kernel[0] * self.kernel[1]  # the parts of a weight count once

    def lower(self) -> tuple[int, ...]:
        return (*self.kernel, *self.stride, *self.dilation, *self.pads, *self.clamp)

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        kh, kw, sh, sw, dh, dw, top, left, bottom, right, lo, hi = params
        return cls((kh, kw), (sh, sw), (dh, dw), (top, left, bottom, right), clamp=(lo, hi))

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        def make() -> Example:
            op = cls(
                kernel=(pick(draw, (1, 2, 3, 5)), pick(draw, (1, 2, 3, 5))),
                stride=(pick(draw, (1, 1, 2, 3)), pick(draw, (1, 1, 2, 3))),
                dilation=(pick(draw, (1, 1, 2)), pick(draw, (1, 1, 2))),
                pads=(pick(draw, (0, 1, 2)), pick(draw, (0, 1, 2)), pick(draw, (0, 1, 2)), pick(draw, (0, 1, 2))),
                clip=draw_clip(draw),
            )
            if draw.random() < 0.5:  # the windows that networks use, and kernels are made for
                k, s = pick(draw, (3, 5)), pick(draw, (1, 2))
                op = replace(op, kernel=(k, k), stride=(s, s), dilation=(1, 1))
            weights = draw.normal(size=(*op.kernel, shape[-1])).astype(np.float32)
            return Example(op, (), (weights, draw.normal(size=shape[-1]).astype(np.float32)))

        return draw_fitting(make, shape) if len(shape) == 4 else None

    def _taps(self, x: Array) -> list[Array]:
        return taps(x, self.kernel, self.stride, self.dilation)
