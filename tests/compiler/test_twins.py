# SPDX-License-Identifier: Apache-2.0
"""Float networks whose authors also published an int8 form: ours is nearer to the float one.

Pictures are whole frames of traffic signs, calibration and judgement from different tracks. The keyword and anomaly
networks have no data here: their inputs are drawn evenly from the range that the int8 form's input can hold.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekern
from edgekern.graph.run import evaluate
from edgekern.importers.tflite import import_tflite

pytestmark = [pytest.mark.data, pytest.mark.slow]

CALIBRATION, JUDGED = 200, 300
TWINS = {  # float form, int8 form, scale of a camera byte
    "person": ("vww_96_float", "vww_96_int8", 1 / 255),
    "cifar": ("pretrainedResnet", "pretrainedResnet_quant", 1.0),
    "keywords": ("kws_ref_model_float32", "kws_ref_model", None),
    "anomaly": ("ad01_fp32", "ad01_int8", None),
}


@lru_cache(maxsize=1)
def pictures(data_dir: Path) -> tuple[list[Any], list[Any]]:
    """Frames of every second track to calibrate with, of the others to judge."""
    from PIL import Image

    from edgekern.cli.pictures import Folder

    folder = data_dir / "gtsrb"
    with (folder / "train.csv").open() as table:
        rows = list(csv.DictReader(table))
    tracks = sorted({(row["label"], row["track"]) for row in rows})
    first = set(tracks[::2])
    halves: list[list[str]] = [[], []]
    for row in rows:
        halves[(row["label"], row["track"]) not in first].append(row["file"])
    draw = np.random.default_rng(0)
    wanted = [
        set(draw.choice(half, count, replace=False))
        for half, count in zip(halves, (CALIBRATION, JUDGED), strict=True)
    ]  # fmt: skip
    with Folder(folder / "train.tar") as archive:
        calibration, judged = (
            [Image.fromarray(archive.read(name)) for name in archive.names if name in names] for names in wanted
        )
    return calibration, judged


def samples(data_dir: Path, shape: tuple[int, ...], scale: float | None, quant: Any) -> tuple[Any, Any]:
    """float32 inputs to calibrate with, and to judge."""
    if scale is not None:
        halves = pictures(data_dir)
        made = [np.stack([np.asarray(p.resize((shape[1], shape[0]))) for p in half]) for half in halves]
        return tuple((half * scale).astype(np.float32) for half in made)  # type: ignore[return-value]
    draw = np.random.default_rng(1)
    ends = [(q - quant.zero_point) * quant.scale for q in (-128, 127)]
    return tuple(draw.uniform(*ends, (n, *shape)).astype(np.float32) for n in (CALIBRATION, JUDGED))  # type: ignore[return-value]


def sqnr(wanted: Any, found: Any) -> float:
    return float(10 * np.log10((wanted.astype(float) ** 2).sum() / ((wanted.astype(float) - found) ** 2).sum()))


@pytest.mark.parametrize("name", TWINS)
def test_nearer_to_the_float_form_than_its_authors_int8(name: str, data_dir: Path) -> None:
    real, coded, scale = TWINS[name]
    folder = data_dir / "models" / "mlperf_tiny"
    source = (folder / f"{real}.tflite").read_bytes()
    theirs = edgekern.compile(folder / f"{coded}.tflite")
    port = theirs.inputs[0]
    calibration, judged = samples(data_dir, port.shape[1:], scale, port)
    graph = import_tflite(source)
    wanted = evaluate(graph, {graph.inputs[0].name: judged})[graph.outputs[0].name]
    ours = edgekern.compile(source, calibration=calibration).run(judged)
    bytes_in = np.clip(np.rint(judged / port.scale) + port.zero_point, -128, 127).astype(np.int8)
    end = theirs.outputs[0]
    theirs_out = (theirs.run(bytes_in).astype(float) - end.zero_point) * end.scale
    figures = [(sqnr(wanted, y), float((wanted.argmax(1) == y.argmax(1)).mean())) for y in (ours, theirs_out)]
    drawn = "frames of traffic signs" if scale is not None else "drawn evenly from the range of the int8 form's input"
    print(f"\n{name}: inputs are {drawn}")
    for whose, (noise, same) in zip(("ours", "theirs"), figures, strict=True):
        print(f"\n{name}, {whose}: SQNR {noise:.1f} dB, same class {same:.1%}")
    assert figures[0][0] >= figures[1][0]
    assert figures[0][1] >= figures[1][1]
