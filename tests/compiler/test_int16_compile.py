# SPDX-License-Identifier: Apache-2.0
"""int16 tensors in the compiler: which can be, what the pass makes of them, calibration on them, and what they gain."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from small_graphs import Step, float_graph, normal

from edgekern import quant
from edgekern.artifact import Artifact, KnownAnswer, write
from edgekern.calibrate import compare, integer
from edgekern.calibrate.bias import correct_biases
from edgekern.errors import QuantizationError
from edgekern.graph import Graph
from edgekern.graph.run import evaluate, reference
from edgekern.graph.verify import verify
from edgekern.model import Model
from edgekern.ops.add import Add
from edgekern.ops.conv2d import Conv2D
from edgekern.ops.depthwise import DepthwiseConv2D
from edgekern.ops.max_pool import MaxPool2D
from edgekern.ops.mean import Mean
from edgekern.ops.reshape import Reshape
from edgekern.passes import quantise
from edgekern.types import Array, DType, Quant

RELU = (0.0, math.inf)
PADS = (1, 1, 1, 1)


def net() -> Graph:
    """A residual net whose channels differ by a factor of 2^6."""
    gains = np.exp2(-np.arange(16) * 6 / 15).astype(np.float32)
    first = normal(16, 3, 3, 4, scale=0.3) * gains[:, None, None, None]
    deep = normal(3, 3, 16, seed=1, scale=0.3) + np.eye(3, dtype=np.float32)[..., None] / 3
    last = normal(12, 1, 1, 16, seed=2, scale=0.3) / gains
    rows: list[Step] = [
        ("a", Conv2D((3, 3), pads=PADS), "x", (first, normal(16, seed=3, scale=0.1) * gains)),
        ("b", DepthwiseConv2D((3, 3), pads=PADS), "a", (deep, normal(16, seed=4, scale=0.1) * gains)),
        ("s", Add(clip=RELU), "a b", ()),
        ("c", Conv2D((1, 1)), "s", (last, normal(12, seed=5, scale=0.1))),
        ("m", Mean(), "c", ()),
        ("p", MaxPool2D((2, 2), (2, 2)), "c", ()),
        ("y", Conv2D((1, 1)), "m", (normal(5, 1, 1, 12, seed=6), normal(5, seed=7))),
    ]
    return float_graph((10, 12, 4), rows, "y p")


def ranges_of(graph: Graph, x: Array) -> dict[str, tuple[float, float]]:
    return {name: (float(v.min()), float(v.max())) for name, v in evaluate(graph, {"x": x}, trace=True).items()}


GRAPH = net()
X = normal(24, 10, 12, 4, seed=8)
RANGES = ranges_of(GRAPH, X)
CANDIDATES = ("x", "a", "b", "s", "m", "y")


def test_candidates_are_what_makers_and_readers_take() -> None:
    """c is read by a max pool, and p made by one."""
    assert quantise.wide_candidates(GRAPH) == CANDIDATES


def test_a_port_of_bytes_is_no_candidate() -> None:
    bytes_in = replace(GRAPH, inputs=(replace(GRAPH.inputs[0], dtype=DType.UINT8),))
    assert quantise.wide_candidates(bytes_in) == CANDIDATES[1:]
    with pytest.raises(QuantizationError, match=r"'x' cannot be int16: port 'x' hands it over as uint8"):
        quantise.run(bytes_in, RANGES, wide=["x"])
    own = replace(GRAPH, types={**GRAPH.types, "a": replace(GRAPH.types["a"], quant=Quant(0.5, 3))})
    assert "a" not in quantise.wide_candidates(own)
    with pytest.raises(QuantizationError, match="'a' cannot be int16: the source model gives it"):
        quantise.run(own, RANGES, wide=["a"])


@pytest.mark.parametrize(
    ("name", "why"),
    [("c", r"'p' \(MaxPool2D\) reads int8"), ("p", r"'p' \(MaxPool2D\) makes int8"), ("nothing", "no such tensor")],
)
def test_what_cannot_be_int16_is_named(name: str, why: str) -> None:
    with pytest.raises(QuantizationError, match=rf"tensor '{name}' cannot be int16: .*{why}"):
        quantise.run(GRAPH, RANGES, wide=["a", name])


@pytest.mark.parametrize("wide", [(), ("a",), ("x", "s"), ("m",), CANDIDATES], ids=str)
def test_the_chosen_tensors_become_int16(wide: tuple[str, ...]) -> None:
    made = verify(quantise.run(GRAPH, RANGES, wide=wide))
    assert {name for name, kind in made.types.items() if kind.dtype is DType.INT16} == set(wide)
    assert {kind.dtype for name, kind in made.types.items() if name not in wide} == {DType.INT8}
    for name in wide:
        low, high = RANGES[name]
        assert made.types[name].quant == Quant(float(np.float32(max(-low, high) / 32767)), 0)


def test_scales_are_bounded() -> None:
    made = quantise.run(GRAPH, {**RANGES, "a": (0.0, 0.0), "b": (-8e6, 1.0)}, wide=["a", "b"])
    assert made.types["a"].quant == Quant(2.0**-20, 0)
    assert 8e6 / 32767 * 0.99 < made.types["b"].quant.scale < 256  # type: ignore[union-attr]
    with pytest.raises(QuantizationError, match="'b' spans"):
        quantise.run(GRAPH, {**RANGES, "b": (-1e7, 1e7)}, wide=["b"])


@pytest.mark.parametrize("wide", [("a",), ("a", "b"), ("x", "s"), CANDIDATES], ids=str)
def test_the_blas_path_and_the_kernels_give_the_reference(wide: tuple[str, ...]) -> None:
    made = quantise.run(GRAPH, RANGES, wide=wide)
    corrected = verify(correct_biases(GRAPH, made, {"x": X}))
    assert any(not np.array_equal(made.constants[n], corrected.constants[n]) for n in made.constants)
    for graph in (made, corrected):
        want = reference(graph, {"x": X})
        model = Model.from_bytes(write(Artifact(graph)))
        for found in (integer.run(graph, {"x": X}), model.run(X)):
            assert all(np.array_equal(y, found[name]) for name, y in want.items())


def test_sums_beyond_float32_are_exact() -> None:
    """Both sums of 6000 products are integers that float32 cannot hold; each is rounded once."""
    steps: list[Step] = [("y", Conv2D((1, 1)), "x", (np.ones((3, 1, 1, 6000), np.float32), normal(3)))]
    graph = float_graph((1, 1, 6000), steps)
    made = quantise.run(graph, {"x": (-1.0, 1.0), "y": (-6000.0, 6000.0)}, wide=["x", "y"])
    draw = np.random.default_rng(1)
    node, q = made.nodes[0], draw.integers(30000, 32768, (4, 1, 1, 6000)).astype(np.int16)
    weights = made.constants[node.constants[0]].reshape(3, -1).astype(np.int64)
    high, low = (q >> 8).astype(np.int64), (q & 255).astype(np.int64)
    sums = integer.accumulate(made, node, q)
    assert sums.high is not None
    wanted = (high @ weights.T), (low @ weights.T + made.constants[node.constants[1]])
    assert min(int(np.abs(w).max()) for w in wanted) > 1 << 24
    assert np.array_equal(sums.high, wanted[0].astype(np.float32))
    assert np.array_equal(sums.low, wanted[1].astype(np.float32))


def test_a_copy_of_int16_has_a_range_of_its_own() -> None:
    """The scale of an int16 tensor would clip all but a 256th of what is copied to int8."""
    rows: list[Step] = [
        ("a", Conv2D((1, 1)), "x", (normal(6, 1, 1, 4), normal(6, seed=1))),
        ("r", Reshape((720,)), "a", ()),
    ]
    graph = float_graph((10, 12, 4), rows)
    ranges = ranges_of(graph, X)
    made = verify(quantise.run(graph, ranges, wide=["a"]))
    assert made.types["r"].quant == quant.choose_quant(*ranges["r"])
    assert sqnr(made, graph, X)["output"] > 30
    want = reference(made, {"x": X})["r"]
    assert np.array_equal(Model.from_bytes(write(Artifact(made))).run(X), want)


def test_a_random_known_answer_spans_int16() -> None:
    made = quantise.run(GRAPH, RANGES, wide=["x"])
    scale = made.types["x"].quant.scale  # type: ignore[union-attr]
    given = KnownAnswer.random(made).inputs["x"] / scale
    assert given.min() < -30000
    assert given.max() > 30000


def sqnr(made: Graph, original: Graph, x: Array) -> dict[str, float]:
    found = {layer.name: layer.sqnr for layer in compare.layers(original, made, {"x": x})}
    return {**found, "output": compare.outputs(original, made, {"x": x})[0].sqnr}


def test_a_wide_range_gains() -> None:
    """Small differences on a large level: 256 steps of the whole hardly see them, 65536 do.

    A layer whose outputs lie round 200 with a deviation of 1, and a gradient filter behind it. Measured: 15.4 dB
    with every tensor in int8, 37.1 dB with that one tensor in int16; one of the others in int16 gains nothing.
    """
    gradient = np.zeros((1, 2, 12), np.float32)
    gradient[0] = np.float32([[1], [-1]])
    rows: list[Step] = [
        ("a", Conv2D((3, 3), clip=RELU), "x", (normal(12, 3, 3, 4, scale=0.17), 200 + normal(12, seed=1))),
        ("b", DepthwiseConv2D((1, 2)), "a", (gradient, np.zeros(12, np.float32))),
        ("y", Conv2D((3, 3)), "b", (normal(8, 3, 3, 12, seed=2, scale=0.1), normal(8, seed=3))),
    ]
    original = float_graph((10, 12, 4), rows)
    ranges = ranges_of(original, X)
    found = {
        wide: sqnr(quantise.run(original, ranges, wide=wide), original, X)["output"]
        for wide in ((), ("a",), ("b",), ("y",))
    }
    assert found["a",] > found[()] + 18
    assert max(found["b",], found["y",]) < found[()] + 3  # the comparison can fail
