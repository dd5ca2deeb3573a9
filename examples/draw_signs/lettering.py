# SPDX-License-Identifier: Apache-2.0
"""Draws the road signs' digits and the word STOP as strokes of one width (after DIN 1451)."""

from __future__ import annotations

from collections.abc import Callable

from .pen import Colour, Pen, Point, arc, bezier

Strokes = list[list[Point]]


def _zero(w: float, h: float) -> Strokes:
    r = w / 2
    ry = min(r * 1.15, h / 2)
    top = arc((r, ry), r, ry, 180, 360)
    bottom = arc((r, h - ry), r, ry, 0, 180)
    loop = top + bottom
    return [[*loop, loop[0], loop[1]]]


def _one(w: float, h: float) -> Strokes:
    return [[(0, 0.24 * h), (w, 0.02 * h)], [(w, 0), (w, h)]]


def _two(w: float, h: float) -> Strokes:
    r = w / 2
    ry = 0.27 * h
    hook = arc((r, ry), r, ry, 188, 385)
    return [[*hook, *bezier(hook[-1], (0.86 * w, 0.55 * h), (0, h))[1:]], [(-0.04 * w, h), (w, h)]]


def _three(w: float, h: float) -> Strokes:
    r, mid = w / 2, 0.46
    upper = arc((r, mid / 2 * h), 0.96 * r, mid / 2 * h, 200, 450)
    lower = arc((r, (1 + mid) / 2 * h), r, (1 - mid) / 2 * h, 270, 518)
    return [upper, lower, [(0.36 * w, mid * h), (r, mid * h)]]


def _five(w: float, h: float) -> Strokes:
    r = w / 2
    bowl = arc((r, 0.675 * h), r, 0.325 * h, 214, 514)
    return [[(0.95 * w, 0), (0.1 * w, 0)], [(0.1 * w, 0), (0.06 * w, 0.5 * h), *bowl[:1]], bowl]


def _six(w: float, h: float) -> Strokes:
    r = w / 2
    bowl = arc((r, 0.68 * h), r, 0.32 * h, 0, 364)
    stem = bezier((0, 0.7 * h), (0, 0.42 * h), (0.26 * w, 0.22 * h), (0.72 * w, -0.02 * h))
    return [bowl, stem]


def _seven(w: float, h: float) -> Strokes:
    return [[(-0.05 * w, 0), (w, 0), (0.3 * w, h)]]


def _eight(w: float, h: float) -> Strokes:
    r, mid = w / 2, 0.46
    upper = arc((r, mid / 2 * h), 0.9 * r, mid / 2 * h, 0, 364)
    lower = arc((r, (1 + mid) / 2 * h), r, (1 - mid) / 2 * h, 0, 364)
    return [upper, lower]


def _letter_s(w: float, h: float) -> Strokes:
    r = w / 2
    upper = arc((r, 0.25 * h), r, 0.25 * h, 335, 150)
    lower = arc((r, 0.75 * h), r, 0.25 * h, 330, 515)
    return [
        upper,
        [*upper[-1:], *bezier(upper[-1], (0.2 * w, 0.45 * h), lower[0]), lower[0]],
        lower,
    ]


def _letter_t(w: float, h: float) -> Strokes:
    return [[(-0.1 * w, 0), (1.1 * w, 0)], [(w / 2, 0), (w / 2, h)]]


def _letter_p(w: float, h: float) -> Strokes:
    bowl = [(0, 0), (0.5 * w, 0), *arc((0.5 * w, 0.27 * h), 0.5 * w, 0.27 * h, 270, 450)]
    return [[(0, 0), (0, h)], [*bowl, (0, 0.54 * h)]]


GLYPHS: dict[str, Callable[[float, float], Strokes]] = {
    "0": _zero,
    "1": _one,
    "2": _two,
    "3": _three,
    "5": _five,
    "6": _six,
    "7": _seven,
    "8": _eight,
    "S": _letter_s,
    "T": _letter_t,
    "O": _zero,
    "P": _letter_p,
}


def write(
    pen: Pen,
    text: str,
    colour: Colour,
    *,
    height: float,
    width: float,
    weight: float,
    gap: float,
    one: float = 0.62,
    centre: Point = (50.0, 50.0),
) -> None:
    """Writes text round a centre.

    Args:
        pen: where to write.
        text: characters of `GLYPHS`.
        colour: of the strokes.
        height: outer height of a character, in sign units.
        width: outer width of a character.
        weight: width of the stroke.
        gap: space between two characters.
        one: width of a "1" as a share of `width`.
        centre: of the whole word.
    """
    widths = [width * (one if c == "1" else 1.0) for c in text]
    x = centre[0] - (sum(widths) + gap * (len(text) - 1)) / 2
    for character, outer in zip(text, widths, strict=True):
        pen.place((x + weight / 2, centre[1] - height / 2 + weight / 2))
        for line in GLYPHS[character](outer - weight, height - weight):
            pen.stroke(line, weight, colour)
            _square_corners(pen, line, weight, colour)
        x += outer + gap
    pen.place()


def _square_corners(pen: Pen, line: list[Point], weight: float, colour: Colour) -> None:
    """Lets an upright stroke's flat end reach the outer edge of the character."""
    for (x0, y0), (x1, y1) in ((line[1], line[0]), (line[-2], line[-1])):
        if x0 == x1 or y0 == y1:
            dx = (x1 > x0) - (x1 < x0)
            dy = (y1 > y0) - (y1 < y0)
            end = (x1 + dx * weight / 2, y1 + dy * weight / 2)
            pen.stroke([(x1, y1), end], weight, colour)
