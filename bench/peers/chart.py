# SPDX-License-Identifier: Apache-2.0
"""A result as a picture: how much longer each peer takes than edgekern, net by net."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from peers import figures, tables

mpl.use("Agg")  # no window

COLOURS = {  # one order with NAMES
    "litert": "#e69f00",
    "openvino": "#0072b2",
    "onnxruntime": "#009e73",
}
NAMES = {"litert": "LiteRT", "openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}
BAR = 0.26  # inches


def draw(result: tables.Result, path: Path) -> None:
    """Writes the PNG: one panel per setting, one group of bars per net; right of the line edgekern is faster."""
    groups = []
    for setting in tables.settings(result):
        lines = [line for line in figures.summaries(result.rows) if line.ours.setting == setting and line.peer]
        if lines:
            shown = [(line, [row for row in result.rows if is_peer(row, line)]) for line in lines]
            groups.append((setting, shown))
    heights = [max(1.2, sum(len(peers) + 1 for _, peers in shown) * BAR) for _, shown in groups]
    figure, axes = plt.subplots(
        len(groups), figsize=(9, sum(heights) + 1.1 * len(groups) + 0.6), squeeze=False, height_ratios=heights
    )
    for axis, (setting, shown) in zip(axes[:, 0], groups, strict=True):
        panel(axis, setting.name, shown)
    patches = [Patch(color=colour) for colour in COLOURS.values()]
    figure.legend(patches, list(NAMES.values()), loc="lower center", ncols=len(patches), fontsize=9, frameon=False)
    figure.suptitle(f"Time of each int8 runtime / edgekern, batch 1 ({result.cpu})", fontsize=11)
    figure.tight_layout(rect=(0, 0.4 / figure.get_size_inches()[1], 1, 1))
    figure.savefig(path, dpi=140)
    plt.close(figure)


def is_peer(row: figures.Row, line: figures.Summary) -> bool:
    same = (row.case, row.setting) == (line.ours.case, line.ours.setting)
    return same and row.contender in COLOURS and not row.refused


def panel(axis: Axes, title: str, lines: list[tuple[figures.Summary, list[figures.Row]]]) -> None:
    """Bars of one setting, the first net on top."""
    at, ticks, labels, most = 0.0, [], [], 1.0
    for line, peers in lines:
        ticks.append(at + (len(peers) - 1) / 2)
        labels.append(f"{line.ours.case}\n{tables.us(line.ours.median_us)} µs")
        for row in sorted(peers, key=lambda r: r.median_us):
            times = row.median_us / line.ours.median_us
            most = max(most, times)
            axis.barh(at, times, 0.86, color=COLOURS[row.contender], hatch="//" if row.saturates else None)
            axis.annotate(f"{times:.2f}" + (" saturates" if row.saturates else ""), (times, at), (3, 0),
                          textcoords="offset points", va="center", fontsize=7)  # fmt: skip
            at += 1
        at += 1
    axis.axvline(1, color="black", linewidth=1)
    axis.set_title(title, fontsize=10)
    axis.set(xlim=(0, most * 1.12), yticks=ticks, yticklabels=labels, ylim=(at - 1.2, -0.8))
    axis.tick_params(axis="y", labelsize=8, length=0)
    axis.spines[["top", "right"]].set_visible(False)
