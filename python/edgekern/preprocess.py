# SPDX-License-Identifier: Apache-2.0
"""From camera bytes to the model's input: crop with a margin, resize, channel order, normalisation.

This is the specification of what a model file's preprocess does; the runtime gives these bytes.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekern import quant
from edgekern.errors import InputError
from edgekern.types import Array, Quant

__all__ = ["CHANNELS", "Box", "Preprocess", "check_depth", "clip_box", "reorder", "resize"]

Box = tuple[int, int, int, int]  # x, y, width, height in pixels, top-left origin

CHANNELS = {"rgb": 3, "bgr": 3, "gray": 1, "rgba": 4, "bgra": 4}
_GRAY = np.array([77, 150, 29], np.int32)  # of R, G, B, in 1/256


def _positions(size: int, out: int) -> tuple[Array, Array, Array]:
    """First pixel, second pixel and weight of the second in 1/2048 for each output position."""
    d = np.arange(out, dtype=np.int64)
    p = np.clip((2 * d + 1) * size * 1024 // out - 1024, 0, (size - 1) * 2048)
    i = p >> 11
    return i, np.minimum(i + 1, size - 1), (p & 2047).astype(np.int32)


def resize(image: Array, width: int, height: int) -> Array:
    """Bilinear in fixed point; edge pixels repeat.

    p = floor((2d+1) * W * 1024 / O) - 1024 in 1/2048 px, clamped to [0, (W-1) * 2048]; i = p >> 11, f = p & 2047;
    h = a*(2048-f) + b*f; v = (h0*(2048-g) + h1*g + 2^21) >> 22.

    Args:
        image: uint8 [H, W, C].
        width: Of the result, pixels.
        height: Of the result, pixels.
    """
    x0, x1, f = _positions(image.shape[1], width)
    y0, y1, g = _positions(image.shape[0], height)
    rows = image.astype(np.int32)
    h = rows[:, x0] * (2048 - f)[:, None] + rows[:, x1] * f[:, None]
    v: Array = (h[y0] * (2048 - g)[:, None, None] + h[y1] * g[:, None, None] + (1 << 21)) >> 22
    return v.astype(np.uint8)


def clip_box(box: Box, margin: int, width: int, height: int) -> Box:
    """The box enlarged by margin / 256 of its side on each side and clipped to the frame.

    Raises:
        InputError: Nothing of the box lies inside the frame.
    """
    x, y, w, h = (int(v) for v in box)
    mx, my = (w * margin + 128) >> 8, (h * margin + 128) >> 8
    x0, y0 = max(x - mx, 0), max(y - my, 0)
    x1, y1 = min(x + w + mx, width), min(y + h + my, height)
    if w < 1 or h < 1 or x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise InputError(
            f"box {tuple(box)} has no pixel inside the {width}x{height} frame",
            hint="Boxes are (x, y, width, height) in pixels from the top left.",
        )
    return x0, y0, x1 - x0, y1 - y0


def check_depth(mode: str) -> None:
    """Refuses a picture of more than 8 bits a channel, which Pillow would cut to white and black.

    Args:
        mode: Pillow's name for the pixels, such as "RGB" or "I;16".

    Raises:
        InputError: The pixels are 16-bit, 32-bit or float.
    """
    if mode.startswith(("I", "F")):
        raise InputError(
            f"it has more than 8 bits a pixel (mode {mode})",
            hint="Scale it to 8 bits as the camera would, and save it again.",
        )


def reorder(image: Array, source: str, target: str) -> Array:
    """uint8 [H, W, C] in the target's channel order.

    Gray from colour is (77 R + 150 G + 29 B + 128) >> 8; colour from gray repeats it.
    """
    if source == target:
        return image
    if source == "gray":
        return np.repeat(image, 3, axis=-1)
    rgb = image[..., :3] if source.startswith("rgb") else image[..., 2::-1]
    if target == "gray":
        return ((rgb.astype(np.int32) @ _GRAY + 128) >> 8).astype(np.uint8)[..., None]
    return rgb if target == "rgb" else rgb[..., ::-1]


@dataclass(frozen=True)
class Preprocess:
    """How camera bytes become the model's input; it travels inside the model file.

    real = (byte * scale - mean) / std per channel, in float32, then the input tensor's quantisation: together one
    byte table per channel.

    Attributes:
        size: (height, width) of the model's input in pixels.
        scale: Of a byte.
        mean: One number, or one per channel of `channels`.
        std: One number, or one per channel.
        channels: The model's order: "rgb", "bgr" or "gray".
        layout: Of the source model's input tensor, "nhwc" or "nchw", where its shape does not tell; an input whose
            shape fits only one of them is read as that.
        resize: "bilinear".
        margin: 1/256 of a box's side added on each side before the crop.

    >>> Preprocess((48, 48)).table(Quant(float(np.float32(1 / 255)), -128))[0, :3]
    array([0, 1, 2], dtype=uint8)
    """

    size: tuple[int, int]
    scale: float = 1 / 255
    mean: float | Sequence[float] = 0.0
    std: float | Sequence[float] = 1.0
    channels: str = "rgb"
    layout: str = "nhwc"
    resize: str = "bilinear"
    margin: int = 0

    def __post_init__(self) -> None:
        if self.channels not in ("rgb", "bgr", "gray"):
            raise InputError(f"channels {self.channels!r} is not one of rgb, bgr, gray")
        if self.layout not in ("nhwc", "nchw"):
            raise InputError(f"layout {self.layout!r} is not one of nhwc, nchw")
        if self.resize != "bilinear":
            raise InputError(f"resize {self.resize!r} is not bilinear")
        object.__setattr__(self, "margin", self._integers("margin", (self.margin,), 1)[0])
        object.__setattr__(self, "size", self._integers("size", self.size, 2))
        if not 0 <= self.margin <= 256:
            raise InputError(f"margin {self.margin} is outside 0..256 (1/256 of the box side)")
        if min(self.size) < 1 or max(self.size) > 4096:
            raise InputError(f"size {self.size} is outside 1..4096")
        for name in ("mean", "std"):
            values = np.atleast_1d(np.asarray(getattr(self, name), np.float64))
            if values.shape not in ((1,), (self.depth,)) or not np.isfinite(values).all():
                raise InputError(f"{name} needs one finite number, or {self.depth}")
        if not np.isfinite(self.scale) or (np.asarray(self.std) == 0).any():
            raise InputError("scale must be finite and std must not be 0")

    @staticmethod
    def _integers(name: str, values: object, count: int) -> tuple[int, ...]:
        try:
            found = tuple(operator.index(value) for value in values)  # type: ignore[attr-defined]
        except TypeError:
            found = ()
        if len(found) != count:
            wanted = {
                "margin": "one integer, in 1/256 of the box's side: 20 is 8 %",
                "size": "two integers, (height, width)",
            }
            raise InputError(f"{name} {values!r} is not {wanted[name]}")
        return found

    @property
    def depth(self) -> int:
        """Channels of the model's input.

        >>> Preprocess((48, 48), channels="gray").depth
        1
        """
        return CHANNELS[self.channels]

    def crop(self, frame: Array, box: Box | None = None, channels: str = "rgb") -> Array:
        """uint8 [height, width, depth]: one box of a frame (the whole frame without margin if None), resized.

        Args:
            frame: uint8 [H, W, C].
            box: (x, y, width, height); partly outside is clipped.
            channels: Order of the frame: "rgb", "bgr", "gray", "rgba" or "bgra".

        >>> frame = np.zeros((120, 160, 3), np.uint8)
        >>> Preprocess((32, 48), margin=20).crop(frame, (10, 20, 40, 40), "bgr").shape
        (32, 48, 3)
        """
        height, width = self.size
        if box is not None:
            x, y, w, h = clip_box(box, self.margin, frame.shape[1], frame.shape[0])
            frame = frame[y : y + h, x : x + w]
        return reorder(resize(frame, width, height), channels, self.channels)

    def normalise(self, image: Array) -> Array:
        """float32 values of uint8 [..., depth] pixels: (byte * scale - mean) / std, channel by channel.

        >>> Preprocess((8, 8), scale=1, mean=(100, 0, 0), std=2).normalise(np.uint8([[200, 10, 0]]))
        array([[50.,  5.,  0.]], dtype=float32)
        """
        real: Array = image.astype(np.float32) * np.float32(self.scale) - np.asarray(self.mean, np.float32)
        real = real / np.asarray(self.std, np.float32)
        return real.astype(np.float32)

    def table(self, q: Quant) -> Array:
        """uint8 [depth, 256]: the biased input byte (q + 128) of each camera byte.

        >>> Preprocess((8, 8), scale=1, mean=128).table(Quant(2.0, 0))[:, 255]
        array([192, 192, 192], dtype=uint8)
        """
        real = self.normalise(np.repeat(np.arange(256, dtype=np.uint8)[:, None], self.depth, axis=1))
        biased: Array = quant.quantise(real, q).astype(np.int16) + 128
        return np.ascontiguousarray(biased.T.astype(np.uint8))

    def apply(self, crops: Array, q: Quant) -> Array:
        """int8 input tensor of uint8 [..., depth] crops.

        >>> Preprocess((8, 8), scale=1, mean=128).apply(np.uint8([[128, 0, 255]]), Quant(2.0, 0))
        array([[  0, -64,  64]], dtype=int8)
        """
        table = self.table(q)
        biased = np.stack([table[c][crops[..., c]] for c in range(self.depth)], axis=-1)
        return (biased.astype(np.int16) - 128).astype(np.int8)
