# SPDX-License-Identifier: Apache-2.0
"""Compares the speed of two revisions on one core: `python bench/guard.py BASE`.

Both are built into directories of their own, one worker process each loads one of them, and the workers take
turns, round by round, on one pinned core. Each revision times its own benches (worker.py, cases.py); those of one
name are compared. A bench fails when the median of its per-round ratios head / base lies above the tolerance and
above what its own noise explains; the slower kernel is named.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORKER = ("worker.py", "cases.py")  # of bench/, taken from the revision that is timed


@dataclass(frozen=True)
class Verdict:
    """One bench in both revisions.

    Attributes:
        name: Of the bench; kernel rows carry the kernel's name.
        base_ns: Median time of the base, nanoseconds.
        head_ns: Median time of the head.
        ratio: Median over rounds of head / base.
        noise: 3 standard errors of that median, from the median absolute deviation.
        limit: Ratio beyond which the bench fails.
    """

    name: str
    base_ns: float
    head_ns: float
    ratio: float
    noise: float
    limit: float

    @property
    def slower(self) -> bool:
        return self.ratio > self.limit


def judge(name: str, base: list[float], head: list[float], tolerance: float) -> Verdict:
    """The verdict on one bench from its paired times (round i of `base` beside round i of `head`)."""
    ratios = [h / b for b, h in zip(base, head, strict=True)]
    middle = statistics.median(ratios)
    spread = 1.4826 * statistics.median(abs(r - middle) for r in ratios)
    noise = 3 * 1.2533 * spread / len(ratios) ** 0.5
    return Verdict(name, statistics.median(base), statistics.median(head), middle, noise, 1 + tolerance + noise)


class Worker:
    """A process that has one revision loaded and times a bench when told to."""

    def __init__(self, package: Path, core: int) -> None:
        env = {**os.environ, "PYTHONPATH": str(package), "PYTHONSAFEPATH": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(package / "bench" / WORKER[0]), str(core)],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.benches: list[str] = self._answer()

    def time(self, name: str) -> float:
        """Nanoseconds per call of one bench, the least of a short series."""
        assert self._process.stdin
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def _answer(self) -> object:  # type: ignore[misc]
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a worker died; its message is above")
        return json.loads(line)


@contextlib.contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """A temporary work tree of a revision."""
    with tempfile.TemporaryDirectory(prefix="edgekern-guard-") as directory:
        tree = Path(directory) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", str(tree), revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def build(tree: Path, target: Path) -> Path:
    """Installs the package of a source tree into `target`, alone, and its benches beside it."""
    print(f"building {tree} …", flush=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
    subprocess.run([*command, f"-Cbuild-dir={target}-build", str(tree)], check=True)
    (target / "bench").mkdir()
    for name in WORKER:
        shutil.copy(tree / "bench" / name, target / "bench" / name)
    return target


def compare(base: Path, head: Path, *, rounds: int, core: int, tolerance: float, only: str) -> list[Verdict]:
    """Times every bench that both packages have, in turns."""
    workers = (Worker(base, core), Worker(head, core))
    names = [n for n in workers[1].benches if n in set(workers[0].benches) and only in n]
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in names}
    for turn in range(rounds):
        print(f"\rround {turn + 1}/{rounds}", end="", file=sys.stderr, flush=True)
        for name in names:
            for side in (0, 1) if turn % 2 == 0 else (1, 0):
                times[name][side].append(workers[side].time(name))
    print(file=sys.stderr)
    for worker in workers:
        worker.close()
    return [judge(name, *times[name], tolerance) for name in names]


def judged(base: Path, head: Path, *, rounds: int, core: int, tolerance: float, only: str) -> list[Verdict]:
    """Compares; a bench that looks slower is timed again with more rounds before it is called so."""
    verdicts = compare(base, head, rounds=rounds, core=core, tolerance=tolerance, only=only)
    for name in [v.name for v in verdicts if v.slower]:
        again = compare(base, head, rounds=2 * rounds, core=core, tolerance=tolerance, only=name)
        exact = {v.name: v for v in again}
        verdicts = [exact.get(v.name, v) if v.name == name else v for v in verdicts]
    return verdicts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("base", help="revision to compare the working tree with")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--tolerance", type=float, default=0.06, help="slow-down that is let pass (0.06)")
    parser.add_argument("--only", default="", help="benches whose name contains this")
    parser.add_argument("--json", type=Path, help="write the verdicts here")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="edgekern-guard-") as directory:
        with checkout(options.base) as tree:
            base = build(tree, Path(directory) / "base")
        head = build(ROOT, Path(directory) / "head")
        verdicts = judged(
            base, head, rounds=options.rounds, core=options.core, tolerance=options.tolerance, only=options.only
        )

    width = max(len(v.name) for v in verdicts)
    print(f"{'bench':{width}}  {'base us':>9} {'head us':>9}  ratio  limit")
    for v in sorted(verdicts, key=lambda v: -v.ratio):
        mark = "  SLOWER" if v.slower else ""
        print(f"{v.name:{width}}  {v.base_ns / 1e3:9.2f} {v.head_ns / 1e3:9.2f}  {v.ratio:.3f}  {v.limit:.3f}{mark}")
    if options.json:
        options.json.write_text(json.dumps([asdict(v) for v in verdicts], indent=1))
    slower = [v.name for v in verdicts if v.slower]
    print(f"{len(verdicts)} benches, {len(slower)} slower" + (": " + ", ".join(slower) if slower else ""))
    return 1 if slower or not verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
