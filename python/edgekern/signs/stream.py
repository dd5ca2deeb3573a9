# SPDX-License-Identifier: Apache-2.0
"""Simulates a camera that drives past every sign: 1080p frames, boxes, true labels.

The signs are the package's own drawings (`demo/signs.png`); street, light, blur and noise are made
here from a seed. Nothing of this is ever used to train or to choose a model. Needs Pillow (the
`cli` extra), which is imported only when a function runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgekern.signs._street import street

if TYPE_CHECKING:
    from PIL import Image

    from edgekern.preprocess import Box

Frame = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

FOLDER = Path(__file__).parent / "demo"
CLASSES = 43
DIAMETERS = ((24, 34), (36, 52), (54, 78), (80, 120))


def frames(
    seed: int = 0, count: int = 8, size: tuple[int, int] = (1920, 1080)
) -> Iterator[tuple[Frame, list[Box], list[int]]]:
    """Yields camera frames with the signs on them; the same seed gives the same pictures.

    Every two frames show every class once, and every eight show it once in each range of
    `DIAMETERS` (a sign that finds no room waits for the next frame). A shorter stream is the
    beginning of a longer one.

    Args:
        seed: of everything random.
        count: number of frames.
        size: width and height of a frame in pixels.

    Yields:
        The frame (H x W x 3 uint8, RGB), the signs' tight boxes (x, y, width, height, integer
        pixels) and their class indices.

    Raises:
        ImportError: without Pillow.
        ValueError: if a frame is too small for one sign.
    """
    width, height = size
    if width < 256 or height < 256:
        raise ValueError(f"a frame needs at least 256 x 256 pixels, not {width} x {height}")
    deck = _deck(np.random.default_rng([seed, 1]))
    rng = np.random.default_rng([seed, 2])
    grain = rng.normal(0.0, 1.0, (height + 64, width + 64)).astype(np.float32)
    leftover: list[tuple[int, int]] = []
    for number in range(count):
        frame, horizon = street(rng, width, height)
        # What found no room in the last frame comes first in this one.
        dealt = (number + 1) * CLASSES // 2 - number * CLASSES // 2
        wanted = leftover + [next(deck) for _ in range(dealt)]
        placed: list[tuple[int, int, int, int]] = []
        leftover = []
        for label, diameter in sorted(wanted, key=lambda w: -w[1]):
            spot = _free_spot(rng, placed, diameter, width, height)
            if spot is None:
                leftover.append((label, diameter))
            else:
                placed.append((label, diameter, *spot))
        for _, diameter, x, y in reversed(placed):
            _put_pole(rng, frame, x, y, diameter, horizon)
        boxes = [_put_sign(rng, frame, *sign) for sign in placed]
        labels = [label for label, *_ in placed]
        yield _expose(rng, frame, grain), boxes, labels


def _deck(rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Yields (label, diameter) without end; four rounds show each class in each size range."""
    first = rng.permutation(CLASSES)
    turn = 0
    while True:
        for label in rng.permutation(CLASSES):
            low, high = DIAMETERS[(int(first[label]) + turn) % len(DIAMETERS)]
            yield int(label), int(rng.integers(low, high + 1))
        turn += 1


