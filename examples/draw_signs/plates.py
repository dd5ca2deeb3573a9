# SPDX-License-Identifier: Apache-2.0
"""Draws the angular signs: warnings, right of way, priority road, yield, stop."""

from __future__ import annotations

import math

from .discs import car
from .lettering import write
from .pen import (
    BLACK,
    GREEN,
    RED,
    WHITE,
    YELLOW,
    Pen,
    Point,
    arc,
    bezier,
    regular,
    smooth,
)


def _triangle(pen: Pen, centre_y: float, up: bool) -> None:
    """Draws three nested triangles: white rim, red border, white field."""
    first = -90.0 if up else 90.0
    for inradius, radius, colour in ((29.9, 4.6, WHITE), (28.8, 3.9, RED), (19.3, 1.2, WHITE)):
        pen.rounded(regular((50, centre_y), 2 * inradius, 3, first), radius, colour)


def warning(pen: Pen) -> None:
    """Draws the empty warning triangle; its field spans x 18..82 at y 81 up to y 24."""
    _triangle(pen, 62.2, up=True)


def give_way(pen: Pen) -> None:
    """Draws "yield"."""
    _triangle(pen, 37.8, up=False)


def stop(pen: Pen) -> None:
    """Draws "stop"."""
    for apothem, colour in ((49.0, WHITE), (46.0, RED)):
        pen.poly(regular((50, 50), apothem / math.cos(math.pi / 8), 8, 22.5), colour)
    write(pen, "STOP", WHITE, height=36, width=16.5, weight=5.6, gap=3.6)


def priority_road(pen: Pen) -> None:
    """Draws "priority road": a yellow diamond in a white one."""
    layers = ((50.5, 4, WHITE), (49, 3.6, BLACK), (47.2, 3, WHITE), (29, 1.2, BLACK))
    for reach, radius, colour in (*layers, (27.6, 0.8, YELLOW)):
        pen.rounded(regular((50, 50), reach, 4, 0), radius, colour)


def right_of_way(pen: Pen) -> None:
    """Draws "right of way at the next crossing": a fat arrow over a thin crossroad."""
    warning(pen)
    pen.box(31.8, 58, 68.2, 62.4, BLACK)
    pen.poly([(50, 33), (61, 47), (57, 47), (57, 77), (50, 72), (43, 77), (43, 47), (39, 47)], BLACK)


def caution(pen: Pen) -> None:
    """Draws "general caution": an exclamation mark, wider at its top."""
    warning(pen)
    top = arc((50, 38.6), 4.4, 4.4, 180, 360)
    bottom = arc((50, 63.4), 2.4, 2.4, 0, 180)
    pen.poly([*top, *bottom], BLACK)
    pen.disc((50, 73.2), 4.6, BLACK)


def curve(pen: Pen, *, left: bool) -> None:
    """Draws "dangerous curve", swallow-tailed at its foot, pointed at its end."""
    warning(pen)
    pen.place((50, 0), scale=(1 if left else -1, 1))
    outer = bezier((1, 52.2), (9.5, 52.8), (14.2, 59), (14.4, 66))
    inner = bezier((5.4, 67), (5.4, 63.6), (3.6, 61.4), (0, 61.4))
    foot = [(14.4, 78), (9.9, 74.6), (5.4, 78)]
    pen.poly([(-13.4, 56.4), (-8.8, 51.8), *outer, *foot, *inner, (-8.8, 61)], BLACK)
    pen.place()


def double_curve(pen: Pen) -> None:
    """Draws "double curve", first to the left."""
    warning(pen)
    left = [(48.6, 40), (45, 43.4), (44.6, 64.6), (57, 60.6), (57, 76.5)]
    right = [(60.6, 73.4), (64.4, 76.5), (64.4, 53.5), (63.2, 52), (52, 56.2), (52, 42.6)]
    pen.poly([*left, *right], BLACK)


def bumpy(pen: Pen) -> None:
    """Draws "bumpy road": two humps."""
    warning(pen)
    humps = [
        *bezier((26, 74.5), (33, 74.5), (34, 65.5), (40, 65.5)),
        *bezier((40, 65.5), (45, 65.5), (46, 71), (50, 71)),
        *bezier((50, 71), (54, 71), (55, 65.5), (60, 65.5)),
        *bezier((60, 65.5), (66, 65.5), (67, 74.5), (74, 74.5)),
    ]
    pen.poly([*humps, (75.5, 78), (24.5, 78)], BLACK)


