# SPDX-License-Identifier: Apache-2.0
"""What a caller chooses of a compile."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

from edgekern.calibrate.clipping import check_method
from edgekern.calibrate.rounding import check_rounding
from edgekern.errors import InputError

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """How to quantise.

    Attributes:
        method: Of choosing ranges: "mse", "minmax" or "percentile".
        bias_correction: Whether biases make up for the mean error of their channel.
        equalise: Whether channels of far different ranges are brought together where that changes nothing in float.
        rounding: Of weights: "nearest", or "compensated", where weights make up for each other's rounding.
        temperature: Divides the logits before the final softmax.
        abstain_threshold: Least confidence that is not an abstention, for classifiers.
        max_drop: Points of accuracy that may be lost; None: any.
        mixed: "auto": the activations that lose most become int16; None: all are int8.
    """

    method: str = "mse"
    bias_correction: bool = True
    equalise: bool = True
    rounding: str = "compensated"
    temperature: float = 1.0
    abstain_threshold: float = 0.0
    max_drop: float | None = None
    mixed: str | None = None

    def __post_init__(self) -> None:
        check_method(self.method)
        check_rounding(self.rounding)
        for name in ("bias_correction", "equalise"):
            if not isinstance(value := getattr(self, name), bool):
                raise InputError(f"{name} {value!r} is not True or False")
        for name in ("temperature", "abstain_threshold", "max_drop"):
            value = getattr(self, name)
            if not (isinstance(value, Real) or (value is None and name == "max_drop")):
                raise InputError(f"{name} {value!r} is not a number")
        if not 0 < self.temperature < 1000:
            raise InputError(f"temperature {self.temperature} is not in (0, 1000)")
        if not 0 <= self.abstain_threshold <= 1:
            raise InputError(f"abstain_threshold {self.abstain_threshold} is outside [0, 1]")
        if self.mixed not in (None, "auto"):
            raise InputError(f"mixed {self.mixed!r} is not 'auto'")
        if self.max_drop is not None and not 0 <= self.max_drop <= 100:
            raise InputError(f"max_drop {self.max_drop} is outside [0, 100] points")
