# SPDX-License-Identifier: Apache-2.0
"""A QDQ ONNX graph as int8 TFLite: the same integers, uint8 activations shifted by 128, NHWC.

For networks of `nets.py` whose padding is TFLite's SAME or none; others are refused. A softmax gets the output scale
that TFLite demands, 1/256. Every other tensor keeps its scale, every weight and bias its integer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
import tflite
from onnx import ModelProto, NodeProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
TYPES = {"int8": 9, "int32": 2}
SAME, VALID = 0, 1  # tflite.Padding
VERSIONS = {  # of an operator, from which on it takes int8; 2 for the others
    tflite.BuiltinOperator.CONV_2D: 3,
    tflite.BuiltinOperator.DEPTHWISE_CONV_2D: 3,
    tflite.BuiltinOperator.FULLY_CONNECTED: 4,
    tflite.BuiltinOperator.RESHAPE: 1,
}


class File:
    """A TFLite file that grows by tensors and operators."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1 << 20)
        self.buffers = [self.table("Buffer")]
        self.tensors: list[int] = []
        self.operators: list[int] = []
        self.codes: dict[int, int] = {}

    def table(self, kind: str, **values: Any) -> int:
        getattr(tflite, f"{kind}Start")(self.builder)
        for name, value in values.items():
            getattr(tflite, f"{kind}Add{name}")(self.builder, value)
        made: int = getattr(tflite, f"{kind}End")(self.builder)
        return made

    def vector(self, values: Any, dtype: Any = np.int32) -> int:
        made: int = self.builder.CreateNumpyVector(np.ascontiguousarray(values, dtype))
        return made

    def offsets(self, values: Sequence[int]) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependUOffsetTRelative(value)
        made: int = self.builder.EndVector()
        return made

    def tensor(self, shape: Sequence[int], scale: Any = None, zero: int = 0, axis: int = 0, data: Any = None) -> int:
        """Adds a tensor, a constant where there is data; returns its number."""
        dtype = "int8" if data is None else data.dtype.name
        fields: dict[str, Any] = {"Shape": self.vector(shape), "Type": TYPES[dtype]}
        if data is not None:
            fields["Buffer"] = len(self.buffers)
            values = self.vector(np.frombuffer(data.tobytes(), np.uint8), np.uint8)
            self.buffers.append(self.table("Buffer", Data=values))
        if scale is not None:
            scales = np.atleast_1d(scale)
            parts = {"Scale": self.vector(scales, np.float32), "ZeroPoint": self.vector([zero] * len(scales), np.int64)}
            fields["Quantization"] = self.table("QuantizationParameters", **parts, QuantizedDimension=axis)
        fields["Name"] = self.builder.CreateString(f"t{len(self.tensors)}")
        self.tensors.append(self.table("Tensor", **fields))
        return len(self.tensors) - 1

    def call(self, kind: str, inputs: Sequence[int], output: int, options: str, **values: Any) -> None:
        code = getattr(tflite.BuiltinOperator, kind)
        fields = {
            "Inputs": self.vector(inputs),
            "Outputs": self.vector([output]),
            "OpcodeIndex": self.codes.setdefault(code, len(self.codes)),
            "BuiltinOptions": self.table(options, **values),
            "BuiltinOptionsType": getattr(tflite.BuiltinOptions, options),
        }
        self.operators.append(self.table("Operator", **fields))

    def finish(self, start: int, end: int) -> bytes:
        codes = [
            self.table("OperatorCode", BuiltinCode=c, DeprecatedBuiltinCode=c, Version=VERSIONS.get(c, 2))
            for c in self.codes
        ]
        parts = {"Tensors": self.offsets(self.tensors), "Operators": self.offsets(self.operators)}
        graph = self.table("SubGraph", Inputs=self.vector([start]), Outputs=self.vector([end]), **parts)
        lists = {"Subgraphs": [graph], "OperatorCodes": codes, "Buffers": self.buffers}
        vectors = {name: self.offsets(values) for name, values in lists.items()}
        self.builder.Finish(self.table("Model", Version=3, **vectors), b"TFL3")
        return bytes(self.builder.Output())


class Conversion:
    """Walks a QDQ graph in its order; `made` holds number and NHWC shape of each quantised tensor's TFLite twin."""

    def __init__(self, model: ModelProto) -> None:
        self.file, self.graph = File(), model.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.origin = {n.output[0]: n for n in model.graph.node if n.op_type == "DequantizeLinear"}
        self.ends = {n.input[0]: n for n in model.graph.node if n.op_type == "QuantizeLinear"}
        self.made: dict[str, tuple[int, tuple[int, ...]]] = {}
        self.planar: dict[str, tuple[int, ...]] = {}  # c, h, w of what a flattened tensor was

    def run(self) -> bytes:
        dims = [d.dim_value for d in self.graph.input[0].type.tensor_type.shape.dim]
        start, _ = self.make(self.ends[self.graph.input[0].name], (dims[0], dims[2], dims[3], dims[1]))
        for node in self.graph.node:
            if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                OPERATORS[node.op_type](self, node)
        return self.file.finish(start, self.made[self.origin[self.graph.output[0].name].input[0]][0])

    def make(self, end: NodeProto, shape: tuple[int, ...], scale: float | None = None) -> tuple[int, tuple[int, ...]]:
        """The tensor that a QuantizeLinear makes."""
        zero = int(self.constants[end.input[2]]) - 128
        number = self.file.tensor(shape, self.constants[end.input[1]] if scale is None else scale, zero)
        self.made[end.output[0]] = number, shape
        return number, shape

    def read(self, name: str) -> tuple[int, tuple[int, ...]]:
        return self.made[self.origin[name].input[0]]

    def weights(self, node: NodeProto) -> tuple[Array, Array, Array, Array]:
        """Integers and scales of weights and bias."""
        parts = [self.constants[name] for index in (1, 2) for name in self.origin[node.input[index]].input[:2]]
        return parts[0], parts[1], parts[2], parts[3]

    def write(self, node: NodeProto, shape: tuple[int, ...], scale: float | None = None) -> int:
        return self.make(self.ends[node.output[0]], shape, scale)[0]


