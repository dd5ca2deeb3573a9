# SPDX-License-Identifier: Apache-2.0
"""The sign model of the package as int8 TFLite: the integers of the `.ekm`, layer by layer.

A file holds multipliers m = s_in * s_w / s_out, TFLite scales: each s_w is a float32 that gives m back. Padding that
SAME cannot say is a PAD of the pixels that are read. What has no form here is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tflite import ActivationFunctionType

from edgekern import SignClassifier, ops
from edgekern.artifact.reader import read
from edgekern.graph import Graph, Node
from edgekern.ops.softmax import PROBABILITY
from edgekern.quant import EXP_ONE, clamp_bounds, fold_multiplier
from edgekern.signs import stream
from edgekern.types import Quant
from latency import MODEL, scene
from peers import lite

Array = np.ndarray[Any, Any]
NEAR = 8  # float32 neighbours among which a weight's scale is looked for
FULL = (-128, 127)


def weight_scales(m: Array, s_in: float, s_out: float) -> Array:
    """The float32 scales that fold to the multipliers.

    Raises:
        ValueError: A multiplier that no scale gives.
    """
    near = (m.astype(np.float64) * s_out / s_in).astype(np.float32)
    tried = near.view(np.int32) + np.arange(-NEAR, NEAR + 1)[:, None].astype(np.int32)
    scales = tried.view(np.float32)
    hit = fold_multiplier(s_in, scales, s_out) == m
    if not hit.any(axis=0).all():
        raise ValueError("a multiplier that no float32 scale of a weight gives")
    found: Array = np.take_along_axis(scales, hit.argmax(axis=0)[None], 0)[0]
    return found


def beta(table: Array, scale: float) -> float:
    """Of a softmax whose table is round(2^23 * exp(-d * scale * beta)): the middle of what its entries leave open."""
    d = np.flatnonzero(table)[1:]
    e = table[d].astype(np.float64)
    low, high = (np.log(EXP_ONE / (e + side)) / d for side in (0.5, -0.5))
    return float(low.max() + high.min()) / (2 * scale)


class NoFormError(ValueError):
    """The bundled model holds what has no TFLite form here."""


class Conversion:
    """Walks the graph; `made` holds the TFLite number of each tensor's twin."""

    def __init__(self, graph: Graph) -> None:
        self.file, self.graph = lite.File(), graph
        self.made: dict[str, int] = {}

    def run(self) -> bytes:
        (given,), (made,) = self.graph.inputs, self.graph.outputs
        start = self.tensor(given.tensor)
        for node in self.graph.nodes:
            try:
                OPERATORS.get(type(node.op), unknown)(self, node)
            except ValueError as why:
                remedy = f"write its form in bench/peers/{Path(__file__).name}"
                raise NoFormError(f"no TFLite form of {node.output}: {why}; {remedy}") from why
        return self.file.finish(start, self.made[made.tensor])

    def quant(self, name: str) -> Quant:
        """A float32 tensor is one of probabilities."""
        return self.graph.types[name].quant or PROBABILITY

    def tensor(self, name: str) -> int:
        quant = self.quant(name)
        self.made[name] = self.file.tensor(self.graph.types[name].shape, quant.scale, quant.zero_point)
        return self.made[name]

    def call(self, node: Node, kind: str, held: Sequence[int], options: str, **values: Any) -> None:
        inputs = [self.made[name] for name in node.inputs]
        self.file.call(kind, [*inputs, *held], self.tensor(node.output), options, **values)

    def activation(self, node: Node) -> int:
        """A convolution's: RELU6 where it says the clamp, also one that the range of the result says already."""
        op: Any = node.op
        if clamp_bounds(self.quant(node.output), 0.0, 6.0) == op.clamp:
            return int(ActivationFunctionType.RELU6)
        if op.clamp != FULL:
            raise ValueError(f"no activation clamps like {op}")
        return int(ActivationFunctionType.NONE)

    def weights(self, node: Node, turned: Array, axis: int) -> list[int]:
        """Weights and bias of a layer."""
        _, bias, m = (self.graph.constants[name] for name in node.constants)
        s_in = self.quant(node.inputs[0]).scale
        s_w = weight_scales(m, s_in, self.quant(node.output).scale)
        held = self.file.tensor(turned.shape, s_w, axis=axis, data=turned)
        return [held, self.file.tensor(bias.shape, s_w * np.float32(s_in), data=bias)]


