# SPDX-License-Identifier: Apache-2.0
"""Latency of crop + resize + classify with the bundled model: around the C call and around Python.

    python bench/latency.py [--rounds 400] [--uncapped] [--core N] [--build DIR] [--json FILE]

Eight different 1920x1080 RGB frames in turn; 16 boxes each, sizes from the distribution of real sign crops
(10/50/90/99 % quantiles 20, 33, 68, 122 px) by a fixed seed, plus one of 300 px. All instruction sets of this CPU
together, then each x86 set but the widest alone, one after another; scalar only where there is nothing else. After
every second C call an empty loop of its length shows what the machine adds by itself. 100,000 frames: `--rounds 12500
--uncapped`. Exits 1 when the C call takes longer at the median than the limit, which is set for one core and scaled by
the int8 peak of the same instruction set, the best measured before and after; 2 when a tool or an argument is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

import edgekern
from peers import machine

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT, FRAMES, BOXES = 1920, 1080, 8, 16
# Widths of the signs in the first half of the official test set of the German Traffic Sign Recognition Benchmark.
QUANTILES = ([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0], [16.0, 20.0, 24.0, 33.0, 48.0, 68.0, 122.0, 223.0])
MODEL = resources.files("edgekern.signs") / "signs.ekm"

TOOLS = {  # what builds the C programs, any one of a key, and where it comes from
    ("cmake",): "pip install cmake",
    ("ninja", "make"): "pip install ninja",
    ("cc",): "apt-get install g++",
    ("c++",): "apt-get install g++",
}

# The widest set of a cap: microseconds per sign on a Zen 5 core, and that core's int8 peak with the set in GMAC/s.
LIMITS = {"avx512vnni": (40.0, 552.0), "avx2": (130.0, 124.0)}


def limit_us(cap: str, peaks: dict[str, float]) -> float | None:
    """What a sign may take under a cap on a core of these peaks; None where no limit is set."""
    widest = cap.split(",")[-1]
    if widest not in LIMITS or widest not in peaks:
        return None
    limit, peak = LIMITS[widest]
    return limit * peak / peaks[widest]


def scene(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Eight frames of smooth colour with texture, and the boxes of each: uint8 and int32 arrays."""
    rng = np.random.default_rng(seed)
    frames = np.empty((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    for frame in frames:
        coarse = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
        frame[:] = coarse.repeat(8, 0).repeat(8, 1) // 2 + rng.integers(0, 128, frame.shape, dtype=np.uint8)
    boxes = np.empty((FRAMES, BOXES + 1, 4), np.int32)
    sides = np.interp(rng.random((FRAMES, BOXES)), *QUANTILES).round().astype(np.int32)
    for f in range(FRAMES):
        for b, side in enumerate([*sides[f], 300]):
            height = min(max(round(side * rng.uniform(0.9, 1.1)), 8), HEIGHT)
            x, y = rng.integers(0, WIDTH - side), rng.integers(0, HEIGHT - height)
            boxes[f, b] = x, y, side, height
    return frames, boxes


def lacking() -> list[str]:
    """The tools that are not on the PATH, each with its remedy."""
    return [f"{tools[0]} ({remedy})" for tools, remedy in TOOLS.items() if not any(map(shutil.which, tools))]


def build(directory: Path) -> tuple[Path, Path]:
    """The two C programs: latency (against the static library) and peak; what the directory holds already is used."""
    library = directory / "library"
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    fresh = not (library / "CMakeCache.txt").exists()  # what was configured once keeps its generator
    generator = ["-G", "Ninja"] if fresh and shutil.which("ninja") else []
    configure = ["cmake", "-S", str(ROOT / "cpp"), "-B", str(library), "-DCMAKE_BUILD_TYPE=Release"]
    subprocess.run([*configure, *generator], **quiet)
    subprocess.run(["cmake", "--build", str(library), "--parallel", "--target", "edgekern_static"], **quiet)
    here, include = Path(__file__).parent, f"-I{ROOT / 'cpp' / 'include'}"
    latency, peak = directory / "latency", directory / "peak"
    source, archive = str(here / "latency.c"), str(library / "libedgekern.a")
    common = ["-O2", "-std=c11", "-D_POSIX_C_SOURCE=200809L", include]
    subprocess.run(["cc", *common, source, archive, "-lstdc++", "-lm", "-lpthread", "-o", str(latency)], check=True)
    subprocess.run(["c++", "-O2", "-std=c++17", str(here / "peak.cc"), "-o", str(peak)], check=True)
    return latency, peak


def caps() -> list[str]:
    """Caps to measure: everything, then each x86 set but the widest alone; scalar where there is nothing else."""
    available = [name for name in edgekern.isa_available() if name != "scalar"]
    return [",".join(available) or "scalar", *[i for i in available if i != available[-1]]]


def time_python(cap: str, frames: np.ndarray, boxes: np.ndarray, rounds: int) -> np.ndarray:
    """Nanoseconds per box of `SignClassifier.classify_regions`, one entry per call."""
    classifier = edgekern.SignClassifier(isa=cap)
    spent = []
    for call in range(FRAMES * (rounds + 1)):
        f = call % FRAMES
        start = time.perf_counter_ns()
        classifier.classify_regions(frames[f], boxes[f])
        spent.append((time.perf_counter_ns() - start) / len(boxes[f]))
    return np.array(spent[FRAMES:])


def spread(values: np.ndarray) -> dict[str, float]:
    """Median, 99 % and 99.9 % quantiles, maximum."""
    p50, p99, p999, most = np.quantile(values, [0.5, 0.99, 0.999, 1.0])
    return {"p50": float(p50), "p99": float(p99), "p999": float(p999), "max": float(most)}


def summary(frames: np.ndarray, idle: np.ndarray, boxes: int) -> dict[str, Any]:
    """What the C program's samples say.

    Args:
        frames: Nanoseconds of each call, the frames in turn.
        idle: Of each empty loop.
        boxes: Of a frame.

    Returns:
        c_us: Spread of microseconds per box. own: Of each call over the median of its own frame, since frames differ.
        idle: Of the empty loop over its median.
    """
    turns = frames.reshape(-1, FRAMES)
    return {
        "calls": len(frames),
        "c_us": spread(frames / boxes / 1e3),
        "own": spread(turns / np.median(turns, axis=0)),
        "idle": spread(idle / np.median(idle)),
    }


def time_c(program: Path, model: Path, data: Path, cap: str, rounds: int, boxes: int) -> dict[str, Any]:
    """`summary` of the C program's run under a cap."""
    samples = data.with_name("samples.bin")
    command = [str(program), str(model), str(data), str(rounds), str(samples)]
    print(f"{cap}: {rounds * FRAMES} frames", file=sys.stderr)
    subprocess.run(command, env={**os.environ, "EDGEKERN_ISA": cap}, check=True)
    spent, idle = np.split(np.fromfile(samples), [rounds * FRAMES])
    return summary(spent, idle, boxes)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures: peak GMAC/s by set, then per cap microseconds per box in C and in Python."""
    frames, boxes = scene()
    result: dict[str, Any] = {"boxes_per_frame": boxes.shape[1], "caps": {}}
    with tempfile.TemporaryDirectory(prefix="edgekern-latency-") as directory, resources.as_file(MODEL) as path:
        latency, peak = build(options.build or Path(directory))
        os.sched_setaffinity(0, {options.core})
        data = Path(directory) / "scene.bin"
        head = np.array([FRAMES, WIDTH, HEIGHT, boxes.shape[1]], np.int32)
        data.write_bytes(head.tobytes() + boxes.tobytes() + frames.tobytes())
        before = machine.peak(peak, [options.core])
        for cap in caps()[: 1 if options.uncapped else None]:
            c = time_c(latency, path, data, cap, options.rounds, boxes.shape[1])
            python = time_python(cap, frames, boxes, min(max(options.rounds // 4, 10), 100))
            result["caps"][cap] = {**c, "python_us": spread(python / 1e3)}
        # The best of both: a neighbour that slowed the one must not widen the limit.
        result["peak_gmacs"] = machine.better(before, machine.peak(peak, [options.core]))["gmacs"]
    for cap, row in result["caps"].items():
        row["limit_us"] = limit_us(cap, result["peak_gmacs"])
    return result


def report(result: dict[str, Any]) -> list[str]:
    """Prints the table of a measurement; returns the caps beyond their limit."""
    print("int8 peak, GMAC/s: " + ", ".join(f"{k} {v:.0f}" for k, v in result["peak_gmacs"].items()))
    print("microseconds per sign; own: a call / the median of its own frame; idle: an empty loop between calls")
    head = f"{'instruction sets':20} {'C p50':>7} {'limit':>7} {'signs/s':>8} {'Python p50':>11} {'Python p99':>11}"
    print(f"{head} {'p99/p50':>8} {'own':>5} {'idle':>5} {'p99.9/p50':>10} {'own':>5} {'idle':>5}")
    slow = []
    for cap, row in result["caps"].items():
        c, python, limit = row["c_us"], row["python_us"], row["limit_us"]
        beyond = limit is not None and c["p50"] > limit
        slow += [cap] * beyond
        own, idle = row["own"], row["idle"]
        print(
            f"{cap:20} {c['p50']:7.1f} {'none' if limit is None else format(limit, '.1f'):>7} {1e6 / c['p50']:8.0f} "
            f"{python['p50']:11.1f} {python['p99']:11.1f} "
            f"{c['p99'] / c['p50']:8.2f} {own['p99']:5.2f} {idle['p99']:5.2f} "
            f"{c['p999'] / c['p50']:10.2f} {own['p999']:5.2f} {idle['p999']:5.2f}{'   BEYOND' if beyond else ''}"
        )
    return slow


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=400, help="turns of the eight frames")
    parser.add_argument("--uncapped", action="store_true", help="all instruction sets alone")
    parser.add_argument("--build", type=Path, help="where the C programs are built and kept")
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: at least 1")
    try:
        machine.cores_from(options.core, 1)
    except ValueError as error:
        parser.error(str(error))
    if tools := lacking():
        parser.error(f"needs {', '.join(tools)}; `nox -s latency` brings cmake and ninja")
    result = measure(options)
    slow = report(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
