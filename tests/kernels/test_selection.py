# SPDX-License-Identifier: Apache-2.0
"""Which row runs: never one beyond the cap, never an expensive one, and its name tells the truth."""

from __future__ import annotations

import itertools

import pytest

from edgekern import _core

IMPLIES = {"avxvnni": {"avx2"}, "avx512vnni": {"avx2"}, "neondot": {"neon"}, "neoni8mm": {"neon", "neondot"}}
ROWS = _core.kernels()
LEVELS = sorted({name for row in ROWS if row["runs_here"] for name in row["isa"].split(",")} - {"scalar"})
CAPS = ["scalar"] + [",".join(c) for r in range(1, len(LEVELS) + 1) for c in itertools.combinations(LEVELS, r)]
QGEMMS = [(1, 1, 1), (1, 1000, 1280), (3, 10, 64), (49, 8, 16), (49, 64, 128), (112, 96, 16), (24, 128, 576)]
# kernel, channels, columns, pixels, bytes from pixel to pixel
FIRSTCONVS = [
    (3, 3, 3, 16, 24, 6),
    (3, 3, 3, 8, 48, 6),
    (3, 3, 1, 8, 48, 1),
    (7, 7, 3, 64, 112, 6),
    (4, 4, 4, 32, 12, 16),
]


def allowed(cap: str) -> set[str]:
    names = set(cap.split(","))
    return names.union(*(IMPLIES.get(name, set()) for name in names)) | {"scalar"}


def eligible(family: str, cap: str) -> list[str]:
    return [row["name"] for row in ROWS if row["family"] == family and set(row["isa"].split(",")) <= allowed(cap)]


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("problem", QGEMMS, ids=str)
def test_qgemm_takes_the_cheapest_row_under_a_cap(cap: str, problem: tuple[int, int, int]) -> None:
    for has_minus_128, taps in itertools.product((False, True), (0, 1, 9)):
        asked = (*problem, has_minus_128, taps)
        names = [name for name in eligible("qgemm", cap) if _core.qgemm_fits(name, *asked)]
        cycles = [_core.qgemm_cycles(name, *asked) for name in names]
        assert min(cycles) > 0
        assert _core.qgemm_select(*asked, cap) == names[cycles.index(min(cycles))]


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("problem", FIRSTCONVS, ids=str)
def test_firstconv_takes_the_cheapest_row_under_a_cap(cap: str, problem: tuple[int, ...]) -> None:
    names = [name for name in eligible("firstconv", cap) if _core.firstconv_fits(name, *problem)]
    cycles = [_core.firstconv_cycles(name, *problem) for name in names]
    assert _core.firstconv_select(*problem[:5], cap, problem[5]) == names[cycles.index(min(cycles))]


def test_too_many_taps_fit_no_firstconv_row() -> None:
    assert _core.firstconv_select(8, 8, 4, 16, 24, "") != ""
    assert _core.firstconv_select(9, 8, 4, 16, 24, "") == ""


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_alone_reaches_its_own_row(level: str) -> None:
    """At a size that suits every tile each level gives its own row, so a walk over levels walks the rows."""
    name = _core.qgemm_select(48, 64, 256, False, 1, level)
    assert name.endswith("_" + level)


@pytest.mark.parametrize("cap", ["sse9", "avx2,", "scalar,avx2", "AVX2", " avx2", ",", "avx2,,avxvnni"])
def test_an_unknown_cap_is_refused(cap: str) -> None:
    with pytest.raises(ValueError, match="instruction set"):
        _core.qgemm_select(48, 64, 256, False, 1, cap)


def test_scalar_is_the_last_row_of_every_family() -> None:
    for family in {row["family"] for row in ROWS}:
        isas = [row["isa"] for row in ROWS if row["family"] == family]
        assert isas[-1] == "scalar"
        assert isas.count("scalar") >= 1


def test_names_are_unique_and_tell_family_and_isa() -> None:
    names = [row["name"] for row in ROWS]
    assert len(set(names)) == len(names)
    for row in ROWS:
        assert row["name"].split("_")[0] == row["family"]
        assert row["name"].split("_")[-1] == row["isa"].split(",")[-1]


@pytest.mark.parametrize("name", [r["name"] for r in ROWS if r["family"] in ("qgemm", "firstconv")])
def test_names_tell_the_tile(name: str) -> None:
    tile = (_core.qgemm_row if name.startswith("qgemm") else _core.firstconv_row)(name)
    narrow = "s8" if tile["elem"] == "s16" and tile.get("weight_bytes") == 1 else ""  # weights narrower than A
    assert name.split("_")[1:3] == [tile["elem"] + narrow, f"{tile['mr']}x{tile['nr']}x{tile['kr']}"]
    assert tile["nr"] % tile["lanes"] == 0


def test_an_unknown_row_is_refused() -> None:
    with pytest.raises(ValueError, match="no kernel is called"):
        _core.qgemm_row("qgemm_u8_1x1x1_nothing")
