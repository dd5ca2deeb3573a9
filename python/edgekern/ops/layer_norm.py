# SPDX-License-Identifier: Apache-2.0
"""Layer normalisation over the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgekern import quant
from edgekern.errors import QuantizationError, ShapeError
from edgekern.ops._op import NO_CLAMP, NO_CLIP, Example, Op, draw_clip, pick, quant_of, registered
from edgekern.types import Array, TensorType, WeightScale

__all__ = ["LayerNorm"]

_MOST_CHANNELS = 1 << 23  # |n * q - S| <= 255 * 2^23 < 2^31
_MOST_EPSILON, _MOST_CONSTANT = 2.0**96, 2.0**31  # in a file, exclusive
F32 = np.float32


@registered
@dataclass(frozen=True, slots=True)
class LayerNorm(Op):
    """y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, with mean and variance over the last axis.

    Constants: gamma [C], beta [C]; the integer form: g = gamma / s_y and b = beta / s_y in float32.

    The integer form multiplies both sides of the fraction by n = C, so that the only roundings are those of this one
    order of float32 operations:

        S = sum(q), Q = sum(q^2), v = n * Q - S^2       exact, v in int64
        r = 1 / sqrt(float32(v) + epsilon)              four roundings
        t = ((float32(n * q - S) * r) * g) + b          four roundings
        y = rne(clip(t)) + zy

    The zero point of the input cancels in v and in n * q - S. n is at most 2^23, so that n * q - S fits in int32.

    Attributes:
        epsilon: Added to the variance. In the integer form a float32 in units of (s_x / n)^2, at least 2^-126: a row of
            equal values gives beta, also for an epsilon of 0.
    """

    opcode: ClassVar[str] = "LayerNorm"
    kernels: ClassVar[tuple[str, ...]] = ("layernorm",)

    epsilon: float = 1e-5
    clip: tuple[float, float] = NO_CLIP
    clamp: tuple[int, int] = NO_CLAMP

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        shape = inputs[0].shape
        if len(shape) < 2 or shape[-1] > _MOST_CHANNELS:
            raise ShapeError(f"layer norm needs an axis after the batch, of at most 2^23 elements, not {shape}")
        if any(c.shape != shape[-1:] for c in constants):
            raise ShapeError(f"layer norm constants {[c.shape for c in constants]} do not fit an input {shape}")
        return TensorType(shape, inputs[0].dtype)

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        gamma, beta = constants
        x = inputs[0].astype(np.float64)
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        root = np.sqrt(np.maximum(variance + self.epsilon, quant.TINY))
        y: Array = np.clip(centred / root * gamma + beta, *self.clip)
        return y.astype(np.float32)

    def quantise(
        self,
        inputs: Sequence[TensorType],
        output: TensorType,
        constants: Sequence[Array],
        weight_scale: WeightScale | None = None,
    ) -> tuple[Op, tuple[Array, ...]]:
        x, y = quant_of(inputs[0]), quant_of(output)
        unit = x.scale / inputs[0].shape[-1]  # float64
        epsilon = float(F32(min(max(self.epsilon / unit / unit, quant.TINY), _MOST_EPSILON)))
        if not (self.epsilon >= 0 and epsilon < _MOST_EPSILON):
            raise QuantizationError(f"epsilon {self.epsilon} of a layer norm whose input has the scale {x.scale}")
        held = [np.asarray(c, F32) / F32(y.scale) for c in constants]
        if not all((np.abs(c) < _MOST_CONSTANT).all() for c in held):
            raise QuantizationError(f"the constants of a layer norm against the scale {y.scale} of its result")
        held = [np.where(np.abs(c) < F32(quant.TINY), F32(0), c).astype(F32) for c in held]
        return replace(self, epsilon=epsilon, clamp=quant.clamp_bounds(y, *self.clip), clip=NO_CLIP), tuple(held)

    def reference(
        self, inputs: Sequence[Array], constants: Sequence[Array], types: Sequence[TensorType], out: TensorType
    ) -> Array:
        g, b = constants
        q = inputs[0].astype(np.int64)
        n = q.shape[-1]
        total = q.sum(axis=-1, keepdims=True)
        v = n * (q * q).sum(axis=-1, keepdims=True) - total * total
        r = F32(1) / np.sqrt(v.astype(F32) + F32(self.epsilon))
        t = (n * q - total).astype(F32) * r
        t = t * g
        t = t + b
        return quant.requantise(t, F32(1), quant_of(out).zero_point, *self.clamp)  # 1 changes nothing

    def lower(self) -> tuple[int, ...]:
        return (*self.clamp, int(F32(self.epsilon).view(np.int32)))

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        lo, hi, bits = params
        return cls(float(np.int32(bits).view(F32)), clamp=(lo, hi))

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        if len(shape) < 2:
            return None
        gamma, beta = draw.normal(size=(2, shape[-1])).astype(np.float32)
        if draw.random() < 0.5:  # a row of equal values gives beta: halves of a step, where that is a power of two
            beta = (np.rint(beta * 64) / 64).astype(np.float32)
        return Example(cls(pick(draw, (0.0, 1e-5, 0.1, 1.0, 5.0)), draw_clip(draw)), (), (gamma, beta))
