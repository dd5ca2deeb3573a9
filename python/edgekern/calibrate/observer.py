# SPDX-License-Identifier: Apache-2.0
"""What a tensor's values were, in fixed memory and the same however the samples came in batches.

Counts are integers over bins of a power-of-two width. When a value falls outside, neighbouring bins merge and the
width doubles: floor(floor(x / w) / 2) = floor(x / 2w), so the order of the values never matters.
"""

from __future__ import annotations

import numpy as np

from edgekern.errors import QuantizationError
from edgekern.types import Array

__all__ = ["BINS", "Histogram"]

BINS = 8192  # half of them below 0
_HALF = BINS // 2
_LEAST = -40  # the smallest range is +-2^-40


class Histogram:
    """Counts of values in [-2^exponent, 2^exponent), ends (of each channel, too), and how many are exactly 0.

    Args:
        name: Of the tensor, for messages.

    >>> import numpy as np
    >>> h = Histogram("x")
    >>> h.add(np.float32([0, 0.5, 3]))
    >>> h.low, h.high, h.zeros, int(h.counts.sum())
    (0.0, 3.0, 1, 2)
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.low = np.inf
        self.high = -np.inf
        self.zeros = 0
        self.exponent = _LEAST
        self.counts = np.zeros(BINS, np.int64)
        self.lows = np.full(1, np.inf, np.float32)
        self.highs = -self.lows

    def add(self, values: Array) -> None:
        """Counts float32 values of any shape.

        Raises:
            QuantizationError: A value is not finite.
        """
        x = np.asarray(values, np.float32).reshape(-1)
        if x.size == 0:
            return
        low, high = float(x.min()), float(x.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise QuantizationError(
                f"tensor {self.name!r} has values that are not finite on a calibration sample",
                hint="Check the model's weights and the calibration samples.",
            )
        self.low, self.high = min(self.low, low), max(self.high, high)
        rows = x.reshape(-1, np.shape(values)[-1] if np.ndim(values) > 1 else 1)
        self.lows, self.highs = np.minimum(self.lows, rows.min(axis=0)), np.maximum(self.highs, rows.max(axis=0))
        self._reach(max(-low, high))
        width = np.float32(2.0 ** (self.exponent + 1) / BINS)
        used = x[x != 0]
        self.zeros += x.size - used.size
        bins = np.floor(used / width).astype(np.int64) + _HALF
        np.clip(bins, 0, BINS - 1, out=bins)
        self.counts += np.bincount(bins, minlength=BINS)

    def _reach(self, top: float) -> None:
        """Doubles the width until +-top lies inside: 2^exponent itself does not."""
        while top >= 2.0**self.exponent:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros(BINS, np.int64)
            self.counts[_HALF // 2 : _HALF + _HALF // 2] = pairs
            self.exponent += 1

    @property
    def centres(self) -> Array:
        """The middle of each bin, float64."""
        width = 2.0 ** (self.exponent + 1) / BINS
        return (np.arange(BINS) - _HALF + 0.5) * width

    @property
    def peaks(self) -> Array:
        """Greatest magnitude of each channel, the last dimension."""
        return np.maximum(self.highs, -self.lows)

    @property
    def total(self) -> int:
        """Values counted."""
        return int(self.counts.sum()) + self.zeros
