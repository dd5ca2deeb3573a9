# SPDX-License-Identifier: Apache-2.0
"""The measured parts of docs/arm.md: Markdown from figures, put between the page's marks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from arm.executed import KINDS, Inference
from arm.loops import CORES, LEVELS, Core, Loop

IN_ORDER = ("cortex-a53", "cortex-a55")
HEAD = ("row", "instructions", "spills")
SUMMING = 8  # products per byte stored, from which on a loop is judged by its products
Timed = Mapping[str, tuple[float, float]]  # core: cycles as simulated, cycles where nothing waits


def put(page: str, part: str, text: str) -> str:
    """The page with other text between `<!-- part -->` and `<!-- end -->`.

    Raises:
        ValueError: The page has no such marks.
    """
    pattern = re.compile(rf"(<!-- {part} -->\n).*?(<!-- end -->)", re.S)
    if not pattern.search(page):
        raise ValueError(f"the page has no part called {part}")
    return pattern.sub(lambda found: f"{found[1]}\n{text.strip()}\n\n{found[2]}", page, count=1)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    line = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, line, *rows))


def rate(loop: Loop, core: Core, timed: Timed) -> str:
    """MAC per cycle; in-order cores also where nothing waits; the share of the peak where the row is of its level."""
    if core.name not in timed:
        return ""
    told = [loop.macs / cycles for cycles in timed[core.name]][: 2 if core.name in IN_ORDER else 1]
    text = " / ".join(f"{value:.1f}" for value in told)
    return text + (f" ({max(told) / core.peak:.0%})" if loop.level == core.level else "")


def told(loop: Loop) -> list[str]:
    return [f"`{loop.row}`", str(len(loop.body)), str(loop.spills)]


def spent(timed: Timed, scale: float) -> list[str]:
    """Cycles times the scale, a cell for each core."""
    both = [[cycles * scale for cycles in timed[core.name]] if core.name in timed else [] for core in CORES]
    return [" / ".join(f"{cycles:.1f}" for cycles in cell) for cell in both]


def loops(figures: Sequence[tuple[Loop, Timed]], version: str) -> str:
    """The tables of the hot loops."""
    names = [core.name.removeprefix("cortex-").removeprefix("neoverse-").upper() for core in CORES]
    peaks = table(("core", "peak, MAC/cycle", "by"), [(c.name, f"{c.peak:.4g}", c.by) for c in CORES])
    parts = [f"By {version}. The peaks:", peaks, "MAC per cycle of what multiplies for a sum:"]

    def by_family(item: tuple[Loop, Timed]) -> tuple[str, int, str]:
        return item[0].row.split("_")[0], LEVELS.index(item[0].level), item[0].row

    ordered = sorted(figures, key=by_family)
    summing = [(loop, timed) for loop, timed in ordered if loop.macs >= max(SUMMING * loop.stores, 1)]
    rows = [[*told(loop), str(loop.macs), *(rate(loop, core, timed) for core in CORES)] for loop, timed in summing]
    parts.append(table((*HEAD, "MAC", *names), rows))
    parts.append("Cycles per 16 bytes stored, as simulated / where nothing waits:")
    storing = [(loop, timed) for loop, timed in ordered if loop.stores]
    rows = [[*told(loop), str(loop.stores), *spent(timed, 16 / loop.stores)] for loop, timed in storing]
    parts.append(table((*HEAD, "bytes", *names), rows))
    if others := [item for item in ordered if item not in summing and item not in storing]:
        parts.append("Cycles per turn of the others:")
        parts.append(table((*HEAD, *names), [[*told(loop), *spent(timed, 1)] for loop, timed in others]))
    return "\n\n".join(parts)


def nets(counted: Mapping[tuple[str, str], tuple[Inference, Inference]], told: str) -> str:
    """The table of executed instructions: (net, CPU) -> edgekern, LiteRT."""
    rows, kinds = [], []
    for (net, cpu), (ours, theirs) in counted.items():
        span = [" ".join(f"{m:.3f}" for m in side.millions) for side in (ours, theirs)]
        rows.append((net, f"`{cpu}`", *span, f"{ours.median / theirs.median:.2f}"))
        sides = [" ".join(f"{v:,.1f}" for v in side.kinds) for side in (ours, theirs)]
        kinds.append((net, f"`{cpu}`", *sides))
    lines = sorted({theirs.delegate for _, theirs in counted.values()})
    return "\n\n".join(
        (
            f"By {told}. What LiteRT said as it loaded: " + ", ".join(f"`{line}`" for line in lines) + ".",
            "Million instructions per inference, each time it was counted, and the ratio of the medians:",
            table(("net", "emulated CPU", "edgekern", "LiteRT", "edgekern / LiteRT"), rows, left=2),
            f"Thousands per inference that are {', '.join(KINDS)}, found by their encoding as they are translated:",
            table(("net", "emulated CPU", "edgekern", "LiteRT"), kinds, left=2),
        )
    )
