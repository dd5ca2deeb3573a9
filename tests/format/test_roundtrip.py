# SPDX-License-Identifier: Apache-2.0
"""Writer and reader: an artifact survives the file, the same artifact gives the same bytes, and what the format has no
place for is refused when it is written, not when it is read.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import edgekern
from edgekern.artifact import Artifact, Decision, KnownAnswer, layout, read, write
from edgekern.errors import CompileError, CorruptModelError, SelfTestError, VersionError
from edgekern.graph import Graph, Node, Port, run
from edgekern.model import Model
from edgekern.ops import Conv2D, Mean, Reshape, Softmax
from edgekern.preprocess import Preprocess
from edgekern.types import DType, Quant, TensorType


def small_graph() -> Graph:
    """conv -> mean -> flatten -> softmax over a picture of 6 x 5, with NCHW float32 outside."""
    draw = np.random.default_rng(7)
    types = {
        "picture": TensorType((1, 6, 5, 3), DType.INT8, Quant(1 / 64, -3)),
        "map": TensorType((1, 3, 3, 4), DType.INT8, Quant(0.03125, 5)),
        "means": TensorType((1, 1, 1, 4), DType.INT8, Quant(0.0078125, -60)),
        "logits": TensorType((1, 4), DType.INT8, Quant(0.0078125, -60)),
        "p": TensorType((1, 4)),
    }
    weights = draw.normal(size=(4, 3, 3, 3)).astype(np.float32)
    bias = draw.normal(size=4).astype(np.float32)
    conv, (w, b, m) = Conv2D((3, 3), (2, 2), pads=(1, 1, 1, 1), clip=(0, 3)).quantise(
        [types["picture"]], types["map"], [weights, bias]
    )
    mean, _ = Mean().quantise([types["map"]], types["means"], [])
    softmax, (table,) = Softmax(1.25).quantise([types["logits"]], types["p"], [])
    nodes = (
        Node(conv, ("picture",), ("w", "b", "m"), "map", "layers/0 (größer)"),
        Node(mean, ("map",), (), "means", "mean"),
        Node(Reshape((4,)), ("means",), (), "logits", "flatten"),
        Node(softmax, ("logits",), ("table",), "p", "softmax"),
    )
    inputs = (Port("image", "picture", DType.FLOAT32, (0, 3, 1, 2)),)
    outputs = (Port("probabilities", "p", DType.FLOAT32, (0, 1)), Port("logits", "logits", DType.INT8, (0, 1)))
    return Graph(inputs, outputs, nodes, types, {"w": w, "b": b, "m": m, "table": table})


def full_artifact() -> Artifact:
    graph = small_graph()
    return Artifact(
        graph,
        Preprocess((6, 5), mean=(0.1, 0.2, 0.3), std=(1.0, 0.5, 0.25), layout="nchw", margin=20),
        ("stop", "Vorfahrt gewähren", "停", ""),
        Decision(0.5, 1.25),
        KnownAnswer.random(graph),
        {"source": {"sha256": "ab" * 32}, "edgekern": "0.1.0", "größe": [1, 2.5, None, True]},
    )


def assert_same_graph(a: Graph, b: Graph) -> None:
    """Equal but for the names of constants, which a file does not keep."""
    assert (a.inputs, a.outputs, a.types) == (b.inputs, b.outputs, b.types)
    for x, y in zip(a.nodes, b.nodes, strict=True):
        assert (x.op, x.inputs, x.output, x.name) == (y.op, y.inputs, y.output, y.name)
        for p, q in zip(x.constants, y.constants, strict=True):
            np.testing.assert_array_equal(a.constants[p], b.constants[q], strict=True)


def test_everything_survives() -> None:
    artifact = full_artifact()
    again = read(write(artifact))
    assert_same_graph(artifact.graph, again.graph)
    assert again.preprocess == artifact.preprocess
    assert (again.labels, again.decision) == (artifact.labels, artifact.decision)
    assert again.provenance == artifact.provenance
    assert artifact.known_answer
    assert again.known_answer
    for name, x in artifact.known_answer.inputs.items():
        np.testing.assert_array_equal(again.known_answer.inputs[name], x, strict=True)
    for name, y in artifact.known_answer.outputs.items():
        np.testing.assert_array_equal(again.known_answer.outputs[name], y, strict=True)


def test_what_was_read_writes_the_same_bytes() -> None:
    data = write(full_artifact())
    assert write(read(data)) == data


def test_a_bare_graph_is_enough() -> None:
    artifact = Artifact(small_graph())
    again = read(write(artifact))
    assert_same_graph(artifact.graph, again.graph)
    assert (again.preprocess, again.labels, again.decision, again.known_answer) == (None, (), None, None)
    assert again.provenance == {}


def test_the_same_artifact_gives_the_same_bytes_in_another_process() -> None:
    script = "import hashlib, test_roundtrip as t; print(hashlib.sha256(t.write(t.full_artifact())).hexdigest())"
    made = {hashlib.sha256(write(full_artifact())).hexdigest()}
    for seed in ("0", "1", "4711"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        other = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
        made.add(other.stdout.strip())
    assert len(made) == 1


def test_the_engine_reads_what_was_written_and_its_self_test_passes() -> None:
    artifact = full_artifact()
    model = edgekern.Model.from_bytes(write(artifact))
    x = np.random.default_rng(3).normal(size=(4, 3, 6, 5)).astype(np.float32)
    made, want = model.run(x), run.reference(artifact.graph, {"image": x})
    assert set(made) == set(want)
    for name, y in want.items():
        np.testing.assert_array_equal(made[name], y, strict=True)


@pytest.mark.parametrize("elements", [1, 7, 45, 89, 90])
def test_a_repeating_frame_is_held_in_little(elements: int) -> None:
    artifact = full_artifact()
    assert artifact.known_answer
    (name, x), *_ = artifact.known_answer.inputs.items()
    frame = np.resize(np.arange(elements).astype(x.dtype), x.shape)
    answer = KnownAnswer.of(artifact.graph, {name: frame})
    small, large = write(replace(artifact, known_answer=answer)), write(artifact)
    saved = (x.size - elements) * x.itemsize
    assert len(large) - len(small) in range(saved - layout.SECTION_ALIGN, saved + layout.SECTION_ALIGN)
    again = read(small).known_answer
    assert again
    np.testing.assert_array_equal(again.inputs[name], frame, strict=True)
    edgekern.Model.from_bytes(small)


def test_a_wrong_known_answer_is_refused_at_load() -> None:
    artifact = full_artifact()
    assert artifact.known_answer
    outputs = dict(artifact.known_answer.outputs)
    outputs["logits"] = outputs["logits"] + np.int8(1)
    wrong = replace(artifact, known_answer=KnownAnswer(artifact.known_answer.inputs, outputs))
    with pytest.raises(SelfTestError):
        edgekern.Model.from_bytes(write(wrong))


def test_a_shared_constant_is_written_once() -> None:
    graph = small_graph()
    twice = replace(
        graph,
        nodes=(*graph.nodes, replace(graph.nodes[0], output="map 2")),
        types={**graph.types, "map 2": graph.types["map"]},
        outputs=(*graph.outputs, Port("map", "map 2", DType.INT8, (0, 1, 2, 3))),
    )
    again = read(write(Artifact(twice))).graph
    assert len(again.constants) == len(graph.constants)
    assert again.nodes[0].constants == again.nodes[-1].constants


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": ("stop\0go",)}, "NUL"),
        ({"provenance": {"accuracy": float("nan")}}, "JSON"),
        ({"provenance": {"data": object()}}, "JSON"),
    ],
    ids=["label", "nan", "object"],
)
def test_what_the_format_cannot_hold_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(CompileError, match=words):
        write(replace(full_artifact(), **change))


def test_more_ports_than_a_frame_call_takes_are_refused() -> None:
    """Sixteen outputs are written, load and run; seventeen would load and then not run."""
    graph = small_graph()

    def outputs(count: int) -> Artifact:
        return Artifact(replace(graph, outputs=tuple(replace(graph.outputs[0], name=f"y{i}") for i in range(count))))

    model = Model.from_bytes(write(outputs(16)))
    assert len(model.run({t.name: np.zeros(t.shape, t.dtype) for t in model.inputs})) == 16
    with pytest.raises(CompileError, match="17 outputs; at most 16"):
        write(outputs(17))


@pytest.mark.parametrize("field", ["types", "constants"])
def test_a_graph_that_is_not_integer_is_refused(field: str) -> None:
    graph = small_graph()
    if field == "types":
        types = {**graph.types, "map": replace(graph.types["map"], quant=None)}
        broken = replace(graph, types=types)
    else:
        broken = replace(graph, constants={**graph.constants, "w": graph.constants["w"].astype(np.float64)})
    with pytest.raises(CompileError):
        write(Artifact(broken))


def test_the_reader_names_the_place() -> None:
    data = write(full_artifact())
    with pytest.raises(CorruptModelError) as short:
        read(data[:40])
    assert (short.value.field, short.value.offset) == ("file_size", 40)
    with pytest.raises(CorruptModelError) as flipped:
        read(data[:-1] + bytes([data[-1] ^ 1]))
    assert flipped.value.field == "sha256"
    newer = data[:8] + (layout.FORMAT + 1).to_bytes(4, "little") + data[12:]
    with pytest.raises(VersionError):
        read(newer)


def signed_again(data: bytearray) -> bytes:
    data[32:64] = bytes(32)
    data[32:64] = hashlib.sha256(data).digest()
    return bytes(data)


def test_no_flipped_byte_breaks_the_reader() -> None:
    """With the digest made right again, a changed byte is refused with a typed error, or changes what is read."""
    data = write(full_artifact())
    draw = np.random.default_rng(11)
    for at in draw.integers(64, len(data), 3000):
        changed = bytearray(data)
        changed[at] ^= 1 << int(draw.integers(8))
        try:
            read(signed_again(changed))
        except (CorruptModelError, VersionError):
            continue
