# SPDX-License-Identifier: Apache-2.0
"""The operators of TFLite that make images larger (or smaller): resizing and transposed convolution."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from edgekern.errors import ShapeError, UnsupportedOpError
from edgekern.importers._positions import places, positions
from edgekern.importers._tflite_call import Call, handles
from edgekern.importers._tflite_ops import bias_of, fused_clip, scales_of
from edgekern.importers._transposed import Transposed, transposed
from edgekern.ops.resize import ONE, Resize2D
from edgekern.types import Array

__all__: list[str] = []

_SAME, _VALID = 0, 1


def _image(call: Call, k: int) -> tuple[int, ...]:
    shape = call.type(k).shape
    if len(shape) != 4:
        raise ShapeError(f"its input has shape {shape}, not [b, h, w, c]")
    return shape


@handles("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def _resize(call: Call) -> str:
    held, shape = call.constant(1), _image(call, 0)
    if held is None or held.values.size != 2:
        raise UnsupportedOpError("a size that is no constant of two numbers")
    corners, half = bool(call.options.AlignCorners()), bool(call.options.HalfPixelCenters())
    if corners and half:
        raise UnsupportedOpError("align_corners together with half_pixel_centers", hint="Use one of them.")
    taken = []
    for size, count in zip(shape[1:3], (int(n) for n in held.values.ravel()), strict=True):
        if call.name == "RESIZE_NEAREST_NEIGHBOR":
            taken.append(_nearest(size, count, corners, half))
        else:
            place = "align_corners" if corners else "half_pixel" if half else "asymmetric"
            taken.append(positions(places(size, count, Fraction(count, size), place), size, None))
    return call.build.emit(Resize2D(), [call.tensor(0)], taken)


def _nearest(size: int, count: int, corners: bool, half: bool) -> Array:
    """Whole pixels as LiteRT finds them, in float32: where a position is all but whole, its rounding decides."""
    places(size, count, Fraction(1), "asymmetric")  # checks both
    f32 = np.float32
    step = f32(size - 1) / f32(count - 1) if corners and count > 1 else f32(size) / f32(count)
    found = (np.arange(count).astype(f32) + f32(0.5 if half else 0)) * step
    pixels = np.floor(found.astype(np.float64) + (0.5 if corners else 0)).astype(np.int64)
    return np.asarray(np.clip(pixels, 0, size - 1) * ONE, np.int32)


@handles("TRANSPOSE_CONV")
def _transpose_conv(call: Call) -> str:
    asked, weights, shape = call.constant(0), call.constant(1), _image(call, 2)
    if asked is None or asked.values.size != 4:
        raise UnsupportedOpError("an output shape that is no constant of four numbers")
    if weights is None or weights.values.ndim != 4:
        raise UnsupportedOpError("weights that are no constant [N, h, w, c]")
    options, size = call.options, (int(asked.values.ravel()[1]), int(asked.values.ravel()[2]))
    channels, *kernel, _ = weights.values.shape
    stride = (options.StrideH(), options.StrideW())
    if options.Padding() not in (_SAME, _VALID):
        raise UnsupportedOpError(f"the padding {options.Padding()}")
    begin = []
    for count, n, k, s in zip(size, shape[1:3], kernel, stride, strict=True):
        same = options.Padding() == _SAME
        if s < 1 or count < 1 or n != -(-(count if same else count - k + 1) // s):
            raise ShapeError(f"an output of {size} from {shape[1:3]} by strides of {stride}")
        begin.append(max(0, (n - 1) * s + k - count) // 2 if same else 0)
    op = Transposed(stride, (begin[0], begin[1]), size, clip=fused_clip(options))
    bias = bias_of(call, weights, channels, 0, 2, 3)
    turned = np.ascontiguousarray(weights.values.transpose(3, 0, 1, 2))  # [I, O, h, w]
    return transposed(call.build, call.tensor(2), op, turned, bias, scales_of(weights, channels, 0))
