# SPDX-License-Identifier: Apache-2.0
"""Products of two activations: of one shape, and the gates of squeeze-excite blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

import edgekern  # noqa: E402
from edgekern.graph.run import evaluate  # noqa: E402
from edgekern.graph.verify import verify  # noqa: E402
from edgekern.importers.onnx import import_onnx  # noqa: E402
from small_onnx import model, node, normal, wanted  # noqa: E402

SIDES = (9, 11)
CHANNELS = 24


def squeeze_excite(swapped: bool = False) -> Any:
    """A convolution with a gate for each channel, then one with a gate for each element, from a padded product."""
    nodes = [
        node("Conv", "x w0", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "b"),
        node("GlobalAveragePool", "b", "c"),
        node("Conv", "c w1 b1", "d"),
        node("Relu", "d", "e"),
        node("Conv", "e w2 b2", "f"),
        node("Sigmoid", "f", "g"),
        node("Mul", "g b" if swapped else "b g", "h"),
        node("Conv", "h w3", "i", pads=[1, 1, 1, 1]),
        node("Sigmoid", "i", "j"),
        node("Mul", "h j", "y"),
    ]
    narrow = CHANNELS // 4
    constants = {
        "w0": normal(CHANNELS, 3, 3, 3, scale=0.3),
        "w1": normal(narrow, CHANNELS, 1, 1, seed=1, scale=0.6),
        "b1": normal(narrow, seed=2, scale=0.5),
        "w2": normal(CHANNELS, narrow, 1, 1, seed=3, scale=1.5),
        "b2": normal(CHANNELS, seed=4),
        "w3": normal(CHANNELS, CHANNELS, 3, 3, seed=5, scale=0.1),
    }
    return model(nodes, {"x": ["n", 3, *SIDES]}, "h y", constants)


def frames(count: int, seed: int) -> Any:
    """Noise round a colour of each frame's own, so that their gates differ."""
    return normal(count, 3, *SIDES, seed=seed) + normal(count, 3, 1, 1, seed=seed + 1)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_squeeze_excite_block_stays_near_float(swapped: bool) -> None:
    proto = squeeze_excite(swapped)
    made = edgekern.compile(proto, calibration=frames(64, 10))
    assert [step.op for step in made.plan()].count("Mul") == 2
    x = frames(24, 20)
    found, reference = made.run(x), made.reference(x)
    for name in ("h", "y"):
        exact = np.concatenate([wanted(proto, {"x": frame[None]})[name] for frame in x])
        assert np.array_equal(found[name], reference[name])
        sqnr = 10 * np.log10(float((exact**2).sum() / ((found[name] - exact) ** 2).sum()))
        other = np.roll(found[name], 1, axis=1)  # every channel with the gate and the image of its neighbour
        print(f"\n{name}: {sqnr:.1f} dB")
        assert sqnr > 25
        assert 10 * np.log10(float((exact**2).sum() / ((other - exact) ** 2).sum())) < 5


@pytest.mark.parametrize(
    ("nodes", "shape", "gate"),
    [
        ([node("Mul", "a b", "y")], [3, 5, 4], [3, 5, 4]),
        ([node("Mul", "a b", "y")], [3, 5, 4], [3, 1, 1]),
        ([node("Mul", "b a", "y")], [3, 5, 4], [3, 1, 1]),
        ([node("Mul", "a b", "y")], [3, 7], [3, 1]),
        ([node("Mul", "a b", "y")], [6], [6]),
        ([node("Transpose", "b", "c", perm=[0, 3, 1, 2]), node("Mul", "a c", "y")], [3, 5, 4], [5, 4, 3]),
        ([node("Reshape", "b s", "c"), node("Mul", "a c", "y")], [3, 5, 4], [3]),
    ],
    ids=["one shape", "gate", "gate first", "row", "vector", "two layouts", "gate from a vector"],
)
def test_products_in_every_form(nodes: Any, shape: list[int], gate: list[int]) -> None:
    proto = model(nodes, {"a": ["n", *shape], "b": ["n", *gate]}, "y", {"s": np.array([1, 3, 1, 1])})
    feeds = {"a": normal(2, *shape), "b": normal(2, *gate, seed=1)}
    graph = verify(import_onnx(proto))
    assert [type(n.op).__name__ for n in graph.nodes].count("Mul") == 1
    found = evaluate(graph, feeds)["y"]
    for i in range(2):
        y = wanted(proto, {name: x[i : i + 1] for name, x in feeds.items()})["y"]
        assert found[i : i + 1].shape == y.shape
        assert np.allclose(found[i : i + 1], y, rtol=1e-6)


@pytest.mark.parametrize("gate", [[3, 1, 1], [3, 5, 4]], ids=["gate", "one shape"])
def test_a_quantised_product_keeps_its_integers(gate: list[int]) -> None:
    names = ("as", "az", "bs", "bz", "ys", "yz")
    values = [np.float32(0.05), np.int8(-7), np.float32(1 / 256), np.int8(-128), np.float32(0.02), np.int8(11)]
    call = node("QLinearMul", "a as az b bs bz ys yz", "y", domain="com.microsoft")
    proto = model(
        [call], {"a": [1, 3, 5, 4], "b": [1, *gate]}, "y", dict(zip(names, values, strict=True)),
        dtype=onnx.TensorProto.INT8,
    )  # fmt: skip
    proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    draw = np.random.default_rng(6)
    a, b = (draw.integers(-128, 128, (1, *shape)).astype(np.int8) for shape in ([3, 5, 4], gate))
    t = ((a.astype(np.int32) + 7) * (b.astype(np.int32) + 128)).astype(np.float32)
    t = t * ((np.float32(0.05) * np.float32(1 / 256)) / np.float32(0.02))
    want = np.clip(np.rint(t) + 11, -128, 127)
    assert len(np.unique(want)) > 20
    assert (edgekern.compile(proto).run({"a": a, "b": b}) == want).all()
