# SPDX-License-Identifier: Apache-2.0
"""What runs here: the CPU, its int8 peak and clock in this very run, the versions that are compared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PEAK = Path(__file__).resolve().parents[1] / "peak.cc"
PACKAGES = {"edgekern": "edgekern", "onnxruntime": "", "openvino": "", "litert": "ai-edge-litert", "torch": ""}
UNKNOWN: dict[str, Any] = {"clock_ghz": 0.0, "gmacs": {}}  # where the microbenchmark does not run
TRIES = 5  # a neighbour on the core slows a whole try


def cores_from(first: int, threads: int) -> list[int]:
    """One core per thread, from `first` on, round the cores this process may use.

    Raises:
        ValueError: There are too few, or `first` is none of them.
    """
    usable = sorted(os.sched_getaffinity(0))
    if first not in usable:
        raise ValueError(f"core {first} is none of {usable}")
    if threads > len(usable):
        raise ValueError(f"{threads} threads need as many cores, here are {usable}")
    at = usable.index(first)
    return [usable[(at + i) % len(usable)] for i in range(threads)]


def peak_program(folder: Path) -> tuple[Path | None, str]:
    """The compiled microbenchmark, or None and the reason."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        return None, "no C++ compiler: MAC/cycle and shares of the peak are left out"
    target = folder / "peak"
    built = subprocess.run(
        [compiler, "-O2", "-std=c++17", str(PEAK), "-o", str(target)], capture_output=True, text=True
    )
    if built.returncode:
        return None, f"{PEAK.name} does not compile here: MAC/cycle and shares of the peak are left out"
    return target, ""


def peak(program: Path, cores: Sequence[int]) -> dict[str, Any]:
    """{"clock_ghz": …, "gmacs": {set: …}}: one copy per core at once, rates added; the best of a few tries."""
    best: dict[str, Any] = {"clock_ghz": 0.0, "gmacs": {}}
    for _ in range(TRIES):
        copies = [subprocess.Popen([str(program)], stdout=subprocess.PIPE, text=True) for _ in cores]
        for copy, core in zip(copies, cores, strict=True):
            os.sched_setaffinity(copy.pid, {core})
        told = [json.loads(copy.communicate()[0]) for copy in copies]
        best["clock_ghz"] = max(best["clock_ghz"], *(t["clock_ghz"] for t in told))
        for name in told[0]["gmacs"]:
            rate = sum(t["gmacs"][name] for t in told)
            best["gmacs"][name] = max(best["gmacs"].get(name, 0.0), rate)
    return best


def better(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """The higher of two measurements, figure by figure."""
    gmacs = {name: max(a["gmacs"].get(name, 0.0), b["gmacs"][name]) for name in b["gmacs"]}
    return {"clock_ghz": max(a["clock_ghz"], b["clock_ghz"]), "gmacs": gmacs}


def widest(gmacs: dict[str, float], cap: str) -> float:
    """The highest int8 rate that a cap allows; 0 where none was measured."""
    allowed = cap.split(",") if cap else list(gmacs)
    return max((gmacs[name] for name in allowed if name in gmacs), default=0.0)


def processor() -> str:
    """The CPU's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown CPU"
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else "unknown CPU"


def versions() -> dict[str, str]:
    """Versions of what is installed, by contender."""
    found = {}
    for name, package in PACKAGES.items():
        try:
            found[name] = metadata.version(package or name)
        except metadata.PackageNotFoundError:
            continue
    return found
