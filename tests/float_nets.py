# SPDX-License-Identifier: Apache-2.0
"""Small float networks of well-known families as ONNX, with seeded random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper


class Net:
    """Adds layers one after the other; each returns the name of its result."""

    def __init__(self, seed: int) -> None:
        self.draw = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, Any] = {}

    def add(self, kind: str, *inputs: Any, **attributes: Any) -> str:
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [name], name=name, **attributes))
        return name

    def constant(self, value: Any) -> str:
        name = f"w{len(self.constants)}"
        self.constants[name] = value if isinstance(value, np.ndarray) and value.dtype.kind == "i" else np.float32(value)
        return name

    def conv(self, x: str, ci: int, co: int, k: int = 3, stride: int = 1, groups: int = 1, act: str = "relu") -> str:
        w = self.draw.normal(size=(co, ci // groups, k, k)) * np.sqrt(2 / (ci // groups * k * k))
        bias = self.draw.normal(size=co) * 0.1
        y = self.add("Conv", x, w, bias, kernel_shape=[k, k], strides=[stride] * 2, pads=[k // 2] * 4, group=groups)
        if act == "relu6":
            return self.add("Clip", y, np.float32(0), np.float32(6))
        return self.add("Relu", y) if act == "relu" else y

    def full(self, x: str, ci: int, co: int) -> str:
        return self.add("Gemm", x, self.draw.normal(size=(co, ci)) / np.sqrt(ci), self.draw.normal(size=co), transB=1)

    def pooled(self, x: str) -> str:
        return self.add("Flatten", self.add("GlobalAveragePool", x))

    def halves(self, x: str, c: int, with_slices: bool = False) -> tuple[str, str]:
        """The channels of x, the first and the second half of them."""
        if with_slices:
            cuts = (np.array([0]), np.array([c // 2]), np.array([c])), np.array([1])
            first, second = (self.add("Slice", x, *cuts[0][k : k + 2], cuts[1]) for k in (0, 1))
            return first, second
        first = self.add("Split", x, np.array([c // 2, c // 2]), axis=1)
        self.nodes[-1].output.append(f"{first}_second")
        return first, f"{first}_second"

    def branch(self, x: str, c: int) -> str:
        x = self.conv(self.conv(x, c, c, k=1), c, c, groups=c, act="")
        return self.conv(x, c, c, k=1)

    def shuffled(self, x: str, c: int, side: int) -> str:
        """Channels of the two halves in turns."""
        x = self.add("Reshape", x, np.array([1, 2, c // 2, side, side]))
        x = self.add("Transpose", x, perm=[0, 2, 1, 3, 4])
        return self.add("Reshape", x, np.array([1, c, side, side]))

    def model(self, y: str, side: int, shape: tuple[int, ...] = (1, 10)) -> ModelProto:
        port = helper.make_tensor_value_info
        constants = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        ends = port("x", TensorProto.FLOAT, [1, 3, side, side]), port(y, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "net", [ends[0]], [ends[1]], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def resnet(seed: int = 0) -> ModelProto:
    net = Net(seed)
    x = net.conv("x", 3, 16)
    for ci, co, stride in ((16, 16, 1), (16, 32, 2), (32, 32, 1)):
        y = net.conv(net.conv(x, ci, co, stride=stride), co, co, act="")
        short = x if (ci, stride) == (co, 1) else net.conv(x, ci, co, k=1, stride=stride, act="")
        x = net.add("Relu", net.add("Add", y, short))
    return net.model(net.full(net.pooled(x), 32, 10), 32)


def mobilenet_v2(seed: int = 0) -> ModelProto:
    net = Net(seed)
    x = net.conv("x", 3, 16, stride=2, act="relu6")
    for ci, co, stride in ((16, 16, 1), (16, 24, 2), (24, 24, 1)):
        wide = net.conv(x, ci, 6 * ci, k=1, act="relu6")
        deep = net.conv(wide, 6 * ci, 6 * ci, stride=stride, groups=6 * ci, act="relu6")
        y = net.conv(deep, 6 * ci, co, k=1, act="")
        x = net.add("Add", x, y) if (ci, stride) == (co, 1) else y
    return net.model(net.full(net.pooled(net.conv(x, 24, 64, k=1, act="relu6")), 64, 10), 48)


def vgg(seed: int = 0) -> ModelProto:
    net = Net(seed)
    x, ci = "x", 3
    for co in (16, 32, 48):
        x = net.conv(net.conv(x, ci, co), co, co)
        x, ci = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), co
    hidden = net.add("Relu", net.full(net.add("Flatten", x), 48 * 16, 64))
    return net.model(net.full(hidden, 64, 10), 32)


def squeezenet(seed: int = 0) -> ModelProto:
    net = Net(seed)
    x, ci = net.conv("x", 3, 16, stride=2), 16
    for squeeze, expand in ((8, 16), (8, 16), (12, 24)):
        s = net.conv(x, ci, squeeze, k=1)
        x = net.add("Concat", net.conv(s, squeeze, expand, k=1), net.conv(s, squeeze, expand), axis=1)
        ci = 2 * expand
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    return net.model(net.pooled(net.conv(x, ci, 10, k=1)), 40)


def shufflenet_v2(seed: int = 5) -> ModelProto:
    net = Net(seed)
    x = net.conv("x", 3, 16, stride=2)
    left = net.conv(net.conv(x, 16, 16, stride=2, groups=16, act=""), 16, 16, k=1)
    right = net.conv(net.conv(net.conv(x, 16, 16, k=1), 16, 16, stride=2, groups=16, act=""), 16, 16, k=1)
    x = net.shuffled(net.add("Concat", left, right, axis=1), 32, 10)
    for with_slices in (False, True):
        left, right = net.halves(x, 32, with_slices)
        x = net.shuffled(net.add("Concat", left, net.branch(right, 16), axis=1), 32, 10)
    return net.model(net.full(net.pooled(net.conv(x, 32, 64, k=1)), 64, 10), 40)


def efficientnet_lite(seed: int = 6) -> ModelProto:
    """Inverted bottlenecks of two kernel sizes, without squeeze and excite, ReLU6 in place of swish."""
    net = Net(seed)
    x, ci = net.conv("x", 3, 16, stride=2, act="relu6"), 16
    for co, k, stride, wide in ((16, 3, 1, 1), (24, 3, 2, 6), (24, 3, 1, 6), (32, 5, 2, 6), (32, 5, 1, 6)):
        y = net.conv(x, ci, wide * ci, k=1, act="relu6") if wide > 1 else x
        y = net.conv(y, wide * ci, wide * ci, k=k, stride=stride, groups=wide * ci, act="relu6")
        y = net.conv(y, wide * ci, co, k=1, act="")
        x, ci = net.add("Add", x, y) if (ci, stride) == (co, 1) else y, co
    return net.model(net.full(net.pooled(net.conv(x, ci, 64, k=1, act="relu6")), 64, 10), 48)


def unet(seed: int = 7) -> ModelProto:
    """Encoder, two steps up by transposed convolutions with batch norm, skips, a map at twice the picture's size.

    It is beside NETS: the opset that their QDQ forms keep knows no quantised transposed convolution.
    """
    net = Net(seed)
    skips, x, ci = [], "x", 3
    for co in (8, 16):
        x, ci = net.conv(x, ci, co), co
        skips.append((x, co))
        x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x, ci = net.conv(x, ci, 24), 24
    for k, (skip, co) in zip((2, 4), reversed(skips), strict=True):
        w = net.draw.normal(size=(ci, co, k, k)) * np.sqrt(2 / (ci * k * k / 4))
        up = net.add("ConvTranspose", x, w, net.draw.normal(size=co) * 0.1, strides=[2, 2], pads=[(k - 2) // 2] * 4)
        norm = [net.draw.uniform(0.7, 1.3, co), *(net.draw.normal(size=co) * 0.1 for _ in range(2)), np.ones(co)]
        up = net.add("Relu", net.add("BatchNormalization", up, *norm))
        x, ci = net.conv(net.add("Concat", up, skip, axis=1), 2 * co, co), co
    x = net.conv(x, ci, 5, k=1, act="")
    roi, scales = np.float32([]), np.float32([1, 1, 2, 2])
    return net.model(net.add("Resize", x, roi, scales, mode="linear"), 24, (1, 5, 48, 48))


NETS: dict[str, Callable[[], ModelProto]] = {
    "efficientnet_lite": efficientnet_lite,
    "mobilenet_v2": mobilenet_v2,
    "resnet": resnet,
    "shufflenet_v2": shufflenet_v2,
    "squeezenet": squeezenet,
    "vgg": vgg,
}
