# SPDX-License-Identifier: Apache-2.0
"""Draws the round signs: prohibitions, ends of prohibitions and mandatory directions."""

from __future__ import annotations

import math

from .lettering import write
from .pen import BLACK, BLUE, GREY, RED, WHITE, Colour, Pen, Point, arc, bezier

C: Point = (50.0, 50.0)


def prohibition(pen: Pen) -> None:
    """Draws the white disc in its red ring."""
    pen.disc(C, 49.3, WHITE)
    pen.disc(C, 48.2, RED)
    pen.disc(C, 36.2, WHITE)


def speed_limit(pen: Pen, number: str) -> None:
    """Draws a speed limit."""
    prohibition(pen)
    _number(pen, number, BLACK)


def _number(pen: Pen, number: str, colour: Colour) -> None:
    if len(number) == 2:
        write(pen, number, colour, height=43, width=25.6, weight=6.8, gap=4.6)
    else:
        write(pen, number, colour, height=40, width=18.5, weight=5.6, gap=3.8, one=0.6)


def car(pen: Pen, left: float, bottom: float, width: float, colour: Colour, glass: Colour) -> None:
    """Draws a car from behind: `left` and `bottom` bound its wheels, height is 0.76 of width."""
    w = width
    pen.place((left, bottom - 0.76 * w), scale=(w, w))
    pen.poly([(0.06, 0.36), (0.18, 0.02), (0.24, 0), (0.76, 0), (0.82, 0.02), (0.94, 0.36)], colour)
    pen.poly([(0.16, 0.31), (0.245, 0.08), (0.755, 0.08), (0.84, 0.31)], glass)
    pen.rounded([(0, 0.3), (1, 0.3), (1, 0.6), (0, 0.6)], 0.06, colour)
    pen.box(0.09, 0.55, 0.27, 0.76, colour)
    pen.box(0.73, 0.55, 0.91, 0.76, colour)
    pen.place()


def truck_behind(pen: Pen, left: float, bottom: float, width: float, colour: Colour) -> None:
    """Draws a lorry from behind: a tall box on wheels, height 1.28 of width."""
    w = width
    pen.place((left, bottom - 1.28 * w), scale=(w, w))
    pen.box(0, 0, 1, 1.0, colour)
    pen.box(0.2, 0.98, 0.8, 1.08, colour)
    pen.box(0.07, 1.08, 0.93, 1.15, colour)
    pen.box(0.09, 1.08, 0.31, 1.28, colour)
    pen.box(0.69, 1.08, 0.91, 1.28, colour)
    pen.place()


def no_passing(pen: Pen) -> None:
    """Draws "no passing": a red car left of a black one."""
    prohibition(pen)
    car(pen, 21, 61, 27, RED, WHITE)
    car(pen, 52, 61, 27, BLACK, WHITE)


def no_passing_trucks(pen: Pen) -> None:
    """Draws "no passing for vehicles over 3.5 t": a red lorry left of a black car."""
    prohibition(pen)
    truck_behind(pen, 20.5, 65, 27, RED)
    car(pen, 52, 65, 27, BLACK, WHITE)


def no_trucks(pen: Pen) -> None:
    """Draws "vehicles over 3.5 t prohibited": a lorry seen from its left side."""
    prohibition(pen)
    pen.box(37.5, 34, 79.5, 54.5, BLACK)
    pen.box(34, 56, 79.5, 60, BLACK)
    pen.poly([(20.5, 61.5), (20.5, 53), (23, 43), (35.5, 43), (35.5, 61.5)], BLACK)
    pen.poly([(23.4, 52), (25.2, 45.2), (29.5, 45.2), (29.5, 52)], WHITE)
    for x in (28.5, 67.5):
        pen.disc((x, 61.8), 6.9, WHITE)
        pen.disc((x, 61.8), 5.7, BLACK)
    pen.box(20.5, 59.8, 22.2, 61.5, BLACK)


def no_vehicles(pen: Pen) -> None:
    """Draws "no vehicles": the empty ring."""
    prohibition(pen)


def no_entry(pen: Pen) -> None:
    """Draws "no entry": a white bar on red."""
    pen.disc(C, 49.3, WHITE)
    pen.disc(C, 48.2, RED)
    pen.box(7, 41, 93, 59, WHITE)


def _release(pen: Pen) -> None:
    pen.disc(C, 49.3, WHITE)
    pen.disc(C, 48.2, BLACK)
    pen.disc(C, 46.6, WHITE)


