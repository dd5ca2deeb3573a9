# SPDX-License-Identifier: Apache-2.0
"""The benches cover what they say, and their guard judges as it says: on synthetic times, nothing is timed here."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgekern import _core


def bench(name: str, repo: Path) -> ModuleType:
    """A module of bench/, which is no package."""
    sys.path.insert(0, str(repo / "bench"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def uncovered(rows: list[str], cases: list[str]) -> list[str]:
    """Return the rows that no case names."""
    return sorted(set(rows) - {case.split("/")[0] for case in cases})


def test_every_row_has_a_case_that_runs(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benches = bench("cases", repo)
    monkeypatch.setattr(benches, "CALL_MACS", 1)  # one round of each: this is no timing
    cases = benches.kernel_cases()
    for run in cases.values():
        run()
    assert uncovered([row["name"] for row in _core.kernels() if row["runs_here"]], list(cases)) == []


def test_a_row_without_a_case_is_caught() -> None:
    cases = ["pool_avx2/max", "pool_scalar_wide/max"]
    assert uncovered(["pool_avx2", "pool_scalar", "edge_avx2"], cases) == ["edge_avx2", "pool_scalar"]


# ---- the limits of latency.py -----------------------------------------------------------------------------------


def measured(us: dict[str, float], peaks: dict[str, float], latency: ModuleType) -> dict[str, object]:
    """A measurement as latency.py makes it, of given medians."""
    caps = {
        cap: {
            "c_us": latency.spread(p50),
            "limit_us": latency.limit_us(cap, peaks),
            **{name: latency.spread(1.0) for name in ("own", "idle", "python_us")},
        }
        for cap, p50 in us.items()
    }
    return {"peak_gmacs": peaks, "caps": caps}


def test_the_limit_scales_with_the_peak_of_its_own_set(repo: Path) -> None:
    latency = bench("latency", repo)
    core, half = {"avx2": 124.0, "avx512vnni": 552.0}, {"avx2": 124.0, "avx512vnni": 276.0}
    assert latency.limit_us("avx2,avx512vnni", core) == 40
    assert latency.limit_us("avx2,avx512vnni", half) == 80
    assert latency.limit_us("avx2", half) == 130
    assert latency.limit_us("avxvnni", {"avxvnni": 278.0}) is None
    assert latency.limit_us("scalar", core) is None


def test_a_sign_beyond_its_limit_is_named(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latency = bench("latency", repo)
    peaks = {"avx2": 124.0, "avx512vnni": 552.0}
    assert latency.report(measured({"avx2,avx512vnni": 39.0, "avx2": 129.0, "scalar": 1e6}, peaks, latency)) == []
    assert latency.report(measured({"avx2,avx512vnni": 39.0, "avx2": 131.0}, peaks, latency)) == ["avx2"]
    assert capsys.readouterr().out.count("BEYOND") == 1


def test_a_frame_is_measured_by_its_own_median_too(repo: Path) -> None:
    """Frames of unlike boxes differ by what they hold; a stall is seen in both columns, in the empty loop as well."""
    latency = bench("latency", repo)
    turns = np.full((1000, latency.FRAMES), 1.7e6)  # ns of 17 boxes
    turns[:, 3] *= 2  # a frame of large signs
    idle = np.full(4000, 5e5)
    quiet = latency.summary(turns.ravel(), idle, 17)
    assert quiet["calls"] == 8000
    assert quiet["c_us"] == {"p50": 100, "p99": 200, "p999": 200, "max": 200}
    assert quiet["own"] == quiet["idle"] == dict.fromkeys(("p50", "p99", "p999", "max"), 1)
    turns[::10, 0] *= 3  # 1.25 % of the calls
    idle[::400] *= 4  # 0.25 % of the loops
    stalled = latency.summary(turns.ravel(), idle, 17)
    assert stalled["own"] == {"p50": 1, "p99": 3, "p999": 3, "max": 3}
    assert stalled["idle"] == {"p50": 1, "p99": 1, "p999": 4, "max": 4}
    assert stalled["c_us"]["p99"] == 300


def test_the_scene_has_the_sizes_it_says(repo: Path) -> None:
    """Widths as the quantiles say, one box of 300 px in each of eight different frames, all of them inside."""
    latency = bench("latency", repo)
    frames, boxes = latency.scene()
    assert (frames.shape, boxes.shape) == ((8, 1080, 1920, 3), (8, 17, 4))
    assert len({frame.tobytes() for frame in frames}) == 8
    assert (boxes[:, 16, 2] == 300).all()
    low = boxes[..., :2].min()
    x, y, width, height = boxes.transpose(2, 0, 1)
    assert low >= 0
    assert (x + width).max() <= 1920
    assert (y + height).max() <= 1080
    assert np.allclose(height, width, rtol=0.11, atol=1)
    assert sizes_differ(boxes) == []
    assert (latency.scene()[1] == boxes).all()


def sizes_differ(boxes: np.ndarray) -> list[float]:
    """Quantiles of a scene's 128 drawn widths that are no near ones of real signs."""
    wanted = {0.1: 20, 0.25: 24, 0.5: 33, 0.75: 48, 0.9: 68}
    return [q for q, side in wanted.items() if abs(np.quantile(boxes[:, :16, 2], q) / side - 1) > 0.1]


