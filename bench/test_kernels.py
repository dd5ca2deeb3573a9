# SPDX-License-Identifier: Apache-2.0
"""Every kernel row this CPU can run, on shapes of real layers. Run with `nox -s bench`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from cases import DWCONV, FIRSTCONV, QGEMM, Case, dwconv, firstconv, kernel_cases, qgemm, rows_of
from edgekern import _core

CASES = kernel_cases()
CLOSE = 1.05  # the pick may be this much slower than the fastest row
LEVELS = sorted({row["isa"] for row in _core.kernels() if row["runs_here"]})


@pytest.mark.parametrize("name", CASES)
def test_kernel(benchmark: Any, name: str) -> None:
    benchmark(CASES[name])


def fastest_rounds(cases: Mapping[str, Case], rounds: int = 60) -> dict[str, int]:
    """Least nanoseconds of each case; the cases take turns, so that a slow moment hits all of them."""
    least = dict.fromkeys(cases, 1 << 62)
    for _ in range(rounds):
        for name, case in cases.items():
            start = time.perf_counter_ns()
            case()
            least[name] = min(least[name], time.perf_counter_ns() - start)
    return least


def assert_close(pick: str, cases: Mapping[str, Case]) -> None:
    """The pick is within CLOSE of the fastest; noise gets three chances, a wrong pick none."""
    least = fastest_rounds(cases)
    for _ in range(2):
        if least[pick] <= CLOSE * min(least.values()):
            break
        least = {name: min(least[name], again) for name, again in fastest_rounds(cases).items()}
    assert least[pick] <= CLOSE * min(least.values()), {name: least[name] for name in sorted(least, key=least.get)}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", QGEMM, ids=str)
def test_the_qgemm_pick_is_close_to_the_fastest(level: str, shape: tuple[int, int, int, int]) -> None:
    kh, kc, m, n = shape
    asked = (m, n, kh * kc, False, kh)
    pick = _core.qgemm_select(*asked, level)
    rows = [name for name in rows_of("qgemm") if within(name, level) and _core.qgemm_fits(name, *asked)]
    assert_close(pick, {name: qgemm(name, *shape) for name in rows})


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", FIRSTCONV, ids=str)
def test_the_firstconv_pick_is_close_to_the_fastest(level: str, shape: tuple[int, int, int, int, int]) -> None:
    kh, row_taps, step, m, n = shape
    asked = (kh, row_taps, 1, n, m)
    pick = _core.firstconv_select(*asked, level, step)
    rows = [name for name in rows_of("firstconv") if within(name, level) and _core.firstconv_fits(name, *asked, step)]
    assert_close(pick, {name: firstconv(name, *shape) for name in rows})


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", DWCONV, ids=str)
def test_the_dwconv_pick_is_close_to_the_fastest(level: str, shape: tuple[int, int, int, int]) -> None:
    k, stride, c, m = shape
    pick = _core.dwconv_select(k, k, stride, 1, c, m, level, dense=True)
    rows = [
        name
        for name in rows_of("dwconv")
        if within(name, level) and _core.dwconv_fits(name, k, k, stride, 1, c, m, dense=True)
    ]
    assert_close(pick, {name: dwconv(name, *shape) for name in rows})


def within(name: str, level: str) -> bool:
    """Whether a row runs under a cap of one level: the level's own rows, what it implies, scalar."""
    implied = {"avxvnni": {"avx2"}, "avx512vnni": {"avx2"}, "neondot": {"neon"}, "neoni8mm": {"neon", "neondot"}}
    return name.split("_")[-1] in {level, "scalar"} | implied.get(level, set())
