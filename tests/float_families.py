# SPDX-License-Identifier: Apache-2.0
"""Float networks of the families that float_nets.py has not, with batch norm, gates, LayerNorm and several results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from float_nets import NETS, Net


class Family(Net):
    """Layers of newer families, too."""

    def __init__(self, seed: int, batch_norm: bool = False) -> None:
        super().__init__(seed)
        self.batch_norm = batch_norm  # behind each convolution, with the statistics a trained one could have

    def conv(self, x: str, ci: int, co: int, k: int = 3, stride: int = 1, groups: int = 1, act: str = "relu") -> str:
        if not self.batch_norm:
            return self.active(super().conv(x, ci, co, k, stride, groups, act=""), act)
        w = self.draw.normal(size=(co, ci // groups, k, k)) * np.sqrt(2 / (ci // groups * k * k))
        y = self.add("Conv", x, w, kernel_shape=[k, k], strides=[stride] * 2, pads=[k // 2] * 4, group=groups)
        return self.active(self.normed(y, co), act)

    def active(self, x: str, act: str) -> str:
        if act == "relu6":
            return self.add("Clip", x, np.float32(0), np.float32(6))
        return self.add({"relu": "Relu", "hard_swish": "HardSwish"}[act], x) if act else x

    def normed(self, x: str, c: int) -> str:
        scale, variance = self.draw.uniform(0.5, 1.5, (2, c))
        shift, mean = self.draw.normal(size=(2, c)) * 0.3
        return self.add("BatchNormalization", x, scale, shift, mean, variance)

    def gated(self, x: str, c: int, gate: str = "Sigmoid", **attributes: Any) -> str:
        """Squeeze and excite."""
        w, v = self.draw.normal(size=(8, c, 1, 1)), self.draw.normal(size=(c, 8, 1, 1))
        few = self.add("Relu", self.add("Conv", self.add("GlobalAveragePool", x), w / np.sqrt(c), np.zeros(8)))
        return self.add("Mul", x, self.add(gate, self.add("Conv", few, v / 2, np.ones(c)), **attributes))

    def inverted(self, x: str, ci: int, co: int, wide: int, stride: int = 1, **form: Any) -> str:
        """MobileNet's block: wide, deep, narrow, and the way past it."""
        act, k, gate = form.get("act", "relu6"), form.get("k", 3), form.get("gate", False)
        y = self.conv(self.conv(x, ci, wide, k=1, act=act), wide, wide, k, stride, groups=wide, act=act)
        y = self.gated(y, wide, "HardSigmoid", alpha=1 / 6, beta=0.5) if gate else y
        y = self.conv(y, wide, co, k=1, act="")
        return self.add("Add", x, y) if (ci, stride) == (co, 1) else y

    def family(self, y: str | Sequence[str], shape: Sequence[int]) -> ModelProto:
        """Takes `shape`; the results follow from it."""
        port = helper.make_tensor_value_info
        constants = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        names = [y] if isinstance(y, str) else list(y)
        ends = [port(name, TensorProto.FLOAT, None) for name in names]
        begin = port("x", TensorProto.FLOAT, list(shape))
        graph = helper.make_graph(self.nodes, "net", [begin], ends, constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def efficientnet_lite(seed: int = 0) -> ModelProto:
    net = Family(seed, batch_norm=True)
    x = net.conv("x", 3, 16, stride=2, act="relu6")
    for ci, co, wide, k, stride in ((16, 16, 16, 3, 1), (16, 24, 96, 5, 2), (24, 24, 144, 5, 1), (24, 32, 144, 3, 2)):
        x = net.inverted(x, ci, co, wide, stride, k=k)
    return net.family(net.full(net.pooled(net.conv(x, 32, 64, k=1, act="relu6")), 64, 10), (1, 3, 40, 40))


def mobilenet_v1(seed: int = 0) -> ModelProto:
    net = Family(seed, batch_norm=True)
    x = net.conv("x", 3, 16, stride=2, act="relu6")
    for ci, co, stride in ((16, 32, 1), (32, 48, 2), (48, 48, 1), (48, 64, 2)):
        x = net.conv(net.conv(x, ci, ci, stride=stride, groups=ci, act="relu6"), ci, co, k=1, act="relu6")
    return net.family(net.add("Softmax", net.full(net.pooled(x), 64, 10)), (1, 3, 48, 48))


def mobilenet_v3(seed: int = 0) -> ModelProto:
    net = Family(seed, batch_norm=True)
    x = net.conv("x", 3, 16, stride=2, act="hard_swish")
    x = net.inverted(x, 16, 16, 16, 2, act="relu", gate=True)
    x = net.inverted(x, 16, 24, 72, act="relu")
    for _ in range(2):
        x = net.inverted(x, 24, 24, 96, k=5, act="hard_swish", gate=True)
    x = net.pooled(net.conv(x, 24, 96, k=1, act="hard_swish"))
    return net.family(net.full(net.add("HardSwish", net.full(x, 96, 64)), 64, 10), (1, 3, 48, 48))


def ds_cnn(seed: int = 0) -> ModelProto:
    """Keyword spotting: 49 frames of 10 coefficients, a first kernel of 10x4."""
    net = Family(seed, batch_norm=True)
    kernel = {"kernel_shape": [10, 4], "strides": [2, 2], "pads": [4, 1, 5, 1]}
    x = net.add("Conv", "x", net.draw.normal(size=(32, 1, 10, 4)) / np.sqrt(20), **kernel)
    x = net.add("Relu", net.normed(x, 32))
    for _ in range(3):
        x = net.conv(net.conv(x, 32, 32, groups=32), 32, 32, k=1)
    x = net.add("Flatten", net.add("AveragePool", x, kernel_shape=[25, 5]))
    return net.family(net.add("Softmax", net.full(x, 32, 12)), (1, 1, 49, 10))


def regnet(seed: int = 0) -> ModelProto:
    """Grouped convolutions of 8 channels a group, with gates."""
    net = Family(seed, batch_norm=True)
    x = net.conv("x", 3, 16, stride=2)
    for ci, co, stride in ((16, 24, 2), (24, 24, 1), (24, 40, 2)):
        y = net.conv(net.conv(x, ci, co, k=1), co, co, stride=stride, groups=co // 8)
        y = net.conv(net.gated(y, co), co, co, k=1, act="")
        short = x if (ci, stride) == (co, 1) else net.conv(x, ci, co, k=1, stride=stride, act="")
        x = net.add("Relu", net.add("Add", y, short))
    return net.family(net.full(net.pooled(x), 40, 10), (1, 3, 48, 48))


def convnext(seed: int = 0) -> ModelProto:
    """7x7 depthwise, LayerNorm and GELU channels last, layer scale; LayerNorm between the stages too."""
    net = Family(seed)

    def norm(x: str, c: int) -> str:
        scale, bias = net.draw.uniform(0.5, 1.5, c), net.draw.normal(size=c) * 0.2
        return net.add("LayerNormalization", x, scale, bias, epsilon=1e-6)

    def full(x: str, ci: int, co: int) -> str:
        weights, bias = net.draw.normal(size=(ci, co)) / np.sqrt(ci), net.draw.normal(size=co) * 0.1
        return net.add("Add", net.add("MatMul", x, weights), bias)

    def last(x: str) -> str:
        return net.add("Transpose", x, perm=[0, 2, 3, 1])

    def second(x: str) -> str:
        return net.add("Transpose", x, perm=[0, 3, 1, 2])

    def patches(x: str, ci: int, co: int, k: int) -> str:
        weights = net.draw.normal(size=(co, ci, k, k)) / np.sqrt(ci * k * k)
        return net.add("Conv", x, weights, net.draw.normal(size=co) * 0.1, kernel_shape=[k, k], strides=[k, k])

    def block(x: str, c: int) -> str:
        y = full(norm(last(net.conv(x, c, c, k=7, groups=c, act="")), c), c, 4 * c)
        bell = net.add("Add", net.add("Erf", net.add("Div", y, np.sqrt(2))), 1)
        y = full(net.add("Mul", net.add("Mul", y, bell), 0.5), 4 * c, c)
        return net.add("Add", x, second(net.add("Mul", net.draw.uniform(0.2, 1, c), y)))

    x = block(second(norm(last(patches("x", 3, 24, 4)), 24)), 24)
    x = block(patches(second(norm(last(x), 24)), 24, 40, 2), 40)
    return net.family(net.full(norm(net.pooled(x), 40), 40, 10), (1, 3, 32, 32))


def autoencoder(seed: int = 0) -> ModelProto:
    """Dense, with batch norm behind every layer but the last; the result is the input, nearly."""
    net = Family(seed, batch_norm=True)
    x = "x"
    for ci, co in ((96, 48), (48, 48), (48, 8), (8, 48), (48, 48)):
        x = net.add("Relu", net.normed(net.full(x, ci, co), co))
    return net.family(net.full(x, 48, 96), (1, 96))


def detector(seed: int = 0) -> ModelProto:
    """Two scales of a small backbone, four boxes a pixel: scores of 3 classes (sigmoid) and box corners."""
    net = Family(seed, batch_norm=True)
    fine = net.conv(net.conv("x", 3, 16, stride=2), 16, 24, stride=2)
    coarse = net.conv(fine, 24, 40, stride=2)
    scores, boxes = [], []
    for x, c in ((fine, 24), (coarse, 40)):
        for parts, n in ((scores, 3), (boxes, 4)):
            w = net.draw.normal(size=(4 * n, c, 3, 3)) / np.sqrt(9 * c)
            y = net.add("Conv", x, w, net.draw.normal(size=4 * n) * 0.3, kernel_shape=[3, 3], pads=[1] * 4)
            parts.append(net.add("Reshape", net.add("Transpose", y, perm=[0, 2, 3, 1]), np.array([1, -1, n])))
    found = net.add("Sigmoid", net.add("Concat", *scores, axis=1))
    return net.family([found, net.add("Concat", *boxes, axis=1)], (1, 3, 48, 48))


FAMILIES: dict[str, Callable[[], ModelProto]] = {
    **NETS,
    "autoencoder": autoencoder,
    "convnext": convnext,
    "detector": detector,
    "ds_cnn": ds_cnn,
    "efficientnet_lite": efficientnet_lite,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v3": mobilenet_v3,
    "regnet": regnet,
}
