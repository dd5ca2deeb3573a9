# SPDX-License-Identifier: Apache-2.0
"""edgekern beside ONNX Runtime, OpenVINO, LiteRT and eager PyTorch on the same model files, in turns on pinned cores.

    nox -s peers
    nox -s peers -- --only kws,vww --rounds 5 --markdown table.md

Each contender goes from a NumPy array of the model's type to one of its output, from Python; the camera row from the 17
boxes of a frame per call, time per sign. One process per number of threads and per cap; inside it contenders take
turns. Exits 1 when edgekern gives other bytes than its NumPy reference.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

import edgekern as ek
from peers import bundled, contenders, figures, forms, machine, nets, tables

BUILD = Path(__file__).resolve().parents[2] / "build" / "peers"
FRAMES = 8
REST = 0.02  # seconds between turns where runtimes have threads that spin
CAPS = {"avx2": "AVX2", "avx2,avxvnni": "AVX2_VNNI"}  # edgekern's name of a cap and oneDNN's


def frames_for(info: ek.TensorInfo) -> Any:
    """Pictures as the model takes them, or noise of its type where it takes none."""
    shape = info.shape[1:]
    if len(shape) == 3 and 3 in (shape[0], shape[-1]):
        planar = shape if info.dtype == np.float32 else (shape[2], *shape[:2])
        made = nets.pictures(FRAMES, planar, 2)
        if info.dtype == np.float32:
            return made
        bytes_ = np.rint(made.transpose(0, 2, 3, 1) * 255).astype(np.int16)
        return (bytes_ - 128 if info.dtype == np.int8 else bytes_).astype(info.dtype)
    draw = np.random.default_rng(2)
    if info.dtype == np.float32:
        return draw.normal(size=(FRAMES, *shape)).astype(np.float32)
    middle = 128 if info.dtype == np.uint8 else 0
    return np.clip(np.rint(draw.normal(middle, 40, (FRAMES, *shape))), middle - 128, middle + 127).astype(info.dtype)


def prepare(case: forms.Case, folder: Path, data: Path | None) -> dict[str, Any]:
    """Compiles a case, draws its frames and computes what the reference makes of the first: what a worker needs."""
    source = forms.source(case, BUILD, data)
    model = ek.compile(source)
    compiled, frames = folder / f"{case.id}.ekm", folder / f"{case.id}.npz"
    model.save(compiled)
    held: dict[str, Any] = {}
    if case == forms.SIGNS:
        x = (bundled.crops(FRAMES).astype(np.int16) - 128).astype(np.int8)
        held["camera"] = bundled.camera_reference()
    else:
        x = frames_for(model.inputs[0])
    np.savez(frames, frames=x, reference=model.reference(x[:1]), **held)
    (output,) = model.outputs
    return {
        "id": case.id,
        "source": str(source),
        "float32": str(forms.float_twin(case, BUILD) if case.twin else source),
        "compiled": str(compiled),
        "frames": str(frames),
        "scale": output.scale,
        "zero_point": output.zero_point + 128 * (output.dtype == np.uint8),
        "macs": sum(step.macs for step in model.plan()),
        "contenders": contenders.FORMS[case.form] + (figures.CAMERA,) * (case == forms.SIGNS),
        "capped": case.capped,
    }


def work(
    cases: list[dict[str, Any]], options: argparse.Namespace, setting: figures.Setting, folder: Path
) -> Iterator[dict[str, Any]]:
    """Runs a worker and yields what it prints.

    Raises:
        RuntimeError: It ended with an error.
    """
    job = folder / f"job-{setting.threads}-{setting.cap or 'all'}.json"
    cores = machine.cores_from(options.core, setting.threads)
    rest = REST if setting.threads > 1 else 0.0
    told = {"cases": cases, "cores": cores, "threads": setting.threads, "rounds": options.rounds, "rest": rest}
    job.write_text(json.dumps(told))
    env = {**os.environ, "OMP_NUM_THREADS": str(setting.threads)}
    if setting.cap:
        env |= {"EDGEKERN_ISA": setting.cap, "ONEDNN_MAX_CPU_ISA": CAPS[setting.cap]}
    log = job.with_suffix(".log")
    with log.open("w") as noise:
        command = [sys.executable, "-m", "peers.worker", str(job)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=noise, text=True, env=env) as worker:
            assert worker.stdout is not None
            for line in worker.stdout:
                if line.startswith("{"):  # runtimes may print, too
                    yield json.loads(line)
    if worker.returncode:
        raise RuntimeError(f"the worker of {setting.name} ended with {worker.returncode}:\n{log.read_text()[-2000:]}")


def settings_of(options: argparse.Namespace, cases: Sequence[dict[str, Any]]) -> Iterator[tuple[int, str, list[Any]]]:
    """(threads, cap, cases) of every worker."""
    for threads in options.threads:
        if uncapped := [case for case in cases if not case["id"].startswith("vww_shaped.onnx")]:
            yield threads, "", uncapped
    capped = [{**case, "contenders": contenders.CAPPED} for case in cases if case["capped"]]
    here = set(ek.isa_available())
    for cap in CAPS if capped and not options.uncapped else ():
        if set(cap.split(",")) <= here:
            yield 1, cap, capped


def measure(options: argparse.Namespace, console: Console, folder: Path) -> tuple[list[figures.Row], list[str], Any]:
    """All rows, what was left out and why, and the peaks by number of threads."""
    program, why = machine.peak_program(folder)
    notes = [why] if why else []
    rows: list[figures.Row] = []
    peaks: dict[int, dict[str, Any]] = {}
    told: list[tuple[int, str, list[dict[str, Any]]]] = []
    with Progress(console=console, transient=True) as progress:
        wanted = forms.chosen(options.only)
        task = progress.add_task("", total=len(wanted))
        cases = []
        for case in wanted:
            progress.update(task, description=f"{case.id}: compile and reference")
            try:
                cases.append(prepare(case, folder, options.data))
            except (FileNotFoundError, bundled.NoFormError) as missing:
                notes.append(f"{case.id}: {missing}")
            progress.advance(task)
        macs = {case["id"]: case["macs"] for case in cases}
        jobs = list(settings_of(options, cases))
        task = progress.add_task("", total=sum(len(part) for _, _, part in jobs))
        for threads, cap, part in jobs:
            cores = machine.cores_from(options.core, threads)
            before = machine.peak(program, cores) if program else machine.UNKNOWN
            setting = figures.Setting(threads, cap)
            progress.update(task, description=f"{setting.name} on core {','.join(map(str, cores))}")
            found = []
            for line in work(part, options, setting, folder):
                if "done" in line:
                    progress.advance(task)
                else:
                    found.append(line)
            now = machine.better(before, machine.peak(program, cores)) if program else before
            peaks[threads] = machine.better(peaks[threads], now) if threads in peaks else now
            told.append((threads, cap, found))
    for threads, cap, found in told:  # the best of the whole run: a neighbour may have slowed one measurement
        peak = peaks[threads]
        setting = figures.Setting(threads, cap, peak["clock_ghz"], machine.widest(peak["gmacs"], cap))
        rows += [figures.Row(setting=setting, macs=macs[line["case"]], **line) for line in found]
    return rows, notes, peaks


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="nox -s peers --", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("EDGEKERN_DATA")
    parser.add_argument("--only", default="", help="comma list of nets (kws) or of their files (sign_dw64.tflite)")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contender")
    parser.add_argument("--threads", default="1", help="comma list, one process each")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="the first core to use")
    parser.add_argument("--uncapped", action="store_true", help="leave out the runs under capped instruction sets")
    parser.add_argument("--data", type=Path, default=Path(data) if data else None, help="the real data sets")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--png", type=Path)
    options = parser.parse_args()
    try:
        options.threads = [int(word) for word in options.threads.split(",")]
        for threads in options.threads:
            machine.cores_from(options.core, threads)
        forms.chosen(options.only)
    except ValueError as error:
        parser.error(str(error))
    return options


def main() -> int:
    options, console = arguments(), Console()
    if not console.is_terminal:  # a log is as wide as the tables
        console = Console(width=160)
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=BUILD) as folder:
        rows, notes, peaks = measure(options, console, Path(folder))
    result = tables.Result(machine.processor(), machine.versions(), peaks, rows, notes)
    if options.json:
        options.json.write_text(json.dumps(tables.record(result), indent=1))
    if options.markdown:
        options.markdown.write_text(tables.markdown(result))
    if options.png:
        from peers import chart

        chart.draw(result, options.png)
    tables.show(result, console)
    if wrong := figures.inexact(rows):
        console.print(f"[bold red]edgekern differs from its reference: {', '.join(wrong)}")
        return 1
    if not any(row.contender == figures.OURS and not row.refused for row in rows):
        console.print("[bold red]edgekern ran nowhere")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
