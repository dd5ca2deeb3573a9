# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page from pytest-benchmark JSON files: `python bench/report.py RUN.json… -o page.html`.

Each file is one run; the time inside orders them. The page shows, per bench, the trend of the median over the runs
as an inline SVG line, the newest median, its ratio to the run before, and the machine and instruction sets of the
newest run.
"""

from __future__ import annotations

import argparse
import html
import json
from pathlib import Path
from typing import Any

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1b1b}
table{border-collapse:collapse;width:100%}th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child{text-align:left;font-family:ui-monospace,monospace;font-size:13px}
.slow{color:#b00020;font-weight:600}.fast{color:#006b3c}svg{vertical-align:middle}
@media (prefers-color-scheme:dark){body{background:#161616;color:#e6e6e6}th,td{border-color:#333}}
"""


def medians(run: dict[str, Any]) -> dict[str, float]:
    """Median seconds by bench name."""
    return {bench["name"]: float(bench["stats"]["median"]) for bench in run["benchmarks"]}


def sparkline(values: list[float], width: int = 160, height: int = 28) -> str:
    """An SVG line of values, scaled to their own range."""
    low, high = min(values), max(values)
    span = (high - low) or high or 1.0
    step = width / max(len(values) - 1, 1)
    points = " ".join(
        f"{i * step:.1f},{height - 3 - (v - low) / span * (height - 6):.1f}" for i, v in enumerate(values)
    )
    if len(values) == 1:
        return f'<svg width="{width}" height="{height}"><circle cx="4" cy="{height // 2}" r="3" fill="#3367d6"/></svg>'
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="trend">'
        f'<polyline points="{points}" fill="none" stroke="#3367d6" stroke-width="1.6"/></svg>'
    )


def row(name: str, history: list[float]) -> str:
    """One table row: newest median, ratio to the one before, trend."""
    ratio = history[-1] / history[-2] if len(history) > 1 else 1.0
    kind = "slow" if ratio > 1.06 else "fast" if ratio < 0.94 else ""
    return (
        f"<tr><td>{html.escape(name)}</td><td>{history[-1] * 1e6:,.2f}</td>"
        f'<td class="{kind}">{ratio:.3f}</td><td>{sparkline(history)}</td></tr>'
    )


def page(runs: list[dict[str, Any]]) -> str:
    """The whole page, the runs in the order of their times."""
    runs = sorted(runs, key=lambda run: run["datetime"])
    newest = runs[-1]
    machine = newest["machine_info"]
    cpu = machine.get("cpu", {}).get("brand_raw", machine.get("processor", "unknown"))
    isa = machine.get("edgekern_isa", "unknown")
    series = [medians(run) for run in runs]
    names = sorted(series[-1])
    rows = "\n".join(row(name, [s[name] for s in series if name in s]) for name in names)
    commit = newest.get("commit_info", {}).get("id", "unknown")
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>edgekern benches</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head><body>
<h1>edgekern benches</h1>
<p>{html.escape(str(cpu))}, instruction sets {html.escape(str(isa))}, Python {html.escape(machine["python_version"])},
commit {html.escape(str(commit)[:12])}, {html.escape(newest["datetime"])}; {len(runs)} run(s).</p>
<table><thead><tr><th>bench</th><th>median µs</th><th>ratio to the run before</th><th>trend</th></tr></thead>
<tbody>
{rows}
</tbody></table>
<p>Ratios compare runs, perhaps of different machines: <code>nox -s guard</code> compares revisions on one.</p>
</body></html>
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="pytest-benchmark JSON, in any order")
    parser.add_argument("-o", "--output", type=Path, default=Path("benches.html"))
    options = parser.parse_args()
    text = page([json.loads(path.read_text()) for path in options.runs])
    options.output.write_text(text)
    print(f"{options.output}: {len(text)} bytes")


if __name__ == "__main__":
    main()
