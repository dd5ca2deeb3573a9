# SPDX-License-Identifier: Apache-2.0
"""Small models for tests of the file format, the runtime and the C ABI."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekern import quant
from edgekern.artifact import Artifact, Decision, KnownAnswer
from edgekern.graph import Graph, Node, Port
from edgekern.ops import registry
from edgekern.ops._op import Op
from edgekern.preprocess import Preprocess
from edgekern.types import Array, DType, Quant, TensorType

INPUT = Quant(float(np.float32(1 / 255)), -128)
INNER = Quant(0.0625, -5)


class Builder:
    """Adds integer ops one by one; tensors are t0, t1, …"""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.draw = np.random.default_rng(seed)
        self.types = {"t0": TensorType(shape, DType.INT8, INPUT)}
        self.constants: dict[str, Array] = {}
        self.nodes: list[Node] = []

    def shape(self, tensor: str) -> tuple[int, ...]:
        return self.types[tensor].shape

    def add(
        self,
        op: Op,
        inputs: tuple[str, ...],
        shape: tuple[int, ...],
        constants: tuple[Array, ...] = (),
        q: Quant | None = INNER,
    ) -> str:
        name = f"t{len(self.types)}"
        self.types[name] = TensorType(shape, DType.INT8 if q else DType.FLOAT32, q)
        names = tuple(f"{name}.{i}" for i in range(len(constants)))
        self.constants.update(zip(names, constants, strict=True))
        self.nodes.append(Node(op, inputs, names, name, f"{op.opcode.lower()} {name}"))
        return name

    def weighted(self, shape: tuple[int, ...], channels: int) -> tuple[Array, Array, Array]:
        """Weights, bias and multipliers that use the whole range of the output."""
        w = self.draw.integers(-127, 128, shape).astype(np.int8)
        b = self.draw.integers(-3000, 3000, channels).astype(np.int32)
        return w, b, self.draw.uniform(0.0005, 0.002, channels).astype(np.float32)

    def conv(self, x: str, n: int, k: int, stride: int = 1, pad: int = 0, groups: int = 1) -> str:
        _, h, w, c = self.shape(x)
        op = registry()["Conv2D"]((k, k), (stride, stride), (1, 1), (pad,) * 4, groups)
        shape = (1, (h + 2 * pad - k) // stride + 1, (w + 2 * pad - k) // stride + 1, n)
        return self.add(op, (x,), shape, self.weighted((n, k, k, c // groups), n))

    def depthwise(self, x: str, k: int = 3, stride: int = 1, pad: int = 1) -> str:
        _, h, w, c = self.shape(x)
        op = registry()["DepthwiseConv2D"]((k, k), (stride, stride), (1, 1), (pad,) * 4)
        shape = (1, (h + 2 * pad - k) // stride + 1, (w + 2 * pad - k) // stride + 1, c)
        return self.add(op, (x,), shape, self.weighted((k, k, c), c))

    def linear(self, x: str, n: int) -> str:
        _, h, w, c = self.shape(x)
        return self.add(registry()["Conv2D"]((h, w)), (x,), (1, 1, 1, n), self.weighted((n, h, w, c), n))

    def softmax(self, x: str) -> str:
        q = self.types[x].quant
        assert q
        table = quant.exp_table(q.scale).astype(np.int32)
        return self.add(registry()["Softmax"](), (x,), self.shape(x), (table,), None)

    def reshape(self, x: str, shape: tuple[int, ...]) -> str:
        t = self.types[x]
        return self.add(registry()["Reshape"](shape[1:]), (x,), shape, q=t.quant)

    def graph(self, outputs: dict[str, str], dtype: DType = DType.UINT8) -> Graph:
        rank = len(self.shape("t0"))
        inputs = (Port("image", "t0", dtype, tuple(range(rank))),)
        ports = tuple(Port(name, t, DType.FLOAT32, tuple(range(len(self.shape(t))))) for name, t in outputs.items())
        return Graph(inputs, ports, tuple(self.nodes), self.types, self.constants)


def classifier(seed: int = 0, classes: int = 5) -> Artifact:
    """A small sign-like net: dense convolution, two separable blocks, fully connected, softmax."""
    b = Builder((1, 24, 24, 3), seed)
    x = b.conv("t0", 16, 3, stride=2, pad=1)
    x = b.depthwise(x)
    x = b.conv(x, 24, 1)
    x = b.depthwise(b.conv(x, 32, 1), stride=2)
    x = b.linear(b.conv(x, 40, 1), classes)
    graph = b.graph({"probabilities": b.softmax(b.reshape(x, (1, classes)))})
    return Artifact(
        graph,
        Preprocess((24, 24), margin=20),
        tuple(f"class {i}" for i in range(classes)),
        Decision(0.5, 1.0),
        KnownAnswer.random(graph, seed),
        {"source": "tests"},
    )


def every_op(seed: int = 0) -> Artifact:
    """Every operator once, two outputs of which one is float32 inside, and every section."""
    make = registry()
    b = Builder((1, 12, 14, 3), seed)
    x = b.conv("t0", 8, 3, stride=2, pad=1)  # 6 x 7
    y = b.conv(x, 8, 1, groups=2)
    y = b.depthwise(y)
    sum_q = Quant(0.125, 3)
    shift, m, n = quant.add_parameters(INNER, INNER, sum_q)
    x = b.add(make["Add"](shift, m, n), (x, y), b.shape(x), q=sum_q)
    x = b.add(make["Affine"](), (x,), b.shape(x), b.weighted((8,), 8))
    x = b.add(make["Table"](), (x,), b.shape(x), (b.draw.permutation(np.arange(-128, 128)).astype(np.int8),))
    p = b.add(make["MaxPool2D"]((2, 2), (1, 1), (1, 0, 0, 1)), (x,), b.shape(x))
    a = b.add(make["AveragePool2D"]((3, 3), (1, 1), (1, 1, 1, 1)), (x,), b.shape(x), q=Quant(0.03125, 0))
    x = b.add(make["Concat"](3), (p, a), (1, 6, 7, 16))
    x = b.add(make["Pad"]((1, 0, 0, 2), (0, 1), fill=7), (x,), (1, 7, 9, 17))
    x = b.add(make["Transpose"]((0, 3, 1, 2)), (x,), (1, 17, 7, 9))
    x = b.add(make["Slice"](1, 1, 8, 2), (x,), (1, 8, 7, 9))
    x = b.reshape(x, (1, 7, 8, 9))
    places = (np.array([0, 3000, 6 * 2048], np.int32), np.arange(0, 7 * 2048 + 1, 1024, np.int32))
    x = b.add(make["Resize2D"](), (x,), (1, 3, 15, 9), places, q=b.types[x].quant)
    x = b.add(make["LayerNorm"](0.5), (x,), b.shape(x), tuple(b.draw.normal(0, 16, (2, 9)).astype(np.float32)))
    mean = b.add(make["Mean"](float(np.float32(0.03))), (x,), (1, 1, 1, 9))
    x = b.add(make["Mul"](float(np.float32(0.03))), (x, mean), b.shape(x))
    scores = b.softmax(b.reshape(b.linear(x, 6), (1, 6)))
    graph = b.graph({"scores": scores, "mean": mean})
    return Artifact(
        graph,
        Preprocess((12, 14), mean=0.1, std=(0.5, 0.6, 0.7)),
        ("ä", "b", "c", "d", "e", "f"),
        Decision(0.25, 1.5),
        KnownAnswer.random(graph, seed),
        {"source": "tests", "note": "every op"},
    )


def mixed_elements(seed: int = 0) -> Artifact:
    """Bytes outside, int16 inside: every operator that takes both, with one side of each in int16 at least."""
    make = registry()
    b = Builder((1, 12, 14, 3), seed)
    half, small = (int(np.float32(v).view(np.int32)) for v in (0.5, 2e-3))
    x = b.conv("t0", 9, 3, stride=2, pad=1)  # 6 x 7
    y = b.conv(b.depthwise(x), 9, 1)
    x = b.add(make["Add"](0, half, small), (x, y), b.shape(x))
    x = b.add(make["Affine"](), (x,), b.shape(x), b.weighted((9,), 9))
    mean = b.add(make["Mean"](float(np.float32(1e-4))), (x,), (1, 1, 1, 9))
    x = b.add(make["Mul"](float(np.float32(0.02))), (x, mean), b.shape(x))
    x = b.add(make["Concat"](3), (x, y), (1, 6, 7, 18))
    x = b.add(make["Transpose"]((0, 3, 1, 2)), (x,), (1, 18, 6, 7))
    x = b.add(make["Slice"](1, 1, 8, 2), (x,), (1, 8, 6, 7))
    x = b.reshape(x, (1, 12, 4, 7))
    narrow = {"t0", y, mean}
    finer = {"t1": 40, "t2": 0.3, "t3": 0.2, "t5": 40}  # multipliers are drawn for bytes on both sides
    for name, factor in finer.items():
        b.constants[f"{name}.2"] *= np.float32(factor)
    for i, node in enumerate(b.nodes):
        if node.output in narrow:
            continue
        b.types[node.output] = TensorType(b.shape(node.output), DType.INT16, Quant(2.0**-9, 0))
        if hasattr(node.op, "clamp"):
            b.nodes[i] = replace(node, op=replace(node.op, clamp=(-32768, 32767)))
    graph = b.graph({"x": x, "mean": mean})
    return Artifact(graph, Preprocess((12, 14)), known_answer=KnownAnswer.random(graph, seed))