def options_of(node: NodeProto) -> Mapping[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def padding(shape: tuple[int, ...], options: Mapping[str, Any]) -> tuple[int, tuple[int, int]]:
    """TFLite's word for the padding of a window, and (height, width) of what comes out."""
    k, s, pads = options["kernel_shape"][0], options["strides"][0], options["pads"]
    total = max((-(-shape[1] // s) - 1) * s + k - shape[1], 0)
    if list(pads) == [0, 0, 0, 0]:
        return VALID, ((shape[1] - k) // s + 1, (shape[2] - k) // s + 1)
    if list(pads) == [total // 2] * 2 + [total - total // 2] * 2 and shape[1] == shape[2]:
        return SAME, (-(-shape[1] // s), -(-shape[2] // s))
    raise ValueError(f"TFLite has no word for padding {list(pads)} of an image {shape}")


def conv(c: Conversion, node: NodeProto) -> None:
    x, shape = c.read(node.input[0])
    w, s_w, b, s_b = c.weights(node)
    options = options_of(node)
    word, size = padding(shape, options)
    y = c.write(node, (shape[0], *size, len(w)))
    depthwise = options.get("group", 1) > 1
    turned = w[:, 0].transpose(1, 2, 0)[None] if depthwise else w.transpose(0, 2, 3, 1)
    held = [
        c.file.tensor(turned.shape, s_w, axis=3 if depthwise else 0, data=turned),
        c.file.tensor(b.shape, s_b, data=b),
    ]
    kind = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
    more = {"DepthMultiplier": 1} if depthwise else {}
    steps = dict.fromkeys(("StrideH", "StrideW"), options["strides"][0])
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    dilation = dict.fromkeys(("DilationHFactor", "DilationWFactor"), 1)
    c.file.call(name, [x, *held], y, kind, Padding=word, **steps, **dilation, **more)


def gemm(c: Conversion, node: NodeProto) -> None:
    x, shape = c.read(node.input[0])
    w, s_w, b, s_b = c.weights(node)
    if planar := c.planar.get(node.input[0]):  # its columns count channels first, TFLite's last
        w = w.reshape(len(w), *planar).transpose(0, 2, 3, 1).reshape(len(w), -1)
    held = [c.file.tensor(w.shape, s_w, data=w), c.file.tensor(b.shape, s_b, data=b)]
    c.file.call("FULLY_CONNECTED", [x, *held], c.write(node, (shape[0], len(w))), "FullyConnectedOptions")


def max_pool(c: Conversion, node: NodeProto) -> None:
    x, shape = c.read(node.input[0])
    options = options_of(node)
    word, size = padding(shape, options)
    k, s = options["kernel_shape"][0], options["strides"][0]
    y = c.write(node, (shape[0], *size, shape[3]))
    window = {"FilterHeight": k, "FilterWidth": k, "StrideH": s, "StrideW": s}
    c.file.call("MAX_POOL_2D", [x], y, "Pool2DOptions", Padding=word, **window)


def mean(c: Conversion, node: NodeProto) -> None:
    x, shape = c.read(node.input[0])
    axes = c.file.tensor((2,), data=np.array([1, 2], np.int32))
    c.file.call("MEAN", [x, axes], c.write(node, (shape[0], 1, 1, shape[3])), "ReducerOptions", KeepDims=True)


def flatten(c: Conversion, node: NodeProto) -> None:
    x, shape = c.read(node.input[0])
    flat = (shape[0], int(np.prod(shape[1:])))
    sizes = c.file.tensor((2,), data=np.array(flat, np.int32))
    y = c.write(node, flat)
    c.file.call("RESHAPE", [x, sizes], y, "ReshapeOptions", NewShape=c.file.vector(flat))
    for name, origin in c.origin.items():
        if origin.input[0] == c.ends[node.output[0]].output[0]:
            c.planar[name] = (shape[3], shape[1], shape[2])


def add(c: Conversion, node: NodeProto) -> None:
    (a, shape), (b, _) = (c.read(name) for name in node.input)
    c.file.call("ADD", [a, b], c.write(node, shape), "AddOptions")


def softmax(c: Conversion, node: NodeProto) -> None:
    x, shape = c.read(node.input[0])
    c.file.call("SOFTMAX", [x], c.write(node, shape, 1 / 256), "SoftmaxOptions", Beta=1.0)


OPERATORS: dict[str, Callable[[Conversion, NodeProto], None]] = {
    "Conv": conv,
    "Gemm": gemm,
    "MaxPool": max_pool,
    "GlobalAveragePool": mean,
    "Flatten": flatten,
    "Add": add,
    "Softmax": softmax,
}


def from_qdq(model: ModelProto) -> bytes:
    """The bytes of the TFLite file.

    Raises:
        ValueError: A padding that TFLite has no word for.
    """
    return Conversion(model).run()