def slippery(pen: Pen) -> None:
    """Draws "slippery road": a tilted car over two wavy tracks."""
    warning(pen)
    skid = Pen(pen.tile)
    car(skid, 37, 65, 26, BLACK, WHITE)
    side = skid.image.width
    turned = skid.image.rotate(-9, center=(side * 0.5, side * 0.55))
    pen.image.alpha_composite(turned)
    for x, y in ((38.5, 67.0), (55.0, 68.0)):
        track = bezier((x + 4, y), (x - 9, y + 4.2), (x + 9, y + 3.8), (x - 3, y + 9.5))
        pen.stroke(track, 2.3, BLACK, round_ends=True)
        tail = bezier((x - 3, y + 9.5), (x + 1, y + 11.5), (x + 7, y + 8), (x + 11, y + 10))
        pen.stroke(tail, 2.0, BLACK, round_ends=True)


def narrows_right(pen: Pen) -> None:
    """Draws "road narrows on the right": the right edge steps towards the left."""
    warning(pen)
    pen.box(41, 41, 46, 78, BLACK)
    pen.poly([(53, 41), (58, 41), (58, 54), (64, 65), (64, 78), (59, 78), (59, 66), (53, 55)], BLACK)


def road_work(pen: Pen) -> None:
    """Draws "road work": a man with a shovel at a heap."""
    warning(pen)
    pen.disc((54, 44.2), 3.7, BLACK)
    pen.poly(smooth((44.5, 50), (49, 46.6), (53.5, 50), (50.5, 57), (45.5, 64), (40, 61)), BLACK)
    arm = [(52.2, 50.5), (53.8, 57.5), (47.5, 61.5)]
    pen.stroke(arm, 2.8, BLACK, round_ends=True)
    pen.stroke([(38, 57.5), (60.5, 72.5)], 1.5, BLACK)
    pen.stroke([(43.5, 62), (41, 69.5), (35.5, 77.5)], 4.2, BLACK)
    pen.stroke([(46, 62), (50, 68.5), (50.8, 78)], 4.2, BLACK)
    pen.stroke([(35.2, 77.2), (33.2, 76.2)], 2.0, BLACK)
    pen.poly([(51.5, 78.5), (61.5, 68), (66.5, 65.2), (69, 67), (77, 78.5)], BLACK)


def traffic_lights(pen: Pen) -> None:
    """Draws "traffic signals": red over yellow over green."""
    warning(pen)
    for y, colour in ((43.2, RED), (57.8, YELLOW), (72.4, GREEN)):
        pen.disc((50, y), 6.1, colour)


def pedestrian(pen: Pen) -> None:
    """Draws "pedestrians": a man walking to the left."""
    warning(pen)
    pen.disc((48.6, 37.4), 3.8, BLACK)
    pen.poly(smooth((45.6, 43.4), (52.6, 43.2), (54.4, 47), (52.6, 57.4), (45.8, 57.4)), BLACK)
    pen.stroke([(46, 45.2), (43, 51), (39.4, 56.6)], 3.4, BLACK, round_ends=True)
    pen.stroke([(53.6, 45.2), (59, 50.4), (58.4, 57)], 3.4, BLACK, round_ends=True)
    pen.stroke([(47.8, 59.6), (45.4, 67.4), (40.8, 78.4)], 4.8, BLACK)
    pen.stroke([(50.6, 59.6), (55.2, 67.6), (61, 78)], 4.8, BLACK)
    pen.box(45.6, 59, 53, 60.8, BLACK)


