"""A network whose channels are scaled by 2^-4 to 2^4 keeps its accuracy; what a plain quantiser does to it is told."""

from __future__ import annotations

import csv
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

from hard_nets import sign_net

import edgekern
from edgekern.artifact import read
from edgekern.calibrate import integer
from edgekern.calibrate.ranges import observe, ranges
from edgekern.compiler import optimise
from edgekern.graph.graph import Graph
from edgekern.graph.run import evaluate
from edgekern.graph.verify import verify
from edgekern.importers.onnx import import_onnx
from edgekern.ops import Conv2D, DepthwiseConv2D
from edgekern.passes import quantise

CALIBRATION, JUDGED = 256, 1500
NAIVE_LOSES, MOST_LOST = 0.2, 0.003  # of all pictures


@lru_cache(maxsize=1)
def crops(data_dir: Path) -> tuple[Any, Any, Any]:
    """Signs as the product cuts them: of every second track to calibrate with, of the others to judge, their labels."""
    from edgekern.cli.pictures import Folder

    pre = read(resources.files("edgekern.signs").joinpath("signs.ekm").read_bytes()).preprocess
    assert pre is not None
    with (data_dir / "gtsrb" / "train.csv").open() as table:
        rows = {row["file"]: row for row in csv.DictReader(table)}
    tracks = sorted({(row["label"], row["track"]) for row in rows.values()})
    halves: list[list[str]] = [[], []]
    place = {track: number % 2 for number, track in enumerate(tracks)}
    for row in rows.values():
        halves[place[row["label"], row["track"]]].append(row["file"])
    draw = np.random.default_rng(0)
    wanted = [set(draw.choice(half, n, replace=False)) for half, n in zip(halves, (CALIBRATION, JUDGED), strict=True)]
    found: list[list[Any]] = [[], []]
    labels = []
    with Folder(data_dir / "gtsrb" / "train.tar") as archive:
        for name in archive.names:
            for side in (0, 1):
                if name in wanted[side]:
                    x1, y1, x2, y2 = (int(rows[name][f"roi_{end}"]) for end in ("x1", "y1", "x2", "y2"))
                    found[side].append(pre.crop(archive.read(name), (x1, y1, x2 - x1 + 1, y2 - y1 + 1)))
                    labels += [int(rows[name]["label"])] * side
    return np.stack(found[0]), np.stack(found[1]), np.array(labels)


def tensors(images: Any) -> Any:
    return np.ascontiguousarray((images / np.float32(255)).transpose(0, 3, 1, 2))


def naive(graph: Graph, x: Any) -> Graph:
    """One scale for all weights of a layer, ranges from end to end, nothing corrected."""
    scales = {}
    for node in graph.nodes:
        if isinstance(node.op, (Conv2D, DepthwiseConv2D)):
            weights, bias = (graph.constants[name] for name in node.constants)
            scales[node.output] = np.full(len(bias), np.abs(weights).max() / 127, np.float32)
    return verify(quantise.run(graph, ranges(observe(graph, [{"image": x}]), "minmax"), scales))


def top_1(run: Any, images: Any, labels: Any) -> float:
    parts = [run(images[i : i + 64]).argmax(axis=1) for i in range(0, len(images), 64)]
    return float((np.concatenate(parts) == labels).mean())


def test_the_report_tells_what_was_equalised() -> None:
    """Frames of noise are enough to see how channels are scaled."""
    source, noise = sign_net(seed=0).SerializeToString(), np.random.default_rng(0).random((4, 3, 48, 48), np.float32)
    models = [edgekern.compile(source, calibration=noise, equalise=choice) for choice in (True, False)]
    told = [[c for c in m.report.changes if c.startswith("equalised: ")] for m in models if m.report is not None]
    assert told == [["equalised: 37 tensors"], []]
    facts = [model.provenance["equalise"] for model in models]
    assert facts == [True, False]


@pytest.mark.data
@pytest.mark.slow
def test_badly_scaled_channels_cost_nothing(data_dir: Path) -> None:
    calibration, judged, labels = crops(data_dir)
    source = sign_net(seed=0).SerializeToString()
    graph, _ = optimise(verify(import_onnx(source)))
    out = graph.outputs[0].name
    rough = naive(graph, tensors(calibration))
    pre = edgekern.Preprocess(judged.shape[1:3], layout="nchw")
    figures = {
        "float": top_1(lambda part: evaluate(graph, {"image": tensors(part)})[out], judged, labels),
        "naive": top_1(lambda part: integer.run(rough, {"image": tensors(part)})[out], judged, labels),
    }
    for name, choice in (("default", {}), ("not equalised", {"equalise": False})):
        model = edgekern.compile(source, preprocess=pre, calibration=calibration, **choice)
        figures[name] = top_1(model.run, judged, labels)
    print("\n" + ", ".join(f"{name} {share:.2%}" for name, share in figures.items()))
    assert figures["float"] > 0.98
    assert figures["naive"] < figures["float"] - NAIVE_LOSES
    assert figures["default"] >= figures["float"] - MOST_LOST
    assert figures["not equalised"] < figures["float"] - NAIVE_LOSES  # it is equalisation that keeps it
