# SPDX-License-Identifier: Apache-2.0
"""The arithmetic: how real numbers become int8 and int32 sums become int8 again.

This module is the specification. Every kernel on every CPU gives these bytes. All float operations are
single float32 operations in the order written, rounded to nearest, ties to even; nothing is fused.
"""

from __future__ import annotations

import decimal
from collections.abc import Sequence

import numpy as np

from edgekern.types import Array, DType, Quant

__all__ = [
    "add_parameters",
    "average",
    "byte_table",
    "choose_quant",
    "choose_wide",
    "clamp_bounds",
    "dequantise",
    "exp_table",
    "fold_multiplier",
    "planes",
    "quantise",
    "quantise_bias",
    "quantise_weights",
    "requantise",
    "requantise_add",
    "requantise_add_wide",
    "requantise_wide",
    "rescale",
]

F32 = np.float32
EXP_ONE = 1 << 23  # exp(0) in the softmax table
_FIFTY_DIGITS = decimal.Context(prec=50)
TINY = float(np.finfo(np.float32).tiny)  # least normal float32
_ENDS = {DType.INT8: (-128, 127), DType.INT16: (-32768, 32767)}


def quantise(x: Array, q: Quant, dtype: DType = DType.INT8) -> Array:
    """Brings float32 values to int8 or int16: clamp(rne(x / scale) + zero_point); NaN gives the least value.

    >>> quantise(np.float32([-1.0, 0.25, 0.75, 99.0]), Quant(0.5, 0))
    array([ -2,   0,   2, 127], dtype=int8)
    """
    least, most = _ENDS[dtype]
    with np.errstate(over="ignore"):  # infinity is clamped like any large value
        t = np.asarray(x, F32) / F32(q.scale)
    lo, hi = F32(least - q.zero_point), F32(most - q.zero_point)
    t = np.where(t > lo, t, lo)  # NaN compares false
    y: Array = (np.rint(np.minimum(t, hi)).astype(np.int32) + q.zero_point).astype(dtype.numpy)
    return y


def dequantise(x: Array, q: Quant) -> Array:
    """Brings int8 or int16 values to float32: float32(x - zero_point) * scale."""
    y: Array = (x.astype(np.int32) - q.zero_point).astype(F32) * F32(q.scale)
    return y


def requantise(
    acc: Array, m: Array, zero_point: int, lo: int = -128, hi: int = 127, dtype: DType = DType.INT8
) -> Array:
    """Brings int32 sums to int8 or int16.

    t = float32(acc) * m; t = min(max(t, lo - zero_point), hi - zero_point); q = rne(t) + zero_point.
    The conversion rounds, then the product rounds (the arithmetic of LiteRT and ONNX Runtime).

    Args:
        acc: Exact sums (int32), any shape with channels last.
        m: float32 multiplier, one or one per channel.
        zero_point: Of the output.
        lo: Least output value; activation functions fold into it.
        hi: Greatest output value.
        dtype: Of the output.
    """
    return _rounded(acc.astype(F32) * np.asarray(m, F32), zero_point, lo, hi, dtype)


def _rounded(t: Array, zero_point: int, lo: int, hi: int, dtype: DType) -> Array:
    t = np.minimum(np.maximum(t, F32(lo - zero_point)), F32(hi - zero_point))
    y: Array = (np.rint(t).astype(np.int32) + zero_point).astype(dtype.numpy)
    return y


def planes(x: Array, zero_point: int) -> list[Array]:
    """What a convolution sums: of int8 the values less their zero point; of int16 the high byte, then the low one.

    x = 256 * high + low with high in -128..127 and low in 0..255, so that int32 holds the sums over each.

    >>> planes(np.int16([-1, 300]), 0)
    [array([-1,  1], dtype=int32), array([255,  44], dtype=int32)]
    """
    v = x.astype(np.int32)
    return [v >> 8, v & 255] if x.dtype == np.int16 else [v - zero_point]


def requantise_wide(
    high: Array, low: Array, m: Array, zero_point: int, lo: int, hi: int, dtype: DType = DType.INT8
) -> Array:
    """Brings the two int32 sums of an int16 input to int8 or int16.

    t = (float32(high) * 256 + float32(low)) * m, then as `requantise`. The conversions, the sum and the last product
    round; the product with 256 does not.

    Args:
        high: Sums over the high bytes.
        low: Sums over the low bytes, and the bias.
        m: float32 multiplier, one or one per channel.
        zero_point: Of the output.
        lo: Least output value.
        hi: Greatest output value.
        dtype: Of the output.
    """
    t = high.astype(F32) * F32(256) + low.astype(F32)
    return _rounded(t * np.asarray(m, F32), zero_point, lo, hi, dtype)


def fold_multiplier(s_in: float, s_w: Array, s_out: float) -> Array:
    """m = (s_in * s_w) / s_out in float32, left to right; subnormal results become 0."""
    m = (F32(s_in) * np.asarray(s_w, F32)) / F32(s_out)
    y: Array = np.where(m < F32(TINY), F32(0), m).astype(F32)
    return y


def clamp_bounds(out: Quant, lo: float, hi: float, dtype: DType = DType.INT8) -> tuple[int, int]:
    """Least and greatest integer of a tensor whose real values are clipped to [lo, hi] (infinite: unclipped).

    >>> clamp_bounds(Quant(0.5, -128), 0.0, 6.0)
    (-128, -116)
    """
    bounds = quantise(np.array([lo, hi], F32), out, dtype)
    return int(bounds[0]), int(bounds[1])


