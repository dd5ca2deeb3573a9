# SPDX-License-Identifier: Apache-2.0
"""TFLite import: integers taken over as they are, float models calibrated, everything else refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import tflite

import edgekern
from edgekern.errors import CompileError, EdgekernError, ShapeError, UnsupportedOpError
from edgekern.graph.run import evaluate
from edgekern.importers.tflite import import_tflite
from edgekern.types import DType, Quant
from small_tflite import Operator, Tensor, model

RNG = np.random.default_rng(7)
CONV = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}


def integers(*shape: int, low: int = -127, high: int = 128) -> Any:
    return RNG.integers(low, high, shape)


def conv_net(dtype: str = "int8", weight_zero: int = 0, act: int = 1, stride: int = 1) -> bytes:
    """One 3x3 convolution from 6x5x4 to 7 channels, a mean and a softmax."""
    shift = 128 if dtype == "uint8" else 0
    low, high = (0, 256) if dtype == "uint8" else (-127, 128)
    scales: Any = 0.02 if dtype == "uint8" else [0.01 * (i + 1) for i in range(7)]
    side = -(-6 // stride), -(-5 // stride)
    tensors = {
        "x": Tensor((1, 6, 5, 4), dtype, 0.05, -3 + shift),
        "w": Tensor((7, 3, 3, 4), dtype, scales, weight_zero, 0, integers(7, 3, 3, 4, low=low, high=high)),
        "b": Tensor((7,), "int32", 0.001, data=integers(7, low=-3000, high=3000)),
        "y": Tensor((1, *side, 7), dtype, 0.9, -20 + shift),
        "axes": Tensor((2,), "int32", data=[1, 2]),
        "m": Tensor((1, 7), dtype, 0.07, 5 + shift),
        "p": Tensor((1, 7), dtype, 1 / 256, -128 + shift),
    }
    options = {**CONV, "StrideH": stride, "StrideW": stride, "FusedActivationFunction": act}
    operators = [
        Operator("CONV_2D", ["x", "w", "b"], ["y"], options, "Conv2DOptions"),
        Operator("MEAN", ["y", "axes"], ["m"], {"KeepDims": False}, "ReducerOptions"),
        Operator("SOFTMAX", ["m"], ["p"], {"Beta": 1.0}, "SoftmaxOptions"),
    ]
    return model(tensors, operators, ["x"], ["p"])


def held(data: bytes, name: str, dtype: type[np.generic]) -> Any:
    """A constant of a file, flat."""
    source = tflite.Model.GetRootAs(data, 0)
    graph = source.Subgraphs(0)
    (tensor,) = (t for t in map(graph.Tensors, range(graph.TensorsLength())) if t.Name() == name.encode())
    return source.Buffers(tensor.Buffer()).DataAsNumpy().view(dtype)


def written_out(x: Any, w: Any, bias: Any, scale: Any, stride: int) -> Any:
    """The convolution of `conv_net` by the formula of the specification, pixel by pixel; x int8, w less its zero."""
    h, wd = -(-6 // stride), -(-5 // stride)
    pads = [max(0, (n - 1) * stride + 3 - size) // 2 for n, size in ((h, 6), (wd, 5))]
    y = np.zeros((h, wd, 7), np.int64)
    for i in range(h):
        for j in range(wd):
            for ky in range(3):
                for kx in range(3):
                    r, c = i * stride + ky - pads[0], j * stride + kx - pads[1]
                    if 0 <= r < 6 and 0 <= c < 5:
                        y[i, j] += (w[:, ky, kx].astype(np.int64) * (x[r, c].astype(np.int64) + 3)).sum(axis=1)
    t = (y + bias).astype(np.float32) * ((np.float32(0.05) * scale) / np.float32(0.9))
    return np.clip(np.rint(np.clip(t, -256, 256)) - 20, -20, 127).astype(np.int8)  # ReLU: from the zero point on


@pytest.mark.parametrize("stride", [1, 2])
def test_an_int8_convolution_keeps_its_integers(stride: int) -> None:
    data = conv_net(stride=stride)
    made = edgekern.compile(data)
    x = RNG.integers(-128, 128, (1, 6, 5, 4)).astype(np.int8)
    w, b = held(data, "w", np.int8).reshape(7, 3, 3, 4), held(data, "b", np.int32)
    wanted = written_out(x[0], w, b, np.float32([0.01 * (i + 1) for i in range(7)]), stride)
    assert len(np.unique(wanted)) > 20
    assert (made.trace(x)["y"][0] == wanted).all()
    assert (made.run(x) == made.reference(x)).all()
    assert made.run(x).dtype == np.int8


@pytest.mark.parametrize("zero", [0, 3, 100, 128, 255])
def test_a_uint8_model_is_the_same_model_128_higher(zero: int) -> None:
    """Weight zero points included: the sums are those of w - zero."""
    data = conv_net("uint8", zero)
    made = edgekern.compile(data)
    x = RNG.integers(0, 256, (1, 6, 5, 4)).astype(np.uint8)
    w = held(data, "w", np.uint8).astype(np.int16).reshape(7, 3, 3, 4) - zero
    wanted = written_out((x[0] ^ 128).view(np.int8), w, held(data, "b", np.int32), np.full(7, np.float32(0.02)), 1)
    assert len(np.unique(wanted)) > 20
    assert (made.trace(x)["y"][0] == wanted).all()
    assert made.report is not None
    assert made.report.layers[0].macs == made.report.macs == 6 * 5 * 7 * 36  # in one part of weights or several
    assert made.run(x).dtype == np.uint8
    assert (made.run(x) == made.reference(x)).all()


@pytest.mark.parametrize("origin", ["int8", "uint8"])
def test_averages_round_their_halves_as_the_source_does(origin: str) -> None:
    """int8: away from 0; uint8: up. Sums of two pixels are half of the time halves."""
    tensors = {"x": Tensor((1, 2, 1, 4), origin, 0.5, 7), "y": Tensor((1, 1, 1, 4), origin, 0.5, 7)}
    options = {"Padding": 1, "StrideH": 1, "StrideW": 1, "FilterHeight": 2, "FilterWidth": 1}
    pool = Operator("AVERAGE_POOL_2D", ["x"], ["y"], options, "Pool2DOptions")
    made = edgekern.compile(model(tensors, [pool], ["x"], ["y"]))
    values = [[-3, 0], [-2, -1], [2, 1], [3, 0]] if origin == "int8" else [[3, 0], [3, 4], [128, 127], [255, 0]]
    x = np.array(values, origin).T.reshape(1, 2, 1, 4)
    wanted = [-2, -2, 2, 2] if origin == "int8" else [2, 4, 128, 128]
    assert made.run(x).ravel().tolist() == wanted
    assert made.reference(x).ravel().tolist() == wanted


@pytest.mark.parametrize("order", ["x gate", "gate x", "x other"])
def test_a_product_of_two_activations_keeps_its_integers(order: str) -> None:
    shapes = {"x": (1, 3, 4, 5), "gate": (1, 1, 1, 5), "other": (1, 3, 4, 5)}
    scales = {"x": (0.05, -7), "gate": (1 / 256, -128), "other": (0.03, 9)}
    names = order.split()
    tensors = {name: Tensor(shapes[name], "int8", *scales[name]) for name in names}
    step = 0.1 if "other" in names else 0.02
    tensors["y"] = Tensor((1, 3, 4, 5), "int8", step, -11)
    call = Operator("MUL", names, ["y"], {"FusedActivationFunction": 1}, "MulOptions")
    made = edgekern.compile(model(tensors, [call], names, ["y"]))
    given = {name: RNG.integers(-128, 128, shapes[name]).astype(np.int8) for name in names}
    a, b = (given[name].astype(np.int32) - scales[name][1] for name in sorted(names, key="x gate other".index))
    first, second = (np.float32(scales[name][0]) for name in names)
    t = (a * b).astype(np.float32) * ((first * second) / np.float32(step))
    want = np.clip(np.rint(t) - 11, -11, 127)
    assert len(np.unique(want)) > 20
    assert (made.run(given) == want).all()


def test_a_gate_for_each_pixel_is_refused() -> None:
    tensors = {"x": Tensor((1, 2, 2, 4), "int8", 0.5), "m": Tensor((1, 2, 2, 1), "int8", 0.5)}
    tensors["y"] = Tensor((1, 2, 2, 4), "int8", 0.5)
    call = Operator("MUL", ["x", "m"], ["y"], {"FusedActivationFunction": 0}, "MulOptions")
    with pytest.raises(ShapeError, match="one shape or the second one pixel"):
        edgekern.compile(model(tensors, [call], ["x", "m"], ["y"]))


def float_net() -> bytes:
    tensors = {
        "x": Tensor((1, 6, 6, 3)),
        "w": Tensor((8, 3, 3, 3), data=RNG.normal(size=(8, 3, 3, 3)) * 0.2),
        "b": Tensor((8,), data=RNG.normal(size=8) * 0.1),
        "y": Tensor((1, 6, 6, 8)),
        "d": Tensor((1, 3, 3, 8), data=RNG.normal(size=(1, 3, 3, 8)) * 0.3),
        "z": Tensor((1, 3, 3, 8)),
        "w2": Tensor((5, 72), "int8", 0.004, data=integers(5, 72)),  # 8-bit weights of a float model
        "out": Tensor((1, 5)),
    }
    operators = [
        Operator("CONV_2D", ["x", "w", "b"], ["y"], {**CONV, "FusedActivationFunction": 3}, "Conv2DOptions"),
        Operator(
            "DEPTHWISE_CONV_2D", ["y", "d", ""], ["z"],
            {**CONV, "StrideH": 2, "StrideW": 2, "DepthMultiplier": 1}, "DepthwiseConv2DOptions",
        ),
        Operator("FULLY_CONNECTED", ["z", "w2", ""], ["out"], {}, "FullyConnectedOptions"),
    ]  # fmt: skip
    return model(tensors, operators, ["x"], ["out"])


def test_a_float_model_is_calibrated() -> None:
    data = float_net()
    frames = RNG.normal(size=(64, 6, 6, 3)).astype(np.float32)
    made = edgekern.compile(data, calibration=frames)
    wanted = evaluate(import_tflite(data), {"x": frames})["out"]
    found = made.run(frames)
    noise = ((found - wanted) ** 2).sum() / (wanted**2).sum()
    assert noise < 1e-3
    with pytest.raises(EdgekernError, match="no calibration sample"):
        edgekern.compile(data)


def test_weights_may_be_held_in_half_precision() -> None:
    w = RNG.normal(size=(3, 4)).astype(np.float16)
    tensors = {
        "x": Tensor((1, 4)),
        "half": Tensor((3, 4), "float16", data=w),
        "w": Tensor((3, 4)),
        "y": Tensor((1, 3)),
    }
    operators = [
        Operator("DEQUANTIZE", ["half"], ["w"]),
        Operator("FULLY_CONNECTED", ["x", "w", ""], ["y"], {}, "FullyConnectedOptions"),
    ]
    x = RNG.normal(size=(1, 4)).astype(np.float32)
    y = evaluate(import_tflite(model(tensors, operators, ["x"], ["y"])), {"x": x})["y"]
    assert np.allclose(y, x @ w.astype(np.float32).T, atol=1e-6)


def test_a_float_input_of_an_int8_model_is_quantised_by_it() -> None:
    tensors = {
        "x": Tensor((1, 4)),
        "q": Tensor((1, 4), "int8", 0.5, 1),
        "h": Tensor((1, 4), "int8", 0.25, -2),
        "y": Tensor((1, 4)),
    }
    operators = [
        Operator("QUANTIZE", ["x"], ["q"]),
        Operator("QUANTIZE", ["q"], ["h"]),
        Operator("DEQUANTIZE", ["h"], ["y"]),
    ]
    made = edgekern.compile(model(tensors, operators, ["x"], ["y"]))
    y = made.run(np.float32([[-1.3, 0.2, 0.26, 100.0]]))
    assert y.tolist() == [[-1.5, 0.0, 0.5, 32.25]]  # to halves first, then quarters up to 127


def refusals() -> Iterator[Any]:
    plain = {"x": Tensor((1, 4), "int8", 0.5), "y": Tensor((1, 4), "int8", 0.5)}
    call = Operator("RELU", ["x"], ["y"])
    yield pytest.param({**plain, "y": Tensor((1, 4), "int16", 0.5)}, call, UnsupportedOpError, "16x8", id="16x8")
    yield pytest.param(plain, Operator("COS", ["x"], [""]), CompileError, "no tensor -1", id="no-result")
    yield pytest.param(plain, Operator("WHILE", ["x"], ["y"]), UnsupportedOpError, "y \\(WHILE\\)", id="unknown")
    yield pytest.param({**plain, "x": Tensor((4,), "int8", 0.5)}, call, ShapeError, "1 dimensions", id="rank")
    yield pytest.param(
        {**plain, "x": Tensor((1, 4), "int8")}, call, UnsupportedOpError, "without one scale", id="scale"
    )
    wide = Tensor((1, 4), "int8", 1e9)
    yield pytest.param({**plain, "y": wide}, call, UnsupportedOpError, "float32 in", id="huge")


@pytest.mark.parametrize(("tensors", "call", "kind", "text"), list(refusals()))
def test_what_does_not_run_is_named(
    tensors: dict[str, Tensor], call: Operator, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        edgekern.compile(model(tensors, [call], ["x"], ["y"]))


def test_a_stranger_file_is_refused_by_name(tmp_path: Any) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(b"\x08\x00\x00\x00TFL3")
    with pytest.raises(CompileError, match="TFLite"):
        edgekern.compile(path)


@pytest.mark.parametrize("seed", range(60))
def test_a_broken_file_gets_a_typed_error(seed: int) -> None:
    """Cut, or with bytes changed anywhere: compiled as another model, or refused; never another exception."""
    draw = np.random.default_rng(seed)
    data = bytearray(conv_net())
    if seed % 3 == 0:
        data = data[: int(draw.integers(8, len(data)))]
    else:
        for place in draw.integers(8, len(data), 1 + seed % 5):
            data[place] = int(draw.integers(256))
    with suppress(EdgekernError):
        edgekern.compile(bytes(data))


def test_quantisations_are_the_files_own() -> None:
    graph = import_tflite(conv_net("uint8", 100))
    assert graph.inputs[0].dtype is DType.UINT8
    assert graph.types["x"].quant == Quant(float(np.float32(0.05)), -3)
    scales = graph.weight_scales[graph.nodes[0].constants[0]]
    assert (scales == np.float32(0.02)).all()
    assert graph.types["y"].quant == Quant(float(np.float32(0.9)), -20)
