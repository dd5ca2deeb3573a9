# SPDX-License-Identifier: Apache-2.0
"""Which range of a tensor, and which scale of a weight channel, loses least."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekern.calibrate.observer import Histogram
from edgekern.errors import InputError
from edgekern.ops.conv2d import weight_scales
from edgekern.types import Array

__all__ = ["METHODS", "check_method", "choose_range", "min_max", "search_weight_scales"]

Range = tuple[float, float]

_SHARE = 1e-4  # of the values the percentile method leaves outside, half at each end
_STEPS = 64
_WEIGHT_STEPS = 48  # shrink factors from 1 down to 0.52


def min_max(seen: Histogram) -> Range:
    """Everything that was seen."""
    return float(seen.low), float(seen.high)


def percentile(seen: Histogram) -> Range:
    """All but the outermost 0.01 % of the values, half of them at each end."""
    counts = seen.counts.copy()
    counts[len(counts) // 2] += seen.zeros
    share = np.cumsum(counts) / max(seen.total, 1)
    width = 2.0 ** (seen.exponent + 1) / len(counts)
    low = seen.centres[int(np.searchsorted(share, _SHARE / 2, "right"))] - width / 2
    high = seen.centres[int(np.searchsorted(share, 1 - _SHARE / 2, "left"))] + width / 2
    return max(float(low), float(seen.low)), min(float(high), float(seen.high))


def mean_square(seen: Histogram) -> Range:
    """The range of least squared error: rounding noise inside (step^2 / 12), the distance cut off outside.

    Both ends shrink together, then each on its own.
    """
    low, high = min(float(seen.low), 0.0), max(float(seen.high), 0.0)
    used = seen.counts > 0
    x, n = seen.centres[used], seen.counts[used].astype(np.float64)

    def error(lo: float, hi: float) -> float:
        step = (hi - lo) / 255
        below, above = x < lo, x > hi
        cut = (n[below] * (lo - x[below]) ** 2).sum() + (n[above] * (x[above] - hi) ** 2).sum()
        return float(cut + n[~(below | above)].sum() * step * step / 12)

    shrink = np.linspace(1, 1 / _STEPS, _STEPS)
    best = min(((low * a, high * a) for a in shrink), key=lambda r: error(*r))
    best = min(((low * a, best[1]) for a in shrink), key=lambda r: error(*r)) if low < 0 else best
    return min(((best[0], high * a) for a in shrink), key=lambda r: error(*r)) if high > 0 else best


METHODS: dict[str, Callable[[Histogram], Range]] = {
    "mse": mean_square,
    "minmax": min_max,
    "percentile": percentile,
}


def check_method(method: str) -> str:
    """The name of a method itself.

    Raises:
        InputError: It is none of METHODS.
    """
    if method not in tuple(METHODS):  # also what has no hash
        raise InputError(f"calibration method {method!r} is not one of {', '.join(METHODS)}")
    return method


def choose_range(seen: Histogram, method: str) -> Range:
    """The range of a tensor by one of METHODS."""
    return METHODS[check_method(method)](seen)


def search_weight_scales(weights: Array) -> Array:
    """Scale per output channel (first axis) whose int8 weights have the least squared error.

    Tries max|w| / 127 and smaller scales, which clip the largest weights and resolve the others better.
    """
    rows = weights.reshape(len(weights), -1).astype(np.float64)
    full = weight_scales(weights).astype(np.float64)
    best, least = full.copy(), np.full(len(rows), np.inf)
    for factor in np.linspace(1, 0.52, _WEIGHT_STEPS):
        scale = (full * factor).astype(np.float32).astype(np.float64)
        q = np.clip(np.rint(rows / scale[:, None]), -127, 127)
        error = ((q * scale[:, None] - rows) ** 2).sum(axis=1)
        better = error < least
        best[better], least[better] = scale[better], error[better]
    found: Array = best.astype(np.float32)
    return found
