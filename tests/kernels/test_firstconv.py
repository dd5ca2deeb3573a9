# SPDX-License-Identifier: Apache-2.0
"""firstconv: every row against a NumPy formula, byte for byte."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from guarded import CANARY, Guarded, assert_same

from edgekern import _core

FAMILY = "firstconv"
F32 = np.float32
BEHIND = 15  # bytes behind a source row that the contract lets a kernel read


@dataclass(frozen=True)
class Strip:
    """One call on camera rows of `c` bytes per pixel."""

    m: int
    n: int
    kh: int = 3
    kw: int = 3
    c: int = 3
    stride: int = 1
    input_zero: int = 128
    lo: int = 0
    hi: int = 255
    zero: int = 120
    y_gap: int = 0
    flush: str = "tail"

    @property
    def row_taps(self) -> int:
        return self.kw * self.c

    @property
    def row_bytes(self) -> int:
        return (self.m - 1) * self.stride * self.c + self.row_taps


@dataclass(frozen=True)
class Operands:
    rows: np.ndarray  # (kh, row_bytes) biased bytes
    w: np.ndarray  # (n, kh, row_taps) int8
    bias: np.ndarray
    scale: np.ndarray


def draw(strip: Strip, rng: np.random.Generator) -> Operands:
    rows = rng.integers(0, 256, (strip.kh, strip.row_bytes), np.uint8)
    w = rng.integers(-127, 128, (strip.n, strip.kh, strip.row_taps), np.int8)
    bias = rng.integers(-5000, 5000, strip.n).astype(np.int32)
    scale = (rng.uniform(50, 150, strip.n) / (74.0 * 74.0 * np.sqrt(strip.kh * strip.row_taps))).astype(F32)
    return Operands(rows, w, bias, scale)


def expected_bytes(strip: Strip, x: Operands) -> np.ndarray:
    acc = np.tile(x.bias.astype(np.int64), (strip.m, 1))
    for i, n, ky in itertools.product(range(strip.m), range(strip.n), range(strip.kh)):
        first = i * strip.stride * strip.c
        a = x.rows[ky, first : first + strip.row_taps].astype(np.int64) - strip.input_zero
        acc[i, n] += (a * x.w[n, ky]).sum()
    t = acc.astype(np.int32).astype(F32) * x.scale
    t = np.minimum(np.maximum(t, F32(strip.lo - strip.zero)), F32(strip.hi - strip.zero))
    memory = np.full((strip.m, strip.n + strip.y_gap), CANARY, np.uint8)
    memory[:, : strip.n] = np.rint(t).astype(np.int32) + strip.zero
    return memory.ravel()[: memory.size - strip.y_gap]


def pack(kernel: str, strip: Strip, x: Operands, first: int) -> tuple[bytes, bytes, bytes]:
    """The panel whose first column is `first`: weights, bias, scale."""
    w, bias, scale = np.ascontiguousarray(x.w), x.bias.copy(), x.scale.copy()
    columns = min(strip.n - first, _core.firstconv_row(kernel)["nr"])
    return _core.firstconv_pack(kernel, w.ctypes.data, strip.kh, strip.row_taps, bias.ctypes.data, scale.ctypes.data,
                                first, columns, strip.input_zero)  # fmt: skip


def run(kernel: str, strip: Strip, x: Operands) -> np.ndarray:
    """Runs one row in guarded memory; returns the bytes from y on."""
    panels = [pack(kernel, strip, x, first) for first in range(0, strip.n, _core.firstconv_row(kernel)["nr"])]
    panel_bytes = len(panels[0][0])
    assert all(len(panel[0]) == panel_bytes for panel in panels[:-1])
    parts = (b"".join(part) for part in zip(*panels, strict=True))
    w, bias, scale = (Guarded.holding(np.frombuffer(part, np.uint8), strip.flush) for part in parts)
    rows = [Guarded.holding(row, strip.flush, BEHIND) for row in x.rows]
    y = Guarded((strip.m - 1) * (strip.n + strip.y_gap) + strip.n, strip.flush)
    ran = _core.firstconv_run(
        kernel, rows=[row.address for row in rows], row_taps=strip.row_taps, a_px=strip.stride * strip.c, m=strip.m,
        w=w.address, panel_bytes=panel_bytes, bias=bias.address, scale=scale.address, n=strip.n,
        lo=strip.lo - strip.zero, hi=strip.hi - strip.zero, zero=strip.zero, y=y.address, y_px=strip.n + strip.y_gap,
    )  # fmt: skip
    assert ran == kernel
    assert y.intact(), f"{kernel} wrote outside y: {strip}"
    return y.bytes.copy()


def fits(kernel: str, strip: Strip, minus_128: bool = False) -> bool:
    a_px = strip.stride * strip.c
    return _core.firstconv_fits(kernel, strip.kh, strip.kw, strip.c, strip.n, strip.m, a_px, minus_128)


def check(kernel: str, strip: Strip, x: Operands) -> None:
    """Compares one row with the formula, if it takes this problem."""
    if fits(kernel, strip, bool((x.w == -128).any())):
        assert_same(run(kernel, strip, x), expected_bytes(strip, x), (kernel, strip))


@pytest.mark.parametrize("flush", ["tail", "head"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("c", [1, 3, 4])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 7])
def test_matches_the_formula(kernel: str, k: int, c: int, stride: int, flush: str, rng: np.random.Generator) -> None:
    tile = _core.firstconv_row(kernel)
    for m, n in [(1, 1), (5, 3), (tile["mr"], tile["nr"]), (tile["mr"] + 1, tile["lanes"]), (23, tile["nr"] - 1)]:
        strip = Strip(m, n, k, k, c, stride, flush=flush)
        check(kernel, strip, draw(strip, rng))


@pytest.mark.parametrize(
    ("kh", "kw", "c"),
    [
        (1, 64, 4),
        (64, 1, 4),
        (8, 8, 4),
        (16, 16, 1),
        (10, 4, 1),
        (7, 2, 4),
        (6, 5, 1),
        (5, 17, 3),
        (3, 11, 3),
        (9, 9, 3),
    ],
)
def test_long_and_many_kernel_rows(kernel: str, kh: int, kw: int, c: int, rng: np.random.Generator) -> None:
    for m in (1, 13, 50):
        strip = Strip(m, 5, kh, kw, c, 2)
        check(kernel, strip, draw(strip, rng))


@pytest.mark.parametrize("m", [47, 48, 49, 95, 97, 112])
def test_strips_longer_than_a_batch(kernel: str, m: int, rng: np.random.Generator) -> None:
    for kh, kw, c, n in ((3, 3, 3, 8), (3, 4, 3, 40), (16, 4, 4, 8)):
        strip = Strip(m, n, kh, kw, c, 2, y_gap=5)
        check(kernel, strip, draw(strip, rng))


@pytest.mark.parametrize("a", [0, 255])
@pytest.mark.parametrize("w", [-128, -127, 127])
def test_corner_values_do_not_saturate(kernel: str, a: int, w: int) -> None:
    strip = Strip(7, 8, 8, 8, 4, input_zero=1)
    x = Operands(
        np.full((8, strip.row_bytes), a, np.uint8), np.full((8, 8, 32), w, np.int8), np.zeros(8, np.int32),
        np.linspace(0.5, 1.0, 8, dtype=F32) * F32(127 / (255 * 128 * 256)),
    )  # fmt: skip
    check(kernel, strip, x)


def test_every_column_count(kernel: str, rng: np.random.Generator) -> None:
    nr = _core.firstconv_row(kernel)["nr"]
    for n in (*range(1, nr + 1), nr + 1, 2 * nr, 3 * nr - 3):
        for m, y_gap in ((4, 2), (19, 0), (16, 2)):
            strip = Strip(m, n, lo=50, hi=200, y_gap=y_gap)
            check(kernel, strip, draw(strip, rng))


@pytest.mark.parametrize("flush", ["tail", "head"])
@pytest.mark.parametrize(("c", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2)])
def test_every_width_of_3x3(kernel: str, c: int, stride: int, flush: str, rng: np.random.Generator) -> None:
    """Rows of several pixels at a time end with a block that overlaps the one before it, at every offset."""
    for m, n in itertools.product(range(16, 34), {8, _core.firstconv_row(kernel)["nr"]}):
        strip = Strip(m, n, c=c, stride=stride, flush=flush)
        check(kernel, strip, draw(strip, rng))


def test_a_row_of_pixel_lanes_is_chosen_where_it_fits() -> None:
    """Without it the walks above would pass by leaving the row out."""
    if "avx512vnni" not in {isa for row in _core.kernels() if row["runs_here"] for isa in row["isa"].split(",")}:
        pytest.skip("needs AVX512-VNNI")
    lanes = "firstconv_u8_16x32x4_avx512vnni"
    assert all(fits(lanes, Strip(m, 8, c=c, stride=s)) for m in (16, 17, 48) for c in (1, 3) for s in (1, 2))
    others = [Strip(15, 8), Strip(16, 8, stride=3), Strip(16, 8, c=4), Strip(16, 8, kw=4), Strip(16, 8, kh=2)]
    assert not any(fits(lanes, strip) for strip in others)
    assert _core.firstconv_select(3, 3, 3, 8, 48, "", 6) == lanes


def test_rows_of_the_table_agree() -> None:
    rng = np.random.default_rng(21)
    strip = Strip(31, 8, stride=2)
    x = draw(strip, rng)
    names = [row["name"] for row in _core.kernels() if row["family"] == FAMILY and row["runs_here"]]
    results = {name: run(name, strip, x).tobytes() for name in names if fits(name, strip)}
    assert len(set(results.values())) == 1, list(results)


def test_one_wrong_tap_or_row_is_caught(kernel: str, rng: np.random.Generator) -> None:
    strip = Strip(16, 8)
    x = draw(strip, rng)
    found = run(kernel, strip, x)
    no_tap = replace(x, w=x.w.copy())
    no_tap.w[3, 1, 7] = -no_tap.w[3, 1, 7] // 2
    for fault in (no_tap, replace(x, rows=x.rows[::-1]), replace(x, bias=x.bias + 40)):
        with pytest.raises(AssertionError, match="expected"):
            assert_same(found, expected_bytes(strip, fault))
