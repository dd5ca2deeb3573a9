# SPDX-License-Identifier: Apache-2.0
"""One process that times all contenders of all cases, in turns: `python -m peers.worker JOB.json`.

Prints one JSON line per contender of a case, then {"done": case}. The parent sets caps in the environment.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

JOB = json.loads(Path(sys.argv[1]).read_text()) if __name__ == "__main__" else {}
if JOB:
    os.sched_setaffinity(0, JOB["cores"])  # before the runtimes count cores

import gc  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from peers import contenders, figures  # noqa: E402

TURN = 20e6  # ns that a turn aims at
LEAST = 7  # samples of a turn, so that 15 rounds give a p99
SHORT = 50_000  # ns: calls of shorter nets are timed in blocks
BLOCK = 100
REFERENCES = {figures.OURS: "reference", figures.CAMERA: "camera"}  # of the first call; the camera sees other pictures


def spent(call: Callable[[], object], count: int) -> int:
    """Nanoseconds of `count` calls."""
    start = time.perf_counter_ns()
    for _ in range(count):
        call()
    return time.perf_counter_ns() - start


def pace(ns: float, block: int) -> tuple[int, int]:
    """(calls that warm up, samples) of a turn."""
    samples = max(LEAST, round(TURN / (ns * block)))
    return max(2, min(samples * block // 4, 200)), samples


def timed(runners: dict[str, contenders.Contender], rounds: int, rest: float) -> dict[str, tuple[list[float], int]]:
    """Samples in ns per frame of each contender, and the calls of a sample. They take turns, to and fro.

    Args:
        runners: What to time.
        rounds: Turns of each.
        rest: Seconds before a turn, for threads of the one before to stop spinning.
    """
    if not runners:
        return {}
    least = {name: min(spent(c.call, 1) for _ in range(5)) for name, c in runners.items()}
    block = BLOCK if min(least.values()) < SHORT else 1
    blocks = {name: block if name not in figures.FLOAT and c.items == 1 else 1 for name, c in runners.items()}
    samples: dict[str, list[float]] = {name: [] for name in runners}
    gc.collect()
    gc.disable()
    for turn in range(rounds):
        for name in list(runners)[:: 1 if turn % 2 == 0 else -1]:
            call, size, items = runners[name].call, blocks[name], runners[name].items
            warm, count = pace(least[name], size)
            if rest:
                time.sleep(rest)
            spent(call, warm)
            samples[name] += [spent(call, size) / (size * items) for _ in range(count)]
    gc.enable()
    return {name: (times, blocks[name]) for name, times in samples.items()}


def loaded(case: dict[str, Any], frames: Any) -> tuple[dict[str, contenders.Contender], dict[str, str], dict[str, Any]]:
    """Contenders that run here, why the others do not, and what each makes of the frames."""
    files = contenders.Files(Path(case["source"]), Path(case["float32"]), Path(case["compiled"]), JOB["threads"])
    x = frames[:1].copy()
    runners, refused, outputs = {}, {}, {}
    for name in case["contenders"]:
        try:
            runner = contenders.MAKERS[name](files, x)
            made = []
            for frame in frames:
                x[:] = frame
                runner.call()
                made.append(np.array(runner.output()))
            runners[name], outputs[name] = runner, np.concatenate(made)
        except Exception as error:  # a runtime that refuses a file or a setting is a result, too
            refused[name] = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:120]}"
    return runners, refused, outputs


def compare(case: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a case."""
    given = np.load(case["frames"])
    runners, refused, outputs = loaded(case, given["frames"])
    rows: list[dict[str, Any]] = [{"contender": name, "refused": why} for name, why in refused.items()]
    ours = outputs.get("edgekern")
    for name, (samples, block) in timed(runners, JOB["rounds"], JOB["rest"]).items():
        row = {"contender": name, "block": block, "samples": len(samples), "refused": ""}
        row |= {"median_us": float(np.median(samples)) / 1e3, "p99_us": float(np.quantile(samples, 0.99)) / 1e3}
        if name in REFERENCES:
            wanted = given[REFERENCES[name]]
            row["exact"] = outputs[name][: len(wanted)].tobytes() == wanted.tobytes()
        elif ours is not None:
            theirs = outputs[name]
            if name in figures.FLOAT and ours.dtype.kind != "f":  # float32 stands for integers of the output
                theirs = theirs / case["scale"] + case["zero_point"]
            row["within"], row["correlation"] = figures.agreement(ours, theirs, case["scale"])
        rows.append(row)
    return rows


def main() -> None:
    for case in JOB["cases"]:
        for row in compare(case):
            print(json.dumps({"case": case["id"], **row}), flush=True)
        print(json.dumps({"done": case["id"]}), flush=True)


if __name__ == "__main__":
    main()
