# SPDX-License-Identifier: Apache-2.0
"""qgemm: every row against a NumPy formula, byte for byte."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from guarded import CANARY, Guarded, assert_same

from edgekern import _core

FAMILY = "qgemm"
F32 = np.float32


@dataclass(frozen=True)
class Strip:
    """One call: sizes, strides in elements, and how its numbers are drawn."""

    m: int
    n: int
    kc: int
    kh: int = 1
    kw: int = 1
    stride: int = 0  # elements from pixel to pixel; 0: kc
    kx_step: int = 0  # elements from tap to tap of a row; 0: kc
    input_zero: int = 121
    lo: int = 0  # least and greatest output byte
    hi: int = 255
    zero: int = 131
    y_gap: int = 0  # bytes between the columns of neighbouring pixels
    flush: str = "tail"

    @property
    def px(self) -> int:
        return self.stride or self.kc

    @property
    def kx(self) -> int:
        return self.kx_step or self.kc

    @property
    def k(self) -> int:
        return self.kh * self.kw * self.kc

    @property
    def row_elements(self) -> int:
        return (self.m - 1) * self.px + (self.kw - 1) * self.kx + self.kc


@dataclass(frozen=True)
class Operands:
    rows: np.ndarray  # (kh, row_elements) biased bytes
    w: np.ndarray  # (n, kh, kw, kc) int8
    bias: np.ndarray  # (n,) int32
    scale: np.ndarray  # (n,) float32


def draw(strip: Strip, rng: np.random.Generator) -> Operands:
    rows = rng.integers(0, 256, (strip.kh, strip.row_elements), np.uint8)
    w = rng.integers(-127, 128, (strip.n, strip.kh, strip.kw, strip.kc), np.int8)
    bias = rng.integers(-5000, 5000, strip.n).astype(np.int32)
    spread = 74.0 * 74.0 * np.sqrt(strip.k)  # of the sums, so that outputs fill the range and clip a little
    scale = (rng.uniform(50, 150, strip.n) / spread).astype(F32)
    return Operands(rows, w, bias, scale)


def sums(strip: Strip, x: Operands) -> np.ndarray:
    """bias(n) + sum over taps of w(n) * (a(i) - zero), int64 and (m, n)."""
    acc = np.tile(x.bias.astype(np.int64), (strip.m, 1))
    for i, n, ky, kx in itertools.product(*map(range, (strip.m, strip.n, strip.kh, strip.kw))):
        first = i * strip.px + kx * strip.kx
        a = x.rows[ky, first : first + strip.kc].astype(np.int64) - strip.input_zero
        acc[i, n] += (a * x.w[n, ky, kx]).sum()
    return acc


def requantise(acc: np.ndarray, scale: np.ndarray, strip: Strip) -> np.ndarray:
    t = acc.astype(np.int32).astype(F32) * scale
    t = np.minimum(np.maximum(t, F32(strip.lo - strip.zero)), F32(strip.hi - strip.zero))
    return (np.rint(t).astype(np.int32) + strip.zero).astype(np.uint8)


def laid_out(strip: Strip, u: np.ndarray) -> np.ndarray:
    """What memory from y on must hold: results where they belong, canaries everywhere else."""
    memory = np.full((strip.m, strip.n + strip.y_gap), CANARY, np.uint8)
    memory[:, : strip.n] = u
    return memory.ravel()[: memory.size - strip.y_gap]


def packed(kernel: str, strip: Strip, x: Operands) -> tuple[Guarded, Guarded, Guarded]:
    w, bias, scale = np.ascontiguousarray(x.w), x.bias.copy(), x.scale.copy()
    parts = _core.qgemm_pack(kernel, w.ctypes.data, strip.kh, strip.kw, strip.kc, bias.ctypes.data,
                             scale.ctypes.data, 0, strip.n, strip.input_zero)  # fmt: skip
    panel, panel_bias, panel_scale = (np.frombuffer(part, np.uint8) for part in parts)
    return tuple(Guarded.holding(p, strip.flush) for p in (panel, panel_bias, panel_scale))


def operand_a(kernel: str, strip: Strip, x: Operands) -> list[Guarded]:
    """The kernel's A rows, each flush against a page; behind it only what the contract lets a row read."""
    tile = _core.qgemm_row(kernel)
    length = strip.kc
    behind = -length % tile["kr"]
    if tile["elem"] == "u8":
        return [Guarded.holding(row, strip.flush, behind) for row in x.rows]
    rows = []
    for row in x.rows:
        source, wide = Guarded.holding(row, strip.flush), Guarded(2 * (row.size + behind), strip.flush)
        _core.qgemm_widen("", source.address, row.size, wide.address)
        wide.view(np.int16)[row.size :] = 255 if tile["terms"] else 32767
        rows.append(wide)
    return rows


