# SPDX-License-Identifier: Apache-2.0
"""eltwise: every row against NumPy formulas, byte for byte."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from guarded import CANARY, Guarded, assert_same

from edgekern import _core, quant
from edgekern.types import Quant

FAMILY = "eltwise"
F32 = np.float32
SLACK = 64  # readable bytes behind an arena tensor
SHAPES = [
    *itertools.product((1, 2, 7), (1, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100)),
    (1000, 3),
    (49, 40),
]


def strided(rows: np.ndarray, gap: int) -> np.ndarray:
    """Pixels [p, c] with `gap` canaries after each."""
    memory = np.full((rows.shape[0], rows.shape[1] + gap), CANARY, np.uint8)
    memory[:, : rows.shape[1]] = rows
    return memory


def blank(pixels: int, px: int, flush: str) -> Guarded:
    memory = Guarded(pixels * px, flush)
    memory.bytes[:] = CANARY
    return memory


def run_add(kernel, a, b, zeros, m, n, shift, clamp, gaps=(0, 0, 0), flush="tail", in_place=False):
    pixels, c = a.shape
    px = [c + gap for gap in gaps]
    left, right = Guarded.holding(strided(a, gaps[0]), flush, SLACK), Guarded.holding(strided(b, gaps[1]), flush, SLACK)
    target = left if in_place else blank(pixels, px[2], flush)
    ran = _core.eltwise_add(
        kernel, left.address, right.address, target.address, px, pixels, c, zeros, m, n, shift, clamp
    )
    assert ran == kernel
    assert left.intact()
    assert right.intact()
    assert target.intact()
    return target.bytes.reshape(pixels, px[2]).copy()


def expected_add(a, b, zeros, m, n, shift, clamp):
    acc = (a.astype(np.int64) - zeros[0]) * m + (b.astype(np.int64) - zeros[1]) * n + (1 << (shift - 1))
    assert np.abs(acc).max() < 2**31
    return np.clip((acc >> shift) + zeros[2], *clamp).astype(np.uint8)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("gaps", [(0, 0, 0), (1, 2, 3)])
@pytest.mark.parametrize("flush", ["tail", "head"])
def test_add(kernel: str, shape: tuple[int, int], gaps, flush: str, rng: np.random.Generator) -> None:
    a, b = rng.integers(0, 256, (2, *shape), np.uint8)
    shift, m, n = quant.add_parameters(Quant(0.5, 0), Quant(float(F32(0.3)), 0), Quant(float(F32(0.7)), 0))
    for clamp in ((0, 255), (100, 180)):
        made = run_add(kernel, a, b, (128, 120, 131), m, n, shift, clamp, gaps, flush)
        assert_same(made, strided(expected_add(a, b, (128, 120, 131), m, n, shift, clamp), gaps[2]), shape)


@pytest.mark.parametrize("shape", [(3, 5), (7, 33), (4, 64)])
def test_add_in_place(kernel: str, shape: tuple[int, int], rng: np.random.Generator) -> None:
    a, b = rng.integers(0, 256, (2, *shape), np.uint8)
    made = run_add(kernel, a, b, (128, 128, 128), 1 << 19, 1 << 18, 20, (0, 255), in_place=True)
    assert_same(made, expected_add(a, b, (128, 128, 128), 1 << 19, 1 << 18, 20, (0, 255)))


ALL_PAIRS = np.stack(np.meshgrid(np.arange(256), np.arange(256))).reshape(2, -1, 64).astype(np.uint8)


@pytest.mark.parametrize(
    "parameters",
    [
        (13, 8191, 4099),
        (20, 599479, 449389),
        (13, 1 << 20, 1 << 20),
        (13, 1 << 21, 1 << 21),
        (15, 1 << 20, 524287),
        (16, 1 << 21, 1 << 21),
        (16, (1 << 21) - 1, (1 << 21) - 1),
        (30, 1 << 20, 1 << 19),
        (20, 1 << 19, 1 << 19),
        (21, 699051, 3),
    ],
    ids=str,
)
@pytest.mark.parametrize("zeros", [(0, 0, 128), (255, 255, 0), (0, 255, 255), (128, 7, 100)], ids=str)
def test_add_of_all_pairs_of_bytes(kernel: str, parameters, zeros) -> None:
    """Every pair of bytes under extreme multipliers, shifts and zero points; ties included."""
    shift, m, n = parameters
    a, b = ALL_PAIRS
    for clamp in ((0, 255), (0, 254)):
        want = expected_add(a, b, zeros, m, n, shift, clamp)
        assert_same(run_add(kernel, a, b, zeros, m, n, shift, clamp), want)


def run_affine(kernel, x, w, bias, scale, clamp, zero_out, gaps=(0, 0), flush="tail"):
    pixels, c = x.shape
    px = [c + gap for gap in gaps]
    source, target = Guarded.holding(strided(x, gaps[0]), flush, SLACK), blank(pixels, px[1], flush)
    constants = [Guarded.holding(v, flush, SLACK) for v in (w, bias, scale)]
    at = [memory.address for memory in constants]
    ran = _core.eltwise_affine(kernel, source.address, target.address, px, pixels, c, *at, clamp, zero_out)
    assert ran == kernel
    assert target.intact()
    return target.bytes.reshape(pixels, px[1]).copy()


def expected_affine(x, w, bias, scale, clamp, zero_out):
    t = (x.astype(np.int32) * w.astype(np.int32) + bias).astype(F32) * scale
    t = np.minimum(np.maximum(t, F32(clamp[0] - zero_out)), F32(clamp[1] - zero_out))
    return (np.rint(t).astype(np.int32) + zero_out).astype(np.uint8)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("gaps", [(0, 0), (3, 1)])
@pytest.mark.parametrize("flush", ["tail", "head"])
def test_affine(kernel: str, shape: tuple[int, int], gaps, flush: str, rng: np.random.Generator) -> None:
    c = shape[1]
    x = rng.integers(0, 256, shape, np.uint8)
    w = rng.choice(np.array([-128, -127, -1, 0, 1, 127], np.int8), c)
    bias = rng.integers(-20000, 20000, c).astype(np.int32)
    scale = np.where(rng.random(c) < 0.5, F32(2.0**-8), rng.uniform(0, 0.01, c)).astype(F32)
    scale[rng.random(c) < 0.1] = 0
    for clamp, zero in (((0, 255), 128), ((90, 140), 250)):
        made = run_affine(kernel, x, w, bias, scale, clamp, zero, gaps, flush)
        assert_same(made, strided(expected_affine(x, w, bias, scale, clamp, zero), gaps[1]), shape)


def test_affine_far_outside(kernel: str) -> None:
    """Sums and products beyond int32 and even float32 clamp, whatever their size."""
    x = np.array([[0, 255] * 20], np.uint8)
    w = np.full(40, 127, np.int8)
    bias = np.resize(np.array([2**31 - 40000, -(2**31) + 40000, 2**30], np.int64), 40).astype(np.int32)
    scale = np.resize(np.array([1.0, 2.0**20, 2.0**30], F32), 40)
    want = expected_affine(x, w, bias, scale, (3, 250), 128)
    assert_same(run_affine(kernel, x, w, bias, scale, (3, 250), 128), want)


@pytest.mark.parametrize("shape", [*SHAPES, (1, 256), (3, 300)], ids=str)
@pytest.mark.parametrize("gaps", [(0, 0), (1, 3)])
@pytest.mark.parametrize("flush", ["tail", "head"])
def test_table(kernel: str, shape: tuple[int, int], gaps, flush: str, rng: np.random.Generator) -> None:
    x = np.resize(rng.permutation(256), shape).astype(np.uint8)
    table = rng.integers(0, 256, 256, np.uint8)
    px = [shape[1] + gap for gap in gaps]
    source, bytes_ = Guarded.holding(strided(x, gaps[0]), flush, SLACK), Guarded.holding(table, flush)
    target = blank(shape[0], px[1], flush)
    ran = _core.eltwise_table(kernel, source.address, target.address, px, *shape, bytes_.address)
    assert (ran, target.intact()) == (kernel, True)
    assert_same(target.bytes.reshape(shape[0], px[1]), strided(table[x], gaps[1]), shape)


def run_mul(kernel, a, b, zeros, m, clamp, gaps=(0, 0, 0), flush="tail", in_place=False):
    """`b` of one pixel meets every pixel of `a`."""
    pixels, c = a.shape
    px = [c + gaps[0], c + gaps[1] if len(b) == pixels else 0, c + gaps[2]]
    left, right = Guarded.holding(strided(a, gaps[0]), flush, SLACK), Guarded.holding(strided(b, gaps[1]), flush, SLACK)
    target = left if in_place else blank(pixels, px[2], flush)
    ran = _core.eltwise_mul(kernel, left.address, right.address, target.address, px, pixels, c, zeros, m, clamp)
    assert ran == kernel
    assert left.intact()
    assert right.intact()
    assert target.intact()
    return target.bytes.reshape(pixels, px[2]).copy()


def expected_mul(a, b, zeros, m, clamp):
    t = ((a.astype(np.int32) - zeros[0]) * (b.astype(np.int32) - zeros[1])).astype(F32) * F32(m)
    t = np.minimum(np.maximum(t, F32(clamp[0] - zeros[2])), F32(clamp[1] - zeros[2]))
    return (np.rint(t).astype(np.int32) + zeros[2]).astype(np.uint8)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("gaps", [(0, 0, 0), (1, 2, 3)])
@pytest.mark.parametrize("flush", ["tail", "head"])
@pytest.mark.parametrize("form", ["elementwise", "one pixel"])
def test_mul(kernel: str, shape: tuple[int, int], gaps, flush: str, form: str, rng: np.random.Generator) -> None:
    a, b = rng.integers(0, 256, (2, *shape), np.uint8)
    b = b[:1] if form == "one pixel" else b
    zeros, m = (120, 3, 131), float(F32(1 / 144))
    for clamp in ((0, 255), (100, 180)):
        made = run_mul(kernel, a, b, zeros, m, clamp, gaps, flush)
        assert_same(made, strided(expected_mul(a, b, zeros, m, clamp), gaps[2]), shape)


@pytest.mark.parametrize("shape", [(3, 5), (7, 33), (4, 64)])
@pytest.mark.parametrize("form", ["elementwise", "one pixel"])
def test_mul_in_place(kernel: str, shape: tuple[int, int], form: str, rng: np.random.Generator) -> None:
    a, b = rng.integers(0, 256, (2, *shape), np.uint8)
    b = b[:1] if form == "one pixel" else b
    made = run_mul(kernel, a, b, (128, 128, 128), 2.0**-7, (0, 255), in_place=True)
    assert_same(made, expected_mul(a, b, (128, 128, 128), 2.0**-7, (0, 255)))


@pytest.mark.parametrize("m", [0.0, 2.0**-9, 2.0**-8, float(F32(1 / 255)), 0.5, 3.0, 2.0**30], ids=str)
@pytest.mark.parametrize("zeros", [(0, 0, 128), (255, 255, 0), (0, 255, 255), (128, 7, 100)], ids=str)
@pytest.mark.parametrize("clamp", [(0, 255), (90, 141)], ids=str)
def test_mul_of_all_pairs_of_bytes(kernel: str, m: float, zeros, clamp) -> None:
    """Every product there is; ties with the powers of two, and floats beyond int32 with the greatest of them."""
    a, b = ALL_PAIRS
    assert_same(run_mul(kernel, a, b, zeros, m, clamp), expected_mul(a, b, zeros, m, clamp))
