# SPDX-License-Identifier: Apache-2.0
"""Where the pixels of a resized image lie in the original: exact fractions, rounded once to 1/2048 pixel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from edgekern.errors import ShapeError
from edgekern.ops.resize import ONE
from edgekern.types import Array

__all__ = ["PLACES", "ROUNDINGS", "is_identity", "places", "positions", "ratio_of", "weights"]

_HALF = Fraction(1, 2)
_MOST = 1 << 20  # pixels of a side: positions stay below 2^31
_SIMPLE = 1 << 12  # denominators that a float32 may stand for


def _align_corners(d: int, size: int, length: Fraction, count: int) -> Fraction:
    return Fraction(0) if length == 1 else d * (size - 1) / (length - 1)


def _asymmetric(d: int, size: int, length: Fraction, count: int) -> Fraction:
    return d * size / length


def _half_pixel(d: int, size: int, length: Fraction, count: int) -> Fraction:
    return (d + _HALF) * size / length - _HALF


def _pytorch_half_pixel(d: int, size: int, length: Fraction, count: int) -> Fraction:
    return Fraction(0) if length == 1 else _half_pixel(d, size, length, count)


def _half_pixel_symmetric(d: int, size: int, length: Fraction, count: int) -> Fraction:
    return Fraction(size, 2) * (1 - count / length) + _half_pixel(d, size, length, count)


def _half_pixel_of_nearest(d: int, size: int, length: Fraction, count: int) -> Fraction:
    return (d + _HALF) * size / length


#: Position of output pixel d, in pixels of the original, by ONNX's name: of `size` pixels, of the length that the scale
#: says (a fraction) and of the number of pixels made.
PLACES: dict[str, Callable[[int, int, Fraction, int], Fraction]] = {
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "tf_half_pixel_for_nn": _half_pixel_of_nearest,
}

#: The pixel taken for a position, by ONNX's nearest_mode.
ROUNDINGS: dict[str, Callable[[Fraction], int]] = {
    "ceil": math.ceil,
    "floor": math.floor,
    "round_prefer_ceil": lambda p: math.floor(p + _HALF),
    "round_prefer_floor": lambda p: math.ceil(p - _HALF),
}


def places(
    size: int, count: int, scale: Fraction, place: str, part: tuple[Fraction, Fraction] | None = None
) -> list[Fraction]:
    """Exact positions of the pixels of a resized side, in pixels of the original.

    Args:
        size: Pixels of the original.
        count: Pixels made.
        scale: Of the length.
        place: A name in `PLACES`.
        part: Instead of `place`: first and last position of what is resized, 0 to 1 being the corners of the image.

    Raises:
        ShapeError: More than 2^20 pixels.
    """
    if not (1 <= size <= _MOST and 1 <= count <= _MOST):
        raise ShapeError(f"{size} pixels resized to {count}: a side has 1 to 2^20 pixels")
    length = size * scale
    if part is None:
        return [PLACES[place](d, size, length, count) for d in range(count)]
    first, last = part
    if length == 1:
        return [(first + last) / 2 * (size - 1)] * count
    return [(first + (last - first) * d / (length - 1)) * (size - 1) for d in range(count)]


def positions(exact: Sequence[Fraction], size: int, rounding: str | None) -> Array:
    """int32 positions in 1/2048 pixel, clamped to an image of `size` pixels.

    Args:
        exact: In pixels.
        size: Pixels of the original.
        rounding: A name in `ROUNDINGS` for nearest neighbours; None for bilinear, to the nearest 1/2048, ties to even.

    >>> positions(places(2, 4, Fraction(2), "half_pixel"), 2, None).tolist()
    [0, 512, 1536, 2048]
    """
    units = (round(p * ONE) if rounding is None else ROUNDINGS[rounding](p) * ONE for p in exact)
    return np.array([min(max(u, 0), (size - 1) * ONE) for u in units], np.int32)


def weights(exact: Sequence[Fraction], size: int, shrink: Fraction, cubic: float | None, inside: bool) -> Array:
    """float64 [len(exact), size]: what each pixel of the original gives to each of the result.

    Args:
        exact: Positions in pixels.
        size: Pixels of the original.
        shrink: The scale where antialiasing widens the window by it, else 1.
        cubic: Coefficient of cubic interpolation; None for linear.
        inside: Pixels outside the image have no weight (else they repeat the edge's).
    """
    radius = 1 if cubic is None else 2
    start = math.floor(-radius / shrink) + 1
    around = np.arange(start, 2 - start)
    found = np.zeros((len(exact), size))
    for row, p in zip(found, exact, strict=True):
        left = math.ceil(p) - 1
        near = np.abs(around - float(p - left)) * float(shrink)
        share = np.clip(1 - near, 0, 1) if cubic is None else _cubic(near, cubic)
        pixels = left + around
        if inside:
            share = np.where((pixels < 0) | (pixels >= size), 0, share)
        np.add.at(row, np.clip(pixels, 0, size - 1), share / share.sum())
    return found


def _cubic(x: Array, a: float) -> Array:
    """Keys' kernel at distances x >= 0."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.asarray(np.where(x <= 1, near, np.where(x < 2, far, 0)))


def ratio_of(scale: float) -> Fraction:
    """The fraction that a float32 scale stands for: the simplest that rounds to it, else its exact value.

    1/3 in float32 is a little more than a third, and a position computed from it would miss a whole pixel.

    >>> ratio_of(float(np.float32(1 / 3))), ratio_of(2.5)
    (Fraction(1, 3), Fraction(5, 2))
    """
    exact = Fraction(scale)
    for denominator in range(1, _SIMPLE):
        near = round(exact * denominator)
        if float(np.float32(near / denominator)) == scale:
            return Fraction(near, denominator)
    return exact


def is_identity(found: Array, size: int) -> bool:
    """Whether positions take every pixel of an axis as it is."""
    return len(found) == size and bool((found == np.arange(size) * ONE).all())
