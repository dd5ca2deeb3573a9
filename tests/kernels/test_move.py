# SPDX-License-Identifier: Apache-2.0
"""move: strided copies and halos, against NumPy's own striding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from guarded import CANARY, Guarded, assert_same

from edgekern import _core

FAMILY = "move"


def six(values: tuple[int, ...], filler: int) -> list[int]:
    return [filler] * (6 - len(values)) + [int(v) for v in values]


def run_copy(kernel, x: np.ndarray, y_like: np.ndarray, table: np.ndarray | None, flush: str) -> np.ndarray:
    """Copies the view `x` into fresh memory laid out as the view `y_like`; returns all of that memory."""
    whole_x, whole_y = x.base if x.base is not None else x, y_like.base if y_like.base is not None else y_like
    source, target = Guarded.holding(whole_x, flush), Guarded(whole_y.nbytes, flush)
    target.bytes[:] = CANARY
    bytes_ = Guarded.holding(table, flush) if table is not None else None
    at = [
        memory.address + view.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        for memory, view, whole in ((source, x, whole_x), (target, y_like, whole_y))
    ]
    ran = _core.move_copy(
        kernel, *at, six(x.shape, 1), six(x.strides, 0), six(y_like.strides, 0), bytes_.address if bytes_ else 0
    )
    assert (ran, target.intact(), source.intact()) == (kernel, True, True)
    return target.bytes.copy()


def check(kernel: str, x: np.ndarray, y_like: np.ndarray, rng: np.random.Generator) -> None:
    whole = y_like.base if y_like.base is not None else y_like
    for table, flush in itertools.product((None, rng.permutation(256).astype(np.uint8)), ("tail", "head")):
        want = np.full(whole.shape, CANARY, np.uint8)
        view = np.lib.stride_tricks.as_strided(want.ravel()[_offset(y_like, whole) :], y_like.shape, y_like.strides)
        view[...] = x if table is None else table[x]
        assert_same(run_copy(kernel, x, y_like, table, flush), want.ravel(), (x.shape, x.strides, y_like.strides))


def _offset(view: np.ndarray, whole: np.ndarray) -> int:
    return view.__array_interface__["data"][0] - whole.__array_interface__["data"][0]


def fresh(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(
    "shape", [(1,), (7,), (64,), (3, 5), (2, 3, 4), (5, 4, 3), (2, 2, 3, 2, 3), (2, 1, 3, 1, 2, 3)], ids=str
)
def test_dense(kernel: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    check(kernel, fresh(rng, *shape), np.empty(shape, np.uint8), rng)


@pytest.mark.parametrize("perm", list(itertools.permutations(range(3))), ids=str)
@pytest.mark.parametrize("shape", [(4, 5, 3), (20, 3, 9)], ids=str)
def test_transposed(kernel: str, perm: tuple[int, ...], shape: tuple[int, ...], rng: np.random.Generator) -> None:
    x = fresh(rng, *shape).transpose(perm)
    check(kernel, x, np.empty(x.shape, np.uint8), rng)


def test_all_permutations_of_six(kernel: str, rng: np.random.Generator) -> None:
    whole = fresh(rng, 2, 3, 2, 2, 3, 2)
    for perm in list(itertools.permutations(range(6)))[::37]:
        x = whole.transpose(perm)
        check(kernel, x, np.empty(x.shape, np.uint8), rng)


def test_parts(kernel: str, rng: np.random.Generator) -> None:
    """A slice of channels, pixels or rows, as concat and pad write them."""
    whole = np.empty((6, 7, 12), np.uint8)
    for part in (whole[:, :, 3:8], whole[1:5, 2:6], whole[2:3], whole[:, 6:7, 11:], whole[::2, ::3, ::4]):
        check(kernel, fresh(rng, *part.shape), part, rng)


def test_backwards_and_repeated(kernel: str, rng: np.random.Generator) -> None:
    whole = fresh(rng, 5, 9)
    check(kernel, whole[::-1, ::-1], np.empty((5, 9), np.uint8), rng)
    repeated = np.lib.stride_tricks.as_strided(whole, (4, 9), (0, 1))
    made = run_copy(kernel, _based(repeated, whole), np.empty((4, 9), np.uint8), None, "tail")
    assert_same(made, np.repeat(whole[:1], 4, axis=0).ravel())


def _based(view: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`as_strided` hides the array it looks into; this gives it back."""

    class Seen(np.ndarray):
        base = whole

    return view.view(Seen)


@pytest.mark.parametrize("halo", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 2, 0, 0), (3, 0, 0, 1), (0, 0, 2, 0)], ids=str)
@pytest.mark.parametrize(("c", "px", "extra"), [(3, 3, 0), (5, 8, 4), (16, 16, 16)])
def test_halo(kernel: str, halo: tuple[int, ...], c: int, px: int, extra: int) -> None:
    """Only the border is written: neither the image nor what lies between rows."""
    h, w = 4, 5
    top, left, bottom, right = halo
    row = (left + w + right) * px + extra
    memory = Guarded((top + h + bottom) * row - extra, "tail")
    memory.bytes[:] = CANARY
    assert _core.move_halo(kernel, [h, w, c], halo, px, row, memory.address, 77) == kernel
    want = np.full((top + h + bottom, row), CANARY, np.uint8)
    want[:, : (left + w + right) * px] = 77
    want[top : top + h, left * px : (left + w) * px] = CANARY
    assert memory.intact()
    assert_same(memory.bytes, want.ravel()[: memory.bytes.size], halo)
