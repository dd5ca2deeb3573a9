# SPDX-License-Identifier: Apache-2.0
"""Source operators that make images larger (or smaller): resizing and transposed convolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from edgekern.errors import CompileError, ShapeError
from edgekern.importers._layers import image_and_filters, pair
from edgekern.importers._layout import Value
from edgekern.importers._positions import PLACES, ROUNDINGS, is_identity, places, positions, ratio_of, weights
from edgekern.importers._source import Source, handles
from edgekern.importers._transposed import Transposed, transposed
from edgekern.ops.conv2d import Conv2D
from edgekern.ops.resize import ONE, Resize2D
from edgekern.ops.transpose import Transpose
from edgekern.types import Array

__all__: list[str] = []

Pair = tuple[int, int]
Factor = tuple[Fraction, int]  # scale of a dimension, pixels made


# ---- resizing -----------------------------------------------------------------------------------


@handles("Resize", "Upsample")
def _resize(s: Source) -> Value:
    value = s.value(0)
    source = s.shape(value)
    factors = _factors(s, source, value.batch)
    mode = s.get("mode", "nearest")
    s.refuse(mode not in ("nearest", "linear", "bilinear", "cubic"), f"mode {mode!r}", "nearest, linear, cubic run.")
    old = s.kind == "Upsample" or s.opset < 11
    place = "asymmetric" if old else s.get("coordinate_transformation_mode", "half_pixel")
    crops = place == "tf_crop_and_resize"
    s.refuse(not crops and place not in PLACES, f"coordinate_transformation_mode {place!r}")
    chosen = "floor" if old else s.get("nearest_mode", "round_prefer_floor")
    s.refuse(mode == "nearest" and chosen not in ROUNDINGS, f"nearest_mode {chosen!r}")
    parts = _parts(s, len(source)) if crops else [None] * len(source)
    exact = [places(n, count, f, place, part) for n, (f, count), part in zip(source, factors, parts, strict=True)]
    outside = any(min(at) < 0 or max(at) > n - 1 for at, n in zip(exact, source, strict=True))
    s.refuse(crops and outside, "pixels outside the image (extrapolation_value)", "Crop inside it.")
    smooth = bool(s.get("antialias", 0)) and mode != "nearest" and any(f < 1 for f, _ in factors)
    if mode == "cubic" or smooth:
        cubic, inside = float(s.get("cubic_coeff_a", -0.75)), bool(s.get("exclude_outside", 0))
        shrinks = [min(f, Fraction(1)) if smooth else Fraction(1) for f, _ in factors]
        terms = zip(exact, source, shrinks, strict=True)
        made = [weights(at, n, shrink, cubic if mode == "cubic" else None, inside) for at, n, shrink in terms]
        return _image_of(s, value, [None if np.array_equal(m, np.eye(*m.shape)) else m for m in made], _weighted)
    rounding = [("ceil" if s.kind == "Resize" and old and f < 1 else chosen) for f, _ in factors]  # as ONNX Runtime
    taken = [
        positions(at, n, way if mode == "nearest" else None) for at, n, way in zip(exact, source, rounding, strict=True)
    ]
    return _image_of(s, value, [None if is_identity(at, n) else at for at, n in zip(taken, source, strict=True)], _at)


def _parts(s: Source, rank: int) -> list[tuple[Fraction, Fraction] | None]:
    """First and last position of each dimension, from `roi`."""
    axes = [s.axis(int(a), rank) for a in s.get("axes", range(rank))]
    roi = [ratio_of(float(np.float32(v))) for v in s.floats(1, "roi").ravel()]
    if len(roi) != 2 * len(axes):
        raise ShapeError(f"a roi of {len(roi)} numbers for {len(axes)} dimensions")
    found: list[tuple[Fraction, Fraction] | None] = [(Fraction(0), Fraction(1))] * rank
    for i, first, last in zip(axes, roi[: len(axes)], roi[len(axes) :], strict=True):
        found[i] = (first, last)
    return found


def _factors(s: Source, source: Sequence[int], batch: int | None) -> list[Factor]:
    """Of each dimension, from `scales` or `sizes`; the batch keeps its own."""
    rank = len(source)
    axes = [s.axis(int(a), rank) for a in s.get("axes", range(rank))]
    at = 1 if s.kind == "Upsample" or s.opset < 11 else 2
    scales = s.constant(at, "scales").ravel() if s.has(at) else np.asarray(s.get("scales", []), np.float32)
    sizes = [int(n) for n in s.constant(3, "sizes").ravel()] if s.has(3) and at == 2 else []
    given = sizes if len(sizes) else scales
    if len(given) != len(axes) or bool(len(sizes)) == bool(scales.size):
        raise ShapeError(f"{scales.size} scales and {len(sizes)} sizes for {len(axes)} dimensions")
    found: list[Factor] = [(Fraction(1), n) for n in source]
    if sizes:
        made = [1 if i == batch and n in (1, s.batch) else n for i, n in zip(axes, sizes, strict=True)]
        policy = s.get("keep_aspect_ratio_policy", "stretch")
        ratios = [Fraction(n, source[i]) for i, n in zip(axes, made, strict=True)]
        if policy in ("not_larger", "not_smaller"):
            one = min(ratios) if policy == "not_larger" else max(ratios)
            ratios = [one] * len(axes)
            made = [math.floor(one * source[i] + Fraction(1, 2)) for i in axes]
        else:
            s.refuse(policy != "stretch", f"keep_aspect_ratio_policy {policy!r}")
        for i, ratio, n in zip(axes, ratios, made, strict=True):
            found[i] = (ratio, n)
    else:
        if not (np.isfinite(scales).all() and (scales > 0).all()):
            raise CompileError(f"scales {scales.tolist()} are not positive")
        for i, scale in zip(axes, scales, strict=True):
            ratio = ratio_of(float(np.float32(scale)))
            found[i] = (ratio, math.floor(ratio * source[i]))
    s.refuse(batch is not None and found[batch] != (Fraction(1), 1), "resizing along the batch")
    s.refuse(min(n for _, n in found) < 1, f"a tensor without elements: sizes {[n for _, n in found]}")
    return found


def _image_of(
    s: Source, value: Value, how: Sequence[Array | None], make: Callable[[Source, str, Sequence[Array | None]], str]
) -> Value:
    """The value with the dimensions changed that have a `how`, as height and width of an image; at most two."""
    source = s.shape(value)
    rank = len(source)
    moved = [i for i, at in enumerate(how) if at is not None]
    if not moved:
        return value
    s.refuse(len(moved) > 2, f"resizing along dimensions {moved} of {rank}", "Height and width of an image only.")
    if rank == 4 and set(moved) <= {2, 3}:
        moved = [2, 3]
    rest = [i for i in value.natural_order() if i not in moved and i != value.batch]
    lying = [-1] * (2 - len(moved)) + moved  # height, width; a row has height 1
    sizes = [source[i] if i >= 0 else 1 for i in lying]
    x = s.build.materialise(value, [*moved, *rest], (1, *sizes, math.prod(source[i] for i in rest)))
    y = make(s, x, [how[i] if i >= 0 else None for i in lying])
    made = s.build.types[y].shape[:3]
    y = s.build.reshaped(y, (*made, *(source[i] for i in rest)) if rest else (*made, 1))
    return s.build.plain(y, [*lying, *rest] if rest else [*lying, -1], rank, value.batch)


def _at(s: Source, x: str, taken: Sequence[Array | None]) -> str:
    """An image of the pixels at positions; None leaves a side as it is."""
    sizes = s.build.types[x].shape[1:3]
    whole = [np.arange(n, dtype=np.int32) * ONE if at is None else at for n, at in zip(sizes, taken, strict=True)]
    return s.build.emit(Resize2D(), [x], whole)


def _weighted(s: Source, x: str, mixed: Sequence[Array | None]) -> str:
    """An image whose rows and columns are sums of those of x by the weights: a product along each side."""
    for axis, matrix in enumerate(mixed, start=1):
        if matrix is None:
            continue
        turn = (0, 3, 2, 1) if axis == 1 else (0, 1, 3, 2)  # that side last, and back
        filters = matrix.astype(np.float32)[:, None, None, :]
        y = s.build.emit(Conv2D((1, 1)), [s.build.emit(Transpose(turn), [x])], [filters, np.zeros(len(matrix), "f4")])
        x = s.build.emit(Transpose(turn), [y])
    return x


# ---- transposed convolution ---------------------------------------------------------------------


@handles("ConvTranspose")
def _conv_transpose(s: Source) -> Value:
    x, rank, filters = image_and_filters(s)
    _, h, w, _ = s.build.types[x].shape
    dilation = pair(s.get("dilations"), rank)
    filters = _dilated(filters, dilation)
    kernel = (filters.shape[2], filters.shape[3])
    groups, stride = int(s.get("group", 1)), pair(s.get("strides"), rank)
    begin, size = _kept(s, rank, (h, w), kernel, stride)
    bias = s.floats(2, "bias") if s.has(2) else np.zeros(filters.shape[1] * groups, np.float32)
    scales = s.scales(1, 1)
    op = Transposed(stride, begin, size, groups)
    y = transposed(s.build, x, op, filters, bias, None if scales is None else np.tile(scales, groups))
    return s.build.image_value(y, rank)


def _dilated(filters: Array, dilation: Pair) -> Array:
    """The same filters with zeros between their taps."""
    if dilation == (1, 1):
        return filters
    if min(dilation) < 1:
        raise ShapeError(f"dilations {dilation}")
    *channels, kh, kw = filters.shape
    spread = np.zeros((*channels, (kh - 1) * dilation[0] + 1, (kw - 1) * dilation[1] + 1), np.float32)
    spread[..., :: dilation[0], :: dilation[1]] = filters
    return spread


def _amounts(values: Sequence[int] | None, rank: int) -> Pair:
    """Two numbers of rows and columns, 0 if absent; a row has none of the former."""
    return (0, pair(values, rank, 0)[1]) if rank == 3 else pair(values, rank, 0)


def _kept(s: Source, rank: int, size: Pair, kernel: Pair, stride: Pair) -> tuple[Pair, Pair]:
    """Rows and columns cut off at the beginning, and how many are kept."""
    extra = _amounts(s.get("output_padding"), rank)
    reach = [t * (n - 1) + e + k for n, k, t, e in zip(size, kernel, stride, extra, strict=True)]
    s.refuse(min(extra) < 0, f"output_padding {extra}")
    mode = s.get("auto_pad", "NOTSET") or "NOTSET"
    s.refuse(mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"), f"auto_pad {mode!r}")
    asked = s.get("output_shape")
    if asked is None and not mode.startswith("SAME"):
        flat = [0] * (2 * (rank - 2)) if mode == "VALID" else [int(n) for n in s.get("pads", [0] * (2 * (rank - 2)))]
        s.refuse(min(flat) < 0, f"negative pads {flat}", "Pad the result instead.")
        first, last = _amounts(flat[: rank - 2], rank), _amounts(flat[rank - 2 :], rank)
        kept = [n - a - b for n, a, b in zip(reach, first, last, strict=True)]
        if min(kept) < 1:
            raise ShapeError(f"pads {flat} leave nothing of {reach}")
        return first, (kept[0], kept[1])
    whole = (size[0] * stride[0], size[1] * stride[1])
    made = whole if asked is None else pair([int(n) for n in asked[-(rank - 2) :]], rank)
    begin = []
    for n, count in zip(reach, made, strict=True):
        total = n - count
        cut = total // 2 if mode == "SAME_UPPER" else total - total // 2
        s.refuse(cut < 0, f"an output of {made} where the kernel reaches {tuple(reach)}", "Pad the result instead.")
        begin.append(cut)
    return (begin[0], begin[1]), made
