# SPDX-License-Identifier: Apache-2.0
"""A result as tables, in the terminal and as Markdown from the same cells, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from peers import figures

Columns = tuple[str, ...]
SUMMARY: Columns = ("net", "edgekern µs", "fastest peer", "its µs", "ratio", "MAC/cycle", "of peak", "torch / edgekern")
DETAIL: Columns = (
    "net",
    "contender",
    "µs",
    "p99 µs",
    "edgekern / it",
    "MAC/cycle",
    "of peak",
    "in a step",
    "correl.",
    "remark",
)
FROM_CAMERA: Columns = ("net", "crop + resize + classify µs", "GMAC/s", "of peak", "classify alone", "its µs", "ratio")
TEXT = {"net", "classify alone", "fastest peer", "contender", "remark"}  # columns that stand on the left


@dataclass(frozen=True)
class Result:
    """A whole run.

    Attributes:
        cpu: Its name.
        versions: By contender.
        peaks: By number of threads: clock and int8 rates.
        rows: Every contender of every case and setting.
        notes: What was left out and why.
    """

    cpu: str
    versions: dict[str, str]
    peaks: dict[int, dict[str, Any]]
    rows: list[figures.Row]
    notes: list[str]


def number(value: float | None, form: str = ".2f") -> str:
    return "" if value is None else format(value, form)


def us(value: float) -> str:
    """Three digits that count."""
    return format(value, ".0f" if value >= 1000 else ".1f" if value >= 10 else ".2f")


def settings(result: Result) -> list[figures.Setting]:
    return list(dict.fromkeys(row.setting for row in result.rows))


def head(result: Result) -> list[str]:
    """Where the figures come from."""
    lines = [f"{result.cpu}; " + ", ".join(f"{name} {version}" for name, version in result.versions.items())]
    for threads, peak in result.peaks.items():
        rates = ", ".join(f"{name} {rate:.0f}" for name, rate in peak["gmacs"].items())
        if rates:
            lines.append(f"int8 peak, {threads} thread(s): {rates} GMAC/s at {peak['clock_ghz']:.2f} GHz")
    if 1 in result.peaks and (more := [t for t in result.peaks if t > 1]):
        for threads in more:
            alone, together = (max(result.peaks[t]["gmacs"].values(), default=0.0) for t in (1, threads))
            if alone:
                lines.append(f"peak of {threads} threads / of one: {together / alone:.2f}")
    return lines + result.notes


def summary_cells(s: figures.Summary) -> list[str]:
    ours, peer = s.ours, s.peer
    named = "" if peer is None else peer.contender + (" (saturates)" if peer.saturates else "")
    cells = [ours.case, us(ours.median_us), named, "" if peer is None else us(peer.median_us), number(s.ratio)]
    cells += [number(ours.macs_per_cycle, ".1f"), number(ours.share, ".0%"), number(s.torch, ".1f")]
    return cells


def detail_cells(row: figures.Row, ours: float | None) -> list[str]:
    if row.refused:
        return [row.case, row.contender, *[""] * 7, row.remark]
    ratio = None if ours is None or row.contender == figures.OURS else ours / row.median_us
    cells = [row.case, row.contender, us(row.median_us), us(row.p99_us), number(ratio)]
    cells += [number(row.macs_per_cycle, ".1f"), number(row.share, ".0%")]
    return [*cells, number(row.within, ".1%"), number(row.correlation, ".4f"), row.remark]


def camera_cells(camera: figures.Row, peer: figures.Row) -> list[str]:
    cells = [camera.case, us(camera.median_us), number(camera.macs / (camera.median_us * 1e3), ".0f")]
    return [
        *cells,
        number(camera.share, ".0%"),
        peer.contender,
        us(peer.median_us),
        number(camera.median_us / peer.median_us),
    ]


def sections(result: Result) -> list[tuple[str, Columns, list[list[str]]]]:
    """(title, columns, cells) of every table."""
    every = figures.summaries(result.rows)
    made: list[tuple[str, Columns, list[list[str]]]] = []
    for setting in settings(result):
        lines = [s for s in every if s.ours.setting == setting]
        gains = any(s.gain for s in lines)
        cells = [[*summary_cells(s), *[number(s.gain)] * gains] for s in lines]
        if cells:
            made.append((setting.name, (*SUMMARY, *["1 thread / this"] * gains), cells))
    for setting in settings(result):
        pairs = [pair for pair in figures.from_camera(result.rows) if pair[0].setting == setting]
        if pairs:
            title = f"{setting.name}: edgekern from camera frames, per sign, beside peers' classifying alone"
            made.append((title, FROM_CAMERA, [camera_cells(*pair) for pair in pairs]))
    for setting in settings(result):
        ours = {s.ours.case: s.ours.median_us for s in every if s.ours.setting == setting}
        cells = [detail_cells(row, ours.get(row.case)) for row in result.rows if row.setting == setting]
        made.append((f"{setting.name}: every contender", DETAIL, cells))
    return made


def record(result: Result) -> dict[str, Any]:
    """The result as JSON, with what the tables derive."""
    derived = ("macs_per_cycle", "share", "saturates")
    rows = [{**asdict(row), **{name: getattr(row, name) for name in derived}} for row in result.rows]
    lines = [
        {
            "case": s.ours.case,
            "threads": s.ours.setting.threads,
            "cap": s.ours.setting.cap,
            "edgekern_us": s.ours.median_us,
            "exact": s.ours.exact,
            "peer": s.peer and s.peer.contender,
            "peer_us": s.peer and s.peer.median_us,
            "ratio": s.ratio,
            "torch_over_edgekern": s.torch,
            "one_thread_over_this": s.gain,
        }
        for s in figures.summaries(result.rows)
    ]
    camera = [
        {
            "case": c.case,
            "threads": c.setting.threads,
            "camera_us": c.median_us,
            "peer": p.contender,
            "ratio": c.median_us / p.median_us,
        }
        for c, p in figures.from_camera(result.rows)
    ]
    return {**asdict(result), "rows": rows, "summaries": lines, "from_camera": camera}


def show(result: Result, console: Console) -> None:
    """Prints the tables."""
    for line in head(result):
        console.print(line, markup=False, highlight=False)
    for title, columns, cells in sections(result):
        table = Table(title=title, title_justify="left")
        for column in columns:
            table.add_column(column, justify="left" if column in TEXT else "right", no_wrap=column != "remark")
        last = ""
        for row in cells:
            if columns is DETAIL and last not in ("", row[0]):
                table.add_section()
            table.add_row(row[0] if row[0] != last else "", *map(escape, row[1:]))
            last = row[0]
        console.print(table)


def markdown(result: Result) -> str:
    """The same tables for a page."""
    lines = ["# edgekern beside other runtimes", "", *(f"- {line}" for line in head(result)), ""]
    lines += [
        "Batch 1, from a NumPy array of the model's type to one of its output, all contenders in turns. Medians;",
        "the p99 is of blocks of 100 calls where a net takes less than 50 µs. From the camera: the 17 boxes of a frame",
        "per call, time per sign; the p99 is of such means. `in a step`: share of outputs at",
        f"most one int8 step from edgekern's. `saturates`: a correlation below {figures.FAITHFUL}. The peak is that of",
        "exact products: on AVX2 those that may saturate can pass it.",
        "",
    ]
    for title, columns, cells in sections(result):
        lines += [f"## {title}", "", bar(columns), bar(["---" if c in TEXT else "---:" for c in columns])]
        lines += [*map(bar, cells), ""]
    return "\n".join(lines)


def bar(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"