def _child(pen: Pen, origin: Point, size: float) -> None:
    """Draws a child running to the left, its head at the origin, 30 units tall at size 1."""
    pen.place(origin, scale=(size, size))
    pen.disc((0, 0), 3.9, BLACK)
    pen.poly(smooth((-3, 5.6), (2, 5.2), (4.6, 8), (4.2, 19), (-2, 19)), BLACK)
    pen.stroke([(-1.6, 6.8), (-6.2, 12), (-11.6, 12)], 3.1, BLACK, round_ends=True)
    pen.stroke([(2.8, 6.8), (8.4, 10.4), (11.6, 16.4)], 3.1, BLACK, round_ends=True)
    pen.stroke([(-0.2, 18), (0.6, 25), (-0.6, 34)], 4.0, BLACK)
    pen.stroke([(2.2, 17), (7.4, 24.4), (13.8, 28.4)], 4.0, BLACK, round_ends=True)
    pen.place()


def children(pen: Pen) -> None:
    """Draws "children crossing": a smaller and a larger child, running to the left."""
    warning(pen)
    _child(pen, (55.6, 44), 1.0)
    _child(pen, (36.6, 56), 0.68)


def bicycle(pen: Pen) -> None:
    """Draws "bicycles crossing"."""
    warning(pen)
    for x in (36.6, 63.4):
        pen.ring((x, 69.8), 8.1, 1.8, BLACK)
        pen.disc((x, 69.8), 1.3, BLACK)
    head, crank, seat = (43.4, 57.6), (50.2, 69.8), (55.8, 55)
    pen.stroke([(36.6, 69.8), head, (41.6, 52.4), (38, 52.4)], 1.8, BLACK, round_ends=True)
    pen.stroke([(41.6, 52.4), (47.4, 51.4)], 1.8, BLACK, round_ends=True)
    pen.stroke([head, crank, (63.4, 69.8)], 2.1, BLACK, round_ends=True)
    pen.stroke([crank, seat, (55, 51.8)], 2.1, BLACK, round_ends=True)
    pen.stroke([(43, 56.4), (55.8, 56.6), (63.4, 69.8)], 1.8, BLACK, round_ends=True)
    pen.stroke([(51.6, 51.6), (60, 51.2)], 2.4, BLACK, round_ends=True)
    pen.disc(crank, 2.4, BLACK)


def ice(pen: Pen) -> None:
    """Draws "beware of ice": a snowflake of six branched arms."""
    warning(pen)
    for k in range(6):
        pen.place((50, 61.4), turn=60 * k)
        pen.stroke([(0, 0), (0, -15.6)], 3.2, BLACK)
        for side in (-1, 1):
            pen.stroke([(0, -8.4), (side * 5.4, -13)], 2.8, BLACK)
    pen.place()


def deer(pen: Pen) -> None:
    """Draws "wild animals": a stag leaping to the left."""
    warning(pen)
    body = [(47.4, 52.5), (50, 56.6), (56, 58.4), (62, 60.6), (66, 64), (67, 67)]
    hind = [(69.6, 71), (70.4, 74), (74.4, 79.8), (72.6, 80.4), (67.4, 74.6), (65.8, 71.8)]
    belly = [(60.6, 70), (56.6, 67.6), (51, 67), (46.4, 65.2), (43.6, 60.2)]
    neck = [(42.8, 54.4), (38.4, 53.4), (37.8, 51.6), (42.2, 48.2), (45.6, 48.2)]
    pen.poly(body + hind + belly + neck, BLACK)
    pen.stroke([(47.4, 63.2), (41.2, 62.6), (38.8, 66.2)], 2.2, BLACK, round_ends=True)
    pen.stroke([(48.6, 65.4), (43.4, 66.8), (42.6, 69.8)], 2.2, BLACK, round_ends=True)
    pen.stroke([(63.4, 68), (65.4, 73.6), (70.2, 79.6)], 2.2, BLACK, round_ends=True)
    pen.stroke([(66, 63), (67.8, 64.8)], 1.8, BLACK, round_ends=True)
    pen.stroke([(44.6, 48.6), (47.6, 45.6), (47.8, 40.4)], 1.5, BLACK, round_ends=True)
    pen.stroke([(43.8, 48.4), (44.4, 43.4), (46, 40.6)], 1.3, BLACK, round_ends=True)
    pen.stroke([(47.6, 45.4), (50.6, 43.6)], 1.2, BLACK, round_ends=True)
    pen.stroke([(46, 49.6), (49, 49)], 1.6, BLACK, round_ends=True)