def run(kernel: str, strip: Strip, x: Operands) -> np.ndarray:
    """Runs one row in guarded memory; returns the bytes from y on."""
    a, (w, bias, scale) = operand_a(kernel, strip, x), packed(kernel, strip, x)
    size = {"u8": 1, "s16": 2}[_core.qgemm_row(kernel)["elem"]]
    expected = laid_out(strip, np.zeros((strip.m, strip.n), np.uint8))
    y = Guarded(expected.size, strip.flush)
    y.bytes[:] = CANARY
    kw, kc = strip.kw, strip.kc
    ran = _core.qgemm_run(
        kernel, rows=[row.address for row in a], kh=strip.kh, kw=kw, kc=kc, a_px=strip.px * size,
        a_kx=strip.kx * size, m=strip.m, w=w.address, bias=bias.address, scale=scale.address, n=strip.n,
        lo=strip.lo - strip.zero, hi=strip.hi - strip.zero, zero=strip.zero, y=y.address,
        y_px=strip.n + strip.y_gap,
    )  # fmt: skip
    assert ran == kernel  # the one that ran is the one asked for
    assert y.intact(), f"{kernel} wrote outside y: {strip}"
    return y.bytes.copy()


def fits(kernel: str, strip: Strip, x: Operands) -> bool:
    taps = strip.kh * strip.kw
    minus_128 = bool((x.w == -128).any())
    return _core.qgemm_fits(kernel, strip.m, strip.n, strip.k, minus_128, taps, unbounded(strip, x))


def unbounded(strip: Strip, x: Operands) -> bool:
    w = np.ascontiguousarray(x.w)
    return _core.qgemm_unbounded(w.ctypes.data, strip.n, strip.k, x.bias.ctypes.data, x.scale.ctypes.data)


def check(kernel: str, strip: Strip, x: Operands) -> bool:
    """Compares one row with the formula, if it takes this problem; returns whether it does."""
    if not fits(kernel, strip, x):
        return False
    expected = laid_out(strip, requantise(sums(strip, x), x.scale, strip))
    assert_same(run(kernel, strip, x), expected, (kernel, strip))
    return True


def around(*values: int) -> list[int]:
    return sorted({v + d for v in values for d in (-1, 0, 1) if v + d > 0})


# ---- shapes ---------------------------------------------------------------------------------------------------


def test_matches_the_formula_around_its_tile(kernel: str, rng: np.random.Generator) -> None:
    tile = _core.qgemm_row(kernel)
    checked = 0
    for m in [1, *around(tile["mr"]), 2 * tile["mr"] + 1]:
        for n in [c for c in around(1, tile["lanes"], tile["nr"]) if c <= tile["nr"]]:
            for kc in (1, 3, 4, 5, 13):
                strip = Strip(m, n, kc)
                checked += check(kernel, strip, draw(strip, rng))
    assert checked >= 40  # a row that takes few problems is still tested


