# SPDX-License-Identifier: Apache-2.0
"""dwconv: every row against a NumPy formula, byte for byte."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from guarded import CANARY, Guarded, assert_same

from edgekern import _core

FAMILY = "dwconv"
F32 = np.float32
SLACK = 64  # readable bytes behind every arena tensor (base/layout.h)


@dataclass(frozen=True)
class Row:
    """One call: the sizes of one output row and how its memory lies."""

    m: int
    c: int
    k: int = 3
    kw: int = 0  # 0: k
    stride: int = 1
    dilation: int = 1
    in_gap: int = 0  # bytes between the channels of neighbouring pixels
    y_gap: int = 0
    input_zero: int = 121
    lo: int = 0  # least and greatest output byte
    hi: int = 255
    zero: int = 131
    flush: str = "tail"

    @property
    def kx(self) -> int:
        return self.kw or self.k

    @property
    def width(self) -> int:
        return (self.m - 1) * self.stride + (self.kx - 1) * self.dilation + 1


@dataclass(frozen=True)
class Operands:
    rows: np.ndarray  # (kh, width, c) biased bytes
    w: np.ndarray  # (kh, kw, c) int8
    bias: np.ndarray  # (c,) int32
    scale: np.ndarray  # (c,) float32


def draw(row: Row, rng: np.random.Generator) -> Operands:
    rows = rng.integers(0, 256, (row.k, row.width, row.c), np.uint8)
    w = rng.integers(-127, 128, (row.k, row.kx, row.c), np.int8)
    bias = rng.integers(-5000, 5000, row.c).astype(np.int32)
    spread = 74.0 * 74.0 * np.sqrt(row.k * row.kx)  # of the sums, so that outputs fill the range and clip a little
    scale = (rng.uniform(50, 150, row.c) / spread).astype(F32)
    return Operands(rows, w, bias, scale)


def sums(row: Row, x: Operands) -> np.ndarray:
    """bias(c) + sum over taps of w(c) * (in(c) - zero), int64 and (m, c)."""
    acc = np.tile(x.bias.astype(np.int64), (row.m, 1))
    for ky, kx in itertools.product(range(row.k), range(row.kx)):
        for i in range(row.m):
            tap = x.rows[ky, i * row.stride + kx * row.dilation].astype(np.int64) - row.input_zero
            acc[i] += tap * x.w[ky, kx]
    return acc


def requantise(acc: np.ndarray, scale: np.ndarray, row: Row) -> np.ndarray:
    t = acc.astype(np.int32).astype(F32) * scale
    t = np.minimum(np.maximum(t, F32(row.lo - row.zero)), F32(row.hi - row.zero))
    return (np.rint(t).astype(np.int32) + row.zero).astype(np.uint8)


def laid_out(pixels: np.ndarray, gap: int, fill: int = CANARY) -> np.ndarray:
    """(pixels, c) bytes with `gap` bytes of `fill` between neighbours."""
    memory = np.full((pixels.shape[0], pixels.shape[1] + gap), fill, np.uint8)
    memory[:, : pixels.shape[1]] = pixels
    return memory.ravel()[: memory.size - gap]


def packed(kernel: str, row: Row, x: Operands) -> tuple[Guarded, Guarded, Guarded]:
    size, lanes = _core.dwconv_packed_size(kernel, row.k, row.kx, row.stride, row.c)
    memory = Guarded(size, row.flush), Guarded(4 * lanes, row.flush), Guarded(4 * lanes, row.flush)
    w, bias, scale = np.ascontiguousarray(x.w), x.bias.copy(), x.scale.copy()
    _core.dwconv_pack(kernel, row.k, row.kx, row.stride, row.c, w.ctypes.data, bias.ctypes.data, scale.ctypes.data,
                      row.input_zero, *(part.address for part in memory))  # fmt: skip
    assert all(part.intact() for part in memory)
    return memory


def minus_128(x: Operands) -> bool:
    return bool((x.w == -128).any())


def unbounded(row: Row, x: Operands) -> bool:
    w = np.ascontiguousarray(x.w)
    return _core.dwconv_unbounded(row.k, row.kx, row.c, w.ctypes.data, x.bias.ctypes.data, x.scale.ctypes.data)


def narrow(row: Row, x: Operands) -> bool:
    w = np.ascontiguousarray(x.w)
    return _core.dwconv_narrow(row.k, row.kx, row.c, w.ctypes.data, x.bias.ctypes.data, x.scale.ctypes.data)


def run(kernel: str, row: Row, x: Operands) -> np.ndarray:
    """Runs one row in guarded memory; returns the bytes from y on."""
    assert fits(kernel, row, unbounded(row, x), minus_128(x))
    rows = [Guarded.holding(laid_out(r, row.in_gap), row.flush, behind=SLACK) for r in x.rows]
    w, bias, scale = packed(kernel, row, x)
    y = Guarded(row.m * (row.c + row.y_gap) - row.y_gap, row.flush)
    ran = _core.dwconv_run(
        kernel, kh=row.k, kw=row.kx, sx=row.stride, dx=row.dilation, m=row.m, c=row.c,
        rows=[r.address for r in rows], in_px=row.c + row.in_gap, w=w.address, bias=bias.address, scale=scale.address,
        lo=row.lo - row.zero, hi=row.hi - row.zero, zero=row.zero, y=y.address, y_px=row.c + row.y_gap,
        narrow=narrow(row, x),
    )  # fmt: skip
    assert ran == kernel  # the one that ran is the one asked for
    assert y.intact(), f"{kernel} wrote outside y: {row}"
    return y.bytes.copy()


def check(kernel: str, row: Row, x: Operands) -> None:
    """Compares one row with the formula, if it takes this shape (test_what_rows_take says which)."""
    if not fits(kernel, row, minus_128=minus_128(x)):
        return
    expected = laid_out(requantise(sums(row, x), x.scale, row), row.y_gap)
    assert_same(run(kernel, row, x), expected, (kernel, row))


def fits(kernel: str, row: Row, unbounded: bool = False, minus_128: bool = False) -> bool:
    dense = row.in_gap == row.y_gap == 0
    sizes = row.k, row.kx, row.stride, row.dilation, row.c, row.m
    return _core.dwconv_fits(kernel, *sizes, unbounded, dense, minus_128)


def sizes(kernel: str) -> list[int]:
    """Square kernels among 3x3 and 5x5 that the row takes."""
    return [k for k in (3, 5) if fits(kernel, Row(8, 8, k))]


def taken(kernel: str, c: int) -> int:
    """`c`, or the most channels of a row that takes few only."""
    return c if fits(kernel, Row(64, c, sizes(kernel)[0])) else 32


def here(row: Row) -> list[str]:
    return [r["name"] for r in _core.kernels() if r["family"] == FAMILY and r["runs_here"] and fits(r["name"], row)]


# ---- shapes ---------------------------------------------------------------------------------------------------

CHANNELS = [1, 2, 3, 4, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 72, 80, 96, 97, 128, 144]


@pytest.mark.parametrize("c", CHANNELS)
def test_every_channel_count(kernel: str, c: int, rng: np.random.Generator) -> None:
    shapes = [(1, 1), (1, 8), (1, 11), (2, 1), (2, 8), (2, 9)]
    for k, (stride, m) in itertools.product(sizes(kernel), shapes):
        row = Row(m, c, k, stride=stride)
        check(kernel, row, draw(row, rng))


def test_what_rows_take(kernel: str) -> None:
    """Every channel count, width and gap; dense rows 64 bytes and more of 8, 16 or 32 channels."""
    dense = "_dense_" in kernel
    for k, stride, c, m, gap in itertools.product(sizes(kernel), (1, 2), CHANNELS, (1, 2, 3, 4, 7, 8, 20), (0, 4)):
        expected = not dense or (c in (8, 16, 32) and m * c >= 64 and gap == 0)
        assert fits(kernel, Row(m, c, k, stride=stride, in_gap=gap)) == expected
        assert fits(kernel, Row(m, c, k, stride=stride, y_gap=gap)) == expected


@pytest.mark.parametrize("flush", ["tail", "head"])
@pytest.mark.parametrize("c", [8, 16, 32])
def test_few_channels_at_every_width(kernel: str, c: int, flush: str, rng: np.random.Generator) -> None:
    """Rows that take several pixels at a time end with a block that overlaps the one before it, at every offset."""
    for stride, m, zero in itertools.product((1, 2), range(64 // c, 3 * 64 // c + 2), (0, 131)):
        row = Row(m, c, sizes(kernel)[0], stride=stride, zero=zero, flush=flush)
        check(kernel, row, draw(row, rng))


@pytest.mark.parametrize("m", range(1, 20))
def test_every_width(kernel: str, m: int, rng: np.random.Generator) -> None:
    for k, stride, c, zero in itertools.product(sizes(kernel), (1, 2), (5, 8, 16, 24, 64), (0, 131)):
        row = Row(m, c, k, stride=stride, zero=zero)
        check(kernel, row, draw(row, rng))


@pytest.mark.parametrize("m", [33, 64, 65, 97, 130])
def test_long_rows(kernel: str, m: int, rng: np.random.Generator) -> None:
    """Rows that are cut into stretches of pixels: 64 or 32 outputs, then what is left, and channels of each."""
    for k, stride, c in itertools.product(sizes(kernel), (1, 2), (8, 27, 72)):
        row = Row(m, c, k, stride=stride)
        check(kernel, row, draw(row, rng))


@pytest.mark.parametrize("flush", ["tail", "head"])
@pytest.mark.parametrize("c", [3, 8, 13, 16, 24, 32, 40, 64, 67])
def test_pixels_apart_with_operands_against_a_guard_page(
    kernel: str, c: int, flush: str, rng: np.random.Generator
) -> None:
    for k, stride, (in_gap, y_gap) in itertools.product(sizes(kernel), (1, 2), [(0, 0), (3, 0), (0, 5), (200, 99)]):
        row = Row(10, c, k, stride=stride, in_gap=in_gap, y_gap=y_gap, flush=flush)
        check(kernel, row, draw(row, rng))


@pytest.mark.parametrize(("stride", "dilation"), [(1, 2), (2, 2), (3, 1), (1, 5), (3, 3)])
def test_other_strides_and_dilations(stride: int, dilation: int, rng: np.random.Generator) -> None:
    for k, c, m in itertools.product((3, 5), (8, 16, 30, 33, 64, 70), (1, 2, 9)):
        row = Row(m, c, k, stride=stride, dilation=dilation)
        x = draw(row, rng)
        for kernel in here(row):
            check(kernel, row, x)


@pytest.mark.parametrize(("kh", "kw"), [(1, 1), (1, 3), (3, 1), (2, 2), (4, 4), (3, 5), (7, 7), (9, 1)])
def test_other_kernels(kh: int, kw: int, rng: np.random.Generator) -> None:
    for c, stride in itertools.product((1, 21, 64), (1, 2)):
        row = Row(6, c, kh, kw, stride=stride)
        x = draw(row, rng)
        for kernel in here(row):
            check(kernel, row, x)


def test_a_whole_image_with_padding(kernel: str, rng: np.random.Generator) -> None:
    """Rows of one NHWC tensor whose halo holds the zero point, as a plan calls them: 'same' padding."""
    h, w, c, zero = 9, 10, taken(kernel, 19), 93
    image = rng.integers(0, 256, (h, w, c), np.uint8)
    for k, stride in itertools.product(sizes(kernel), (1, 2)):
        pad = k // 2
        padded = np.full((h + 2 * pad, w + 2 * pad, c), zero, np.uint8)
        padded[pad:-pad, pad:-pad] = image
        row = Row((w - 1) // stride + 1, c, k, stride=stride, input_zero=zero)
        x = draw(row, rng)
        for y in range((h - 1) // stride + 1):
            rows = padded[y * stride : y * stride + k, : row.width]
            check(kernel, row, replace(x, rows=rows))
            acc = x.bias.astype(np.int64)  # the corner pixel by the definition: outside the image nothing is added
            for ky, kx in itertools.product(range(k), range(k)):
                iy, ix = y * stride + ky - pad, kx - pad
                if 0 <= iy < h and 0 <= ix < w:
                    acc = acc + (image[iy, ix].astype(np.int64) - zero) * x.w[ky, kx]
            assert_same(sums(row, replace(x, rows=rows))[0], acc)


def test_rows_may_lie_anywhere(kernel: str, rng: np.random.Generator) -> None:
    """A group keeps its rows in a cyclic buffer: the pointers are in no order, and two may be equal."""
    row = Row(9, taken(kernel, 37), sizes(kernel)[0])
    x = draw(row, rng)
    for first in range(row.k):
        check(kernel, row, replace(x, rows=np.roll(x.rows, first, axis=0)))
    check(kernel, row, replace(x, rows=x.rows[[1] * row.k]))


# ---- numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [0, 128, 255])
@pytest.mark.parametrize("w", [-128, -127, 127])
def test_corner_values_do_not_saturate(kernel: str, a: int, w: int) -> None:
    for k, c, stride in itertools.product(sizes(kernel), (8, 16, 32, 64), (1, 2)):
        row = Row(9, c, k, stride=stride, input_zero=77)
        x = Operands(np.full((k, row.width, c), a, np.uint8), np.full((k, k, c), w, np.int8), np.zeros(c, np.int32),
                     np.linspace(0.5, 1.0, c, dtype=F32) * F32(127 / (255 * 128 * k * k)))  # fmt: skip
        check(kernel, row, x)


@pytest.mark.parametrize("least", [-128, -127])
@pytest.mark.parametrize("c", [5, 16, 64])
def test_mixed_corner_values(kernel: str, c: int, least: int, rng: np.random.Generator) -> None:
    for k in sizes(kernel):
        row = Row(16, c, k)
        x = draw(row, rng)
        x = replace(x, rows=rng.choice(np.array([0, 1, 127, 128, 254, 255], np.uint8), x.rows.shape),
                    w=rng.choice(np.array([least, -127, -1, 0, 1, 127], np.int8), x.w.shape))  # fmt: skip
        check(kernel, row, x)


def test_ties_round_to_even(kernel: str) -> None:
    c = taken(kernel, 64)
    k = sizes(kernel)[0]
    row = Row(256, c, k, input_zero=128, zero=128)
    ramp = np.zeros((k, row.width, c), np.uint8) + 128
    ramp[1, 1:257] = np.arange(256, dtype=np.uint8)[:, None]
    w = np.zeros((k, k, c), np.int8)
    w[1, 1] = 1
    x = Operands(ramp, w, np.arange(c, dtype=np.int32), np.full(c, 0.5, F32))
    assert (sums(row, x) % 2 == 1).sum() == 256 * c / 2
    check(kernel, row, x)


def test_large_sums_round_twice(kernel: str, rng: np.random.Generator) -> None:
    """Beyond 2^24 float(acc) is inexact; then the product rounds. A fused or double product differs."""
    row = Row(40, taken(kernel, 64), sizes(kernel)[0], input_zero=0)
    x = draw(row, rng)
    bias = rng.integers(1 << 24, 1 << 30, row.c).astype(np.int32) | 1
    check(kernel, row, replace(x, bias=bias, scale=(F32(100.5) / bias.astype(F32)).astype(F32)))


def extreme(row: Row, bias: int, scale: float) -> Operands:
    """Sums that are their bias."""
    taps = np.zeros((row.k, row.kx, row.c), np.int8)
    rows = np.full((row.k, row.width, row.c), 255, np.uint8)
    return Operands(rows, taps, np.full(row.c, bias, np.int64).astype(np.int32), np.full(row.c, scale, F32))


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("bias", "scale"), [((1 << 31) - 1, 0.4999), ((1 << 29) - 1, 1.9999), ((1 << 22) - 1, 255.9)])
def test_products_far_outside_clip(kernel: str, bias: int, scale: float, sign: int) -> None:
    """Up to 2^30, the most that every row must take."""
    for c, (lo, hi, zero) in itertools.product((7, 32, 64), [(0, 255, 0), (0, 255, 255), (20, 200, 131)]):
        row = Row(3, c, sizes(kernel)[0], lo=lo, hi=hi, zero=zero)
        x = extreme(row, sign * bias, scale)
        check(kernel, row, x)
        assert requantise(sums(row, x), x.scale, row).ravel()[0] == (hi if sign > 0 else lo)


@pytest.mark.parametrize("zero", [0, 131])
@pytest.mark.parametrize("stride", [1, 2])
def test_products_at_both_ends_of_16_bits(kernel: str, stride: int, zero: int) -> None:
    """What rounds to 32767 and -32767 narrows as it is; what is greater has to saturate."""
    for c, (bias, fits_16_bits) in itertools.product((8, 16, 24), [(32766, True), (32768, False), (98304, False)]):
        row = Row(5, c, sizes(kernel)[0], stride=stride, zero=zero)
        x = extreme(row, bias, 1.0)
        x = replace(x, bias=(x.bias * np.resize([1, -1, -1], c)).astype(np.int32))
        assert narrow(row, x) == fits_16_bits
        check(kernel, row, x)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("scale", [0.51, 1.0, 256.0])
def test_products_beyond_int32_go_to_a_row_that_takes_them(scale: float, sign: int) -> None:
    row = Row(3, 64, input_zero=0)
    x = extreme(row, sign * ((1 << 31) - 1), scale)
    assert unbounded(row, x)
    chosen = _core.dwconv_select(3, 3, 1, 1, 64, 3, "", True)
    assert chosen in [name for name in here(row) if fits(name, row, True)]
    check(chosen, row, x)
    assert requantise(sums(row, x), x.scale, row).ravel()[0] == (255 if sign > 0 else 0)


def test_weights_of_minus_128_go_to_a_row_that_takes_them(rng: np.random.Generator) -> None:
    for k, c in itertools.product((3, 5), (8, 32)):
        row = Row(9, c, k)
        x = draw(row, rng)
        x.w[1, 1] = -128
        chosen = _core.dwconv_select(k, k, 1, 1, c, 9, "", dense=True, has_minus_128=True)
        assert fits(chosen, row, minus_128=True)
        check(chosen, row, x)


def test_the_bound_is_over_all_inputs(rng: np.random.Generator) -> None:
    """(|bias| + 255 * sum|w|) * scale against 2^30 and 2^15 - 1, for each channel."""
    row = Row(1, 5)
    x = draw(row, rng)
    x = replace(x, scale=np.full(5, 2.0**-10, F32))
    assert not unbounded(row, x)
    most = (abs(int(x.bias[3])) + 255 * int(np.abs(x.w[..., 3].astype(int)).sum())) / 2.0**30
    for factor, expected in [(0.999, False), (1.001, True)]:
        scale = x.scale.copy()
        scale[3] = factor / most
        assert unbounded(row, replace(x, scale=scale)) == expected
        scale[3] = factor * (2.0**15 - 1) / most / 2.0**30
        assert narrow(row, replace(x, scale=scale)) != expected


def test_a_folded_bias_may_wrap(kernel: str) -> None:
    """bias - zero * sum(w) leaves int32 although the true sum fits."""
    k, c = sizes(kernel)[0], taken(kernel, 64)
    row = Row(4, c, k, input_zero=255)
    bias = np.full(c, (1 << 31) - 1, np.int32)
    x = Operands(np.full((k, row.width, c), 255, np.uint8), np.full((k, k, c), -128, np.int8), bias,
                 np.full(c, 2.0**-24, F32))  # fmt: skip
    assert (sums(row, x) == bias).all()
    assert int(bias[0]) + 255 * 128 * 9 > (1 << 31) - 1
    check(kernel, row, x)


@pytest.mark.parametrize(
    ("lo", "hi", "zero"), [(0, 255, 0), (0, 255, 255), (128, 255, 128), (3, 3, 200), (17, 201, 90)]
)
def test_clipping_bounds(kernel: str, lo: int, hi: int, zero: int, rng: np.random.Generator) -> None:
    for c in (12, 16, 64):
        row = Row(9, c, sizes(kernel)[0], lo=lo, hi=hi, zero=zero)
        check(kernel, row, draw(row, rng))


def test_dead_channels_give_their_zero_point(kernel: str, rng: np.random.Generator) -> None:
    row = Row(5, taken(kernel, 64), sizes(kernel)[0])
    check(kernel, row, replace(draw(row, rng), scale=np.zeros(row.c, F32)))


@pytest.mark.parametrize("k", [3, 5])
def test_rows_of_the_table_agree(k: int, rng: np.random.Generator) -> None:
    """All rows this CPU has, on one problem, against each other."""
    row = Row(29, 104, k)
    x = draw(row, rng)
    results = {name: run(name, row, x).tobytes() for name in here(row)}
    assert len(set(results.values())) == 1, list(results)


# ---- choice ---------------------------------------------------------------------------------------------------


def caps() -> list[str]:
    names = sorted({row["isa"] for row in _core.kernels() if row["runs_here"]} - {"scalar"})
    return ["scalar", *(",".join(s) for n in range(1, len(names) + 1) for s in itertools.combinations(names, n))]


@pytest.mark.parametrize("cap", caps())
def test_the_choice_is_the_cheapest_row_within_the_cap(cap: str) -> None:
    allowed = set(cap.split(","))
    for names, implied in ({"avxvnni", "avx512vnni"}, "avx2"), ({"neoni8mm"}, "neondot"), ({"neondot"}, "neon"):
        allowed |= {implied} if allowed & names else set()
    rows = [r for r in _core.kernels() if r["family"] == FAMILY and r["runs_here"]]
    for k, stride, c, m in itertools.product((3, 4, 5), (1, 2), (8, 16, 32, 64, 144, 384), (1, 7, 48)):
        cycles = {r["name"]: _core.dwconv_cycles(r["name"], k, k, stride, 1, c, m) for r in rows
                  if r["isa"] in allowed | {"scalar"} and fits(r["name"], Row(m, c, k, stride=stride))}  # fmt: skip
        chosen = _core.dwconv_select(k, k, stride, 1, c, m, cap, dense=True)
        assert chosen == min(cycles, key=cycles.__getitem__), (cap, k, stride, c, m)
        if cap == "scalar" or k == 4:
            assert chosen == rows[-1]["name"]
        else:
            assert chosen != rows[-1]["name"]


# ---- can these tests fail? ------------------------------------------------------------------------------------


def test_one_wrong_tap_rounding_or_pad_is_caught(kernel: str, rng: np.random.Generator) -> None:
    c = taken(kernel, 64)
    row = Row(16, c, sizes(kernel)[0], input_zero=128, zero=128)
    x = draw(row, rng)
    x = replace(x, w=np.where(x.w == 0, 1, x.w).astype(np.int8), scale=np.full(c, 2.0**-8, F32))
    x.rows[:, 0] = row.input_zero  # a column of padding
    found = run(kernel, row, x)
    assert_same(found, laid_out(requantise(sums(row, x), x.scale, row), 0))

    no_tap = replace(x, w=x.w.copy())
    no_tap.w[2, 1, 7] = 0
    zero_pad = replace(x, rows=x.rows.copy())
    zero_pad.rows[:, 0] = 0
    swapped = replace(x, rows=x.rows[::-1])
    faults = {"tap": no_tap, "pad": zero_pad, "rows": swapped}
    for name, fault in faults.items():
        with pytest.raises(AssertionError, match="expected"):
            assert_same(found, laid_out(requantise(sums(row, fault), x.scale, row), 0), name)
    with pytest.raises(AssertionError, match="expected"):
        assert_same(found, laid_out(np.roll(requantise(sums(row, x), x.scale, row), 1, axis=1), 0), "channel")

    ties = replace(x, scale=np.full(c, 0.5, F32), bias=np.arange(c, dtype=np.int32), w=(x.w // 127).astype(np.int8))
    acc = sums(row, ties)
    away = np.trunc(acc / 2 + np.copysign(0.5, acc))
    away = (np.clip(away, -row.zero, 255 - row.zero) + row.zero).astype(np.uint8)
    with pytest.raises(AssertionError, match="expected"):
        assert_same(run(kernel, row, ties), laid_out(away, 0), "rounding")
