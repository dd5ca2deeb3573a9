"""Import: the float graph computes what the source model computes, whatever exporter and layout it came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

from edgekern.errors import UnsupportedOpError  # noqa: E402
from edgekern.graph.graph import Graph  # noqa: E402
from edgekern.graph.run import evaluate  # noqa: E402
from edgekern.graph.verify import verify  # noqa: E402
from edgekern.importers.onnx import OPSETS as READ  # noqa: E402
from edgekern.importers.onnx import import_onnx  # noqa: E402
from edgekern.ops import Conv2D, Reshape, Table, Transpose  # noqa: E402
from small_onnx import model, node, normal, wanted  # noqa: E402

EXPORTED = sorted((Path(__file__).parent / "exported").glob("*.onnx"))
OPSETS = range(11, min(READ[1], onnx.defs.onnx_opset_version()) + 1)  # an older onnx knows fewer


def imported(proto: Any, feeds: Mapping[str, Any], batch: int = 1) -> Graph:
    """The verified graph, after its results were compared with ONNX's, frame by frame."""
    graph = verify(import_onnx(proto))
    found = evaluate(graph, feeds)
    for i in range(batch):
        for name, y in wanted(proto, {n: x[i : i + 1] for n, x in feeds.items()}).items():
            assert found[name][i : i + 1].shape == y.shape
            assert np.allclose(found[name][i : i + 1], y, rtol=1e-5, atol=1e-5 * max(1.0, float(np.abs(y).max())))
    return graph


def kinds(graph: Graph) -> list[str]:
    return [type(n.op).__name__ for n in graph.nodes]


@pytest.mark.parametrize("path", EXPORTED, ids=lambda p: p.stem)
def test_what_frameworks_export(path: Path) -> None:
    proto = onnx.load(path)
    port = proto.graph.input[0]
    x = normal(3, *(d.dim_value for d in port.type.tensor_type.shape.dim[1:]))
    imported(proto, {port.name: x}, batch=3)


def test_what_tf2onnx_exports() -> None:
    """NHWC outside, transposes round the NCHW middle, batch norm as Mul and Add, dense layers as MatMul and Add."""
    nodes = [
        node("Transpose", "image", "a", perm=[0, 3, 1, 2]),
        node("Pad", "a pads", "b"),
        node("Conv", "b w bias", "c", strides=[2, 2]),
        node("Relu", "c", "d"),
        node("Mul", "d gamma", "e"),
        node("Add", "e beta", "f"),
        node("Conv", "f dw", "g", group=8, pads=[1, 1, 1, 1]),
        node("Clip", "g zero six", "h"),
        node("MaxPool", "h", "i", kernel_shape=[2, 2], strides=[2, 2]),
        node("Transpose", "i", "j", perm=[0, 2, 3, 1]),
        node("Reshape", "j flat", "k"),
        node("MatMul", "k dense", "l"),
        node("Add", "l dense_bias", "m"),
        node("Softmax", "m", "y"),
    ]
    constants = {
        "pads": np.array([0, 0, 0, 0, 0, 0, 1, 1]),
        "w": normal(8, 3, 3, 3),
        "bias": normal(8),
        "gamma": normal(1, 8, 1, 1, seed=1),
        "beta": normal(1, 8, 1, 1, seed=2),
        "dw": normal(8, 1, 3, 3, seed=3),
        "zero": np.float32(0),
        "six": np.float32(6),
        "flat": np.array([-1, 72]),
        "dense": normal(72, 5, seed=4),
        "dense_bias": normal(5, seed=5),
    }
    proto = model(nodes, {"image": ["n", 12, 12, 3]}, "y", constants, opset=13)
    graph = imported(proto, {"image": normal(2, 12, 12, 3)}, batch=2)
    assert "Transpose" not in kinds(graph)
    assert graph.inputs[0].perm == (0, 1, 2, 3)


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset(opset: int) -> None:
    """Squeeze, Clip, Dropout, Softmax, ReduceMean and Pad took their parameters elsewhere over the years."""
    constants: dict[str, Any] = {"w": normal(6, 2, 3, 3), "g": normal(6, 4, seed=1), "t": np.array([2, 3])}
    squeeze = node("Squeeze", "d t", "e") if opset >= 13 else node("Squeeze", "d", "e", axes=[2, 3])
    mean = node("ReduceMean", "c t", "d") if opset >= 18 else node("ReduceMean", "c", "d", axes=[2, 3])
    constants |= {"lo": np.float32(-0.5), "hi": np.float32(1.5), "p": np.array([0, 0, 1, 0, 0, 0, 0, 2])}
    nodes = [
        node("Pad", "x p", "a"),
        node("Conv", "a w", "b"),
        node("Clip", "b lo hi", "c"),
        mean,
        squeeze,
        node("Dropout", "e", "f"),
        node("MatMul", "f g", "h"),
        node("Softmax", "h", "y", axis=1),
    ]
    proto = model(nodes, {"x": [1, 2, 7, 6]}, "y", constants, opset)
    imported(proto, {"x": normal(2, 2, 7, 6)}, batch=2)


