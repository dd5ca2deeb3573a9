# SPDX-License-Identifier: Apache-2.0
"""pool: every row against NumPy formulas on int8 values, byte for byte."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from guarded import CANARY, Guarded, assert_same

from edgekern import _core

FAMILY = "pool"
F32 = np.float32
SLACK = 64  # readable bytes behind an arena tensor
CHANNELS = (1, 3, 4, 5, 15, 16, 17, 31, 32, 33, 48, 64, 65, 100)


@dataclass(frozen=True)
class Pool:
    """One call: output row `oy` of a pooled image."""

    c: int
    h: int = 6
    w: int = 7
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (2, 2)
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)
    oy: int = 0
    gap: int = 0  # bytes between pixels, in and out
    row_gap: int = 0  # bytes between rows, in
    lo: int = 0
    hi: int = 255
    count_include_pad: bool = False
    origin: int = 128
    same: bool = True
    zero_in: int = 128
    zero_out: int = 128
    flush: str = "tail"

    @property
    def out_w(self) -> int:
        return (self.w + self.pads[1] + self.pads[3] - self.kernel[1]) // self.stride[1] + 1

    @property
    def out_h(self) -> int:
        return (self.h + self.pads[0] + self.pads[2] - self.kernel[0]) // self.stride[0] + 1


def windows(pool: Pool, x: np.ndarray) -> list[np.ndarray]:
    """The pixels [n, c] inside the image of each window of the row."""
    top = pool.oy * pool.stride[0] - pool.pads[0]
    rows = slice(max(top, 0), max(top + pool.kernel[0], 0))
    lefts = [i * pool.stride[1] - pool.pads[1] for i in range(pool.out_w)]
    return [x[rows, max(left, 0) : max(left + pool.kernel[1], 0)].reshape(-1, pool.c) for left in lefts]


def expected_max(pool: Pool, x: np.ndarray) -> np.ndarray:
    return np.clip([w.max(axis=0) for w in windows(pool, x)], pool.lo, pool.hi).astype(np.uint8)


def requantised(pool: Pool, total: np.ndarray, m: np.float32) -> np.ndarray:
    t = total.astype(np.int32).astype(F32) * m
    t = np.minimum(np.maximum(t, F32(pool.lo - pool.zero_out)), F32(pool.hi - pool.zero_out))
    return (np.rint(t).astype(np.int32) + pool.zero_out).astype(np.uint8)


def expected_average(pool: Pool, x: np.ndarray, scales: tuple[float, float]) -> np.ndarray:
    rows = []
    for window in windows(pool, x):
        q = window.astype(np.int64) - pool.origin
        n = pool.kernel[0] * pool.kernel[1] if pool.count_include_pad else len(q)
        total = q.sum(axis=0) + (n - len(q)) * (pool.zero_in - pool.origin)
        if pool.same:
            half_away = np.sign(total) * ((np.abs(total) + n // 2) // n)
            rows.append(np.clip(half_away + pool.origin, pool.lo, pool.hi).astype(np.uint8))
        else:
            m = F32(scales[0]) / (F32(scales[1]) * F32(n))
            rows.append(requantised(pool, total - n * (pool.zero_in - pool.origin), m))
    return np.array(rows)


def strided(rows: np.ndarray, gap: int) -> np.ndarray:
    """Pixels [..., c] with `gap` canaries after each."""
    memory = np.full((*rows.shape[:-1], rows.shape[-1] + gap), CANARY, np.uint8)
    memory[..., : rows.shape[-1]] = rows
    return memory


def run(kernel: str, what: str, pool: Pool, x: np.ndarray, scales: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    px = pool.c + pool.gap
    rows = strided(strided(x, pool.gap).reshape(pool.h, -1), pool.row_gap)
    source = Guarded.holding(rows, pool.flush, SLACK)
    target = Guarded(pool.out_w * px, pool.flush)
    target.bytes[:] = CANARY
    ran = _core.pool_run(
        kernel, what, source.address, [pool.h, pool.w, pool.c], px, rows.shape[1], pool.kernel, pool.stride,
        pool.pads[:2], pool.oy, pool.out_w, target.address, px, [pool.lo, pool.hi], pool.count_include_pad, pool.same,
        pool.origin, [pool.zero_in, pool.zero_out], scales,
    )  # fmt: skip
    assert ran == kernel
    assert target.intact()
    assert source.intact()
    return target.bytes.reshape(pool.out_w, px).copy()


def pixels(pool: Pool, rng: np.random.Generator) -> np.ndarray:
    x = rng.integers(0, 256, (pool.h, pool.w, pool.c), np.uint8)
    corner = rng.random(x.shape)
    return np.where(corner < 0.1, 0, np.where(corner > 0.9, 255, x)).astype(np.uint8)


GEOMETRIES = [
    Pool(5, kernel=k, stride=s, pads=p)
    for k, s, p in itertools.product(
        [(1, 1), (2, 2), (3, 3), (2, 3), (5, 1), (6, 7)],
        [(1, 1), (2, 2), (3, 1)],
        [(0, 0, 0, 0), (1, 0, 1, 2), (1, 1, 1, 1)],
    )
    if max(p[0], p[2]) < k[0] and max(p[1], p[3]) < k[1]
]
every_pool = pytest.mark.parametrize(
    "pool",
    [Pool(c) for c in CHANNELS]
    + [Pool(c, gap=gap, flush=flush) for c, gap, flush in itertools.product((5, 33), (0, 3), ("head", "tail"))]
    + [Pool(20, lo=100, hi=140), Pool(40, lo=128, hi=128)]
    + [Pool(33, kernel=(k, 7), pads=(0, 0, 0, 0), row_gap=gap) for k, gap in itertools.product((3, 4, 6), (0, 33, 231))]
    + GEOMETRIES,
    ids=str,
)


@every_pool
def test_max(kernel: str, pool: Pool, rng: np.random.Generator) -> None:
    x = pixels(pool, rng)
    for oy in range(pool.out_h):
        one = replace(pool, oy=oy)
        assert_same(run(kernel, "max", one, x), strided(expected_max(one, x), pool.gap), one)


@every_pool
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize(("same", "scales"), [(True, (0.5, 0.5)), (False, (0.5, 0.25)), (False, (0.3, 0.7))])
def test_average(
    kernel: str, pool: Pool, count_include_pad: bool, same: bool, scales: tuple[float, float], rng: np.random.Generator
) -> None:
    x = pixels(pool, rng)
    zeros = {"zero_in": 117, "zero_out": 117 if same else 140}
    for oy in range(pool.out_h):
        one = replace(pool, oy=oy, count_include_pad=count_include_pad, same=same, **zeros)
        want = strided(expected_average(one, x, scales), pool.gap)
        assert_same(run(kernel, "average", one, x, scales), want, one)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 129, 254, 255])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 7, 9, 25, 49, 64, 100])
def test_average_of_every_sum(kernel: str, value: int, n: int) -> None:
    """All sums between n - 1 pixels of one value and its neighbour: both sides of every tie."""
    pool = Pool(n, h=1, w=n, kernel=(1, n), stride=(1, 1), pads=(0, 0, 0, 0))
    x = np.full((1, n, n), value, np.uint8)
    other = value + 1 if value < 255 else 0
    x[0][np.tril_indices(n)] = other  # channel i: n - i pixels of the other value
    assert_same(run(kernel, "average", pool, x), expected_average(pool, x, (1.0, 1.0)), pool)


def run_mean(
    kernel: str, x: np.ndarray, gap: int, zeros: tuple[int, int], m: float, clamp: tuple[int, int], flush: str
):
    h, w, c = x.shape
    source = Guarded.holding(strided(x, gap), flush, SLACK)
    target = Guarded(c, flush)
    target.bytes[:] = CANARY
    px = c + gap
    ran = _core.pool_mean(kernel, source.address, [h, w, c], px, w * px, zeros[0], m, clamp, zeros[1], target.address)
    assert (ran, target.intact(), source.intact()) == (kernel, True, True)
    return target.bytes.copy()


@pytest.mark.parametrize("c", CHANNELS)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 7), (24, 24), (1, 300), (130, 3)])
def test_mean(kernel: str, c: int, size: tuple[int, int], rng: np.random.Generator) -> None:
    x = rng.integers(0, 256, (*size, c), np.uint8)
    n = size[0] * size[1]
    for gap, flush, zeros, clamp in [(0, "tail", (128, 128), (0, 255)), (3, "head", (7, 200), (90, 210))]:
        m = F32(2.0**-3) if n < 8 else F32(1.7 / n)
        made = run_mean(kernel, x, gap, zeros, float(m), clamp, flush)
        pool = Pool(c, lo=clamp[0], hi=clamp[1], zero_out=zeros[1])
        assert_same(made, requantised(pool, x.astype(np.int64).sum(axis=(0, 1)) - n * zeros[0], m), (c, size))


@pytest.mark.parametrize("value", [0, 255])
def test_mean_of_extremes(kernel: str, value: int) -> None:
    x = np.full((512, 300, 33), value, np.uint8)
    total = x.astype(np.int64).sum(axis=(0, 1)) - 512 * 300 * 128
    want = requantised(Pool(33), total, F32(1 / (512 * 300)))
    assert_same(run_mean(kernel, x, 0, (128, 128), float(F32(1 / (512 * 300))), (0, 255), "tail"), want)
