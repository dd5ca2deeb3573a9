# SPDX-License-Identifier: Apache-2.0
"""Compiles broken models; a program, so that a hang, a crash or a flood of memory ends it and not the tests.

`compile_mutants.py FOLDER COUNT [SEED]` compiles COUNT mutants of each model of FOLDER and prints what became of each.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from onnx_mutants import onnx_mutants
from tflite_mutants import tflite_mutants

from peak_memory import peak

MEMORY = 6 << 30  # bytes of address space beyond which the program gets no more
SECONDS = 20  # of CPU time for one mutant; beyond them the program is killed


def samples(data: bytes) -> list[Any] | None:
    """Calibration for a float model; None for a quantised one."""
    from edgekern.importers.source import read

    graph, _ = read(data)
    if graph.quantised:
        return None
    draw = np.random.default_rng(3)
    shapes = {port.name: port.outside(graph.types[port.tensor].shape)[1:] for port in graph.inputs}
    return [{name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(2)]


def main(folder: Path, count: int, first: int = 0) -> None:
    import edgekern

    seeds = sorted(p for p in folder.iterdir() if p.suffix in (".onnx", ".tflite"))
    held = {path: samples(path.read_bytes()) for path in seeds}
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for number, path in enumerate(seeds):
        data, draw = path.read_bytes(), np.random.default_rng([number, first])
        mutants = onnx_mutants if path.suffix == ".onnx" else tflite_mutants
        for k, (what, mutant) in enumerate(mutants(data, draw, count)):
            print(json.dumps({"seed": path.name, "number": k, "what": what}), end="\t", flush=True)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                edgekern.compile(mutant, calibration=held[path])
                outcome = "compiled"
            except edgekern.EdgekernError as error:
                outcome = type(error).__name__
                outcome += "" if str(error).strip() else " without words"
            except BaseException as error:
                outcome = f"ESCAPED {type(error).__name__}: {error}"
                (folder / f"escaped-{path.name}-{k}").write_bytes(mutant)
            signal.setitimer(signal.ITIMER_PROF, 0)
            print(json.dumps({"outcome": outcome, "peak": peak()}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
