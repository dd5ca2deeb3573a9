# SPDX-License-Identifier: Apache-2.0
"""Draws filled vector shapes on a supersampled canvas of 100 x 100 units, y downwards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from PIL import Image, ImageDraw

Point = tuple[float, float]
Colour = tuple[int, int, int]

WHITE: Colour = (244, 244, 240)
BLACK: Colour = (22, 22, 24)
GREY: Colour = (138, 142, 144)
RED: Colour = (190, 30, 45)
BLUE: Colour = (0, 84, 164)
YELLOW: Colour = (250, 178, 16)
GREEN: Colour = (0, 132, 92)

SUPERSAMPLE = 8


@dataclass
class Pen:
    """A canvas and the transform under which shapes are drawn on it.

    Attributes:
        tile: side of the finished picture in pixels.
        image: the RGBA canvas, `SUPERSAMPLE` times larger, transparent at first.
        origin: where the shape's (0, 0) lies, in units of the sign.
        turn: rotation about the origin in degrees, clockwise on screen.
        scale: size of one shape unit in sign units; a negative x scale mirrors.
    """

    tile: int
    image: Image.Image = field(init=False)
    origin: Point = (0.0, 0.0)
    turn: float = 0.0
    scale: Point = (1.0, 1.0)

    def __post_init__(self) -> None:
        side = self.tile * SUPERSAMPLE
        self.image = Image.new("RGBA", (side, side), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.image)

    def place(self, origin: Point = (0, 0), turn: float = 0.0, scale: Point = (1, 1)) -> None:
        """Sets the transform of the shapes that follow; without arguments, takes it away."""
        self.origin, self.turn, self.scale = origin, turn, scale

    def poly(self, points: Iterable[Point], colour: Colour) -> None:
        """Fills a polygon."""
        self._draw.polygon([self._pixel(p) for p in points], fill=(*colour, 255))

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fills the rectangle between two corners."""
        self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        """Fills a circle."""
        self.poly(arc(centre, radius, radius, 0, 360), colour)

    def ring(self, centre: Point, radius: float, width: float, colour: Colour) -> None:
        """Draws a circle's line of the given width, centred on the radius."""
        self.stroke(arc(centre, radius, radius, 0, 360), width, colour)

    def rounded(self, points: Sequence[Point], radius: float, colour: Colour) -> None:
        """Fills a convex polygon whose corners are rounded with one radius."""
        self.poly(round_corners(points, radius), colour)

    def stroke(self, points: Sequence[Point], width: float, colour: Colour, *, round_ends: bool = False) -> None:
        """Draws a line along the points: round joints, ends flat unless `round_ends`."""
        half = width / 2
        for (x0, y0), (x1, y1) in pairwise(points):
            length = math.hypot(x1 - x0, y1 - y0)
            if length == 0:
                continue
            nx, ny = -(y1 - y0) / length * half, (x1 - x0) / length * half
            quad = [(x0 + nx, y0 + ny), (x1 + nx, y1 + ny), (x1 - nx, y1 - ny), (x0 - nx, y0 - ny)]
            self.poly(quad, colour)
        for joint in points if round_ends else points[1:-1]:
            self.disc(joint, half, colour)

    def finish(self) -> Image.Image:
        """Gives the picture at its final size, alpha antialiased."""
        return self.image.resize((self.tile, self.tile), Image.Resampling.BOX)

    def _pixel(self, point: Point) -> Point:
        x, y = point[0] * self.scale[0], point[1] * self.scale[1]
        c, s = math.cos(math.radians(self.turn)), math.sin(math.radians(self.turn))
        unit = self.tile * SUPERSAMPLE / 100
        px, py = self.origin[0] + c * x - s * y, self.origin[1] + s * x + c * y
        return px * unit, py * unit


def arc(centre: Point, rx: float, ry: float, start: float, stop: float) -> list[Point]:
    """Gives points along an ellipse's arc; degrees, 0 is right, 90 is down."""
    steps = max(2, math.ceil(abs(stop - start) / 4))
    angles = [math.radians(start + (stop - start) * i / steps) for i in range(steps + 1)]
    return [(centre[0] + rx * math.cos(a), centre[1] + ry * math.sin(a)) for a in angles]


def bezier(*control: Point) -> list[Point]:
    """Gives points along the Bezier curve of any degree with these control points."""

    def at(t: float) -> Point:
        points = list(control)
        while len(points) > 1:
            points = [(a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t) for a, b in pairwise(points)]
        return points[0]

    return [at(i / 24) for i in range(25)]


def smooth(*points: Point) -> list[Point]:
    """Gives a closed, smooth outline through the points (Catmull-Rom)."""
    n, outline = len(points), []
    for i in range(n):
        p0, p1, p2, p3 = (points[(i + k) % n] for k in (-1, 0, 1, 2))
        inner = [((p2[k] - p0[k]) / 6 + p1[k], p2[k] - (p3[k] - p1[k]) / 6) for k in (0, 1)]
        outline += bezier(p1, (inner[0][0], inner[1][0]), (inner[0][1], inner[1][1]), p2)[:-1]
    return outline


def round_corners(points: Sequence[Point], radius: float) -> list[Point]:
    """Gives a convex polygon's outline with every corner replaced by an arc of that radius."""
    outline: list[Point] = []
    for i, corner in enumerate(points):
        ends = []
        for other in (points[i - 1], points[(i + 1) % len(points)]):
            dx, dy = other[0] - corner[0], other[1] - corner[1]
            length = math.hypot(dx, dy)
            ends.append((dx / length, dy / length))
        (ax, ay), (bx, by) = ends
        half = math.acos(max(-1.0, min(1.0, ax * bx + ay * by))) / 2
        mx, my = ax + bx, ay + by
        reach = radius / math.sin(half) / math.hypot(mx, my)
        centre = (corner[0] + mx * reach, corner[1] + my * reach)
        tangent = radius / math.tan(half)
        angles = [math.atan2(corner[1] + y * tangent - centre[1], corner[0] + x * tangent - centre[0]) for x, y in ends]
        sweep = (angles[1] - angles[0] + math.pi) % (2 * math.pi) - math.pi
        start = math.degrees(angles[0])
        outline += arc(centre, radius, radius, start, start + math.degrees(sweep))
    return outline


def regular(centre: Point, radius: float, corners: int, first: float) -> list[Point]:
    """Gives a regular polygon's corners; `first` is the first corner's angle in degrees."""
    step = 360 / corners
    angles = [math.radians(first + step * i) for i in range(corners)]
    return [(centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in angles]
