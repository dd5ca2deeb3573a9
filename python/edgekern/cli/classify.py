# SPDX-License-Identifier: Apache-2.0
"""`edgekern classify`: names the sign in each picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekern.cli.pictures import parse_box, read_picture
from edgekern.cli.screen import Json, print_json, print_table
from edgekern.model import load
from edgekern.signs import SignClassifier

CHANNELS = ("rgb", "bgr", "gray")


def classify(
    files: Annotated[list[Path], typer.Argument(help="Pictures: JPEG, PNG, WebP, PPM, BMP.")],
    box: Annotated[str, typer.Option(help="x,y,width,height in pixels; the whole picture if not given.")] = "",
    channels: Annotated[str, typer.Option(help="Order of the pictures' channels: rgb, bgr or gray.")] = "rgb",
    model: Annotated[Path | None, typer.Option(help="A compiled classifier; the bundled one if not given.")] = None,
    as_json: Json = False,
) -> None:
    """Name the sign in each picture, with confidence and margin."""
    if channels not in CHANNELS:
        raise typer.BadParameter(f"channels {channels!r} is not one of {', '.join(CHANNELS)}")
    region = parse_box(box) if box else None
    classifier = SignClassifier(load(model) if model else None)
    found = []
    for file in files:
        picture = read_picture(file, channels=channels)
        if region:
            prediction = classifier.classify_regions(picture, [region], channels=channels)[0]
        else:
            prediction = classifier.classify(picture, channels=channels)
        found.append((file, prediction))
    if as_json:
        print_json(
            [
                {
                    "file": str(file),
                    "label": p.label,
                    "index": p.index,
                    "confidence": p.confidence,
                    "margin": p.margin,
                    "abstained": p.abstained,
                }
                for file, p in found
            ]
        )
        return
    rows = (
        (str(f), p.label, f"{p.confidence:.1%}", f"{p.margin:.1%}", "unsure" if p.abstained else "") for f, p in found
    )
    print_table("", ("file", "label", "confidence", "margin", ""), rows, left=2)
