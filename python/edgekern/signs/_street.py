# SPDX-License-Identifier: Apache-2.0
"""The street behind the signs of the simulated camera: sky, trees, houses, road."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["street"]

Floats = npt.NDArray[np.float32]


def _clouds(rng: np.random.Generator, width: int, height: int, cells: tuple[int, ...]) -> Floats:
    """Gives smooth noise around 0, about -1..1: octaves of random grids, `cells` across each."""
    from PIL import Image

    total: Floats = np.zeros((height, width), np.float32)
    for k, across in enumerate(cells):
        down = max(2, round(across * height / width))
        grid = rng.normal(0, 1, (down, across)).astype(np.float32)
        layer = Image.fromarray(grid).resize((width, height), Image.Resampling.BILINEAR)
        total += np.asarray(layer) * np.float32(0.62**k)
    total /= np.float32(1.6)
    return total


def street(rng: np.random.Generator, width: int, height: int) -> tuple[Floats, int]:
    """Paints sky, trees, houses and road (float, 0..255); gives also the horizon's row."""
    from PIL import Image

    # Painted at half size and enlarged: a camera's background is never sharper than that.
    w, h = width // 2, height // 2
    frame = np.empty((h, w, 3), np.float32)
    horizon = int(h * rng.uniform(0.5, 0.6))
    sky = np.array([rng.uniform(90, 190), rng.uniform(140, 205), rng.uniform(190, 245)])
    depth = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
    cover = _clouds(rng, w, h, (5, 11, 23))
    frame[:] = sky + (235 - sky) * depth + 22 * cover[..., None]
    leaves = _clouds(rng, w, h, (14, 60, 240))
    skyline = horizon * (0.55 + 0.16 * leaves[h // 3])
    trees = np.arange(h)[:, None] > skyline[None, :]
    tone = np.array([rng.uniform(45, 110), rng.uniform(70, 100), rng.uniform(25, 50)])
    green = tone * (1 + 0.55 * leaves[..., None])
    frame[trees] = green[trees]
    for _ in range(int(rng.integers(1, 4))):
        _house(rng, frame, horizon)
    asphalt = 105 + 14 * _clouds(rng, w, h, (6, 90, 480))
    frame[horizon:] = asphalt[horizon:, :, None] * np.array([1.0, 0.99, 0.97])
    _lane_marks(frame, horizon, w)
    small = Image.fromarray(np.clip(frame, 0, 255).astype(np.uint8))
    large = small.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(large).astype(np.float32), 2 * horizon


def _house(rng: np.random.Generator, frame: Floats, horizon: int) -> None:
    """Paints a brick or plaster front with windows, standing on the horizon line."""
    w = frame.shape[1]
    wide, tall = int(w * rng.uniform(0.1, 0.26)), int(horizon * rng.uniform(0.45, 0.8))
    x0, y0 = int(rng.integers(0, w - wide)), horizon - tall
    y, x = np.mgrid[0:tall, 0:wide]
    wall = np.array([rng.uniform(110, 200), rng.uniform(80, 150), rng.uniform(65, 130)])
    row = y // 5
    mortar = (y % 5 == 0) | ((x + 6 * (row % 2)) % 12 == 0)
    tint = rng.normal(1, 0.09, (tall // 5 + 1, wide // 12 + 2))
    front = wall * tint[row, (x + 6 * (row % 2)) // 12][..., None]
    front[mortar] = front[mortar] * 0.6 + 70
    panes = (x % 46 > 14) & (x % 46 < 36) & (y % 62 > 16) & (y % 62 < 48)
    front[panes] = (62, 72, 84)
    frame[y0:horizon, x0 : x0 + wide] = front


def _lane_marks(frame: Floats, horizon: int, width: int) -> None:
    """Paints white dashes that run towards the middle of the horizon."""
    h = frame.shape[0]
    depth = np.arange(1, h - horizon, dtype=np.float32)
    phase = (900.0 / depth) % 1.0
    for lane in (-0.9, 0.9):
        for y in np.flatnonzero(phase < 0.5):
            reach = depth[y] / (h - horizon)
            x = int(width / 2 + lane * reach * width * 0.4)
            half = max(1, int(6 * reach))
            frame[horizon + 1 + y, max(0, x - half) : max(0, x + half)] = 205
