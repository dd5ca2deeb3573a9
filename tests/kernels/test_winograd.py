# SPDX-License-Identifier: Apache-2.0
"""winograd: every row against the direct sum in NumPy, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from guarded import CANARY, Guarded, assert_same

from edgekern import _core

FAMILY = "winograd"
F32 = np.float32
BEHIND = 15  # bytes behind the last pixel that the contract lets a kernel read
MOST_CHANNELS = 1820


@dataclass(frozen=True)
class Strip:
    """Rows of tiles: h x w outputs of n columns from (h + 2) x (w + 2) pixels of c channels."""

    h: int
    w: int
    c: int
    n: int
    px_gap: int = 0
    y_gap: int = 0
    input_zero: int = 128
    lo: int = 0
    hi: int = 255
    zero: int = 120
    flush: str = "tail"

    @property
    def tiles(self) -> tuple[int, int]:
        return (self.h + 1) // 2, (self.w + 1) // 2


@dataclass(frozen=True)
class Operands:
    x: np.ndarray  # (h + 2, w + 2, c) biased bytes
    w: np.ndarray  # (n, 3, 3, c) int8
    bias: np.ndarray
    scale: np.ndarray


def draw(strip: Strip, rng: np.random.Generator) -> Operands:
    x = rng.integers(0, 256, (strip.h + 2, strip.w + 2, strip.c), np.uint8)
    w = rng.integers(-128, 128, (strip.n, 3, 3, strip.c), np.int8)
    bias = rng.integers(-5000, 5000, strip.n).astype(np.int32)
    scale = (rng.uniform(50, 150, strip.n) / (74.0 * 74.0 * np.sqrt(9 * strip.c))).astype(F32)
    return Operands(x, w, bias, scale)


def expected_bytes(strip: Strip, o: Operands) -> np.ndarray:
    """(h, w, n + y_gap) bytes, canaries in the gaps."""
    x = o.x.astype(np.int64) - strip.input_zero
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (0, 1))  # (h, w, c, 3, 3)
    acc = np.einsum("hwcyx,nyxc->hwn", windows, o.w.astype(np.int64)) + o.bias
    t = acc.astype(np.int32).astype(F32) * o.scale
    t = np.minimum(np.maximum(t, F32(strip.lo - strip.zero)), F32(strip.hi - strip.zero))
    memory = np.full((strip.h, strip.w, strip.n + strip.y_gap), CANARY, np.uint8)
    memory[..., : strip.n] = np.rint(t).astype(np.int32) + strip.zero
    return memory.ravel()[: memory.size - strip.y_gap]


def run(kernel: str, strip: Strip, o: Operands) -> np.ndarray:
    """Runs one row, panel by panel, in guarded memory; returns the bytes from y on."""
    nr, (tile_rows, tile_columns) = _core.winograd_row(kernel)["nr"], strip.tiles
    px, kc, tiles = strip.c + strip.px_gap, -(-strip.c // 16) * 16, tile_rows * tile_columns
    pixels = np.zeros((strip.h + 2, strip.w + 2, px), np.uint8)
    pixels[..., : strip.c] = o.x
    rows = [Guarded.holding(row.ravel()[: row.size - strip.px_gap], strip.flush, BEHIND) for row in pixels]
    at = [rows[min(i, strip.h + 1)].address for i in range(2 * tile_rows + 2)]  # none behind the last
    v, sums = Guarded(2 * 16 * tiles * kc, strip.flush), Guarded(4 * 16 * tiles * nr, strip.flush)
    y = Guarded(strip.h * strip.w * (strip.n + strip.y_gap) - strip.y_gap, strip.flush)
    w, bias, scale = np.ascontiguousarray(o.w), o.bias.copy(), o.scale.copy()
    y_px = strip.n + strip.y_gap
    for first in range(0, strip.n, nr):
        columns = min(nr, strip.n - first)
        parts = _core.winograd_pack(kernel, w.ctypes.data, strip.c, bias.ctypes.data, scale.ctypes.data, first,
                                    columns, strip.input_zero)  # fmt: skip
        packed = [Guarded.holding(np.frombuffer(part, np.uint8), strip.flush) for part in parts]
        ran = _core.winograd_run(
            kernel, at, [strip.w + 2, px, kc, tile_rows, tile_columns, tiles * kc], v.address, sums.address,
            [part.address for part in packed], columns, [strip.lo - strip.zero, strip.hi - strip.zero, strip.zero],
            [y.address + first, strip.w * y_px, y_px, strip.h, strip.w],
        )  # fmt: skip
        assert ran == kernel
    assert y.intact(), f"{kernel} wrote outside y: {strip}"
    assert v.intact(), f"{kernel} wrote outside v: {strip}"
    assert sums.intact(), f"{kernel} wrote outside sums: {strip}"
    return y.bytes.copy()


def check(kernel: str, strip: Strip, o: Operands) -> None:
    assert_same(run(kernel, strip, o), expected_bytes(strip, o), (kernel, strip))


@pytest.mark.parametrize("flush", ["tail", "head"])
@pytest.mark.parametrize("c", [1, 5, 16, 24, 48])
@pytest.mark.parametrize(("h", "w"), [(1, 1), (2, 2), (3, 3), (1, 6), (5, 2), (2, 13), (4, 7), (7, 8)])
def test_equals_the_direct_sum(kernel: str, h: int, w: int, c: int, flush: str, rng: np.random.Generator) -> None:
    nr = _core.winograd_row(kernel)["nr"]
    for n in (1, nr - 1, nr, 2 * nr + 3):
        strip = Strip(h, w, c, n, flush=flush)
        check(kernel, strip, draw(strip, rng))


def test_every_column_count(kernel: str, rng: np.random.Generator) -> None:
    for n in range(1, _core.winograd_row(kernel)["nr"] + 1):
        strip = Strip(2, 3, 16, n, lo=50, hi=200, y_gap=2, px_gap=4)
        check(kernel, strip, draw(strip, rng))


@pytest.mark.parametrize("tiles", range(1, 20))
def test_every_number_of_tiles(kernel: str, tiles: int, rng: np.random.Generator) -> None:
    strip = Strip(2, 2 * tiles, 16, 3, input_zero=3)
    check(kernel, strip, draw(strip, rng))


@pytest.mark.parametrize("c", [32, MOST_CHANNELS])
@pytest.mark.parametrize("signs", ["plus", "minus", "mixed"])
def test_the_widest_sums_do_not_overflow(kernel: str, signs: str, c: int) -> None:
    """All inputs 0 or 255 as the signs of B say, all weights at an end: each plane reaches its bound."""
    strip = Strip(4, 4, c, 4, input_zero=0, zero=128)
    board = np.indices((6, 6)).sum(0) % 2 == 0
    x = np.where(board[..., None], 255, 0 if signs == "mixed" else 255).astype(np.uint8) * np.ones(c, np.uint8)
    w = np.full((4, 3, 3, c), {"plus": 127, "minus": -128, "mixed": 127}[signs], np.int8)
    if signs == "mixed":
        w[:, ::2, 1], w[:, 1, ::2] = -128, -128
    scale = np.linspace(0.5, 1.0, 4, dtype=F32) * F32(127 / (255 * 128 * 9 * c))
    check(kernel, strip, Operands(x, w, np.zeros(4, np.int32), scale))


def test_more_channels_are_not_taken() -> None:
    assert _core.winograd_select(8, 8, MOST_CHANNELS, 16, "") != ""
    assert _core.winograd_select(8, 8, MOST_CHANNELS + 1, 16, "") == ""
    assert 4 * 9 * MOST_CHANNELS * 255 * 128 < 2**31, "four times a sum fits int32"


def test_rows_of_the_table_agree() -> None:
    rng = np.random.default_rng(21)
    strip = Strip(6, 31, 40, 21)
    o = draw(strip, rng)
    names = [row["name"] for row in _core.kernels() if row["family"] == FAMILY and row["runs_here"]]
    assert len({run(name, strip, o).tobytes() for name in names}) == 1


def test_a_wrong_weight_is_seen() -> None:
    strip = Strip(4, 4, 16, 8)
    o = draw(strip, np.random.default_rng(1))
    w = o.w.copy()
    w[3, 1, 1, 7] += 1 if w[3, 1, 1, 7] < 127 else -1
    name = next(row["name"] for row in reversed(_core.kernels()) if row["family"] == FAMILY)
    assert (run(name, strip, replace(o, w=w)) != expected_bytes(strip, o)).any()
