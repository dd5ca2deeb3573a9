# SPDX-License-Identifier: Apache-2.0
"""Transposed convolutions from TFLite: the file's integers, LiteRT's bytes, sizes that Keras computes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scattering import requantised, scattered

import edgekern
from edgekern.errors import CompileError, ShapeError, UnsupportedOpError
from edgekern.graph.run import evaluate
from edgekern.importers._tflite_shapes import folded
from edgekern.importers.tflite import import_tflite
from edgekern.types import Quant
from small_tflite import Operator, Tensor
from small_tflite import model as tflite_model

RNG = np.random.default_rng(11)


def tflite_net(
    padding: int, stride: tuple[int, int], kernel: tuple[int, int], act: int, bias: bool, open_batch: bool = False
) -> bytes:
    size = [n * s if padding == 0 else n * s + max(k - s, 0) for n, s, k in zip((4, 5), stride, kernel, strict=True)]
    draw = np.random.default_rng([padding, *stride, *kernel])
    tensors = {
        "size": Tensor((4,), "int32", data=[1, *size, 8]),
        "w": Tensor((8, *kernel, 6), "int8", [0.01 + 0.002 * i for i in range(8)], 0, 0,
                    draw.integers(-127, 128, (8, *kernel, 6))),
        "x": Tensor((1, 4, 5, 6), "int8", 0.05, -7),
        "b": Tensor((8,), "int32", [0.05 * (0.01 + 0.002 * i) for i in range(8)], data=draw.integers(-3000, 3000, 8)),
        "y": Tensor((1, *size, 8), "int8", 0.35, -20),
    }  # fmt: skip
    options = {"Padding": padding, "StrideH": stride[0], "StrideW": stride[1], "FusedActivationFunction": act}
    given = ["size", "w", "x", *(["b"] if bias else [])]
    call = Operator("TRANSPOSE_CONV", given, ["y"], options, "TransposeConvOptions")
    used = {n: t for n, t in tensors.items() if n in (*given, "y")}
    return with_open_batch(used, call) if open_batch else tflite_model(used, [call], ["x"], ["y"])


def with_open_batch(data: dict[str, Tensor], call: Operator) -> bytes:
    """As Keras writes it: the size of the result is put together from the batch of the input."""
    size = data.pop("size").data
    ends = {"first": [0], "second": [1], "step": [1]}
    held = {name: Tensor((1,), "int32", data=value) for name, value in ends.items()}
    held |= {f"n{k}": Tensor((), "int32", data=size[k]) for k in (1, 2, 3)}
    made = {"shape": Tensor((4,), "int32"), "batch": Tensor((), "int32"), "size": Tensor((4,), "int32")}
    cut = {"BeginMask": 0, "EndMask": 0, "EllipsisMask": 0, "NewAxisMask": 0, "ShrinkAxisMask": 1}
    calls = [
        Operator("SHAPE", ["x"], ["shape"], {"OutType": 2}, "ShapeOptions"),
        Operator("STRIDED_SLICE", ["shape", "first", "second", "step"], ["batch"], cut, "StridedSliceOptions"),
        Operator("PACK", ["batch", "n1", "n2", "n3"], ["size"], {"ValuesCount": 4, "Axis": 0}, "PackOptions"),
        call,
    ]
    return tflite_model({**data, **held, **made}, calls, ["x"], ["y"])


FORMS = [
    (padding, stride, kernel, act, bias)
    for padding in (0, 1)
    for stride, kernel in (((2, 2), (2, 2)), ((2, 2), (3, 3)), ((1, 1), (3, 3)), ((2, 1), (4, 5)), ((2, 2), (1, 1)))
    for act, bias in ((0, True), (1, True), (0, False))
]


#: Those that XNNPACK takes; LiteRT's own kernel requantises in fixed point.
BY_XNNPACK = [form for form in FORMS if form[0] == 1 or form[2] != (1, 1)]


@pytest.mark.peer
@pytest.mark.parametrize(("padding", "stride", "kernel", "act", "bias"), BY_XNNPACK)
def test_litert_s_bytes(padding: int, stride: tuple[int, int], kernel: tuple[int, int], act: int, bias: bool) -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    data = tflite_net(padding, stride, kernel, act, bias)
    net = litert.Interpreter(model_content=data, num_threads=1)
    net.allocate_tensors()
    compiled = edgekern.compile(data)
    for seed in range(3):
        x = np.random.default_rng(seed).integers(-128, 128, (1, 4, 5, 6)).astype(np.int8)
        net.set_tensor(net.get_input_details()[0]["index"], x)
        net.invoke()
        want = net.get_tensor(net.get_output_details()[0]["index"])
        assert len(np.unique(want)) > 20
        assert (compiled.run(x) == want).all()
        assert (compiled.reference(x) == want).all()


@pytest.mark.parametrize(("padding", "stride", "kernel", "act", "bias"), FORMS)
def test_an_int8_tflite_model_keeps_its_integers(
    padding: int, stride: tuple[int, int], kernel: tuple[int, int], act: int, bias: bool
) -> None:
    data = tflite_net(padding, stride, kernel, act, bias)
    draw = np.random.default_rng([padding, *stride, *kernel])  # as the file's
    w = draw.integers(-127, 128, (8, *kernel, 6))
    b = draw.integers(-3000, 3000, 8) if bias else np.zeros(8, int)
    x = RNG.integers(-128, 128, (1, 4, 5, 6)).astype(np.int8)
    compiled = edgekern.compile(data)
    y = compiled.run(x)
    total = [max(0, (n - 1) * s + k - m) for n, s, k, m in zip((4, 5), stride, kernel, y.shape[1:3], strict=True)]
    begin = [t // 2 if padding == 0 else 0 for t in total]
    acc = scattered(x.transpose(0, 3, 1, 2).astype(np.int64) + 7, w.transpose(3, 0, 1, 2), stride, begin, y.shape[1:3])
    scales = np.float32([0.01 + 0.002 * i for i in range(8)])
    held = Quant(float(np.float32(0.05)), -7), Quant(float(np.float32(0.35)), -20)
    want = requantised(acc[0].transpose(1, 2, 0) + b, held[0], scales, held[1], act == 1)
    assert len(np.unique(want)) > 20
    assert (y[0] == want).all()


def test_a_size_put_together_from_an_open_batch() -> None:
    x = RNG.integers(-128, 128, (2, 4, 5, 6)).astype(np.int8)
    found, wanted = (edgekern.compile(tflite_net(0, (2, 2), (3, 3), 1, True, k)).run(x) for k in (True, False))
    assert (found == wanted).all()
    assert len(np.unique(wanted)) > 20


@pytest.mark.parametrize(
    ("index", "masks"),
    [
        ((1, 2, 1), {"ShrinkAxisMask": 1}),
        ((-1, 0, 1), {"ShrinkAxisMask": 1}),
        ((1, 3, 1), {}),
        ((1, 3, 1), {"BeginMask": 1}),
        ((1, 3, 1), {"EndMask": 1}),
        ((0, 4, 2), {}),
    ],
)
def test_parts_of_a_shape(index: tuple[int, int, int], masks: dict[str, int]) -> None:
    kinds = ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask")
    options = SimpleNamespace(**{kind: (lambda k=kind: masks.get(k, 0)) for kind in kinds})
    begin, end, step = index
    shape = folded("SHAPE", None, [], (7, 8, 9, 10))
    assert shape is not None
    part = folded("STRIDED_SLICE", options, [shape, *(np.array([n]) for n in index)], None)
    cut = slice(None if "BeginMask" in masks else begin, None if "EndMask" in masks else end, step)
    wanted = [7, 8, 9, 10][begin] if "ShrinkAxisMask" in masks else [7, 8, 9, 10][cut]
    assert part is not None
    assert part.tolist() == wanted


def test_a_float_tflite_model() -> None:
    w, b = RNG.normal(size=(5, 3, 2, 4)).astype(np.float32), RNG.normal(size=5).astype(np.float32)
    tensors = {
        "size": Tensor((4,), "int32", data=[1, 6, 8, 5]),
        "w": Tensor(w.shape, data=w),
        "x": Tensor((1, 3, 4, 4)),
        "b": Tensor((5,), data=b),
        "y": Tensor((1, 6, 8, 5)),
    }
    options = {"Padding": 0, "StrideH": 2, "StrideW": 2, "FusedActivationFunction": 3}
    call = Operator("TRANSPOSE_CONV", ["size", "w", "x", "b"], ["y"], options, "TransposeConvOptions")
    x = RNG.normal(size=(1, 3, 4, 4)).astype(np.float32)
    y = evaluate(import_tflite(tflite_model(tensors, [call], ["x"], ["y"])), {"x": x})["y"]
    want = scattered(x.transpose(0, 3, 1, 2), w.transpose(3, 0, 1, 2), (2, 2), (0, 0), (6, 8)).transpose(0, 2, 3, 1)
    assert np.abs(y - np.clip(want + b, 0, 6)).max() < 1e-5


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"size": Tensor((4,), "int32", data=[1, 9, 10, 8])}, ShapeError, "an output of"),
        ({"size": Tensor((3,), "int32", data=[8, 10, 8])}, UnsupportedOpError, "four numbers"),
        ({"w": Tensor((8, 2, 6), "int8", 0.01, data=np.zeros((8, 2, 6)))}, UnsupportedOpError, "no constant"),
        ({"w": Tensor((8, 2, 2, 5), "int8", 0.01, data=np.zeros((8, 2, 2, 5)))}, ShapeError, "for 6 channels"),
    ],
)
def test_a_tflite_model_that_does_not_fit_is_refused(
    changed: dict[str, Tensor], error: type[CompileError], words: str
) -> None:
    tensors = {
        "size": Tensor((4,), "int32", data=[1, 8, 10, 8]),
        "w": Tensor((8, 2, 2, 6), "int8", 0.01, data=np.zeros((8, 2, 2, 6))),
        "x": Tensor((1, 4, 5, 6), "int8", 0.05),
        "y": Tensor((1, 8, 10, 8), "int8", 0.35),
    }
    call = Operator("TRANSPOSE_CONV", ["size", "w", "x"], ["y"], {"StrideH": 2, "StrideW": 2}, "TransposeConvOptions")
    with pytest.raises(error, match=words):
        edgekern.compile(tflite_model(tensors | changed, [call], ["x"], ["y"]))