@pytest.mark.parametrize("kc", [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 64, 127, 256])
def test_every_depth(kernel: str, kc: int, rng: np.random.Generator) -> None:
    tile = _core.qgemm_row(kernel)
    for m, n in [(1, tile["nr"]), (2, 1), (3, tile["lanes"]), (5, 3), (tile["mr"], tile["nr"])]:
        strip = Strip(m, n, kc)
        check(kernel, strip, draw(strip, rng))


@pytest.mark.parametrize("m", range(1, 26))
def test_every_strip_length(kernel: str, m: int, rng: np.random.Generator) -> None:
    for n in (_core.qgemm_row(kernel)["nr"], _core.qgemm_row(kernel)["lanes"]):
        strip = Strip(m, n, 11)
        check(kernel, strip, draw(strip, rng))


CONVOLUTIONS = {
    "3x3": Strip(7, 5, 6, kh=3, kw=3),
    "3x3_stride2": Strip(13, 8, 5, kh=3, kw=3, stride=10, kx_step=5),
    "3x3_dilated": Strip(5, 7, 4, kh=3, kw=3, stride=4, kx_step=12),
    "5x1": Strip(9, 3, 9, kh=5),
    "1x4_merged": Strip(6, 8, 12),
    "3x3_merged_stride2": Strip(25, 8, 24, kh=3, stride=16),
    "1x1_strided_pixels": Strip(10, 8, 10, stride=24),
    "overlapping_windows": Strip(17, 8, 12, stride=1),
}
# More k than a row may hold at once, by taps and within one.
DEEP = {
    "one_tap": Strip(6, 21, 5003),
    "two_taps": Strip(5, 17, 4100, kw=2),
    "six_taps": Strip(7, 18, 1601, kh=3, kw=2),
}


