# SPDX-License-Identifier: Apache-2.0
"""edge: every row against the NumPy formulas, on caller memory that is read and written exactly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from guarded import CANARY, Guarded, assert_same

from edgekern import _core, quant
from edgekern.types import DType, Quant

FAMILY = "edge"
F32 = np.float32
SHAPES = [(1,), (5,), (31,), (32,), (33,), (1000,), (3, 4, 5), (6, 7, 3), (2, 3, 33), (2, 2, 2, 3, 2, 3)]


def six(values: tuple[int, ...], filler: int) -> list[int]:
    return [filler] * (6 - len(values)) + [int(v) for v in values]


def run(kernel, what, x: np.ndarray, y_type, y_perm=None, scale=1.0, zero=0, flip=0, flush="tail", odd=0) -> np.ndarray:
    """The result of a call whose target is dense in the order `y_perm`; `odd` bytes put operands off alignment."""
    whole = np.ascontiguousarray(x.base if x.base is not None else x)
    source = Guarded.holding(np.r_[np.zeros(odd, np.uint8), np.frombuffer(whole.tobytes(), np.uint8)], flush)
    y_perm = y_perm or tuple(range(x.ndim))
    y = np.empty([x.shape[i] for i in y_perm], y_type)
    target = Guarded(y.nbytes + odd, flush)
    target.bytes[:] = CANARY
    y_strides = y.transpose(np.argsort(y_perm)).strides
    ran = _core.edge_run(
        kernel, what, source.address + odd, target.address + odd, six(x.shape, 1), six(x.strides, 0),
        six(y_strides, 0), scale, zero, flip,
    )  # fmt: skip
    assert (ran, target.intact(), source.intact()) == (kernel, True, True)
    assert (target.bytes[:odd] == CANARY).all()
    return np.frombuffer(target.bytes[odd:].tobytes(), y_type).reshape(y.shape).transpose(np.argsort(y_perm))


def biased(q: np.ndarray) -> np.ndarray:
    return (q.astype(np.int16) + 128).astype(np.uint8)


def awkward(rng: np.random.Generator, shape: tuple[int, ...], q: Quant) -> np.ndarray:
    """Values inside and outside the range, ties, infinities, NaN, signed zeros and subnormals."""
    real = rng.uniform(-150, 150, shape) * q.scale
    ties = (rng.integers(-140, 140, shape) + 0.5) * q.scale
    odd = rng.choice(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-40, 3e38, -3e38]), shape)
    kind = rng.random(shape)
    return np.where(kind < 0.5, real, np.where(kind < 0.8, ties, odd)).astype(F32)


QUANTS = [
    Quant(0.5, 0),
    Quant(float(F32(1 / 255)), -128),
    Quant(float(F32(0.037)), 127),
    Quant(2.0**-20, 11),
    Quant(256.0, -5),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("q", QUANTS, ids=str)
def test_quantise(kernel: str, shape: tuple[int, ...], q: Quant, rng: np.random.Generator) -> None:
    x = awkward(rng, shape, q)
    with np.errstate(over="ignore"):
        want = biased(quant.quantise(x, q))
    for flush, odd in itertools.product(("tail", "head"), (0, 1)):
        made = run(kernel, "quantise", x, np.uint8, scale=q.scale, zero=q.zero_point + 128, flush=flush, odd=odd)
        assert_same(made, want, (shape, q))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("q", QUANTS, ids=str)
def test_dequantise(kernel: str, shape: tuple[int, ...], q: Quant, rng: np.random.Generator) -> None:
    x = rng.integers(-128, 128, shape).astype(np.int8)
    for flush, odd in itertools.product(("tail", "head"), (0, 1)):
        made = run(kernel, "dequantise", biased(x), F32, scale=q.scale, zero=q.zero_point + 128, flush=flush, odd=odd)
        assert_same(made.view(np.uint32), quant.dequantise(x, q).view(np.uint32), (shape, q))


def test_dequantise_every_byte(kernel: str) -> None:
    x = np.arange(256, dtype=np.uint8)
    for q in QUANTS:
        made = run(kernel, "dequantise", x, F32, scale=q.scale, zero=q.zero_point + 128)
        assert_same(made, (x.astype(np.int32) - 128 - q.zero_point).astype(F32) * F32(q.scale))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("scale", [0.5, float(F32(1 / 255)), 2.0**-20, 256.0])
def test_int16(kernel: str, shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> None:
    """Both ways, in the caller's order and in the opposite one; ties, values outside, infinities and NaN."""
    q = Quant(scale, 0)
    with np.errstate(over="ignore"):
        x = np.where(rng.random(shape) < 0.5, awkward(rng, shape, q), 250 * awkward(rng, shape, q)).astype(F32)
        want = quant.quantise(x, q, DType.INT16)
    reverse = tuple(reversed(range(len(shape))))
    for flush, odd, perm in itertools.product(("tail", "head"), (0, 1), (None, reverse)):
        made = run(kernel, "quantise_s16", x, np.int16, perm, scale, flush=flush, odd=odd)
        assert_same(made, want, (shape, scale))
        real = run(kernel, "dequantise_s16", want, F32, perm, scale, flush=flush, odd=odd)
        assert_same(real, quant.dequantise(want, q), (shape, scale))


