# SPDX-License-Identifier: Apache-2.0
"""`edgekern inspect`: what is in a model file, and what would run it here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from edgekern import _core
from edgekern.artifact import read
from edgekern.cli.page import report_page
from edgekern.cli.screen import Json, print_json, print_table, say, tail
from edgekern.cli.target import check_target, save_text
from edgekern.model import Model, TensorInfo
from edgekern.report import Report


def inspect(
    model: Annotated[Path, typer.Argument(help="A compiled model, *.ekm.")],
    isa: Annotated[str | None, typer.Option(help="Cap on instruction sets, such as avx2 or scalar.")] = None,
    selftest: Annotated[bool, typer.Option("--selftest/--no-selftest", help="Check the file's known answer.")] = True,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML page, too.")] = None,
    time: Annotated[bool, typer.Option("--time", help="Measure every step here, on one frame.")] = False,
    as_json: Json = False,
) -> None:
    """Show a model's tensors, preprocess, memory, provenance, report and the kernel of every op."""
    if html is not None:
        check_target(html)
    data = model.read_bytes()
    loaded = Model.from_bytes(data, isa=isa, selftest=selftest)
    if time:
        loaded.profile()
    facts = describe(loaded, model, data, selftest)
    if html is not None:
        save_text(html, page_of(loaded, data, facts))
    if as_json:
        print_json(facts)
        return
    rows = [
        (kind, t.name, f"{t.dtype.name} {list(t.shape)}", _quantisation(t))
        for kind, ports in (("input", loaded.inputs), ("output", loaded.outputs))
        for t in ports
    ]
    print_table("", ("", "tensor", "dtype, shape", "inside"), rows, left=4)
    columns = ("name", "op", "kernel", "MACs", "predicted cycles", "unfused", *(("us", "GMAC/s") if time else ()))
    steps = [_step(s)[: len(columns)] for s in facts["steps"]]
    print_table("\nSteps", columns, steps, left=3)
    if loaded.report is not None:
        say(f"\n{loaded.report}")
    memory = facts["memory"]
    say(
        f"\nfile {facts['bytes']:,} bytes, format {facts['format_version']}, "
        f"arithmetic {facts['arithmetic_version']}; known answer: {facts['known_answer']}"
    )
    say(
        f"memory {memory['total']:,} bytes: weights {memory['weights']:,}, "
        f"arena {memory['arena']:,}, scratch {memory['scratch']:,}"
    )
    say(f"multiply-accumulates per frame: {facts['macs']:,}")
    if facts["labels"]:
        say(f"{len(facts['labels'])} labels; abstains below {facts['abstain_threshold']:.3f}")
    for title in ("preprocess", "provenance"):
        if facts[title]:
            say(f"{title}:")
            for line in _lines(facts[title]):
                say(f"  {line}")


def page_of(model: Model, data: bytes, facts: Mapping[str, Any]) -> str:
    """The report as an HTML page.

    Args:
        model: Loaded from the data.
        data: Bytes of the model file.
        facts: What `describe` gathered.
    """
    return report_page(read(data).graph, model.report, facts, model.plan())


def layer_facts(report: Report) -> list[dict[str, Any]]:
    """The layers as plain data; decibels to a tenth, None for infinite ones."""
    return [{**asdict(n), "sqnr": round(n.sqnr, 1) if math.isfinite(n.sqnr) else None} for n in report.layers]


def describe(model: Model, path: Path, data: bytes, selftest: bool) -> dict[str, Any]:
    """Gathers what `inspect` prints, as plain data."""
    header = _core.Model(data).describe()
    answer = "none in the file"
    if header["has_known_answer"]:
        answer = "passed" if selftest else "not checked"
    steps = [asdict(s) for s in model.plan()]
    return {
        "file": str(path),
        "bytes": len(data),
        "format_version": header["format_version"],
        "arithmetic_version": header["arithmetic_version"],
        "known_answer": answer,
        "inputs": [_tensor(t) for t in model.inputs],
        "outputs": [_tensor(t) for t in model.outputs],
        "labels": list(model.labels),
        "abstain_threshold": model.abstain_threshold,
        "preprocess": asdict(model.preprocess) if model.preprocess else None,
        "memory": asdict(model.memory_plan()),
        "macs": sum(s["macs"] for s in steps),
        "steps": steps,
        "layers": [] if model.report is None else layer_facts(model.report),
        "provenance": dict(model.provenance),
    }


def _tensor(t: TensorInfo) -> dict[str, Any]:
    return {
        "name": t.name,
        "dtype": t.dtype.name,
        "shape": list(t.shape),
        "scale": t.scale,
        "zero_point": t.zero_point,
    }


def _step(s: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of the table of steps; GMAC/s, since nothing here knows the clock."""
    rate = f"{s['macs'] / s['nanoseconds']:.1f}" if s["macs"] and s["nanoseconds"] else ""
    cycles = (f"{s['predicted_cycles']:,.0f}", f"{s['unfused_cycles']:,.0f}")
    return (
        tail(s["name"], 40),
        s["op"],
        s["kernel"],
        f"{s['macs']:,}",
        *cycles,
        f"{s['nanoseconds'] / 1000:.2f}",
        rate,
    )


def _quantisation(t: TensorInfo) -> str:
    return f"scale {t.scale:.6g}, zero point {t.zero_point}" if t.scale else "float32"


def _lines(facts: Mapping[str, Any], outer: str = "") -> Iterator[str]:
    """Gives a line per plain fact; lists and the compiler's report are left to --json."""
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from () if key == "report" else _lines(value, f"{outer}{key} ")
        elif not isinstance(value, list):
            yield f"{outer}{key}: {value}"
