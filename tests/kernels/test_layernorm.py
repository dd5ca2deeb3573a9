# SPDX-License-Identifier: Apache-2.0
"""layernorm: every row against the NumPy formula, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest
from guarded import Guarded, assert_same

from edgekern import _core

FAMILY = "layernorm"
F32 = np.float32
SLACK = 64  # readable bytes behind an arena tensor
TINY = float(np.finfo(F32).tiny)


def expected(x: np.ndarray, epsilon: float, g: np.ndarray, b: np.ndarray, clamp, zero: int) -> np.ndarray:
    q = x.astype(np.int64)
    n, total = q.shape[1], q.sum(axis=1, keepdims=True)
    v = n * (q * q).sum(axis=1, keepdims=True) - total * total
    t = (n * q - total).astype(F32) * (F32(1) / np.sqrt(v.astype(F32) + F32(epsilon)))
    t = t * g
    t = t + b
    t = np.minimum(np.maximum(t, F32(clamp[0] - zero)), F32(clamp[1] - zero))
    return (np.rint(t).astype(np.int32) + zero).astype(np.uint8)


def strided(pixels: np.ndarray, gap: int, fill: int) -> np.ndarray:
    return np.pad(pixels, ((0, 0), (0, gap)), constant_values=fill)


def run(kernel, x, epsilon, g, b, clamp, zero, gaps=(0, 0), flush="tail", in_place=False):
    pixels, c = x.shape
    px = [c + gaps[0], c + gaps[1]]
    source = Guarded.holding(strided(x, gaps[0], 77), flush, SLACK)
    target = source if in_place else Guarded.holding(np.full((pixels, px[1]), 99, np.uint8), flush, SLACK)
    gamma, beta = Guarded.holding(g, flush), Guarded.holding(b, flush)  # constants have no slack
    at = (source.address, target.address, px, pixels, c)
    ran = _core.layernorm_run(kernel, *at, epsilon, gamma.address, beta.address, clamp, zero)
    assert (ran, source.intact(), target.intact()) == (kernel, True, True)
    made = target.bytes.reshape(pixels, px[1])
    assert (made[:, c:] == (77 if in_place else 99)).all()  # nothing is written between pixels
    return made[:, :c].copy()


def constants(c: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(0, 30, c).astype(F32), rng.normal(0, 20, c).astype(F32)


@pytest.mark.parametrize("c", [1, 2, 3, 5, 8, 16, 31, 32, 33, 40, 63, 64, 65, 96, 100, 192, 1000])
@pytest.mark.parametrize("gaps", [(0, 0), (3, 5)])
@pytest.mark.parametrize("flush", ["tail", "head"])
def test_layernorm(kernel: str, c: int, gaps, flush: str, rng: np.random.Generator) -> None:
    ramp = np.resize(np.arange(256, dtype=np.uint8), c)
    rows = [ramp, ramp[::-1], np.full(c, 255, np.uint8), np.zeros(c, np.uint8), np.resize([0, 255], c)]
    x = np.stack([*rng.integers(0, 256, (4, c)), *rng.integers(120, 124, (3, c)), *rows]).astype(np.uint8)
    g, b = constants(c, rng)
    for epsilon in (TINY, 1e-3, 40.0, 1e9):
        for clamp, zero in (((0, 255), 128), ((100, 180), 100), ((3, 255), 3)):
            made = run(kernel, x, epsilon, g, b, clamp, zero, gaps, flush)
            assert_same(made, expected(x, epsilon, g, b, clamp, zero), (c, epsilon, clamp))


@pytest.mark.parametrize("c", [3, 32, 33])
def test_in_place(kernel: str, c: int, rng: np.random.Generator) -> None:
    x = rng.integers(0, 256, (7, c), np.uint8)
    g, b = constants(c, rng)
    made = run(kernel, x, 2.0, g, b, (0, 255), 120, (2, 2), in_place=True)
    assert_same(made, expected(x, 2.0, g, b, (0, 255), 120))


def test_equal_bytes_give_the_bias(kernel: str) -> None:
    """Nothing to divide by but epsilon; its root and the reciprocal stay finite, and ties go to the even."""
    x = np.repeat(np.array([0, 1, 128, 255], np.uint8)[:, None], 40, axis=1)
    b = np.arange(-20, 20).astype(F32) / 2
    made = run(kernel, x, TINY, np.full(40, 2.0**30, F32), b, (0, 255), 128)
    assert_same(made, np.tile((np.rint(b) + 128).astype(np.uint8), (4, 1)))


@pytest.mark.parametrize("g", [2.0**30, -(2.0**30), 1e-30])
def test_scales_beyond_int32_are_clipped(kernel: str, g: float, rng: np.random.Generator) -> None:
    x = rng.integers(0, 256, (3, 50), np.uint8)
    scale, bias = np.full(50, g, F32), rng.normal(0, 20, 50).astype(F32)
    assert_same(run(kernel, x, 1.0, scale, bias, (7, 250), 90), expected(x, 1.0, scale, bias, (7, 250), 90))


@pytest.mark.parametrize("c", [2**15 + 7, 2**17, 2**17 + 5, 2**18 + 33])
@pytest.mark.parametrize("kind", ["all 255 but one", "random"])
def test_sums_pass_32_bits(kernel: str, c: int, kind: str, rng: np.random.Generator) -> None:
    x = np.full((1, c), 255, np.uint8) if kind != "random" else rng.integers(0, 256, (1, c), np.uint8)
    x[0, c // 2] = 0
    g, b = constants(c, rng)
    assert_same(run(kernel, x, 10.0, g, b, (0, 255), 128), expected(x, 10.0, g, b, (0, 255), 128))


@pytest.mark.slow
def test_as_many_channels_as_a_file_may_have(kernel: str, rng: np.random.Generator) -> None:
    """2^23, half 0 and half 255: c * Q is at 2^62, and v at its greatest."""
    x = np.resize(np.array([0, 255], np.uint8), (1, 1 << 23))
    g, b = constants(x.size, rng)
    assert_same(run(kernel, x, 1.0, g, b, (0, 255), 128), expected(x, 1.0, g, b, (0, 255), 128))