@pytest.mark.parametrize("shape", [(6, 7, 3), (3, 40, 2), (33, 4, 5)], ids=str)
@pytest.mark.parametrize("perm", list(itertools.permutations(range(3))), ids=str)
def test_layouts(kernel: str, shape: tuple[int, ...], perm: tuple[int, ...], rng: np.random.Generator) -> None:
    """NCHW outside, NHWC inside, and every other order: on either side of the call."""
    q = Quant(float(F32(0.037)), 5)
    x = awkward(rng, shape, q)
    with np.errstate(over="ignore"):
        want = biased(quant.quantise(x, q))
    zero = q.zero_point + 128
    assert_same(run(kernel, "quantise", x, np.uint8, perm, q.scale, zero), want, perm)
    strided = np.ascontiguousarray(x.transpose(perm)).transpose(np.argsort(perm))
    assert_same(run(kernel, "quantise", strided, np.uint8, None, q.scale, zero), want, perm)
    real = (want.astype(np.int32) - zero).astype(F32) * F32(q.scale)
    assert_same(run(kernel, "dequantise", want, F32, perm, q.scale, zero), real, perm)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("flip", [0, 0x80])
def test_bytes(kernel: str, shape: tuple[int, ...], flip: int, rng: np.random.Generator) -> None:
    x = rng.integers(0, 256, shape, np.uint8)
    for flush in ("tail", "head"):
        assert_same(run(kernel, "bytes", x, np.uint8, flip=flip, flush=flush), x ^ np.uint8(flip))
        reverse = tuple(reversed(range(len(shape))))
        assert_same(run(kernel, "bytes", x, np.uint8, reverse, flip=flip, flush=flush), x ^ np.uint8(flip))


@pytest.mark.parametrize("what", ["quantise", "dequantise", "bytes in", "bytes out"])
@pytest.mark.parametrize("gap", [0, 1, 5])
@pytest.mark.parametrize("planes", [1, 2, 3, 4, 5, 6, 7, 8])
def test_planes(kernel: str, what: str, gap: int, planes: int, rng: np.random.Generator) -> None:
    """Planes outside, pixels inside that lie `gap` bytes apart in rows that lie apart: nothing between is touched."""
    q, flip = Quant(float(F32(0.037)), 5), 0x80
    zero, px = q.zero_point + 128, planes + gap
    for width, flush in itertools.product((1, 15, 16, 17, 32, 47), ("tail", "head")):
        shape, row = (planes, 3, width), width * px + 7
        inside = Guarded(2 * row + (width - 1) * px + planes, flush)
        pixels = np.lib.stride_tricks.as_strided(inside.bytes, shape, (1, row, px))
        between = np.ones(inside.bytes.size, bool)
        np.lib.stride_tricks.as_strided(between, shape, (1, row, px))[:] = False
        real, given = awkward(rng, shape, q), rng.integers(0, 256, shape, np.uint8)
        byte_out = given ^ np.uint8(flip)
        with np.errstate(over="ignore"):
            from_real = biased(quant.quantise(real, q))
        real_out = (given.astype(np.int32) - zero).astype(F32) * F32(q.scale)
        inward = what in ("quantise", "bytes in")
        outer = {"quantise": real, "dequantise": np.empty(shape, F32)}.get(what, given)
        outside = Guarded.holding(outer, flush)
        if not inward:
            pixels[:] = given
        ends = [(outside.address, six(outer.strides, 0)), (inside.address, six(pixels.strides, 0))]
        (x, x_strides), (y, y_strides) = ends if inward else reversed(ends)
        name = what.split()[0]
        _core.edge_run(kernel, name, x, y, six(shape, 1), x_strides, y_strides, q.scale, zero, flip)
        made = pixels if inward else outside.view(outer.dtype).reshape(shape)
        want = {"quantise": from_real, "dequantise": real_out}.get(what, byte_out)
        assert_same(made, want, (what, planes, gap, width))
        assert (inside.intact(), outside.intact()) == (True, True)
        assert (inside.bytes[between] == CANARY).all()