def padding(c: Conversion, node: Node) -> tuple[int, int]:
    """TFLite's word for the padding of a window, and the tensor it slides over: a padded one where no word fits."""
    op: Any = node.op
    x, (b, h, w, channels) = node.inputs[0], c.graph.types[node.inputs[0]].shape
    (_, oh, ow, _), (top, left, _, _) = c.graph.types[node.output].shape, op.pads
    spans = [(k - 1) * d + 1 for k, d in zip(op.kernel, op.dilation, strict=True)]
    needs = [max((o - 1) * s + k - n, 0) for o, s, k, n in zip((oh, ow), op.stride, spans, (h, w), strict=True)]
    if top > needs[0] or left > needs[1]:
        raise ValueError(f"the pads {op.pads} of {op} begin before the {needs} pixels that it reads beyond the image")
    if not any(needs):
        return lite.VALID, c.made[x]
    if (top, left) == (needs[0] // 2, needs[1] // 2) and (oh, ow) == (-(-h // op.stride[0]), -(-w // op.stride[1])):
        return lite.SAME, c.made[x]
    amounts = [[0, 0], [top, needs[0] - top], [left, needs[1] - left], [0, 0]]
    sides = c.file.tensor((4, 2), data=np.array(amounts, np.int32))
    quant = c.quant(x)
    padded = c.file.tensor((b, h + needs[0], w + needs[1], channels), quant.scale, quant.zero_point)
    c.file.call("PAD", [c.made[x], sides], padded, "PadOptions")
    return lite.VALID, padded


def window(c: Conversion, node: Node) -> tuple[int, dict[str, int]]:
    """The tensor that a convolution slides over, and its options."""
    op: Any = node.op
    act = c.activation(node)
    word, x = padding(c, node)
    steps = {"StrideH": op.stride[0], "StrideW": op.stride[1]}
    dilation = {"DilationHFactor": op.dilation[0], "DilationWFactor": op.dilation[1]}
    return x, {"Padding": word, "FusedActivationFunction": act, **steps, **dilation}


def conv(c: Conversion, node: Node) -> None:
    op: Any = node.op
    w = c.graph.constants[node.constants[0]]
    if op.groups != 1 or w.shape[1:3] != op.kernel:
        raise ValueError(f"groups, or weights {w.shape} in parts, of {op}")
    if c.graph.types[node.inputs[0]].shape[1:3] == op.kernel and not any(op.pads):
        held = c.weights(node, w.reshape(len(w), -1), 0)
        act = c.activation(node)
        c.call(node, "FULLY_CONNECTED", held, "FullyConnectedOptions", FusedActivationFunction=act, KeepNumDims=True)
        return
    x, options = window(c, node)
    c.file.call("CONV_2D", [x, *c.weights(node, w, 0)], c.tensor(node.output), "Conv2DOptions", **options)


def depthwise(c: Conversion, node: Node) -> None:
    op: Any = node.op
    w = c.graph.constants[node.constants[0]]
    if w.shape[:2] != op.kernel:
        raise ValueError(f"weights {w.shape} in parts of {op}")
    x, options = window(c, node)
    held = c.weights(node, w[None], 3)
    kind = "DepthwiseConv2DOptions"
    c.file.call("DEPTHWISE_CONV_2D", [x, *held], c.tensor(node.output), kind, DepthMultiplier=1, **options)


def plain(node: Node) -> None:
    """Refuses a clamp where no activation is written."""
    op: Any = node.op
    if op.clamp != FULL:
        raise ValueError(f"the clamp of {op}")


def unknown(c: Conversion, node: Node) -> None:
    raise ValueError(f"{node.op} is not among {sorted(known.__name__ for known in OPERATORS)}")


def add(c: Conversion, node: Node) -> None:
    plain(node)
    c.call(node, "ADD", [], "AddOptions")


def mean(c: Conversion, node: Node) -> None:
    plain(node)
    axes = c.file.tensor((2,), data=np.array([1, 2], np.int32))
    c.call(node, "MEAN", [axes], "ReducerOptions", KeepDims=True)


def reshape(c: Conversion, node: Node) -> None:
    shape = c.graph.types[node.output].shape
    sizes = c.file.tensor((len(shape),), data=np.array(shape, np.int32))
    c.call(node, "RESHAPE", [sizes], "ReshapeOptions", NewShape=c.file.vector(shape))


def softmax(c: Conversion, node: Node) -> None:
    table = c.graph.constants[node.constants[0]]
    c.call(node, "SOFTMAX", [], "SoftmaxOptions", Beta=beta(table, c.quant(node.inputs[0]).scale))


OPERATORS: dict[type, Callable[[Conversion, Node], None]] = {
    ops.Conv2D: conv,
    ops.DepthwiseConv2D: depthwise,
    ops.Add: add,
    ops.Mean: mean,
    ops.Reshape: reshape,
    ops.Softmax: softmax,
}


def crops(count: int) -> Array:
    """uint8 signs of the simulated camera as the bundled model takes them; the TFLite form takes them less 128."""
    found: list[Array] = []
    preprocess = SignClassifier().model.preprocess
    assert preprocess is not None
    for frame, boxes, _ in stream.frames(count=count):
        found += [preprocess.crop(frame, box) for box in boxes[: count - len(found)]]
        if len(found) == count:
            break
    return np.stack(found)


def camera_reference() -> Array:
    """What the NumPy reference makes of the boxes of the first camera frame."""
    frames, boxes = scene()
    model = SignClassifier().model
    assert model.preprocess is not None
    crops = np.stack([model.preprocess.crop(frames[0], tuple(box)) for box in boxes[0].tolist()])
    made: Array = model.reference(crops)
    return made


def tflite() -> bytes:
    """The bundled model as a TFLite file.

    Raises:
        NoFormError: It holds what has no TFLite form here.
    """
    return Conversion(read(MODEL.read_bytes()).graph).run()
