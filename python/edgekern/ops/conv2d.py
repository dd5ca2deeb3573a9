# SPDX-License-Identifier: Apache-2.0
"""2-D convolution: dense, grouped, dilated, 1x1; a fully connected layer is one that covers its whole input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgekern import quant
from edgekern.errors import QuantizationError, ShapeError
from edgekern.ops._op import NO_CLAMP, NO_CLIP, Example, Op, draw_clip, draw_fitting, pick, quant_of, registered
from edgekern.types import Array, TensorType, WeightScale

__all__ = [
    "Conv2D",
    "Pads",
    "conv_extent",
    "image_shape",
    "pad_image",
    "quantise_channels",
    "stacked",
    "taps",
    "weight_scales",
]

Pads = tuple[int, int, int, int]  # top, left, bottom, right


_BIAS_ROOM = np.float32(2.0**-28)  # a bias is held within 2^28 units of s_in * s_w


def image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """[b, h, w, c] of an image, or of a vector [b, c] taken as an image of one pixel."""
    if len(shape) not in (2, 4):
        raise ShapeError(f"an image [b, h, w, c] or a vector [b, c] is needed, not {shape}")
    return shape if len(shape) == 4 else (shape[0], 1, 1, shape[1])


def conv_extent(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Output positions along one dimension; below 1 where the kernel does not fit."""
    if min(kernel, stride, dilation) < 1 or min(before, after) < 0:
        raise ShapeError(f"kernel {kernel}, stride {stride}, dilation {dilation}, padding {before} and {after}")
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


def pad_image(x: Array, pads: Pads, value: float) -> Array:
    """NHWC batch with a border of `value`."""
    top, left, bottom, right = pads
    padded: Array = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)
    return padded


def weight_scales(w: Array) -> Array:
    """max|w| / 127 per output channel (first axis), float32; 1 for a channel of zeros."""
    top = np.abs(w.reshape(w.shape[0], -1)).max(axis=1).astype(np.float32) / np.float32(127)
    scales: Array = np.where(top < np.float32(quant.TINY), np.float32(1), top).astype(np.float32)
    return scales


def quantise_channels(
    w: Array, bias: Array, scale: WeightScale | None, s_in: float, s_out: float
) -> tuple[Array, Array, Array]:
    """Integer weights [N, ...], bias [N] and multiplier m [N] of output channels.

    A channel whose weights are tiny beside its bias (all zero: a dead channel) gets the scale that holds its bias.
    Scales that the source gives stay as they are.

    Args:
        w: Float weights, output channel first.
        bias: Float bias, one per channel.
        scale: Of the weights; max|w| / 127 if None.
        s_in: Scale of the input.
        s_out: Scale of the output.

    Raises:
        QuantizationError: An int32 sum could overflow, or a constant is not finite.
    """
    if not (np.isfinite(w).all() and np.isfinite(bias).all()):
        raise QuantizationError("a weight or bias is not finite")
    if scale is not None and scale.given:
        s_w = scale.values
        weights = _given_integers(w, s_w)
    else:
        dead = np.abs(w.reshape(len(w), -1)).max(axis=1) < np.float32(quant.TINY)
        own = np.where(dead, np.float32(0), weight_scales(w) if scale is None else scale.values)
        least = np.abs(bias).astype(np.float32) / np.float32(s_in) * _BIAS_ROOM
        s_w = np.maximum(own, least).astype(np.float32)
        s_w = np.where(s_w < np.float32(quant.TINY), np.float32(1), s_w)
        weights = quant.quantise_weights(w, s_w.reshape(-1, *[1] * (w.ndim - 1)))
    ints = quant.quantise_bias(bias, s_in, s_w)
    most = np.abs(weights.astype(np.int64)).reshape(len(w), -1).sum(axis=1) * 255 + np.abs(ints.astype(np.int64))
    if (most >= 2**31).any():
        raise QuantizationError(f"a sum over {w[0].size} products could overflow int32")
    m = quant.fold_multiplier(s_in, s_w, s_out)
    if not (m < np.float32(2**31)).all():
        raise QuantizationError(f"scales {s_in:.4g} and {s_w.max():.4g} make a multiplier beyond 2^31 for {s_out:.4g}")
    return weights, ints, m


