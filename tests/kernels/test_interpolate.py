# SPDX-License-Identifier: Apache-2.0
"""interpolate: every row against the NumPy formula, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import CANARY, Guarded, assert_same

from edgekern import _core

FAMILY = "interpolate"
SLACK = 64  # readable bytes behind an arena tensor
CHANNELS = (1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 48, 65)


def expected(top: np.ndarray, bottom: np.ndarray, g: int, columns: np.ndarray) -> np.ndarray:
    first, f = columns >> 11, (columns & 2047)[:, None]
    second = np.minimum(first + 1, len(top) - 1)
    rows = [row[first].astype(np.int64) * (2048 - f) + row[second].astype(np.int64) * f for row in (top, bottom)]
    return ((rows[0] * (2048 - g) + rows[1] * g + (1 << 21)) >> 22).astype(np.uint8)


def run(kernel, top, bottom, g, columns, gap=0, flush="tail"):
    w, c = top.shape
    px = c + gap

    def memory(row: np.ndarray) -> Guarded:
        wide = np.full((w, px), CANARY, np.uint8)
        wide[:, :c] = row
        return Guarded.holding(wide.reshape(-1)[: (w - 1) * px + c], flush, SLACK)

    sources = memory(top), memory(bottom)
    places = Guarded.holding(columns.astype(np.int32), flush)
    target = Guarded((len(columns) - 1) * px + c, flush)
    lower = sources[1] if g else sources[0]
    ran = _core.interpolate_run(
        kernel, sources[0].address, lower.address, g, places.address, len(columns), c, px, target.address, px
    )
    assert ran == kernel
    assert target.intact()
    assert all(part.intact() for part in (*sources, places))
    made = np.full(len(columns) * px, CANARY, np.uint8)
    made[: target.bytes.size] = target.bytes
    made = made.reshape(-1, px)
    assert (made[:, c:] == CANARY).all()
    return made[:, :c]


@pytest.mark.parametrize("c", CHANNELS)
@pytest.mark.parametrize("w", [1, 2, 3, 9])
@pytest.mark.parametrize(("gap", "flush"), [(0, "tail"), (3, "head")])
def test_rows(kernel: str, c: int, w: int, gap: int, flush: str, rng: np.random.Generator) -> None:
    last = (w - 1) * 2048
    top, bottom = rng.integers(0, 256, (2, w, c), np.uint8)
    anywhere = np.append(rng.integers(0, last + 1, 11), [last, 0])
    for columns in (anywhere, anywhere // 2048 * 2048, np.arange(0, last + 1, 1024)):
        for g in (0, 1, 1024, 2047, int(rng.integers(2048))):
            assert_same(run(kernel, top, bottom, g, columns, gap, flush), expected(top, bottom, g, columns), (c, w, g))


def test_every_pair_of_values_and_every_tie(kernel: str) -> None:
    """Halves come out of a half between two pixels whose difference is odd; extremes show the width of the sums."""
    a, b = (v.reshape(-1).astype(np.uint8) for v in np.meshgrid(np.arange(256), np.arange(256)))
    top, bottom = np.stack([a, b]), np.stack([b, a])
    for columns, g in ((1024, 0), (1, 2047), (2047, 1), (1024, 1024), (512, 1536)):
        at = np.array([columns])
        assert_same(run(kernel, top, bottom, g, at), expected(top, bottom, g, at), (columns, g))


@pytest.mark.parametrize("g", range(0, 2048, 31))
def test_every_weight_along_a_row(kernel: str, g: int, rng: np.random.Generator) -> None:
    top, bottom = rng.choice(np.array([0, 1, 127, 128, 254, 255], np.uint8), (2, 2, 16))
    columns = np.arange(2049)
    assert_same(run(kernel, top, bottom, g, columns), expected(top, bottom, g, columns), g)