def _slashes(pen: Pen) -> None:
    """Draws five thin black bars from lower left to upper right, between the disc's edges."""
    turn = math.radians(-48)
    along = (math.cos(turn), math.sin(turn))
    across = (-along[1], along[0])
    for k in range(-2, 3):
        offset = 4.7 * k
        half = math.sqrt(46.8**2 - (abs(offset) + 1.3) ** 2)
        mid = (50 + across[0] * offset, 50 + across[1] * offset)
        ends = [(mid[0] + along[0] * t, mid[1] + along[1] * t) for t in (-half, half)]
        pen.stroke(ends, 2.6, BLACK)


def end_speed_80(pen: Pen) -> None:
    """Draws "end of speed limit 80": grey digits, five black bars."""
    _release(pen)
    write(pen, "80", GREY, height=42, width=27, weight=7.6, gap=6)
    _slashes(pen)


def end_all(pen: Pen) -> None:
    """Draws "end of all limits"."""
    _release(pen)
    _slashes(pen)


def end_no_passing(pen: Pen) -> None:
    """Draws "end of no passing": two grey cars, five black bars."""
    _release(pen)
    car(pen, 14, 63, 33, GREY, WHITE)
    car(pen, 53, 63, 33, GREY, WHITE)
    _slashes(pen)


def end_no_passing_trucks(pen: Pen) -> None:
    """Draws "end of no passing for vehicles over 3.5 t"."""
    _release(pen)
    truck_behind(pen, 13.5, 69, 31, GREY)
    car(pen, 51.5, 69, 33, GREY, WHITE)
    _slashes(pen)


def _blue(pen: Pen) -> None:
    pen.disc(C, 49.3, WHITE)
    pen.disc(C, 47.6, BLUE)


def _head(pen: Pen, tip: Point, angle: float, size: float = 1.0) -> None:
    """Draws the swept arrow head; `angle` is where it points, in degrees, 0 right, 90 down."""
    pen.place(tip, angle, (size, size))
    pen.poly([(0, 0), (-20, 17), (-31, 17), (-16, 4), (-16, -4), (-31, -17), (-20, -17)], WHITE)
    pen.place()


def _shaft(pen: Pen, points: list[Point], width: float = 9.0) -> None:
    pen.stroke(points, width, WHITE)


def ahead(pen: Pen) -> None:
    """Draws "ahead only"."""
    _blue(pen)
    _shaft(pen, [(50, 87), (50, 20)])
    _head(pen, (50, 11), -90)


def turn_ahead(pen: Pen, *, left: bool) -> None:
    """Draws "turn right ahead", or its mirror image."""
    _blue(pen)
    s = -1.0 if left else 1.0

    def at(x: float, y: float) -> Point:
        return 50 + s * x, y

    bend = bezier(at(-15, 58), at(-15, 44), at(-9, 38), at(6, 38))
    _shaft(pen, [at(-15, 84), *bend, at(24, 38)])
    _head(pen, at(36, 38), 180 if left else 0)


def ahead_or_turn(pen: Pen, *, left: bool) -> None:
    """Draws "go straight or right", or its mirror image."""
    _blue(pen)
    s = -1.0 if left else 1.0

    def at(x: float, y: float) -> Point:
        return 50 + s * x, y

    _shaft(pen, [at(-8, 86), at(-8, 20)], 8.5)
    _head(pen, at(-8, 12), -90, 0.82)
    bend = bezier(at(-8, 78), at(-7, 60), at(4, 57), at(14, 57))
    _shaft(pen, [*bend, at(28, 57)], 8.5)
    _head(pen, at(39, 57), 180 if left else 0, 0.82)


def keep(pen: Pen, *, left: bool) -> None:
    """Draws "keep right", or its mirror image: an arrow 45 degrees downwards."""
    _blue(pen)
    s = -1.0 if left else 1.0
    _shaft(pen, [(50 - s * 26, 24), (50 + s * 20, 70)])
    _head(pen, (50 + s * 28, 78), 135 if left else 45)


def roundabout(pen: Pen) -> None:
    """Draws "roundabout": three arrows in a circle, anticlockwise."""
    _blue(pen)
    radius = 31.0
    for start in (20.0, -100.0, -220.0):
        curve = arc(C, radius, radius, start, start - 78)
        _shaft(pen, curve, 8)
        # The head's axis is the chord over its own length, so that its tip stays on the circle.
        tip = math.radians(start - 100)
        _head(
            pen,
            (50 + radius * math.cos(tip), 50 + radius * math.sin(tip)),
            start - 100 - 90 + 14,
            0.66,
        )