@pytest.mark.parametrize("opset", [7, 8, 9, 10])
def test_older_opsets(opset: int) -> None:
    """Parameters that were attributes before opset 11."""
    nodes = [
        node("Pad", "x", "a", pads=[0, 0, 1, 1, 0, 0, 0, 0], value=0.5),
        node("MaxPool", "a", "b", kernel_shape=[1, 1]),
        node("Clip", "b", "c", min=-0.5, max=1.5),
        node("Flatten", "c", "d"),
        node("Gemm", "d w bias", "e", transB=1),
        node("Dropout", "e", "f", ratio=0.5),
        node("Softmax", "f", "y"),
    ]
    constants = {"w": normal(4, 98), "bias": normal(4, seed=1)}
    imported(model(nodes, {"x": [1, 2, 6, 6]}, "y", constants, opset), {"x": normal(2, 2, 6, 6)}, batch=2)


def test_a_flattened_image_keeps_its_layout() -> None:
    """Flatten of NCHW before a Gemm: the weight's rows move, the activation does not."""
    nodes = [node("Conv", "x w", "a"), node("Flatten", "a", "b"), node("Gemm", "b g c", "y", transB=1, alpha=0.5)]
    constants = {"w": normal(4, 3, 3, 3), "g": normal(7, 4 * 5 * 6, seed=1), "c": normal(7, seed=2)}
    graph = imported(model(nodes, {"x": [1, 3, 7, 8]}, "y", constants), {"x": normal(2, 3, 7, 8)}, batch=2)
    moves = [n.op for n in graph.nodes if isinstance(n.op, (Reshape, Transpose))]
    assert all(isinstance(op, Reshape) for op in moves)
    dense = [n.op for n in graph.nodes if isinstance(n.op, Conv2D)][1]
    assert dense.kernel == (5, 6)


def test_a_flattened_image_at_the_end_is_turned() -> None:
    nodes = [node("Relu", "x", "a"), node("Flatten", "a", "y")]
    graph = imported(model(nodes, {"x": [1, 3, 4, 5]}, "y"), {"x": normal(2, 3, 4, 5)}, batch=2)
    assert "Transpose" in kinds(graph)


def test_transposes_that_meet_cost_nothing() -> None:
    nodes = [
        node("Transpose", "x", "a", perm=[0, 2, 3, 1]),
        node("Sigmoid", "a", "b"),
        node("Transpose", "b", "c", perm=[0, 3, 1, 2]),
        node("Unsqueeze", "c axis", "d"),
        node("Squeeze", "d axis", "y"),
    ]
    proto = model(nodes, {"x": [1, 3, 4, 5]}, "y", {"axis": np.array([2])})
    graph = imported(proto, {"x": normal(1, 3, 4, 5)})
    assert kinds(graph) == ["Table"]


def test_a_shape_computed_from_the_input() -> None:
    """x.view(x.size(0), -1) of the old PyTorch exporter: Shape, Gather, Unsqueeze, Concat."""
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n", axis=0),
        node("Unsqueeze", "n axis", "n1"),
        node("Concat", "n1 rest", "t", axis=0),
        node("Reshape", "x t", "r"),
        node("MatMul", "r w", "y"),
    ]
    constants = {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1]), "w": normal(12, 2)}
    imported(model(nodes, {"x": ["n", 3, 2, 2]}, "y", constants), {"x": normal(2, 3, 2, 2)}, batch=2)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_in_a_reshape(batch: int) -> None:
    proto = model([node("Reshape", "x shape", "y")], {"x": [batch, 6, 2]}, "y", {"shape": np.array([batch, 3, 4])})
    graph = verify(import_onnx(proto))
    x = normal(5, 6, 2)
    assert np.array_equal(evaluate(graph, {"x": x})["y"], x.reshape(5, 3, 4))


def test_a_constant_per_frame_of_a_fixed_batch() -> None:
    """A bias repeated for each of the exported frames is one bias; one that differs is refused."""
    bias = normal(1, 3, 1, 1).repeat(4, 0)
    proto = model([node("Add", "x b", "y")], {"x": [4, 3, 5, 5]}, "y", {"b": bias})
    x = normal(2, 3, 5, 5)
    assert np.allclose(evaluate(verify(import_onnx(proto)), {"x": x})["y"], x + bias[:2])
    bias[2] += 1
    with pytest.raises(UnsupportedOpError, match="differs between frames"):
        import_onnx(model([node("Add", "x b", "y")], {"x": [4, 3, 5, 5]}, "y", {"b": bias}))


