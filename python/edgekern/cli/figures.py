# SPDX-License-Identifier: Apache-2.0
"""Draws plots over the layers of a model as inline SVG: no script, no font, no file beside it.

All plots share one horizontal axis, the layers' numbers, so that they can be read one below the other. Colours are
classes, which the page's style sheet fills for light, dark and paper.
"""

from __future__ import annotations

import html
import math
from collections.abc import Collection, Sequence

__all__ = ["bars", "clean", "dots", "short"]

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 1000, 64, 8, 12, 22
HEIGHT = 190

Values = Sequence[float | None]


def clean(value: object) -> str:
    r"""Text for a page: escaped, and what is no printable character (controls, direction marks) replaced.

    >>> clean("<b>\x07") == "&lt;b&gt;\ufffd"
    True
    """
    return html.escape("".join(c if c.isprintable() else "\ufffd" for c in str(value)))


def short(value: float) -> str:
    """A number for an axis: 1500000 as 1.5M.

    >>> short(1500000), short(20000), short(0.5), short(0)
    ('1.5M', '20k', '0.5', '0')
    """
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.4g}{name}"
    return f"{value:.4g}"


def bars(values: Sequence[float], names: Sequence[str], what: str, limit: tuple[float, str] | None = None) -> str:
    """A bar for each layer, from 0.

    Args:
        values: One for each layer.
        names: What a pointer over a bar shows.
        what: Of the plot, for who cannot see it.
        limit: A line across at a value, with its name.
    """
    ticks = _ticks(0, max([*values, limit[0] if limit else 0, 1e-9]))
    step = (WIDTH - LEFT - RIGHT) / max(len(values), 1)
    marks = [_frame(len(values), ticks)]
    for k, (value, name) in enumerate(zip(values, names, strict=True)):
        y = _height(value, ticks)
        x, wide, tall = LEFT + (k + 0.12) * step, 0.76 * step, HEIGHT - BOTTOM - y
        marks.append(
            f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{wide:.2f}" height="{tall:.1f}">'
            f"<title>{clean(name)}</title></rect>"
        )
    if limit is not None:
        y = _height(limit[0], ticks)
        marks.append(f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        marks.append(
            f'<text class="limit" x="{WIDTH - RIGHT}" y="{y - 4:.1f}" text-anchor="end">{clean(limit[1])}</text>'
        )
    return _svg(marks, what)


def dots(values: Values, names: Sequence[str], what: str, marked: Collection[int] = ()) -> str:
    """A dot for each layer that has a finite value; a ring at the top for one that is infinite, none for None.

    Args:
        values: One for each layer.
        names: What a pointer over a dot shows.
        what: Of the plot, for who cannot see it.
        marked: Layers, from 0, that stand out and carry their number.
    """
    finite = [v for v in values if v is not None and math.isfinite(v)]
    ticks = _ticks(min([*finite, 0.0]), max([*finite, 1.0]))
    step = (WIDTH - LEFT - RIGHT) / max(len(values), 1)
    size = max(1.5, min(4.0, step / 3))
    marks = [_frame(len(values), ticks)]
    for k, (value, name) in enumerate(zip(values, names, strict=True)):
        if value is None:
            continue
        x, y = LEFT + (k + 0.5) * step, _height(value, ticks) if math.isfinite(value) else float(TOP)
        kind = "worst" if k in marked else "dot" if math.isfinite(value) else "exact"
        stem = (
            ""
            if kind == "exact"
            else f'<line class="stem" x1="{x:.1f}" x2="{x:.1f}" y1="{HEIGHT - BOTTOM}" y2="{y:.1f}"/>'
        )
        marks.append(
            f'{stem}<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}">'
            f"<title>{clean(name)}</title></circle>"
        )
        if k in marked:
            marks.append(f'<text class="worst" x="{x:.1f}" y="{y - size - 3:.1f}" text-anchor="middle">{k + 1}</text>')
    return _svg(marks, what)


def _ticks(low: float, high: float) -> list[float]:
    """Round values from at most `low` to at least `high`, three to seven of them.

    >>> _ticks(0, 41)
    [0.0, 20.0, 40.0, 60.0]
    """
    rough = max(high - low, 1e-9) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * k for k in range(first, max(last, first + 1) + 1)]


def _height(value: float, ticks: Sequence[float]) -> float:
    share = (value - ticks[0]) / (ticks[-1] - ticks[0])
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _frame(count: int, ticks: Sequence[float]) -> str:
    """Grid lines with their values, and layer numbers."""
    marks = []
    for tick in ticks:
        y = _height(tick, ticks)
        marks.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        marks.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    step = (WIDTH - LEFT - RIGHT) / max(count, 1)
    apart = next(n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9) if count <= 25 * n)
    for k in range(count):
        if (k + 1) % apart == 0 or k == 0:
            x = LEFT + (k + 0.5) * step
            marks.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{k + 1}</text>')
    return "".join(marks)


def _svg(marks: Sequence[str], what: str) -> str:
    body = "\n".join(marks)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{clean(what)}">\n{body}\n</svg>'
