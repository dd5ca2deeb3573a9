# SPDX-License-Identifier: Apache-2.0
"""wide: every row against the NumPy specification, between guard pages, in every mix of 8-bit and 16-bit elements.

The specification is `quant.py` itself: `planes`, `requantise`, `requantise_wide`, `requantise_add_wide`.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from guarded import CANARY, Guarded, assert_same

from edgekern import _core, quant
from edgekern.types import DType

FAMILY = "wide"
F32 = np.float32
SLACK = 64  # readable bytes behind every operand of the arena
MIXES = [(True, True), (True, False), (False, True)]
COUNTS = (1, 2, 7, 8, 15, 16, 17, 31, 33, 40)
INT16, INT8 = DType.INT16, DType.INT8

mixes = pytest.mark.parametrize("mix", MIXES, ids=["16 to 16", "16 to 8", "8 to 16"])


def drawn(rng: np.random.Generator, wide: bool, *shape: int) -> np.ndarray:
    """Values with many extremes: one in five is the least or the greatest."""
    kind = np.int16 if wide else np.int8
    ends = np.iinfo(kind)
    x = rng.integers(ends.min, ends.max + 1, shape)
    return np.where(rng.random(shape) < 0.2, rng.choice([ends.min, ends.max], shape), x).astype(kind)


def stored(x: np.ndarray) -> np.ndarray:
    """As it lies in memory: int16 as it is, int8 biased; bytes."""
    held = x if x.dtype == np.int16 else (x.astype(np.int16) + 128).astype(np.uint8)
    return np.frombuffer(np.ascontiguousarray(held).tobytes(), np.uint8)


def clamp_of(rng: np.random.Generator, wide: bool) -> tuple[int, int, int]:
    """lo, hi and zero point of a result."""
    half = 32768 if wide else 128
    lo, hi = sorted(int(v) for v in rng.integers(-half, half, 2))
    if rng.random() < 0.5:
        lo, hi = -half, half - 1
    return lo, hi, 0 if wide else int(rng.integers(-128, 128))


def out_arguments(clamp: tuple[int, int, int], wide: bool) -> list[int]:
    lo, hi, zero = clamp
    return [lo, hi, 0, 1] if wide else [lo + 128, hi + 128, zero + 128, 0]


def multipliers(rng: np.random.Generator, n: int, reach: float) -> np.ndarray:
    """Of sums that reach `reach`, to fill a result; a third are powers of two, which make ties."""
    m = (rng.uniform(0.3, 3, n) / reach).astype(F32)
    powers = np.exp2(np.rint(np.log2(m))).astype(F32)
    return np.where(rng.random(n) < 1 / 3, powers, m).astype(F32)


def requantised(planes: list[np.ndarray], m: np.ndarray, clamp: tuple[int, int, int], wide: bool) -> np.ndarray:
    lo, hi, zero = clamp
    dtype = INT16 if wide else INT8
    if len(planes) == 1:
        return quant.requantise(planes[0], m, zero, lo, hi, dtype)
    return quant.requantise_wide(planes[0], planes[1], m, zero, lo, hi, dtype)


class Pixels:
    """Guarded pixels `px` bytes apart; what lies between them must keep its canary."""

    def __init__(self, count: int, px: int, used: int) -> None:
        self.memory = Guarded((count - 1) * px + used)
        self.memory.bytes[:] = CANARY
        self.count, self.px, self.used = count, px, used

    def assert_holds(self, want: np.ndarray, what: object) -> None:
        rows = np.full((self.count, self.px), CANARY, np.uint8)
        rows[:, : self.used] = stored(want).reshape(self.count, self.used)
        assert_same(self.memory.bytes, rows.ravel()[: self.memory.bytes.size], what)
        assert self.memory.intact()


def strip(kernel: str, rng: np.random.Generator, mix: tuple[bool, bool], m: int, k: int, n: int, extreme: bool) -> None:
    """One strip by all panels of n columns."""
    wide_in, wide_out = mix
    tile = _core.wide_row(kernel)
    x, zero = drawn(rng, wide_in, m, k), 0 if wide_in else int(rng.integers(-128, 128))
    w = rng.integers(-128, 128, (n, k)).astype(np.int8)
    bias = rng.integers(-(2**20), 2**20, n).astype(np.int32)
    if extreme:  # the greatest sums that the verifier allows, of both signs
        x[:], w[:] = (-32768 if wide_in else -128), rng.choice([-128, 127], (n, 1)).astype(np.int8)
        x[0] = 32767 if wide_in else 127
        room = 2**31 - 1 - 255 * np.abs(w.astype(np.int64)).sum(axis=1)
        bias = (room * np.sign(w[:, 0])).astype(np.int32)
    planes = quant.planes(x, zero)
    sums = [plane @ w.astype(np.int32).T for plane in planes]
    sums[-1] = sums[-1] + bias
    reach = max(float(np.abs(sums[0].astype(np.float64) * (256 if wide_in else 1)).mean()), 1.0)
    scale, clamp = multipliers(rng, n, reach / (20000 if wide_out else 90)), clamp_of(rng, wide_out)
    padded = -(-k // tile["kr"]) * tile["kr"]
    elem = 2 if wide_out else 1
    held = [rng.integers(-(2**15), 2**15, (m, padded)).astype(np.int16) for _ in range(2)]  # anything, behind k
    memory = [Guarded.holding(h) for h in held]
    given = Guarded.holding(stored(x))
    for i in range(m):  # by the engine's own split, row for row
        address = given.address + i * k * (2 if wide_in else 1)
        at = [part.address + 2 * i * padded for part in memory]
        _core.wide_split(address, k, zero + 128, at[0], at[1] if wide_in else 0)
    for first in range(0, n, tile["nr"]):
        columns = min(tile["nr"], n - first)
        packed = _core.wide_pack(kernel, w.ctypes.data, k, bias.ctypes.data, scale.ctypes.data, first, columns)
        panel = [Guarded.holding(np.frombuffer(part, np.uint8)) for part in packed]
        y = Pixels(m, elem * columns + int(rng.integers(0, 5)), elem * columns)
        low = memory[1].address if wide_in else 0
        ran = _core.wide_conv(
            kernel, [memory[0].address, low], [m, padded, columns], [p.address for p in panel],
            out_arguments(clamp, wide_out), [y.memory.address, y.px],
        )  # fmt: skip
        assert ran == kernel
        part = slice(first, first + columns)
        want = requantised([s[:, part] for s in sums], scale[part], clamp, wide_out)
        y.assert_holds(want, (mix, m, k, n, first))


@mixes
@pytest.mark.parametrize("n", COUNTS)
def test_strips(kernel: str, n: int, mix: tuple[bool, bool], rng: np.random.Generator) -> None:
    for m, k in itertools.product((1, 2, 3, 5, 8), (1, 2, 9, 16, 27)):
        strip(kernel, rng, mix, m, k, n, extreme=False)


@mixes
@pytest.mark.parametrize("k", [3, 1000, 60000])
def test_the_greatest_sums(kernel: str, k: int, mix: tuple[bool, bool], rng: np.random.Generator) -> None:
    """-32768 and 32767 against -128 and 127 with the greatest bias: no sum may wrap or saturate on its way."""
    strip(kernel, rng, mix, 3, k, 5, extreme=True)


@mixes
@pytest.mark.parametrize("c", COUNTS)
def test_depthwise_rows(kernel: str, c: int, mix: tuple[bool, bool], rng: np.random.Generator) -> None:
    wide_in, wide_out = mix
    elem, made = 2 if wide_in else 1, 2 if wide_out else 1
    for kh, kw, s, d, m in [(1, 1, 1, 1, 1), (3, 3, 1, 1, 5), (3, 2, 2, 1, 4), (5, 3, 1, 2, 3), (2, 5, 3, 2, 2)]:
        width, gap = (m - 1) * s + (kw - 1) * d + 1, int(rng.integers(0, 3)) * 2
        px = elem * c + gap
        x, zero = drawn(rng, wide_in, kh, width, c), 0 if wide_in else int(rng.integers(-128, 128))
        w, bias = rng.integers(-128, 128, (kh, kw, c)).astype(np.int8), rng.integers(-9999, 9999, c).astype(np.int32)
        lanes = -(-c // 16) * 16
        whole = np.zeros((kh, kw, lanes), np.int8)
        whole[..., :c] = w
        sums = []
        for plane in quant.planes(x, zero):
            taps = [[plane[ky, kx * d : kx * d + (m - 1) * s + 1 : s] for kx in range(kw)] for ky in range(kh)]
            sums.append(sum(taps[ky][kx] * w[ky, kx].astype(np.int32) for ky in range(kh) for kx in range(kw)))
        sums[-1] = (sums[-1] + bias).astype(np.int32)
        reach = 74.0 * (32768 if wide_in else 128) * np.sqrt(kh * kw) / 2 / (20000 if wide_out else 90)
        scale, clamp = multipliers(rng, c, reach), clamp_of(rng, wide_out)
        lines = np.zeros((kh, width, px), np.uint8)
        lines[..., : elem * c] = stored(x).reshape(kh, width, elem * c)
        rows = [Guarded.holding(line.ravel()[: (width - 1) * px + elem * c], "tail", SLACK) for line in lines]
        padded = [np.resize(np.r_[v, np.zeros(lanes - c, v.dtype)], lanes) for v in (bias, scale)]
        held = [Guarded.holding(part) for part in (whole, *padded)]
        y = Pixels(m, made * c + int(rng.integers(0, 5)), made * c)
        ran = _core.wide_dwconv(
            kernel, [r.address for r in rows], [kw, m, c], [s * px, d * px], [wide_in, 0 if wide_in else zero + 128],
            [part.address for part in held], out_arguments(clamp, wide_out), [y.memory.address, y.px],
        )  # fmt: skip
        assert ran == kernel
        y.assert_holds(requantised(sums, scale, clamp, wide_out), (mix, c, kh, kw))


@pytest.mark.parametrize("c", COUNTS)
@pytest.mark.parametrize("wide", [t for t in itertools.product((True, False), repeat=3) if any(t)], ids=str)
def test_add(kernel: str, c: int, wide: tuple[bool, bool, bool], rng: np.random.Generator) -> None:
    pixels = 5
    a, b = (drawn(rng, w, pixels, c) for w in wide[:2])
    za, zb = (0 if w else int(rng.integers(-128, 128)) for w in wide[:2])
    for ra, rb in ((0.5, 0.25), (float(F32(0.37)), 1.0), (float(F32(1e-3)), float(F32(333.3))), (0.0, 2.0**30)):
        unit = (1 if wide[2] else 1 / 256) * (1 if all(wide[:2]) else 256)
        ratios = [float(F32(ra * unit)), float(F32(rb * unit))]
        clamp = clamp_of(rng, wide[2])
        lo, hi, zero = clamp
        dtype = INT16 if wide[2] else INT8
        want = quant.requantise_add_wide(a, b, za, zb, zero, *ratios, lo, hi, dtype)
        given = [Guarded.holding(stored(v)) for v in (a, b)]
        px = [(2 if w else 1) * c for w in wide]
        y = Pixels(pixels, px[2] + int(rng.integers(0, 5)), px[2])
        zeros = [0 if w else z + 128 for w, z in zip(wide, (za, zb), strict=False)]
        sides = [[given[i].address, px[i], wide[i], zeros[i]] for i in range(2)]
        out, to = out_arguments(clamp, wide[2]), [y.memory.address, y.px]
        ran = _core.wide_pairs(kernel, "add", *sides, [pixels, c], ratios, out, to)
        assert ran == kernel
        y.assert_holds(want, (wide, c, ratios))


@pytest.mark.parametrize("c", COUNTS)
@pytest.mark.parametrize("wide", [t for t in itertools.product((True, False), repeat=3) if any(t)], ids=str)
def test_mul(kernel: str, c: int, wide: tuple[bool, bool, bool], rng: np.random.Generator) -> None:
    """Pixel by pixel, and every pixel by the first one of b."""
    pixels = 5
    a, b = (drawn(rng, w, pixels, c) for w in wide[:2])
    za, zb = (0 if w else int(rng.integers(-128, 128)) for w in wide[:2])
    for one, scale in itertools.product((False, True), (1.0, 0.37)):
        reach = 2.0 ** (sum(15 if w else 7 for w in wide[:2]) - (15 if wide[2] else 7))
        m, clamp = F32(scale / reach), clamp_of(rng, wide[2])
        product = (a.astype(np.int32) - za) * ((b[:1] if one else b).astype(np.int32) - zb)
        want = requantised([product], m, clamp, wide[2])
        given = [Guarded.holding(stored(v)) for v in (a, b)]
        px = [(2 if w else 1) * c for w in wide]
        y = Pixels(pixels, px[2] + int(rng.integers(0, 5)), px[2])
        zeros = [0 if w else z + 128 for w, z in zip(wide, (za, zb), strict=False)]
        sides = [[given[i].address, 0 if one and i else px[i], wide[i], zeros[i]] for i in range(2)]
        out, to = out_arguments(clamp, wide[2]), [y.memory.address, y.px]
        assert _core.wide_pairs(kernel, "mul", *sides, [pixels, c], [float(m), 0.0], out, to) == kernel
        y.assert_holds(want, (wide, c, one))


@mixes
@pytest.mark.parametrize("c", COUNTS)
def test_mean(kernel: str, c: int, mix: tuple[bool, bool], rng: np.random.Generator) -> None:
    wide_in, wide_out = mix
    for h, w in ((1, 1), (3, 5), (7, 7), (300, 300)):
        if h == 300 and c > 2:
            continue
        x, zero = drawn(rng, wide_in, h, w, c), 0 if wide_in else int(rng.integers(-128, 128))
        if h == 300:
            x[:] = np.iinfo(x.dtype).min  # a sum beyond int32
        total = (x.astype(np.int64) - zero).sum(axis=(0, 1))
        m = F32(rng.uniform(0.5, 1.5) / (h * w) * (1 if wide_in == wide_out else 256.0 if wide_out else 1 / 256))
        clamp = clamp_of(rng, wide_out)
        elem, made = 2 if wide_in else 1, 2 if wide_out else 1
        given = Guarded.holding(stored(x))
        y = Pixels(1, made * c, made * c)
        ran = _core.wide_mean(
            kernel, [given.address, elem * c, wide_in, 0 if wide_in else zero + 128], [h, w, c], float(m),
            out_arguments(clamp, wide_out), y.memory.address,
        )  # fmt: skip
        assert ran == kernel
        lo, hi, zero_out = clamp
        y.assert_holds(quant.requantise(total, m, zero_out, lo, hi, INT16 if wide_out else INT8), (mix, h, c))


def test_every_int16_splits_into_its_bytes() -> None:
    x = np.arange(-32768, 32768).astype(np.int16)
    high, low = np.zeros((2, x.size), np.int16)
    _core.wide_split(x.ctypes.data, x.size, 0, high.ctypes.data, low.ctypes.data)
    assert (high.min(), high.max(), low.min(), low.max()) == (-128, 127, 0, 255)
    assert np.array_equal(256 * high.astype(np.int32) + low, x)


@mixes
@pytest.mark.parametrize("shape", [(1,), (15,), (16,), (17,), (3, 40), (5, 3, 2), (2, 3, 4, 5)], ids=str)
def test_move(kernel: str, shape: tuple[int, ...], mix: tuple[bool, bool], rng: np.random.Generator) -> None:
    """From one order of dimensions into the opposite one, memory read and written exactly."""
    wide_in, wide_out = mix
    x, zero, clamp = (
        drawn(rng, wide_in, *shape),
        0 if wide_in else int(rng.integers(-128, 128)),
        clamp_of(rng, wide_out),
    )
    lo, hi, zero_out = clamp
    unit = 1 if wide_in == wide_out else 256.0 if wide_out else 1 / 256
    for ratio in (1.0, 0.5, float(F32(0.37)), 3.0):
        m = F32(ratio * unit)
        made = quant.requantise(x.astype(np.int32) - zero, m, zero_out, lo, hi, INT16 if wide_out else INT8)
        want = np.ascontiguousarray(made.T)
        given, to = Guarded.holding(stored(x)), Guarded(stored(want).size)
        to.bytes[:] = CANARY
        elem = 2 if wide_in else 1
        strides = [s // x.itemsize * elem for s in x.strides], [*want.T.strides]
        pad = 6 - len(shape)
        ran = _core.wide_move(
            kernel, [given.address, to.address], [1] * pad + [*shape], [0] * pad + strides[0], [0] * pad + strides[1],
            [wide_in, 0 if wide_in else zero + 128], float(m), out_arguments(clamp, wide_out),
        )  # fmt: skip
        assert (ran, to.intact(), given.intact()) == (kernel, True, True)
        assert_same(to.bytes, stored(want), (mix, shape, ratio))