def choose_quant(lo: float, hi: float) -> Quant:
    """Affine int8 quantisation that covers [lo, hi] and holds 0 exactly.

    scale = (hi - lo) / 255 in float64, rounded to float32; an empty range gives scale 2**-20.
    """
    lo, hi = min(float(lo), 0.0), max(float(hi), 0.0)
    scale = float(F32((hi - lo) / 255.0))
    scale = min(max(scale, 2.0**-20), 256.0)
    zero = int(np.rint(-128.0 - lo / scale))
    return Quant(scale, min(max(zero, -128), 127))


def choose_wide(lo: float, hi: float) -> Quant:
    """int16 quantisation that covers [lo, hi]: zero point 0, scale = max(|lo|, |hi|) / 32767, bounded as int8's."""
    scale = float(F32(max(abs(float(lo)), abs(float(hi))) / 32767.0))
    return Quant(min(max(scale, 2.0**-20), 256.0), 0)


def quantise_weights(w: Array, scale: Array) -> Array:
    """Symmetric int8 weights in [-127, 127]: rne(w / scale) in float32; `scale` broadcasts against `w`."""
    t = np.asarray(w, F32) / np.asarray(scale, F32)
    return np.clip(np.rint(t), -127, 127).astype(np.int8)


def quantise_bias(b: Array, s_in: float, s_w: Array) -> Array:
    """int32 bias in units of s_in * s_w (float64 division, rne), held within +-2**30."""
    unit = np.float64(F32(s_in)) * np.asarray(s_w, F32).astype(np.float64)
    y: Array = np.clip(np.rint(np.asarray(b, np.float64) / unit), -(2.0**30), 2.0**30).astype(np.int32)
    return y


def rescale(x: Array, of: Quant, to: Quant, dtype: DType = DType.INT8) -> Array:
    """Copies int8 or int16 values into another quantisation: rne(float32(x - z) * float32(s / s')) + z', clamped."""
    m = F32(of.scale) / F32(to.scale)
    return requantise(x.astype(np.int32) - of.zero_point, m, to.zero_point, *_ENDS[dtype], dtype)


def average(total: Array, count: Array | int) -> Array:
    """total / count rounded half away from zero, int32."""
    n = np.asarray(count, np.int32)
    t = total.astype(np.int32)
    return np.where(t >= 0, (t + n // 2) // n, -((-t + n // 2) // n)).astype(np.int32)


def add_parameters(a: Quant, b: Quant, y: Quant) -> tuple[int, int, int]:
    """(shift, M, N) of a residual add (LiteRT's): M = rne(s_a/s_y * 2^shift), N = rne(s_b/s_y * 2^shift).

    shift = 20 - floor(log2(max(s_a/s_y, s_b/s_y))).

    Raises:
        ValueError: The greater ratio is outside [2^-10, 2^8).
    """
    r, t = F32(a.scale) / F32(y.scale), F32(b.scale) / F32(y.scale)
    top = float(max(r, t))
    if not 2.0**-10 <= top < 2.0**8:
        raise ValueError(f"ratio {top} of add scales is outside [2^-10, 2^8)")
    shift = 20 - (int(np.frexp(top)[1]) - 1)
    return shift, int(np.rint(np.ldexp(float(r), shift))), int(np.rint(np.ldexp(float(t), shift)))


def requantise_add(
    a: Array, b: Array, za: int, zb: int, zy: int, shift: int, m: int, n: int, lo: int, hi: int
) -> Array:
    """clamp((((a - za) * M + (b - zb) * N + 2^(shift-1)) >> shift) + zy, lo, hi), int32, arithmetic shift."""
    acc = (a.astype(np.int64) - za) * m + (b.astype(np.int64) - zb) * n + (1 << (shift - 1))
    y: Array = np.clip((acc >> shift) + zy, lo, hi).astype(np.int8)
    return y


def requantise_add_wide(
    a: Array, b: Array, za: int, zb: int, zy: int, ra: float, rb: float, lo: int, hi: int, dtype: DType
) -> Array:
    """An add with int16 on any side: t = float32(a - za) * ra + float32(b - zb) * rb, then as `requantise`.

    ra = s_a / s_y and rb = s_b / s_y in float32 (`fold_multiplier`). Both products round, then the sum rounds.
    """
    t = (a.astype(np.int32) - za).astype(F32) * F32(ra) + (b.astype(np.int32) - zb).astype(F32) * F32(rb)
    return _rounded(t, zy, lo, hi, dtype)


def exp_table(scale: float, temperature: float = 1.0) -> Array:
    """round(2^23 * exp(-d * scale / temperature)) for d in 0..255, uint32, computed with 50 digits."""
    with decimal.localcontext(_FIFTY_DIGITS):
        step = decimal.Decimal(scale) / decimal.Decimal(temperature)
        values = [int((EXP_ONE * (-d * step).exp()).to_integral_value(decimal.ROUND_HALF_EVEN)) for d in range(256)]
    return np.array(values, np.uint32)


def byte_table(values: Sequence[float | decimal.Decimal], out: Quant) -> Array:
    """int8 table from the exact real value of each of the 256 inputs: clamp(rne(v / scale) + zero_point); NaN: -128."""
    lo, hi = decimal.Decimal(-128 - out.zero_point), decimal.Decimal(127 - out.zero_point)
    with decimal.localcontext(_FIFTY_DIGITS):
        scale = decimal.Decimal(out.scale)
        steps = [lo if v != v else min(max(decimal.Decimal(v) / scale, lo), hi) for v in values]
        table = [int(t.to_integral_value(decimal.ROUND_HALF_EVEN)) + out.zero_point for t in steps]
    return np.array(table, np.int8)