def _given_integers(w: Array, scale: Array) -> Array:
    """The integers w / scale of a source model, int16: zero points may take them beyond int8."""
    t = np.rint(w / scale.reshape(-1, *[1] * (w.ndim - 1)).astype(np.float64))
    if np.abs(t).max(initial=0) > 255:
        raise QuantizationError("a weight of the source model is no 8-bit integer of its scale")
    return t.astype(np.int16)


def stacked(weights: Array, axis: int) -> Array:
    """int8 kernels, one below the other along `axis` (their height), whose sum are the weights: one if they fit."""
    parts = [np.clip(weights, -128, 127).astype(np.int8)]
    while (rest := weights.astype(np.int16) - sum(part.astype(np.int16) for part in parts)).any():
        parts.append(np.clip(rest, -128, 127).astype(np.int8))
    return np.concatenate(parts, axis=axis)


def taps(x: Array, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> list[Array]:
    """A padded image as each kernel tap sees it, row by row: views [b, oh, ow, c]."""
    oh = conv_extent(x.shape[1], kernel[0], stride[0], dilation[0], 0, 0)
    ow = conv_extent(x.shape[2], kernel[1], stride[1], dilation[1], 0, 0)
    rows = [slice(ky * dilation[0], ky * dilation[0] + (oh - 1) * stride[0] + 1, stride[0]) for ky in range(kernel[0])]
    cols = [slice(kx * dilation[1], kx * dilation[1] + (ow - 1) * stride[1] + 1, stride[1]) for kx in range(kernel[1])]
    return [x[:, row, col] for row in rows for col in cols]


@registered
@dataclass(frozen=True, slots=True)
class Conv2D(Op):
    """y[b, i, j, n] = sum over ky, kx, c of x[b, i*s + ky*d, j*s + kx*d, c] * w[n, ky, kx, c] + bias[n].

    Constants: weights [N, kh, kw, C / groups], bias [N]; the integer form adds m [N]. Integer weights beyond int8 (a
    source model's with zero points) are the sum of up to 3 kernels, one below the other: [N, P * kh, kw, C / groups].
    """

    opcode: ClassVar[str] = "Conv2D"
    kernels: ClassVar[tuple[str, ...]] = ("qgemm", "firstconv", "winograd", "wide")

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    groups: int = 1
    clip: tuple[float, float] = NO_CLIP
    clamp: tuple[int, int] = NO_CLAMP

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        b, h, w, c = image_shape(inputs[0].shape)
        weights = constants[0]
        n, (kh, kw) = weights.shape[0], self.kernel
        rows = max(1, weights.shape[1] // kh) * kh
        if weights.shape != (n, rows, kw, c // self.groups) or c % self.groups or n % self.groups:
            raise ShapeError(
                f"weights {weights.shape} do not fit an input of {c} channels, kernel {self.kernel}, "
                f"{self.groups} groups"
            )
        top, left, bottom, right = self.pads
        oh = conv_extent(h, self.kernel[0], self.stride[0], self.dilation[0], top, bottom)
        ow = conv_extent(w, self.kernel[1], self.stride[1], self.dilation[1], left, right)
        if oh < 1 or ow < 1:
            raise ShapeError(f"kernel {self.kernel} is larger than the padded input {h}x{w}")
        if len(inputs[0].shape) == 2 and (oh, ow) != (1, 1):
            raise ShapeError(f"padding {self.pads} makes an image of a vector")
        shape = (b, oh, ow, n) if len(inputs[0].shape) == 4 else (b, n)
        return TensorType(shape, inputs[0].dtype)

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        weights, bias = constants
        x = pad_image(inputs[0].reshape(image_shape(inputs[0].shape)), self.pads, 0)
        views = taps(x, self.kernel, self.stride, self.dilation)
        n, cg = weights.shape[0], weights.shape[3]
        weights = weights.reshape(n, -1, len(views), cg).sum(axis=1)  # of the parts
        ng = n // self.groups
        parts = []
        for g in range(self.groups):
            columns = np.concatenate([t[..., g * cg : (g + 1) * cg] for t in views], axis=-1)
            rows = columns.reshape(-1, columns.shape[-1])  # one product: of a stack BLAS gets small ones
            parts.append(rows @ weights[g * ng : (g + 1) * ng].reshape(ng, -1).T)
        y: Array = np.clip(np.concatenate(parts, axis=-1) + bias, *self.clip).astype(np.float32)
        return y.reshape(*views[0].shape[:3], n) if inputs[0].ndim == 4 else y

    def quantise(
        self,
        inputs: Sequence[TensorType],
        output: TensorType,
        constants: Sequence[Array],
        weight_scale: WeightScale | None = None,
    ) -> tuple[Op, tuple[Array, ...]]:
        weights, bias = constants
        op = replace(self, clamp=quant.clamp_bounds(quant_of(output), *self.clip, output.dtype), clip=NO_CLIP)
        s_in, s_out = quant_of(inputs[0]).scale, quant_of(output).scale
        integers, ints, m = quantise_channels(weights, bias, weight_scale, s_in, s_out)
        return op, (stacked(integers, 1), ints, m)

    def reference(
        self, inputs: Sequence[Array], constants: Sequence[Array], types: Sequence[TensorType], out: TensorType
    ) -> Array:
        weights, bias, m = constants
        zero = quant_of(out).zero_point
        sums = [self._sums(plane, weights) for plane in quant.planes(inputs[0], quant_of(types[0]).zero_point)]
        sums[-1] = sums[-1] + bias
        if types[0].wide:
            y = quant.requantise_wide(sums[0], sums[1], m, zero, *self.clamp, out.dtype)
        else:
            y = quant.requantise(sums[0], m, zero, *self.clamp, out.dtype)
        return y.reshape(len(inputs[0]), *out.shape[1:])

    def _sums(self, x: Array, weights: Array) -> Array:
        """int32 sums of products, without the bias."""
        views = taps(pad_image(x.reshape(image_shape(x.shape)), self.pads, 0), self.kernel, self.stride, self.dilation)
        n, rows, kw, cg = weights.shape
        w = weights.astype(np.int32).reshape(n, rows * kw, cg)
        views *= rows // self.kernel[0]  # once for each part
        ng = n // self.groups
        acc = np.zeros((*views[0].shape[:3], n), np.int32)
        for t, tap in enumerate(views):
            for g in range(self.groups):
                part = tap[..., g * cg : (g + 1) * cg]
                acc[..., g * ng : (g + 1) * ng] += part @ w[g * ng : (g + 1) * ng, t].T
        return acc

    def macs(self, output: TensorType, constants: Sequence[Array]) -> int:
        depth: int = constants[0].shape[3]
        return output.size * self.kernel[0] * self.kernel[1] * depth  # the parts of a weight count once

    def lower(self) -> tuple[int, ...]:
        return (*self.kernel, *self.stride, *self.dilation, *self.pads, self.groups, *self.clamp)

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        kh, kw, sh, sw, dh, dw, top, left, bottom, right, groups, lo, hi = params
        return cls((kh, kw), (sh, sw), (dh, dw), (top, left, bottom, right), groups, clamp=(lo, hi))

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        if len(shape) not in (2, 4):
            return None
        channels = shape[-1]
        sides = (1, 2, 3, 5) if len(shape) == 4 else (1,)
        edges = (0, 1, 2) if len(shape) == 4 else (0,)

        def make() -> Example:
            groups = pick(draw, [g for g in (1, 2, 3, 4) if channels % g == 0])
            n = groups * int(draw.integers(1, 3 + 20 // groups))
            op = cls(
                kernel=(pick(draw, sides), pick(draw, sides)),
                stride=(pick(draw, (1, 2, 3)), pick(draw, (1, 2, 3))),
                dilation=(pick(draw, (1, 1, 2)), pick(draw, (1, 1, 2))),
                pads=(pick(draw, edges), pick(draw, edges), pick(draw, edges), pick(draw, edges)),
                groups=groups,
                clip=draw_clip(draw),
            )
            weights = draw.normal(size=(n, *op.kernel, channels // groups)).astype(np.float32)
            return Example(op, (), (weights, draw.normal(size=n).astype(np.float32)))

        return draw_fitting(make, shape)