SPELLINGS = {
    "silu": [node("Sigmoid", "x", "s"), node("Mul", "x s", "y")],
    "hard_swish": [
        node("Add", "x 3", "a"),
        node("Clip", "a 0 6", "c"),
        node("Mul", "x c", "m"),
        node("Div", "m 6", "y"),
    ],
    "gelu": [
        node("Div", "x sqrt2", "a"),
        node("Erf", "a", "b"),
        node("Add", "b 1", "c"),
        node("Mul", "x c", "d"),
        node("Mul", "d half", "y"),
    ],
    "gelu_tanh": [
        node("Pow", "x 3", "a"),
        node("Mul", "a k", "b"),
        node("Add", "x b", "c"),
        node("Mul", "c r", "d"),
        node("Tanh", "d", "e"),
        node("Add", "e 1", "f"),
        node("Mul", "x half", "g"),
        node("Mul", "g f", "y"),
    ],
    "mish": [node("Softplus", "x", "a"), node("Tanh", "a", "b"), node("Mul", "x b", "y")],
    "softsign": [node("Abs", "x", "a"), node("Add", "a 1", "b"), node("Div", "x b", "y")],
}
NUMBERS = {
    "0": np.float32(0),
    "1": np.float32(1),
    "3": np.float32(3),
    "6": np.float32(6),
    "sqrt2": np.float32(2**0.5),
    "half": np.float32(0.5),
    "k": np.float32(0.044715),
    "r": np.float32((2 / np.pi) ** 0.5),
}


@pytest.mark.parametrize("function", SPELLINGS)
def test_spelled_out_activations_become_one_table(function: str) -> None:
    from edgekern.compiler import optimise

    proto = model(SPELLINGS[function], {"x": [1, 50]}, "y", NUMBERS)
    graph = imported(proto, {"x": normal(2, 50, scale=3)}, batch=2)
    assert [n.op for n in optimise(graph)[0].nodes] == [Table(function)]


FAR = {
    "-20": np.float32(-20),
    "20": np.float32(20),
    "10": np.float32(10),
    "-10": np.float32(-10),
    "3e5": np.float32(3e5),
}


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Clip", "x -10 10", "a"), node("Mul", "x a", "y")],
        [node("Clip", "x -20 20", "a"), node("Sigmoid", "x", "b"), node("Mul", "a b", "y")],
        [node("Clip", "x - 3e5", "a"), node("Mul", "x a", "y")],
        [node("ThresholdedRelu", "x", "a", alpha=0.03), node("Sign", "x", "b"), node("Mul", "a b", "y")],
    ],
    ids=["square", "silu", "beyond the tail", "between the probes"],
)
def test_a_limit_far_out_is_no_activation_that_has_none(nodes: Any) -> None:
    """At the nearer probes they equal pow 2, silu, pow 2 and relu; elsewhere they do not."""
    x = np.array([-1e6, -30, -0.02, 0, 0.02, 0.04, 15, 30, 4e5, 1e6], np.float32)[None]
    with np.errstate(over="ignore", invalid="ignore"):  # ONNX's own sigmoid
        graph = imported(model(nodes, {"x": [1, 10]}, "y", FAR), {"x": x})
    assert kinds(graph)[-1] == "Mul"


def test_three_windows_and_an_odd_image() -> None:
    nodes = [
        node("Conv", "x w", "a", auto_pad="SAME_LOWER", strides=[2, 2]),
        node("AveragePool", "a", "b", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
        node("MaxPool", "b", "y", kernel_shape=[2, 2], auto_pad="SAME_UPPER"),
    ]
    proto = model(nodes, {"x": [1, 3, 13, 9]}, "y", {"w": normal(4, 3, 4, 3)})
    imported(proto, {"x": normal(2, 3, 13, 9)}, batch=2)


def test_the_greatest_and_the_least_of_several() -> None:
    """Activations in two layouts and a limit."""
    nodes = [
        node("Conv", "x w", "a"),
        node("Transpose", "b", "c", perm=[0, 3, 1, 2]),
        node("Max", "a c low a", "d"),
        node("Min", "d x", "y"),
    ]
    constants = {"w": normal(3, 3, 1, 1), "low": np.float32(-0.3)}
    proto = model(nodes, {"x": ["n", 3, 5, 4], "b": ["n", 5, 4, 3]}, "y", constants)
    imported(proto, {"x": normal(2, 3, 5, 4), "b": normal(2, 5, 4, 3, seed=1)}, batch=2)


def test_a_mean_over_a_dilated_window() -> None:
    nodes = [node("AveragePool", "x", "y", kernel_shape=[3, 2], dilations=[2, 3], strides=[2, 1])]
    imported(model(nodes, {"x": ["n", 3, 9, 8]}, "y", opset=19), {"x": normal(2, 3, 9, 8)}, batch=2)


def test_several_inputs_and_outputs() -> None:
    nodes = [
        node("Conv", "a w", "p"),
        node("Concat", "p b", "q", axis=1),
        node("Add", "q q", "r"),
        node("GlobalMaxPool", "r", "s"),
    ]
    proto = model(nodes, {"a": ["n", 3, 5, 5], "b": ["n", 2, 5, 5]}, "r s", {"w": normal(4, 3, 1, 1)})
    imported(proto, {"a": normal(2, 3, 5, 5), "b": normal(2, 2, 5, 5, seed=1)}, batch=2)
