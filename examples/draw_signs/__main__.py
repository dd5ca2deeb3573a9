# SPDX-License-Identifier: Apache-2.0
"""Writes the demo's sign atlas: `python -m examples.draw_signs [OUT_DIR]`, from the checkout.

The drawings are made from shapes alone, without a font and without a pixel of any photograph.
They show the product's demo and are never used to train or to choose a model.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image

from . import discs, plates
from .pen import Pen

TILE = 128
COLUMNS = 7
DEFAULT_OUT = Path(__file__).parents[2] / "python" / "edgekern" / "signs" / "demo"

SIGNS: tuple[tuple[str, Callable[[Pen], None]], ...] = (
    ("Speed limit 20", partial(discs.speed_limit, number="20")),
    ("Speed limit 30", partial(discs.speed_limit, number="30")),
    ("Speed limit 50", partial(discs.speed_limit, number="50")),
    ("Speed limit 60", partial(discs.speed_limit, number="60")),
    ("Speed limit 70", partial(discs.speed_limit, number="70")),
    ("Speed limit 80", partial(discs.speed_limit, number="80")),
    ("End of speed limit 80", discs.end_speed_80),
    ("Speed limit 100", partial(discs.speed_limit, number="100")),
    ("Speed limit 120", partial(discs.speed_limit, number="120")),
    ("No passing", discs.no_passing),
    ("No passing over 3.5 t", discs.no_passing_trucks),
    ("Right of way at the next crossing", plates.right_of_way),
    ("Priority road", plates.priority_road),
    ("Yield", plates.give_way),
    ("Stop", plates.stop),
    ("No vehicles", discs.no_vehicles),
    ("Over 3.5 t prohibited", discs.no_trucks),
    ("No entry", discs.no_entry),
    ("General caution", plates.caution),
    ("Dangerous curve to the left", partial(plates.curve, left=True)),
    ("Dangerous curve to the right", partial(plates.curve, left=False)),
    ("Double curve", plates.double_curve),
    ("Bumpy road", plates.bumpy),
    ("Slippery road", plates.slippery),
    ("Road narrows on the right", plates.narrows_right),
    ("Road work", plates.road_work),
    ("Traffic signals", plates.traffic_lights),
    ("Pedestrians", plates.pedestrian),
    ("Children crossing", plates.children),
    ("Bicycles crossing", plates.bicycle),
    ("Beware of ice or snow", plates.ice),
    ("Wild animals crossing", plates.deer),
    ("End of all limits", discs.end_all),
    ("Turn right ahead", partial(discs.turn_ahead, left=False)),
    ("Turn left ahead", partial(discs.turn_ahead, left=True)),
    ("Ahead only", discs.ahead),
    ("Straight or right", partial(discs.ahead_or_turn, left=False)),
    ("Straight or left", partial(discs.ahead_or_turn, left=True)),
    ("Keep right", partial(discs.keep, left=False)),
    ("Keep left", partial(discs.keep, left=True)),
    ("Roundabout", discs.roundabout),
    ("End of no passing", discs.end_no_passing),
    ("End of no passing over 3.5 t", discs.end_no_passing_trucks),
)


def draw(label: int) -> Image.Image:
    """Draws one sign: an RGBA picture of `TILE` pixels a side, transparent outside the sign."""
    pen = Pen(TILE)
    SIGNS[label][1](pen)
    return pen.finish()


def draw_atlas() -> Image.Image:
    """Draws all signs into one picture, row by row in the order of their labels."""
    rows = -(-len(SIGNS) // COLUMNS)
    atlas = Image.new("RGBA", (COLUMNS * TILE, rows * TILE), (0, 0, 0, 0))
    for label in range(len(SIGNS)):
        atlas.paste(draw(label), (label % COLUMNS * TILE, label // COLUMNS * TILE))
    return atlas


def main() -> None:
    """Writes `signs.png` and `signs.json` into the folder given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path, default=DEFAULT_OUT)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    draw_atlas().save(out / "signs.png", optimize=True)
    index = {"tile": TILE, "columns": COLUMNS, "names": [name for name, _ in SIGNS]}
    (out / "signs.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
