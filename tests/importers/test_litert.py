# SPDX-License-Identifier: Apache-2.0
"""8-bit TFLite networks beside LiteRT: the bytes of every tensor, and what two planted faults would score."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekern
from edgekern.artifact import write
from edgekern.compiler import build

pytestmark = [pytest.mark.data, pytest.mark.peer, pytest.mark.slow]

NETS = (
    "mlperf_tiny/ad01_int8",
    "mlperf_tiny/kws_ref_model",
    "mlperf_tiny/pretrainedResnet_large_int8",
    "mlperf_tiny/pretrainedResnet_quant",
    "mlperf_tiny/str_ww_ref_model",
    "mlperf_tiny/vww_96_int8",
    "coral/mobilenet_v1_0.25_128_quant",
    "coral/mobilenet_v2_1.0_224_quant",
    "coral/tf2_mobilenet_v2_1.0_224_ptq",
)
FRAMES, RANDOM = 20, 20


class Peer:
    """LiteRT on one file, with every tensor kept."""

    def __init__(self, path: Path) -> None:
        litert = pytest.importorskip("ai_edge_litert.interpreter", reason="needs pip install ai-edge-litert")
        with pytest.warns(UserWarning, match="preserve_all_tensors"):
            self.net = litert.Interpreter(str(path), experimental_preserve_all_tensors=True, num_threads=1)
        self.net.allocate_tensors()
        (self.input,) = self.net.get_input_details()
        (self.output,) = self.net.get_output_details()
        self.tensors = {d["name"]: d["index"] for d in self.net.get_tensor_details()}

    def run(self, x: Any) -> Any:
        self.net.set_tensor(self.input["index"], x)
        self.net.invoke()
        return self.net.get_tensor(self.output["index"])

    def tensor(self, name: str) -> Any:
        """int8, as it lies inside edgekern."""
        values = self.net.get_tensor(self.tensors[name])
        return (values ^ 0x80).view(np.int8) if values.dtype == np.uint8 else values


@lru_cache(maxsize=1)
def pictures(data_dir: Path) -> tuple[Any, ...]:
    """Whole frames of traffic signs, a cat and a bird."""
    from PIL import Image

    from edgekern.cli.pictures import Folder

    folder = data_dir / "gtsrb"
    with (folder / "train.csv").open() as table:
        names = [row["file"] for row in csv.DictReader(table)]
    wanted = set(names[:: len(names) // (FRAMES - 2)][: FRAMES - 2])
    found = [Image.open(data_dir / "models/coral" / name).convert("RGB") for name in ("cat.bmp", "bird.bmp")]
    with Folder(folder / "train.tar") as archive:
        found += [Image.fromarray(archive.read(name)) for name in archive.names if name in wanted]
    assert len(found) == FRAMES
    return tuple(found)


def inputs(peer: Peer, data_dir: Path) -> Iterator[Any]:
    """Pictures for nets that take them, and random bytes, in the net's own type."""
    shape, dtype = tuple(peer.input["shape"]), peer.input["dtype"]
    low = np.iinfo(dtype).min
    if len(shape) == 4 and shape[3] == 3:
        for picture in pictures(data_dir):
            pixels = np.asarray(picture.resize((shape[2], shape[1])))
            yield (pixels.astype(np.int16) + low).astype(dtype)[None]
    draw = np.random.default_rng(1)
    for _ in range(RANDOM):
        yield draw.integers(low, low + 256, shape).astype(dtype)


def differences(model: edgekern.Model, peer: Peer, x: Any) -> dict[str, tuple[int, int]]:
    """Bytes that differ and the largest difference, by tensor; every activation of the file is compared."""
    wanted, traced = peer.run(x), model.trace(x)
    found = {"the output": (model.run(x), wanted)}
    found |= {name: (values, peer.tensor(name)) for name, values in traced.items() if name in peer.tensors}
    gaps = {name: np.abs(a.ravel().astype(int) - b.ravel().astype(int)) for name, (a, b) in found.items()}
    return {name: (int((gap != 0).sum()), int(gap.max())) for name, gap in gaps.items()}


@pytest.mark.parametrize("net", NETS)
def test_every_tensor_has_litert_s_bytes(net: str, data_dir: Path) -> None:
    path = data_dir / "models" / f"{net}.tflite"
    peer, model = Peer(path), edgekern.compile(path)
    compared, classes = set(), set()
    for x in inputs(peer, data_dir):
        gaps = differences(model, peer, x)
        compared |= gaps.keys()
        classes.add(int(model.run(x).argmax()))
        assert {name: gap for name, gap in gaps.items() if gap[0]} == {}
    made = {op.name for op in model.profile(rounds=1)}
    print(f"\n{net}: {len(compared) - 1} tensors equal, {len(classes)} classes occur")
    assert len(compared) - 1 >= len(made)  # each operator's result, and the input


def test_a_swapped_layer_and_a_constant_answer_fail(data_dir: Path) -> None:
    path = data_dir / "models" / "mlperf_tiny/kws_ref_model.tflite"
    peer = Peer(path)
    artifact, _ = build(path)
    graph = artifact.graph
    by_shape: dict[Any, list[str]] = {}
    for node in graph.nodes:
        for name in node.constants[:1]:
            by_shape.setdefault(graph.constants[name].shape, []).append(name)
    first, second, *_ = next(names for names in by_shape.values() if len(names) > 1)
    swapped = {**graph.constants, first: graph.constants[second], second: graph.constants[first]}
    wrong = edgekern.Model.from_bytes(
        write(replace(artifact, graph=replace(graph, constants=swapped), known_answer=None))
    )
    right = edgekern.compile(path)
    scores = {"swapped": [], "constant": []}
    constant = None
    for x in inputs(peer, data_dir):
        gaps = differences(wrong, peer, x)
        scores["swapped"].append(sum(count for count, _ in gaps.values()))
        constant = right.run(x) if constant is None else constant
        scores["constant"].append(int((constant != peer.run(x)).sum()))
    print(f"\nbytes that differ per input: {scores}")
    assert min(scores["swapped"]) > 1000
    assert max(scores["constant"][1:]) > 0
