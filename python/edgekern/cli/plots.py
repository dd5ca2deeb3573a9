# SPDX-License-Identifier: Apache-2.0
"""Draws the commands' PNG files with Pillow: the demo's contact sheet, a confusion matrix."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgekern.cli.pictures import Picture

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

__all__ = ["Shown", "contact_sheet", "draw_confusion", "save_png"]

GOOD, BAD, UNSURE = (22, 130, 60), (196, 32, 42), (190, 130, 0)
INK, FAINT, PAPER = (30, 32, 36), (120, 124, 130), (250, 250, 248)


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture of the contact sheet.

    Attributes:
        crop: what the camera saw, uint8 [H, W, 3].
        index: the true class.
        predicted: the class the model says.
        confidence: of the model.
        abstained: the model says that it does not know.
    """

    crop: Picture
    index: int
    predicted: int
    confidence: float
    abstained: bool


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    from PIL import ImageFont

    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow 10.0: one size only
        return ImageFont.load_default()


def _fit(draw: ImageDraw.ImageDraw, text: str, width: int, font: object) -> str:
    """Shortens a text until it fits."""
    while len(text) > 4 and draw.textlength(text, font=font) > width:  # type: ignore[arg-type]
        text = text[:-2].rstrip(" .…") + "…"
    return text


def contact_sheet(
    shown: Sequence[Shown], labels: Sequence[str], title: str, *, side: int = 88, across: int = 4
) -> Image.Image:
    """Draws a block per true class: its name, its crops, and below each what the model said.

    A block has one row of `across` crops: misses first, then by size; green frames are right,
    red ones wrong, amber ones right but abstained.
    """
    from PIL import Image, ImageDraw

    classes = sorted({s.index for s in shown})
    cell, head, foot, gap, top = side + 8, 18, 30, 18, 40
    block_w, block_h = across * cell + gap, head + side + foot + 8
    columns = 4
    rows = -(-len(classes) // columns)
    sheet = Image.new("RGB", (columns * block_w + gap, top + rows * block_h), PAPER)
    draw = ImageDraw.Draw(sheet)
    large, normal, small = _font(20), _font(13), _font(11)
    draw.text((gap, 8), title, INK, font=large)
    for place, index in enumerate(classes):
        x0, y0 = gap + place % columns * block_w, top + place // columns * block_h
        name = _fit(draw, f"{index} {labels[index]}", block_w - gap, normal)
        draw.text((x0, y0), name, INK, font=normal)
        of_class = [s for s in shown if s.index == index]
        of_class.sort(key=lambda s: (s.predicted == s.index, s.crop.shape[1]))
        for k, sign in enumerate(sorted(of_class[:across], key=lambda s: s.crop.shape[1])):
            x, y = x0 + k * cell, y0 + head
            right = sign.predicted == sign.index
            colour = (UNSURE if sign.abstained else GOOD) if right else BAD
            draw.rectangle((x, y, x + side + 5, y + side + 5), fill=colour)
            crop = Image.fromarray(sign.crop).resize((side, side), Image.Resampling.BILINEAR)
            sheet.paste(crop, (x + 3, y + 3))
            said = _fit(draw, labels[sign.predicted], cell - 4, small)
            draw.text((x, y + side + 7), said, INK if right else BAD, font=small)
            unsure = " unsure" if sign.abstained else ""
            draw.text((x, y + side + 19), f"{sign.confidence:.1%}{unsure}", colour, font=small)
    return sheet.quantize(256)  # a third of the bytes, and it looks the same


def draw_confusion(counts: npt.NDArray[np.int64], labels: Sequence[str], title: str) -> Image.Image:
    """Draws a matrix of counts: a row per true class, a column per prediction.

    The diagonal is green, everything else red; a deeper colour is a larger share of its row.
    """
    from PIL import Image, ImageDraw

    n = len(labels)
    cell, left, top = 22, 250, 64
    image = Image.new("RGB", (left + n * cell + 20, top + n * cell + 20), PAPER)
    draw = ImageDraw.Draw(image)
    normal, small = _font(12), _font(10)
    draw.text((12, 10), title, INK, font=_font(18))
    draw.text((12, 40), "rows: true class, columns: predicted", FAINT, font=normal)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for i in range(n):
        y = top + i * cell
        draw.text((12, y + 4), _fit(draw, f"{i} {labels[i]}", left - 20, normal), INK, font=normal)
        draw.text((left + i * cell + 5, top - 16), str(i), FAINT, font=small)
        for j in range(n):
            x = left + j * cell
            count = int(counts[i, j])
            depth = float(share[i, j]) ** 0.4
            target = GOOD if i == j else BAD
            tone = tuple(round(p + (t - p) * depth) for p, t in zip(PAPER, target, strict=True))
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=tone if count else (238, 238, 236))
            if count:
                text = str(count)
                width = draw.textlength(text, font=small)
                ink = PAPER if depth > 0.5 else INK
                draw.text((x + (cell - 2 - width) / 2, y + 4), text, ink, font=small)
    return image


def save_png(image: Image.Image, path: Path) -> None:
    """Writes a PNG whole or not at all."""
    handle, name = tempfile.mkstemp(suffix=".png", prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            image.save(file, format="PNG", optimize=True)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