@pytest.mark.parametrize("strip", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize("flush", ["tail", "head"])
def test_convolutions_with_operands_against_a_guard_page(
    kernel: str, strip: Strip, flush: str, rng: np.random.Generator
) -> None:
    strip = replace(strip, flush=flush)
    check(kernel, strip, draw(strip, rng))


@pytest.mark.parametrize("strip", DEEP.values(), ids=DEEP)
def test_deep_sums(kernel: str, strip: Strip, rng: np.random.Generator) -> None:
    strip = replace(strip, n=min(strip.n, _core.qgemm_row(kernel)["nr"]))
    check(kernel, strip, draw(strip, rng))


@pytest.mark.parametrize("flush", ["tail", "head"])
@pytest.mark.parametrize(("kh", "kw", "kc"), [(1, 1, 9), (1, 1, 64), (3, 2, 13), (2, 3, 20)])
def test_one_pixel_of_every_width(kernel: str, kh: int, kw: int, kc: int, flush: str, rng: np.random.Generator) -> None:
    """A fully connected layer: as many columns as a panel takes, one tap and several."""
    for n in range(1, _core.qgemm_row(kernel)["nr"] + 1):
        strip = Strip(1, n, kc, kh=kh, kw=kw, kx_step=kc + 4, flush=flush)
        check(kernel, strip, draw(strip, rng))


@pytest.mark.parametrize("y_gap", [1, 3, 61])
def test_strided_output_leaves_the_gaps_alone(kernel: str, y_gap: int, rng: np.random.Generator) -> None:
    for n in range(1, _core.qgemm_row(kernel)["nr"] + 1):
        strip = Strip(5, n, 4, y_gap=y_gap)
        check(kernel, strip, draw(strip, rng))


# ---- numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [0, 128, 255])
@pytest.mark.parametrize("w", [-128, -127, 127])
@pytest.mark.parametrize("kc", [2, 4, 64, 2052])
def test_corner_values_do_not_saturate(kernel: str, a: int, w: int, kc: int) -> None:
    for m, n in ((4, 8), (1, _core.qgemm_row(kernel)["nr"])):
        strip = Strip(m, n, kc, input_zero=77)
        x = Operands(
            np.full((1, strip.row_elements), a, np.uint8), np.full((n, 1, 1, kc), w, np.int8), np.zeros(n, np.int32),
            np.linspace(0.5, 1.0, n, dtype=F32) * F32(127 / (255 * 128 * kc)),
        )  # fmt: skip
        check(kernel, strip, x)


def test_ties_round_to_even(kernel: str) -> None:
    n = 8
    strip = Strip(256, n, 1, input_zero=128, zero=128)
    x = Operands(np.arange(256, dtype=np.uint8)[None], np.ones((n, 1, 1, 1), np.int8), np.arange(n, dtype=np.int32),
                 np.full(n, 0.5, F32))  # fmt: skip
    halves = sums(strip, x) % 2 == 1
    assert halves.sum() == 256 * n / 2
    check(kernel, strip, x)


def test_large_sums_round_twice(kernel: str, rng: np.random.Generator) -> None:
    """Beyond 2^24 float(acc) is inexact; then the product rounds. A fused or double product differs."""
    strip = Strip(64, 8, 1, input_zero=0)
    x = draw(strip, rng)
    bias = rng.integers(1 << 24, 1 << 30, 8).astype(np.int32) | 1
    x = replace(x, bias=bias, scale=(F32(100.5) / bias.astype(F32)).astype(F32))
    check(kernel, strip, x)


def extreme(strip: Strip, bias: int, scale: float) -> Operands:
    """Sums that are the bias alone, save for one weight of 1 on a zero."""
    n = strip.n
    return Operands(np.zeros((1, strip.m), np.uint8), np.ones((n, 1, 1, 1), np.int8), np.full(n, bias, np.int32),
                    np.full(n, scale, F32))  # fmt: skip


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(
    ("bias", "scale"), [((1 << 31) - 300, 0.4999), ((1 << 29) - 300, 1.9999), ((1 << 22) - 300, 255.9)]
)
def test_products_far_outside_clip(kernel: str, bias: int, scale: float, sign: int) -> None:
    """Up to 2^30, the most that every row must take."""
    for m, (lo, hi, zero) in itertools.product((1, 3, 12), [(0, 255, 0), (0, 255, 255), (20, 200, 131)]):
        strip = Strip(m, 8, 1, input_zero=0, lo=lo, hi=hi, zero=zero)
        x = extreme(strip, sign * bias, scale)
        assert not unbounded(strip, x)
        check(kernel, strip, x)
        assert requantise(sums(strip, x), x.scale, strip).ravel()[0] == (hi if sign > 0 else lo)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("scale", [0.51, 1.0, 256.0])
@pytest.mark.parametrize("m", [1, 3, 12])
def test_products_beyond_int32_go_to_rows_that_take_them(m: int, scale: float, sign: int) -> None:
    strip = Strip(m, 8, 1, input_zero=0)
    x = extreme(strip, sign * ((1 << 31) - 300), scale)
    assert unbounded(strip, x)
    assert requantise(sums(strip, x), x.scale, strip).ravel()[0] == (255 if sign > 0 else 0)
    rows = {row["name"]: row["isa"] for row in _core.kernels() if row["family"] == FAMILY and row["runs_here"]}
    take = [name for name in rows if check(name, strip, x)]
    for cap in ("", *rows.values()):
        assert _core.qgemm_select(m, 8, 1, False, 1, cap, True) in take


def test_the_bound_is_over_all_inputs(rng: np.random.Generator) -> None:
    """(|bias| + 255 * sum|w|) * scale against 2^30, for each column."""
    strip = Strip(1, 5, 9, kh=2)
    x = replace(draw(strip, rng), scale=np.full(5, 2.0**-10, F32))
    x.w[3, 0, 0, 0] = -128
    assert not unbounded(strip, x)
    most = (abs(int(x.bias[3])) + 255 * int(np.abs(x.w[3].astype(int)).sum())) / 2.0**30
    for factor, expected in [(0.999, False), (1.001, True)]:
        scale = x.scale.copy()
        scale[3] = factor / most
        assert unbounded(strip, replace(x, scale=scale)) == expected


def test_a_folded_bias_may_wrap(kernel: str) -> None:
    """bias - zero * sum(w) leaves int32 although the true sum fits."""
    strip = Strip(2, 8, 64, input_zero=255)
    bias = np.full(8, (1 << 31) - 1, np.int32)
    x = Operands(
        np.full((1, 128), 255, np.uint8), np.full((8, 1, 1, 64), -128, np.int8), bias, np.full(8, 2.0**-24, F32)
    )
    assert (sums(strip, x) == bias).all()
    assert int(bias[0]) - 255 * int(x.w[0].sum()) > (1 << 31) - 1
    check(kernel, strip, x)


@pytest.mark.parametrize(
    ("lo", "hi", "zero"), [(0, 255, 0), (0, 255, 255), (128, 255, 128), (3, 3, 200), (17, 201, 90)]
)
def test_clipping_bounds(kernel: str, lo: int, hi: int, zero: int, rng: np.random.Generator) -> None:
    for m in (9, 1):
        strip = Strip(m, 8, 32, lo=lo, hi=hi, zero=zero)
        check(kernel, strip, draw(strip, rng))


def test_dead_channels_give_their_zero_point(kernel: str, rng: np.random.Generator) -> None:
    strip = Strip(5, 8, 16)
    x = replace(draw(strip, rng), scale=np.zeros(8, F32))
    check(kernel, strip, x)


def test_rows_of_the_table_agree() -> None:
    """All rows this CPU has, on one problem, against each other."""
    rng = np.random.default_rng(20)
    names = [row["name"] for row in _core.kernels() if row["family"] == FAMILY and row["runs_here"]]
    for strip in (Strip(29, 8, 24, kh=3, kw=3, stride=24), Strip(29, 8, 27)):
        x = draw(strip, rng)
        results = {name: run(name, strip, x).tobytes() for name in names if fits(name, strip, x)}
        assert len(set(results.values())) == 1, list(results)


# ---- packing and widening -------------------------------------------------------------------------------------


def test_a_panel_is_laid_out_as_written(kernel: str, rng: np.random.Generator) -> None:
    """panel[ky][kx][k / G][column][k % G], padded with zeros up to KR. G is KR; 2 for rows with terms of their own.

    Rows with a block have such a panel for each so many columns.
    """
    tile = _core.qgemm_row(kernel)
    strip = Strip(1, min(21, tile["nr"] - 3), 6, kh=2, kw=3)
    kr, lanes = tile["kr"], -(-strip.n // tile["lanes"]) * tile["lanes"]
    together, block = 2 if tile["terms"] else kr, tile["block"] or lanes
    x = draw(strip, rng)
    panel = packed(kernel, strip, x)[0].view({1: np.int8, 2: np.int16}[tile["weight_bytes"]])
    depth = -(-strip.kc // kr) * kr
    for first in range(0, lanes, block):
        width = min(block, lanes - first)
        part = panel[6 * depth * first :][: 6 * depth * width].reshape(2, 3, depth // together, width, together)
        expected = np.zeros_like(part)
        columns = range(min(width, strip.n - first))
        for n, ky, kx, k in itertools.product(columns, range(2), range(3), range(6)):
            expected[ky, kx, k // together, n, k % together] = x.w[first + n, ky, kx, k]
        assert_same(part, expected)
    assert panel.size == 6 * depth * lanes


def test_a_later_panel_takes_its_own_columns(kernel: str, rng: np.random.Generator) -> None:
    first, columns = 3, 4
    strip = Strip(6, 7, 10)
    x = draw(strip, rng)
    part = replace(strip, n=columns)
    own = Operands(x.rows, *(v[first : first + columns] for v in (x.w, x.bias, x.scale)))
    w, bias, scale = np.ascontiguousarray(x.w), x.bias.copy(), x.scale.copy()
    later = _core.qgemm_pack(
        kernel, w.ctypes.data, 1, 1, 10, bias.ctypes.data, scale.ctypes.data, first, columns, strip.input_zero
    )
    assert [part_bytes.bytes.tobytes() for part_bytes in packed(kernel, part, own)] == list(later)


def test_large_products_of_terms_cancel(kernel: str) -> None:
    """What A alone and the weights alone contribute to Winograd's inner product leaves int32, and cancels."""
    kc = 60000  # 60000 / 2 * 255 * 255 is 2^31 nearly
    for a, w, zero in ((255, 1, 255), (255, -128, 255), (254, -128, 255)):
        strip = Strip(2, 8, kc, input_zero=zero)
        x = Operands(np.full((1, strip.row_elements), a, np.uint8), np.full((8, 1, 1, kc), w, np.int8),
                     np.arange(8, dtype=np.int32) * 1000, np.full(8, 2.0**-16, F32))  # fmt: skip
        check(kernel, strip, x)


@pytest.mark.parametrize("flush", ["tail", "head"])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 31, 32, 33, 47, 48, 100])
def test_widening_is_exact_in_value_and_extent(count: int, flush: str, rng: np.random.Generator) -> None:
    source = rng.integers(0, 256, count, np.uint8)
    names = ["scalar", *sorted({row["isa"] for row in _core.kernels() if row["runs_here"]} - {"scalar"})]
    for cap in names:
        u8, s16 = Guarded.holding(source, flush), Guarded(2 * count, flush)
        _core.qgemm_widen(cap, u8.address, count, s16.address)
        assert s16.intact()
        assert_same(s16.view(np.int16), source.astype(np.int16), (cap, count))


# ---- can these tests fail? ------------------------------------------------------------------------------------


def away_from_zero(acc: np.ndarray, scale: np.ndarray, strip: Strip) -> np.ndarray:
    t = np.clip(acc.astype(F32) * scale, strip.lo - strip.zero, strip.hi - strip.zero)
    return (np.trunc(t + np.copysign(0.5, t)).astype(np.int32) + strip.zero).astype(np.uint8)


def test_one_wrong_byte_tap_or_rounding_is_caught(kernel: str, rng: np.random.Generator) -> None:
    strip = Strip(16, 8, 16, input_zero=128, zero=128)
    if not fits(kernel, strip, draw(strip, rng)):
        strip = replace(strip, m=1, n=64)  # a row for one pixel
    n = strip.n
    x = replace(draw(strip, rng), scale=np.full(n, 2.0**-8, F32))
    x.w[3, 0, 0, 7] = 100  # the tap that goes missing below
    found = run(kernel, strip, x)
    acc = sums(strip, x)
    assert_same(found, laid_out(strip, requantise(acc, x.scale, strip)))

    one_byte = found.copy()
    one_byte[37] ^= 1
    no_tap = replace(x, w=x.w.copy())
    no_tap.w[3, 0, 0, 7] = 0
    swapped = replace(x, rows=np.roll(x.rows, strip.px if strip.m > 1 else 1, axis=1))
    faults = {
        "byte": one_byte,
        "tap": laid_out(strip, requantise(sums(strip, no_tap), x.scale, strip)),
        "pixels": laid_out(strip, requantise(sums(strip, swapped), x.scale, strip)),
        "column": laid_out(strip, np.roll(requantise(acc, x.scale, strip), 1, axis=1)),
    }
    for name, fault in faults.items():
        with pytest.raises(AssertionError, match="expected"):
            assert_same(found, fault, name)

    ties = replace(x, scale=np.full(n, 0.5, F32), bias=np.arange(n, dtype=np.int32), w=x.w // 127)
    small = replace(strip, lo=0, hi=255)
    with pytest.raises(AssertionError, match="expected"):
        assert_same(run(kernel, small, ties), laid_out(small, away_from_zero(sums(small, ties), ties.scale, small)))
