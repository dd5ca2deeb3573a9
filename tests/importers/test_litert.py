# SPDX-License-Identifier: Apache-2.0
"""8-bit TFLite networks beside LiteRT: the bytes of every tensor, whole networks and layer by layer.

Inputs are whole frames of traffic signs, a cat and a bird where a network takes pictures, its authors' spectrograms for
the wake word, and random bytes everywhere. Two planted faults, a constant answer and a swapped layer, are caught.
"""

from __future__ import annotations

import csv
from collections import Counter
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
from edgekern.ops.softmax import Softmax
from edgekern.ops.table import Table

pytestmark = [pytest.mark.data, pytest.mark.peer, pytest.mark.slow]

NETS = {  # and the least number of places of the greatest output that must occur, over all inputs
    "mlperf_tiny/ad01_int8": 10,
    "mlperf_tiny/kws_ref_model": 2,
    "mlperf_tiny/pretrainedResnet_large_int8": 10,
    "mlperf_tiny/pretrainedResnet_quant": 10,
    "mlperf_tiny/str_ww_ref_model": 3,
    "mlperf_tiny/vww_96_int8": 2,
    "coral/mobilenet_v1_0.25_128_quant": 50,
    "coral/mobilenet_v2_1.0_224_quant": 50,
    "coral/tf2_mobilenet_v2_1.0_224_ptq": 50,
}
FRAMES, RANDOM = 300, 200
NEAR = (Softmax, Table)  # operators that may be one step off; what they are is printed


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
    """A cat, a bird and whole frames of traffic signs."""
    from PIL import Image

    from edgekern.cli.pictures import Folder

    folder = data_dir / "gtsrb"
    with (folder / "train.csv").open() as table:
        names = [row["file"] for row in csv.DictReader(table)]
    wanted = set(names[:: len(names) // FRAMES][:FRAMES])
    found = [Image.open(data_dir / "models/coral" / name).convert("RGB") for name in ("cat.bmp", "bird.bmp")]
    with Folder(folder / "train.tar") as archive:
        found += [Image.fromarray(archive.read(name)) for name in archive.names if name in wanted]
    assert len(found) == FRAMES + 2
    return tuple(found)


def inputs(peer: Peer, data_dir: Path, real: int | None = None, random: int = RANDOM) -> Iterator[tuple[bool, Any]]:
    """(whether it is a real one, the input in the net's own type): pictures or spectrograms, then random bytes."""
    shape, dtype = tuple(peer.input["shape"]), peer.input["dtype"]
    low = np.iinfo(dtype).min
    if len(shape) == 4 and shape[3] == 3:
        for picture in pictures(data_dir)[:real]:
            pixels = np.asarray(picture.resize((shape[2], shape[1])))
            yield True, (pixels.astype(np.int16) + low).astype(dtype)[None]
    if shape == (1, 30, 1, 40):
        scale, zero = peer.input["quantization"]
        spectrograms = np.load(data_dir / "models/mlperf_tiny/calibration_samples.npz")["specs"]
        for values in spectrograms[:real]:
            yield True, np.clip(np.rint(values / scale) + zero, low, low + 255).astype(dtype)[None]
    draw = np.random.default_rng(1)
    for _ in range(random):
        yield False, draw.integers(low, low + 256, shape).astype(dtype)


def differences(traced: dict[str, Any], peer: Peer) -> dict[str, tuple[int, int]]:
    """Bytes that differ and the largest difference, by tensor; every activation of the file is compared."""
    gaps = {}
    for name, values in traced.items():
        if name in peer.tensors:
            wanted = peer.tensor(name)
            assert values.size == wanted.size, name
            if not np.array_equal(values.ravel(), wanted.ravel()):
                apart = np.abs(values.ravel().astype(int) - wanted.ravel())
                gaps[name] = (int((apart != 0).sum()), int(apart.max()))
    return gaps


@pytest.mark.parametrize("net", NETS)
def test_every_tensor_has_litert_s_bytes(net: str, data_dir: Path) -> None:
    """On every input. A constant answer is another input's: it never passes, however well it does on the output."""
    path = data_dir / "models" / f"{net}.tflite"
    peer, (artifact, _) = Peer(path), build(path)
    model = edgekern.Model.from_bytes(write(artifact))
    classes: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
    constant: dict[str, Any] = {}
    same = passed = 0
    for real, x in inputs(peer, data_dir):
        wanted, found, traced = peer.run(x), model.run(x), model.trace(x)
        assert differences(traced, peer) == {}
        assert np.array_equal(found, wanted)
        assert found.argmax() == wanted.argmax()
        classes[real][int(found.argmax())] += 1
        if not real:
            constant = constant or {**traced, "the answer": found}
            same += int((np.abs(constant["the answer"].astype(int) - wanted) <= 1).all())
            passed += not differences({k: v for k, v in constant.items() if k in traced}, peer)
    compared = len(traced.keys() & peer.tensors.keys())
    occur = len(classes[True] | classes[False])
    print(f"\n{net}: {compared} tensors equal on {classes[True].total()} real and {RANDOM} random inputs")
    print(f"{len(classes[True])} classes occur on the real ones, {len(classes[False])} on the random ones")
    print(f"a constant answer is within one step on {same / RANDOM:.1%} of the random inputs, passes on {passed}")
    assert compared == len(traced) == len(artifact.graph.nodes) + 1  # each node's result, and the input
    assert passed == 1  # the input it is the answer to
    assert occur >= NETS[net]


@pytest.mark.parametrize("net", NETS)
def test_each_operator_of_litert_s_own_input_gives_its_bytes(net: str, data_dir: Path) -> None:
    """Layer by layer, the NumPy reference: LiteRT keeps a tensor by the name of each of ours."""
    path = data_dir / "models" / f"{net}.tflite"
    peer = Peer(path)
    graph = build(path)[0].graph
    compared: Counter[str] = Counter()
    apart: Counter[str] = Counter()
    rounds = 0
    for _, x in inputs(peer, data_dir, real=3, random=3):
        peer.run(x)
        rounds += 1
        for node in graph.nodes:
            types = [graph.types[name] for name in node.inputs]
            given = [peer.tensor(name).reshape(t.shape) for name, t in zip(node.inputs, types, strict=True)]
            constants = [graph.constants[name] for name in node.constants]
            made = node.op.reference(given, constants, types, graph.types[node.output])
            gap = np.abs(made.ravel().astype(int) - peer.tensor(node.output).ravel())
            kind = type(node.op).__name__
            compared[kind] += made.size
            apart[kind] += int((gap != 0).sum())
            assert gap.max() <= isinstance(node.op, NEAR), (kind, node.output)
    print(f"\n{net}: bytes compared on {rounds} inputs {dict(compared)}, one step apart {dict(+apart) or 'none'}")
    assert rounds >= 3


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
    for _, x in inputs(peer, data_dir, random=20):
        wanted = peer.run(x)
        scores["swapped"].append(sum(count for count, _ in differences(wrong.trace(x), peer).values()))
        constant = right.run(x) if constant is None else constant
        scores["constant"].append(int((constant != wanted).sum()))
    print(f"\nbytes that differ per input: {scores}")
    assert min(scores["swapped"]) > 1000
    assert max(scores["constant"][1:]) > 0
