# SPDX-License-Identifier: Apache-2.0
"""Transposed convolutions from ONNX, beside one written as it is defined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

from scattering import requantised, scattered  # noqa: E402

import edgekern  # noqa: E402
from edgekern.compiler import optimise  # noqa: E402
from edgekern.errors import CompileError, ShapeError, UnsupportedOpError  # noqa: E402
from edgekern.graph.run import evaluate  # noqa: E402
from edgekern.importers.onnx import import_onnx  # noqa: E402
from edgekern.types import Quant  # noqa: E402
from small_onnx import model, node, normal, wanted  # noqa: E402

RNG = np.random.default_rng(11)


def drawn(seed: int) -> tuple[Any, dict[str, Any], dict[str, Any], tuple[Any, Any, Any]]:
    """A model of one ConvTranspose, its input, its constants, and (begin, size, dilation)."""
    draw = np.random.default_rng(seed)
    side, kernel, stride = (draw.integers(low, high, 2).tolist() for low, high in ((1, 6), (1, 6), (1, 4)))
    dilation = [1, 1] if seed % 4 else draw.integers(1, 3, 2).tolist()
    groups = int(draw.choice([1, 1, 2, 3]))
    per_group = int(draw.choice([1, 1, 2, 3]))
    channels = groups * int(draw.choice([1, 2] if seed % 5 else [1]))
    reach = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(side, stride, kernel, dilation, strict=True)]
    extra = [int(draw.integers(0, s)) for s in stride]
    reach = [n + e for n, e in zip(reach, extra, strict=True)]
    pads = [int(draw.integers(0, min(k + 3, (n + 1) // 2))) for k, n in zip(kernel * 2, reach * 2, strict=True)]
    attributes = {"group": groups, "strides": stride, "dilations": dilation, "pads": pads, "output_padding": extra}
    x = draw.normal(size=(1, channels, *side)).astype(np.float32)
    constants = {
        "w": draw.normal(size=(channels, per_group, *kernel)).astype(np.float32),
        "b": draw.normal(size=groups * per_group).astype(np.float32),
    }
    proto = model([node("ConvTranspose", "x w b", "y", **attributes)], {"x": x.shape}, "y", constants)
    size = [n - a - b for n, a, b in zip(reach, pads[:2], pads[2:], strict=True)]
    return proto, {"x": x}, constants, (pads[:2], size, dilation)


@pytest.mark.parametrize("seed", range(120))
def test_any_attributes(seed: int) -> None:
    proto, feeds, held, (begin, size, dilation) = drawn(seed)
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.graph.node[0].attribute}
    want = scattered(feeds["x"], held["w"], attributes["strides"], begin, size, attributes["group"], dilation)
    want += held["b"][:, None, None]
    y = evaluate(optimise(import_onnx(proto))[0], feeds)["y"]
    assert y.shape == want.shape
    assert np.abs(y - want).max() < 1e-4


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(0, 120, 3))
def test_onnx_runtime_says_the_same(seed: int) -> None:
    ort = pytest.importorskip("onnxruntime")
    proto, feeds, *_ = drawn(seed)
    (want,) = ort.InferenceSession(proto.SerializeToString()).run(None, feeds)
    assert np.abs(evaluate(import_onnx(proto), feeds)["y"] - want).max() < 1e-4


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "NOTSET", "VALID"])
@pytest.mark.parametrize(("kernel", "stride"), [((3, 4), (2, 3)), ((2, 2), (2, 2)), ((5, 3), (1, 2))])
def test_automatic_padding(mode: str, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
    for asked in (None, [8, 9]):
        if asked and (mode == "VALID" or stride != (2, 3)):
            continue  # what the shape asks for is beyond the kernel's reach, or said twice
        attributes = {"strides": stride, "auto_pad": mode} | ({"output_shape": asked} if asked else {})
        proto = model([node("ConvTranspose", "x w", "y", **attributes)], {"x": [1, 2, 4, 3]}, "y",
                      {"w": normal(2, 3, *kernel)})  # fmt: skip
        x = normal(1, 2, 4, 3, seed=2)
        y = evaluate(import_onnx(proto), {"x": x})["y"]
        reach = [(n - 1) * s + k for n, s, k in zip((4, 3), stride, kernel, strict=True)]
        size = asked or ([4 * stride[0], 3 * stride[1]] if mode.startswith("SAME") else reach)
        total = [n - m for n, m in zip(reach, size, strict=True)]
        begin = [t // 2 if mode == "SAME_UPPER" else t - t // 2 for t in total]
        assert y.shape[2:] == tuple(size)
        assert np.abs(y - scattered(x, normal(2, 3, *kernel), stride, begin, size)).max() < 1e-4


def test_a_row() -> None:
    attributes = {"strides": [3], "pads": [1, 2], "output_padding": [1]}
    constants = {"w": normal(4, 2, 5), "b": normal(2, seed=1)}
    proto = model([node("ConvTranspose", "x w b", "y", **attributes)], {"x": [1, 4, 7]}, "y", constants)
    x = normal(1, 4, 7, seed=3)
    y = evaluate(import_onnx(proto), {"x": x})["y"]
    assert np.abs(y - wanted(proto, {"x": x})["y"]).max() < 1e-4


@pytest.mark.parametrize(
    ("attributes", "weight", "error", "words"),
    [
        ({"auto_pad": "SAME"}, (3, 4, 2, 2), UnsupportedOpError, "auto_pad 'SAME'"),
        ({"pads": [0, -1, 0, 0]}, (3, 4, 2, 2), UnsupportedOpError, "negative pads"),
        ({"pads": [9, 0, 9, 0]}, (3, 4, 2, 2), ShapeError, "leave nothing"),
        ({"output_padding": [-1, 0]}, (3, 4, 2, 2), UnsupportedOpError, "output_padding"),
        ({"output_shape": [30, 30]}, (3, 4, 2, 2), UnsupportedOpError, "an output of"),
        ({"kernel_shape": [3, 3]}, (3, 4, 2, 2), ShapeError, "kernel_shape"),
        ({"group": 2}, (3, 4, 2, 2), ShapeError, "in 2 groups for 3 channels"),
        ({}, (4, 3, 2, 2), ShapeError, "for 3 channels"),
        ({}, (3, 4, 2), ShapeError, "a weight of 3 dimensions"),
        ({"strides": [0, 1]}, (3, 4, 2, 2), CompileError, "ConvTranspose"),
        ({"dilations": [0, 1]}, (3, 4, 2, 2), ShapeError, "dilations"),
    ],
)
def test_what_does_not_fit_is_named(
    attributes: dict[str, Any], weight: tuple[int, ...], error: type[CompileError], words: str
) -> None:
    nodes = [node("ConvTranspose", "x w", "y", **attributes)]
    with pytest.raises(error, match=words):
        import_onnx(model(nodes, {"x": [1, 3, 4, 4]}, "y", {"w": normal(*weight)}))


# ---- what follows it ----------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_norm_and_activation_become_part_of_the_convolution(groups: int) -> None:
    """Both stand behind the moves in the source, and before them in what is run."""
    nodes = [
        node("ConvTranspose", "x w b", "c", strides=[2, 2], pads=[1, 1, 1, 1], group=groups),
        node("BatchNormalization", "c scale shift mean var", "n"),
        node("Relu", "n", "y"),
    ]
    constants = {"w": normal(4, 8 // groups, 4, 4), "b": normal(8)}
    constants |= {name: normal(8, seed=k) for k, name in enumerate(("scale", "shift", "mean"))}
    proto = model(nodes, {"x": [1, 4, 5, 6]}, "y", {**constants, "var": np.float32(np.arange(1, 9) / 4)})
    graph, _ = optimise(import_onnx(proto))
    kinds = [type(n.op).__name__ for n in graph.nodes]
    assert kinds.count("Conv2D") == 1
    assert not {"Affine", "Table"} & set(kinds)
    (conv,) = (n.op for n in graph.nodes if type(n.op).__name__ == "Conv2D")
    assert conv.clip == (0.0, np.inf)
    x = normal(1, 4, 5, 6, seed=9)
    assert np.abs(evaluate(graph, {"x": x})["y"] - evaluate(import_onnx(proto), {"x": x})["y"]).max() < 1e-4


def test_a_second_reader_keeps_the_activation_behind() -> None:
    """Somebody else reads the values before the activation."""
    nodes = [node("ConvTranspose", "x w", "c", strides=[2, 2]), node("Relu", "c", "r"), node("Sigmoid", "c", "s")]
    proto = model([*nodes, node("Concat", "r s", "y", axis=1)], {"x": [1, 2, 3, 3]}, "y", {"w": normal(2, 2, 2, 2)})
    graph, _ = optimise(import_onnx(proto))
    assert [n.op.clip for n in graph.nodes if type(n.op).__name__ == "Conv2D"] == [(-np.inf, np.inf)]
    x = normal(1, 2, 3, 3, seed=4)
    assert np.abs(evaluate(graph, {"x": x})["y"] - wanted(proto, {"x": x})["y"]).max() < 1e-5


# ---- integers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("relu", [False, True])
def test_a_quantised_onnx_model_keeps_its_integers(groups: int, relu: bool) -> None:
    q_x, q_y = Quant(float(np.float32(0.04)), -9), Quant(float(np.float32(0.3)), 12)
    w = RNG.integers(-127, 128, (6, 4, 3, 3)).astype(np.int8)
    scales = np.float32([0.01, 0.02, 0.015, 0.03])
    b = RNG.integers(-4000, 4000, 4 * groups).astype(np.int32)
    unit = np.float32(q_x.scale) * np.tile(scales, groups)
    held = {"w8": w, "sw": scales, "zw": np.zeros(4, np.int8), "b32": b, "sb": unit, "zb": np.zeros(4 * groups, "i4")}
    held |= {"sx": np.float32(q_x.scale), "zx": np.int8(q_x.zero_point)}
    held |= {"sy": np.float32(q_y.scale), "zy": np.int8(q_y.zero_point)}
    nodes = [
        node("QuantizeLinear", "x sx zx", "xq"),
        node("DequantizeLinear", "xq sx zx", "xr"),
        node("DequantizeLinear", "w8 sw zw", "w", axis=1),
        node("DequantizeLinear", "b32 sb zb", "b", axis=0),
        node("ConvTranspose", "xr w b", "c", strides=[2, 3], pads=[1, 0, 0, 1], output_padding=[1, 0], group=groups),
        *([node("Relu", "c", "a")] if relu else []),
        node("QuantizeLinear", f"{'a' if relu else 'c'} sy zy", "yq"),
        node("DequantizeLinear", "yq sy zy", "y"),
    ]
    compiled = edgekern.compile(model(nodes, {"x": [1, 6, 5, 4]}, "y", held))
    x = RNG.integers(-128, 128, (1, 6, 5, 4)).astype(np.int8)
    acc = scattered(x.astype(np.int64) + 9, w.astype(np.int64), (2, 3), (1, 0), (11, 11), groups)
    acc = acc[0].transpose(1, 2, 0) + b
    want = requantised(acc, q_x, np.tile(scales, groups), q_y, relu)
    assert len(np.unique(want)) > 60
    y = compiled.run((x.astype(np.float32) + 9) * np.float32(q_x.scale), raw=True)
    assert (y[0] == want.transpose(2, 0, 1)).all()
