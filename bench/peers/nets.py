# SPDX-License-Identifier: Apache-2.0
"""The float networks that every contender runs: ONNX, NCHW, batch 1, seeded random weights.

Batch norm is folded as training would leave it: each convolution is scaled to the mean and variance that a few pictures
give it, so that activations neither die nor explode on the way. Speed hardly depends on weights; trained nets stand
beside these in the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from onnx import ModelProto, TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
Pads = tuple[int, int]  # before and after, alike in both dimensions

SHAPES = {
    "mobilenet_v2": (3, 224, 224),
    "resnet18": (3, 224, 224),
    "sign_dw64": (3, 64, 64),
    "sign_vgg48": (3, 48, 48),
    "vww_shaped": (3, 96, 96),
}


def pictures(count: int, shape: Sequence[int], seed: int) -> Array:
    """Float32 [count, c, h, w] in 0..1: a colour of each picture's own, patches, and noise."""
    draw = np.random.default_rng(seed)
    c, h, w = shape
    patches = draw.random((count, c, -(-h // 8), -(-w // 8))).repeat(8, 2).repeat(8, 3)[:, :, :h, :w]
    colour = draw.random((count, c, 1, 1))
    made: Array = (0.4 * colour + 0.4 * patches + 0.2 * draw.random((count, c, h, w))).astype(np.float32)
    return made


def same(size: int, kernel: int, stride: int) -> Pads:
    """TFLite's SAME: the odd pixel of padding comes after, so that both file formats can say it."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class Net:
    """An ONNX graph that grows layer by layer, each evaluated at once on a few pictures.

    Attributes:
        macs: Multiply-accumulates of one frame so far.
        values: What each tensor is on the pictures, as long as a layer may still read it.
    """

    def __init__(self, name: str, seed: int = 0) -> None:
        self.name, self.macs = name, 0
        self.draw = np.random.default_rng(seed)
        self.values: dict[str, Array] = {"x": pictures(4, SHAPES[name], seed)}
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def _add(
        self, kind: str, inputs: Sequence[str], value: Array, constants: Sequence[Array] = (), **options: Any
    ) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        held = [f"{name}_{part}" for part, _ in zip(("w", "b"), constants, strict=False)]
        self.constants += [numpy_helper.from_array(c, n) for c, n in zip(constants, held, strict=True)]
        self.nodes.append(helper.make_node(kind, [*inputs, *held], [name], name=name, **options))
        self.values[name] = value.astype(np.float32)
        return name

    def conv(
        self,
        x: str,
        out: int,
        k: int = 3,
        s: int = 1,
        pads: Pads | None = None,
        depthwise: bool = False,
        act: str = "6",
    ) -> str:
        """Convolution with folded batch norm, then Clip to 0..6 ("6"), Relu ("relu") or nothing ("")."""
        value = self.values[x]
        c, h = value.shape[1:3]
        before, after = same(h, k, s) if pads is None else pads
        padded = np.pad(value, ((0, 0), (0, 0), (before, after), (before, after)))
        views = sliding_window_view(padded, (k, k), axis=(2, 3))[:, :, ::s, ::s]
        fan = k * k * (1 if depthwise else c)
        w = self.draw.normal(0, np.sqrt(2 / fan), (out, 1 if depthwise else c, k, k)).astype(np.float32)
        if depthwise:
            y = np.einsum("bchwij,cij->bchw", views, w[:, 0])
        else:
            y = np.tensordot(views, w, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
        scale = self.draw.uniform(0.7, 1.3, out) / np.sqrt(y.var((0, 2, 3)) + 1e-5)
        bias = self.draw.uniform(-0.2, 0.4, out) - y.mean((0, 2, 3)) * scale
        w, b = (w * scale[:, None, None, None]).astype(np.float32), bias.astype(np.float32)
        y = y * scale[:, None, None] + bias[:, None, None]
        self.macs += y[0].size * fan
        sides = {"kernel_shape": [k, k], "strides": [s, s], "pads": [before, before, after, after]}
        name = self._add("Conv", [x], y, (w, b), group=c if depthwise else 1, **sides)
        if act == "6":
            self.nodes.append(helper.make_node("Clip", [name, "zero", "six"], [f"{name}_act"], name=f"{name}_act"))
            self.values[f"{name}_act"] = np.clip(self.values.pop(name), 0, 6)
            return f"{name}_act"
        return self.relu(name) if act else name

    def relu(self, x: str) -> str:
        return self._add("Relu", [x], np.maximum(self.values[x], 0))

    def add(self, a: str, b: str) -> str:
        return self._add("Add", [a, b], self.values[a] + self.values[b])

    def max_pool(self, x: str, k: int, s: int, pads: Pads) -> str:
        edge = ((0, 0), (0, 0), pads, pads)
        padded = np.pad(self.values[x], edge, constant_values=-np.inf)
        y = sliding_window_view(padded, (k, k), axis=(2, 3))[:, :, ::s, ::s].max((4, 5))
        before, after = pads
        return self._add("MaxPool", [x], y, kernel_shape=[k, k], strides=[s, s], pads=[before, before, after, after])

    def flat(self, x: str, mean: bool = True) -> str:
        """[b, c] of an image: its mean over height and width, or all its values."""
        if mean:
            x = self._add("GlobalAveragePool", [x], self.values[x].mean((2, 3), keepdims=True))
        return self._add("Flatten", [x], self.values[x].reshape(len(self.values[x]), -1))

    def dense(self, x: str, out: int) -> str:
        """A fully connected layer, scaled to a deviation of 2 over classes and pictures."""
        value = self.values[x]
        w = self.draw.normal(0, 1, (out, value.shape[1])).astype(np.float32)
        w *= np.float32(2) / (value @ w.T).std()
        b = self.draw.uniform(-0.2, 0.4, out).astype(np.float32)
        self.macs += w.size
        return self._add("Gemm", [x], value @ w.T + b, (w, b), transB=1)

    def softmax(self, x: str) -> str:
        e = np.exp(self.values[x] - self.values[x].max(1, keepdims=True))
        return self._add("Softmax", [x], e / e.sum(1, keepdims=True), axis=1)

    def model(self, output: str) -> ModelProto:
        """The finished model: input x, output y."""
        self.nodes[-1].output[0] = "y"
        shapes = (("x", [1, *SHAPES[self.name]]), ("y", [1, *self.values[output].shape[1:]]))
        x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in shapes)
        held = {name for node in self.nodes for name in node.input}
        limits = [
            numpy_helper.from_array(np.array(v, np.float32), n) for n, v in (("zero", 0), ("six", 6)) if n in held
        ]
        graph = helper.make_graph(self.nodes, self.name, [x], [y], [*self.constants, *limits])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def mobilenet_v2(net: Net) -> str:
    """As torchvision has it, width 1.0: stride-2 layers pad one pixel on every side."""
    one = (1, 1)
    x = net.conv("x", 32, s=2, pads=one)
    c = 32
    groups = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for wide, out, count, stride in groups:
        for i in range(count):
            start, s = x, stride if i == 0 else 1
            if wide > 1:
                x = net.conv(x, c * wide, 1)
            x = net.conv(x, c * wide, s=s, pads=one, depthwise=True)
            x = net.conv(x, out, 1, act="")
            x = net.add(start, x) if s == 1 and c == out else x
            c = out
    return net.dense(net.flat(net.conv(x, 1280, 1)), 1000)


def resnet18(net: Net) -> str:
    """As torchvision has it."""
    x = net.max_pool(net.conv("x", 64, 7, 2, (3, 3), act="relu"), 3, 2, (1, 1))
    c = 64
    for out in (64, 128, 256, 512):
        for i in range(2):
            s = 2 if i == 0 and out > 64 else 1
            inner = net.conv(net.conv(x, out, 3, s, (1, 1), act="relu"), out, act="")
            shortcut = net.conv(x, out, 1, s, (0, 0), act="") if (s, c) != (1, out) else x
            x, c = net.relu(net.add(inner, shortcut)), out
    return net.dense(net.flat(x), 1000)


def separable(net: Net, first: int, layers: Sequence[tuple[int, int]], classes: int) -> str:
    """A first convolution of stride 2, depthwise and pointwise pairs (channels, stride), mean, classes."""
    x, c = net.conv("x", first, s=2), first
    for out, s in layers:
        x, c = net.conv(net.conv(x, c, s=s, depthwise=True), out, 1), out
    return net.softmax(net.dense(net.flat(x), classes))


def sign_dw64(net: Net) -> str:
    layers = ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1))
    return separable(net, 16, layers, 43)


def vww_shaped(net: Net) -> str:
    """MobileNetV1 at a quarter of its width, 96x96, two classes: MLPerf Tiny's person detection."""
    layers = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1))
    return separable(net, 8, layers, 2)


def sign_vgg48(net: Net) -> str:
    x = "x"
    for c in (32, 64, 128):
        x = net.max_pool(net.conv(net.conv(x, c), c), 2, 2, (0, 0))
    return net.softmax(net.dense(net.relu(net.dense(net.flat(x, mean=False), 128)), 43))


MAKERS: dict[str, Callable[[Net], str]] = {
    "mobilenet_v2": mobilenet_v2,
    "resnet18": resnet18,
    "sign_dw64": sign_dw64,
    "sign_vgg48": sign_vgg48,
    "vww_shaped": vww_shaped,
}


def float_net(name: str) -> tuple[ModelProto, int]:
    """A network of MAKERS and its multiply-accumulates of one frame."""
    net = Net(name)
    return net.model(MAKERS[name](net)), net.macs
