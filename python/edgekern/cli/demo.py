# SPDX-License-Identifier: Apache-2.0
"""`edgekern demo`: the bundled model on a simulated 1080p camera stream."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from edgekern.cli.pictures import Picture
from edgekern.cli.plots import Shown, contact_sheet, save_png
from edgekern.cli.screen import Json, Text, print_json, print_table, say, working
from edgekern.cli.target import check_target
from edgekern.preprocess import Box
from edgekern.signs import Prediction, SignClassifier
from edgekern.signs.stream import DIAMETERS, frames

TIMED_SECONDS = 1.5
TIMED_FRAMES = 40


@dataclass(frozen=True, slots=True)
class Sign:
    """One sign of the stream and what the model said of it."""

    frame: int
    box: Box
    index: int
    said: Prediction

    @property
    def right(self) -> bool:
        """The model names the true class."""
        return self.said.index == self.index


def demo(
    out: Annotated[Path, typer.Option(help="Where the contact sheet goes.")] = Path("contact_sheet.png"),
    frame_count: Annotated[int, typer.Option("--frames", min=1, help="Frames of the stream; 8 show all sizes.")] = 8,
    as_json: Json = False,
) -> None:
    """Classify drawings of all 43 signs in a simulated 1080p camera stream."""
    check_target(out)
    classifier = SignClassifier()
    stream = list(working(frames(count=frame_count), "Drawing camera frames", frame_count))
    signs = [
        Sign(number, box, index, said)
        for number, (frame, boxes, truth) in enumerate(stream)
        for box, index, said in zip(boxes, truth, classifier.classify_regions(frame, boxes), strict=True)
    ]
    timing = _time(classifier, [(frame, boxes) for frame, boxes, _ in stream])
    kernels = sorted({op.kernel for op in classifier.model.profile(rounds=1) if op.kernel})
    right = sum(sign.right for sign in signs)
    title = f"{right} of {len(signs)} right"
    shown = [_shown(stream[sign.frame][0], sign) for sign in signs]
    sheet = contact_sheet(shown, classifier.labels, f"edgekern demo: {title}")
    if as_json:
        print_json(
            {
                "right": right,
                "total": len(signs),
                "abstained": sum(sign.said.abstained for sign in signs),
                **timing,
                "kernels": kernels,
                "contact_sheet": str(out),
                "signs": [_as_data(sign, classifier.labels) for sign in signs],
            }
        )
        save_png(sheet, out)
        return
    _print_signs(signs, classifier.labels)
    say(f"\n{title}, {sum(s.said.abstained for s in signs)} abstained", "bold")
    say(
        f"{len(signs) / len(stream):.1f} signs in a 1920x1080 frame: "
        f"p50 {timing['frame_p50_us']:.0f} us, p99 {timing['frame_p99_us']:.0f} us, "
        f"max {timing['frame_max_us']:.0f} us; {timing['signs_per_second']:,.0f} signs per second "
        "on one thread"
    )
    say(f"kernels: {', '.join(kernels)}")
    save_png(sheet, out)  # after the figures: a full disk must not cost them
    say(f"contact sheet: {out}")


def _time(classifier: SignClassifier, stream: Sequence[tuple[Picture, Sequence[Box]]]) -> dict[str, float]:
    """Measures the frames again and again, in turn, for about a second and a half."""
    spent: list[float] = []
    signs = 0
    end = time.perf_counter() + TIMED_SECONDS
    while len(spent) < TIMED_FRAMES or time.perf_counter() < end:
        frame, boxes = stream[len(spent) % len(stream)]
        begin = time.perf_counter()
        classifier.classify_regions(frame, boxes)
        spent.append(time.perf_counter() - begin)
        signs += len(boxes)
    p50, p99 = np.percentile(spent, (50, 99)) * 1e6
    return {
        "frame_p50_us": round(float(p50), 1),
        "frame_p99_us": round(float(p99), 1),
        "frame_max_us": round(max(spent) * 1e6, 1),
        "signs_per_second": round(signs / sum(spent), 1),
    }


def _shown(frame: Picture, sign: Sign) -> Shown:
    """Cuts a sign out with some of its surroundings."""
    x, y, width, height = sign.box
    air = max(2, max(width, height) // 8)
    reach = max(width, height) // 2 + air
    cx, cy = x + width // 2, y + height // 2
    crop = frame[max(0, cy - reach) : cy + reach, max(0, cx - reach) : cx + reach]
    return Shown(crop, sign.index, sign.said.index, sign.said.confidence, sign.said.abstained)


def _as_data(sign: Sign, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "frame": sign.frame,
        "box": list(sign.box),
        "index": sign.index,
        "label": labels[sign.index],
        "predicted": sign.said.label,
        "confidence": round(sign.said.confidence, 4),
        "abstained": sign.said.abstained,
        "right": sign.right,
    }


def _print_signs(signs: Sequence[Sign], labels: Sequence[str]) -> None:
    """Prints a row per class with its confidence at each size, and a line per miss."""
    edges = [low for low, _ in DIAMETERS[1:]]
    rows: list[tuple[str | Text, ...]] = []
    for index in sorted({sign.index for sign in signs}):
        of_class = [sign for sign in signs if sign.index == index]
        cells = [Text() for _ in DIAMETERS]
        for sign in of_class:
            cell = cells[int(np.searchsorted(edges, max(sign.box[2:]), side="right"))]
            said = f"{sign.said.confidence:.1%}" if sign.right else f"miss {sign.said.confidence:.1%}"
            cell.append(" " if cell else "").append(said, "green" if sign.right else "red")
        right = sum(sign.right for sign in of_class)
        rows.append((str(index), labels[index], f"{right}/{len(of_class)}", *cells))
    inner = [f"{a}-{b - 1} px" for a, b in pairwise(edges)]
    sizes = [f"below {edges[0]} px", *inner, f"{edges[-1]} px up"]
    print_table("", ("", "sign", "right", *sizes), rows, left=2)
    for sign in signs:
        if not sign.right:
            unsure = ", abstained" if sign.said.abstained else ""
            say(
                f"miss in frame {sign.frame}, {max(sign.box[2:])} px: "
                f"{labels[sign.index]} taken for {sign.said.label} "
                f"({sign.said.confidence:.1%}{unsure})",
                "red",
            )
