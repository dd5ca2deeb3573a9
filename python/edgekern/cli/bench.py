# SPDX-License-Identifier: Apache-2.0
"""`edgekern bench`: how long one frame takes on this CPU, and where the time goes."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from edgekern.cli.screen import Json, print_json, print_table, say, tail
from edgekern.model import Model, load

WARM_UP = 20
LEAST_ROUNDS = 50


def bench(
    model: Annotated[Path, typer.Argument(help="A compiled model, *.ekm.")],
    seconds: Annotated[float, typer.Option(min=0.01, help="How long to measure.")] = 2.0,
    isa: Annotated[str | None, typer.Option(help="Cap on instruction sets, such as avx2 or scalar.")] = None,
    as_json: Json = False,
) -> None:
    """Measure a model's latency on this CPU and every op's share of it."""
    loaded = load(model, isa=isa)
    result = measure(loaded, seconds)
    if as_json:
        print_json(result)
        return
    whole = sum(step["nanoseconds"] for step in result["steps"]) or 1.0
    rows = [
        (
            tail(step["name"]),
            step["op"],
            step["kernel"],
            f"{step['macs']:,}",
            f"{step['nanoseconds'] / 1e3:.2f}",
            f"{step['macs'] / step['nanoseconds']:.1f}" if step["nanoseconds"] else "",
            f"{step['predicted_cycles']:,.0f}",
            f"{step['unfused_cycles']:,.0f}",
            f"{step['nanoseconds'] / whole:.1%}",
        )
        for step in result["steps"]
    ]
    columns = ("name", "op", "kernel", "MACs", "us", "GMAC/s", "predicted cycles", "unfused", "share")
    print_table("", columns, rows, left=3)
    say(
        f"\np50 {result['p50_us']:.1f} us, min {result['min_us']:.1f}, "
        f"p99 {result['p99_us']:.1f}, max {result['max_us']:.1f} us "
        f"over {result['rounds']:,} frames on one thread",
        "bold",
    )
    say(f"{result['gmac_per_second']:.1f} GMAC/s, memory {result['memory']['total']:,} bytes")


def measure(model: Model, seconds: float) -> dict[str, Any]:
    """Times `run` on one random frame again and again, then profiles every step."""
    rng = np.random.default_rng(0)
    feeds = {
        t.name: rng.standard_normal(t.shape).astype(t.dtype)
        if t.dtype.kind == "f"
        else rng.integers(0, 100, t.shape).astype(t.dtype)
        for t in model.inputs
    }
    x = feeds if len(feeds) > 1 else next(iter(feeds.values()))
    out = model.run(x)
    for _ in range(WARM_UP):
        model.run(x, out=out)
    spent: list[float] = []
    end = time.perf_counter() + seconds
    while len(spent) < LEAST_ROUNDS or time.perf_counter() < end:
        begin = time.perf_counter()
        model.run(x, out=out)
        spent.append(time.perf_counter() - begin)
    low, p50, p99, high = (float(v) * 1e6 for v in np.percentile(spent, (0, 50, 99, 100)))
    steps = [asdict(step) for step in model.profile(x)]
    return {
        "rounds": len(spent),
        "min_us": round(low, 2),
        "p50_us": round(p50, 2),
        "p99_us": round(p99, 2),
        "max_us": round(high, 2),
        "gmac_per_second": round(sum(s["macs"] for s in steps) / p50 / 1e3, 2),
        "memory": asdict(model.memory_plan()),
        "steps": steps,
    }