def test_a_table_without_the_quartiles_is_caught(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latency = bench("latency", repo)
    table = ([0.0, 0.1, 0.5, 0.9, 0.99, 1.0], [15.0, 20.0, 33.0, 68.0, 121.0, 180.0])
    monkeypatch.setattr(latency, "QUANTILES", table)
    assert 0.75 in sizes_differ(latency.scene()[1])


def test_wrong_arguments_and_missing_tools_end_the_run_before_it_builds(
    repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    latency = bench("latency", repo)
    monkeypatch.setattr(latency, "measure", lambda options: pytest.fail("measures"))
    monkeypatch.setattr(latency.os, "sched_getaffinity", lambda _: {2, 3}, raising=False)
    monkeypatch.setattr(latency.shutil, "which", lambda tool: None if tool in ("cmake", "ninja") else f"/{tool}")
    assert latency.lacking() == ["cmake (pip install cmake)"]  # make will do
    told = {"--rounds 0": "at least 1", "--core 9": "core 9 is none of [2, 3]", "": "needs cmake (pip install cmake)"}
    for given, said in told.items():
        monkeypatch.setattr(sys, "argv", ["latency.py", *given.split()])
        with pytest.raises(SystemExit, match="2"):
            latency.main()
        assert said in capsys.readouterr().err


def test_the_limit_takes_the_best_peak_of_before_and_after(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latency = bench("latency", repo)
    peaks = iter([{"clock_ghz": 1.0, "gmacs": {"avx2": rate}} for rate in (62.0, 124.0, 124.0, 62.0)])
    monkeypatch.setattr(latency.machine, "peak", lambda program, cores: next(peaks))
    monkeypatch.setattr(latency, "build", lambda directory: (directory, directory))
    monkeypatch.setattr(latency, "caps", lambda: ["avx2"])
    monkeypatch.setattr(latency, "time_c", lambda *_: {"c_us": latency.spread(100.0)})
    monkeypatch.setattr(latency, "time_python", lambda *_: np.ones(1))
    monkeypatch.setattr(latency.os, "sched_setaffinity", lambda *_: None, raising=False)
    options = latency.argparse.Namespace(core=0, rounds=1, uncapped=True, build=None)
    assert [latency.measure(options)["caps"]["avx2"]["limit_us"] for _ in range(2)] == [130, 130]


@pytest.mark.slow
def test_the_c_program_tells_every_call_and_every_empty_loop(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One round as it is run: built, pinned, all eight frames; what it says is not judged."""
    latency = bench("latency", repo)
    if tools := latency.lacking():
        pytest.skip(f"needs {', '.join(tools)}")
    told, summary = [], latency.summary
    monkeypatch.setattr(latency, "summary", lambda *samples: told.append(samples) or summary(*samples))
    usable = os.sched_getaffinity(0)
    try:
        options = argparse.Namespace(core=min(usable), rounds=1, uncapped=True, build=tmp_path)
        result = latency.measure(options)
    finally:
        os.sched_setaffinity(0, usable)
    ((frames, idle, boxes),) = told
    assert (len(frames), len(idle), boxes) == (8, 4, 17)  # a loop after every second call
    assert min(frames) > 0
    assert min(idle) > 0
    (row,) = result["caps"].values()
    assert row["calls"] == 8
    assert row["python_us"]["p50"] > 0
    assert capfd.readouterr().err.count(" of 8 frames\n") == 8
    latency.report(result)


# ---- the page of report.py --------------------------------------------------------------------------------------


def recorded(when: str, **seconds: float) -> dict[str, object]:
    """A run as pytest-benchmark writes it, of given medians."""
    benches = [{"name": name, "stats": {"median": median}} for name, median in seconds.items()]
    return {"datetime": when, "machine_info": {"python_version": "3.12.1"}, "benchmarks": benches}


def test_the_page_shows_the_trend_of_all_runs(repo: Path) -> None:
    """The files come in any order; the newest is compared with the one before it."""
    runs = [
        recorded("2026-03-01T00:00:00", add=2.2e-6, new=1e-6),
        recorded("2026-01-01T00:00:00", add=8e-6),
        recorded("2026-02-01T00:00:00", add=2e-6, gone=1e-6),
    ]
    page = bench("report", repo).page(runs)
    assert "3 run(s)" in page
    assert "<td>2.20</td>" in page
    assert '<td class="slow">1.100</td>' in page  # 2.2 / 2.0
    (line,) = re.findall(r'<polyline points="([^"]*)"', page)  # `new` has one run and no line
    heights = [float(point.split(",")[1]) for point in line.split()]
    assert heights[0] < heights[2] < heights[1]  # downwards is smaller: 8, 2, 2.2
    assert "gone" not in page


# ---- the guard's judge ------------------------------------------------------------------------------------------

ROUNDS, TOLERANCE = 21, 0.06  # what `nox -s guard` uses


def times(seed: int, names: list[str], slower: dict[str, float]) -> dict[str, tuple[list[float], list[float]]]:
    """Paired rounds of a shared machine: a drift that both sides feel, noise of their own, now and then a spike."""
    rng = np.random.default_rng(seed)

    def side(drift: np.ndarray, factor: float) -> list[float]:
        spikes = np.where(rng.random(ROUNDS) < 0.1, rng.uniform(1.2, 3.0, ROUNDS), 1.0)
        return list(1000.0 * factor * drift * spikes * rng.lognormal(0, 0.04, ROUNDS))

    drifts = {name: 1 + 0.3 * rng.random(ROUNDS) for name in names}
    return {name: (side(drifts[name], 1.0), side(drifts[name], slower.get(name, 1.0))) for name in names}


def named(repo: Path, seed: int, slower: dict[str, float]) -> list[str]:
    """What the guard would call slower among twenty benches."""
    judge = bench("guard", repo).judge
    drawn = times(seed, [f"row_{i}/a" for i in range(20)], slower)
    return [name for name, (base, head) in drawn.items() if judge(name, base, head, TOLERANCE).slower]


@pytest.mark.parametrize("seed", range(20))
def test_a_bench_slower_by_a_fifth_is_named_alone(repo: Path, seed: int) -> None:
    assert named(repo, seed, {"row_7/a": 1.2}) == ["row_7/a"]


@pytest.mark.slow  # under emulation
def test_equal_revisions_pass_every_time(repo: Path) -> None:
    assert [seed for seed in range(200) if named(repo, seed, {})] == []


def test_a_faster_head_and_a_slow_down_within_the_tolerance_pass(repo: Path) -> None:
    assert named(repo, 0, {"row_3/a": 0.5, "row_4/a": 1.02}) == []


def test_unpaired_rounds_are_refused(repo: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        bench("guard", repo).judge("row", [1.0, 1.0], [1.0], TOLERANCE)