@cache
def _tiles() -> tuple[Image.Image, ...]:
    """Reads the drawings out of the package."""
    from PIL import Image

    index = json.loads((FOLDER / "signs.json").read_text(encoding="utf-8"))
    tile, columns = int(index["tile"]), int(index["columns"])
    with (FOLDER / "signs.png").open("rb") as file:
        atlas = Image.open(file).convert("RGBA")
    corners = [(k % columns * tile, k // columns * tile) for k in range(len(index["names"]))]
    return tuple(atlas.crop((x, y, x + tile, y + tile)) for x, y in corners)


def sign_names() -> list[str]:
    """Gives the drawings' English names in the order of the labels.

    >>> sign_names()[14]
    'Stop'
    """
    text = (FOLDER / "signs.json").read_text(encoding="utf-8")
    return [str(name) for name in json.loads(text)["names"]]


def _free_spot(
    rng: np.random.Generator,
    placed: list[tuple[int, int, int, int]],
    diameter: int,
    width: int,
    height: int,
) -> tuple[int, int] | None:
    """Finds a centre whose sign, with air around it, touches no other sign; None if it is full."""
    reach = int(diameter * 0.62) + 6
    for _ in range(200):
        x = int(rng.integers(reach, width - reach))
        y = int(rng.integers(reach, int(height * 0.86) - reach))
        if all(max(abs(x - ox), abs(y - oy)) > reach + int(other * 0.62) + 6 for _, other, ox, oy in placed):
            return x, y
    return None


def _put_sign(rng: np.random.Generator, frame: Floats, label: int, diameter: int, x: int, y: int) -> Box:
    """Mixes one sign into the frame (float, 0..255) round (x, y) and gives its tight box."""
    colour, alpha = _render(rng, label, diameter)
    side = alpha.shape[0]
    x0, y0 = x - side // 2, y - side // 2
    solid = alpha > 0.5
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    top, bottom = int(rows[0]), int(rows[-1])
    left, right = int(columns[0]), int(columns[-1])
    height, width = frame.shape[:2]
    ys = slice(max(0, y0), min(height, y0 + side))
    xs = slice(max(0, x0), min(width, x0 + side))
    cut = (slice(ys.start - y0, ys.stop - y0), slice(xs.start - x0, xs.stop - x0))
    frame[ys, xs] += (colour[cut] - frame[ys, xs]) * alpha[cut][..., None]
    return x0 + left, y0 + top, right - left + 1, bottom - top + 1


def _put_pole(rng: np.random.Generator, frame: Floats, x: int, top: int, diameter: int, horizon: int) -> None:
    """Draws the grey tube behind a sign, down to the road."""
    half = max(1, round(diameter * 0.035))
    foot = max(top + 1.3 * diameter, horizon + diameter * rng.uniform(0.6, 1.6))
    across = np.linspace(-1, 1, 2 * half + 1, dtype=np.float32)
    shade = (150 - 60 * across**2 - 25 * across) * np.float32(rng.uniform(0.5, 1.0))
    frame[top : int(foot), x - half : x + half + 1] = shade[None, :, None]


def _render(rng: np.random.Generator, label: int, diameter: int) -> tuple[Floats, Floats]:
    """Draws a sign as a camera sees it: tilt, light, blur. Gives colour (0..255) and alpha."""
    from PIL import Image, ImageFilter

    tile = _tiles()[label]
    side = int(diameter * 1.3) + 8
    work = min(tile.width, 2 * diameter)
    small = tile.resize((work, work), Image.Resampling.BOX) if work < tile.width else tile
    patch = small.transform(
        (side, side),
        Image.Transform.PERSPECTIVE,
        _perspective(rng, work, side, diameter),
        Image.Resampling.BICUBIC,
    )
    blur = float(rng.uniform(0.0, 0.011)) * diameter + 0.25
    patch = patch.convert("RGBa").filter(ImageFilter.GaussianBlur(blur))
    pixels = np.asarray(patch, dtype=np.float32)
    alpha: Floats = pixels[..., 3] / np.float32(255)
    colour: Floats = pixels[..., :3] / np.maximum(alpha, np.float32(1 / 255))[..., None]
    if rng.random() < 0.3:
        colour, alpha = _smear(rng, colour, alpha, diameter)
    return _light(rng, np.minimum(colour, 255)), alpha


def _perspective(rng: np.random.Generator, work: int, side: int, diameter: int) -> tuple[float, ...]:
    """Gives Pillow's eight coefficients of a view turned a little about all three axes."""
    yaw, pitch = rng.uniform(-0.35, 0.35), rng.uniform(-0.15, 0.15)
    roll = rng.normal(0.0, 0.045)
    turn = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    about_y = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    spin = about_x @ about_y @ turn
    distance = 6.0  # in sign radii: near enough for the far edge to look smaller
    # A point (u, v) of the sign's plane, in radii, seen at (x, y) / w; the plane's z is 0.
    view = np.array([[distance, 0, 0], [0, distance, 0], [0, 0, 1]]) @ np.column_stack(
        [spin[:, 0], spin[:, 1], [0, 0, distance]]
    )
    to_patch = np.array([[diameter / 2, 0, side / 2], [0, diameter / 2, side / 2], [0, 0, 1]])
    from_tile = np.array([[2 / work, 0, -1], [0, 2 / work, -1], [0, 0, 1]])
    back = np.linalg.inv(to_patch @ view @ from_tile)
    back /= back[2, 2]
    return tuple(float(v) for v in back.ravel()[:8])


def _smear(rng: np.random.Generator, colour: Floats, alpha: Floats, diameter: int) -> tuple[Floats, Floats]:
    """Blurs along one direction, as a moving camera does."""
    length = max(1, round(diameter * rng.uniform(0.01, 0.05)))
    angle = rng.uniform(0, math.pi)
    parts = [(round(t * math.cos(angle)), round(t * math.sin(angle))) for t in range(length + 1)]
    light = colour * alpha[..., None]
    mixed = np.mean([np.roll(light, (dy, dx), (0, 1)) for dx, dy in parts], axis=0)
    cover = np.mean([np.roll(alpha, (dy, dx), (0, 1)) for dx, dy in parts], axis=0)
    return mixed / np.maximum(cover, 1 / 255)[..., None], cover


def _light(rng: np.random.Generator, colour: Floats) -> Floats:
    """Puts the sign into its own light: brightness, contrast, a gradient, a colour cast."""
    side = colour.shape[0]
    angle = rng.uniform(0, 2 * math.pi)
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    slope = np.float32(math.cos(angle)) * ramp[None, :] + np.float32(math.sin(angle)) * ramp[:, None]
    gain = rng.uniform(0.45, 1.1) * (1 + rng.uniform(0, 0.3) * slope)
    cast = 1 + rng.normal(0, 0.04, 3)
    haze = rng.uniform(0, 28)
    lit = haze + colour * (1 - haze / 255) * gain[..., None] * cast
    return np.asarray(lit, dtype=np.float32)


def _expose(rng: np.random.Generator, frame: Floats, grain: Floats) -> Frame:
    """Turns light into bytes: the camera's gain and colour, and its noise."""
    height, width = frame.shape[:2]
    dy, dx = int(rng.integers(0, 64)), int(rng.integers(0, 64))
    noise = grain[dy : dy + height, dx : dx + width] * np.float32(rng.uniform(1.5, 5.0))
    frame *= (np.float32(rng.uniform(0.85, 1.08)) * rng.normal(1, 0.02, 3)).astype(np.float32)
    frame += noise[..., None]
    np.clip(frame, 0, 255, out=frame)
    return frame.astype(np.uint8)
