"""Networks as tf2onnx writes them from Keras, with and without its optimiser, from import to camera bytes.

Outside NHWC; TensorFlow's SAME padding is uneven at stride 2; a batch norm may follow the activation; the head is
MatMul and Add. Weights are drawn, so nothing is downloaded or stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

import edgekern
from edgekern.compiler import optimise
from edgekern.graph.run import evaluate
from edgekern.graph.verify import verify
from edgekern.importers.onnx import import_onnx
from edgekern.ops import Affine, Conv2D, DepthwiseConv2D, Transpose
from small_onnx import model, node, wanted

CLASSES = 6
SIZES = ((24, 24), (21, 18), (7, 5))


class Keras:
    """A sequential network that grows layer by layer, NHWC to whoever writes it.

    Args:
        size: (height, width) of the image.
        bare: Every layer turns to NCHW and back, as tf2onnx writes before its optimiser; else one turn at each end.
    """

    def __init__(self, size: tuple[int, int], bare: bool, seed: int = 0) -> None:
        self.draw = np.random.default_rng(seed)
        self.size, self.channels, self.bare = size, 3, bare
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.last = "image"
        if not bare:
            self.add("Transpose", perm=[0, 3, 1, 2])

    def add(self, kind: str, *constants: Any, **attributes: Any) -> None:
        names = [f"const_{len(self.constants) + i}" for i in range(len(constants))]
        self.constants |= dict(zip(names, constants, strict=True))
        result = f"sequential/{len(self.nodes)}/{kind}:0"
        self.nodes.append(node(kind, " ".join([self.last, *names]), result, **attributes))
        self.last = result

    def normal(self, *shape: int, scale: float = 1.0) -> Any:
        return (self.draw.normal(size=shape) * scale).astype(np.float32)

    def per_channel(self, values: Any) -> Any:
        return values if self.bare else values.reshape(1, -1, 1, 1)

    def conv(self, filters: int, kernel: int, stride: int = 1, depthwise: bool = False) -> None:
        """Conv2D(padding="same"): what is left of an uneven padding goes below and to the right."""
        total = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in self.size]
        before = [t // 2 for t in total]
        pads = before + [t - b for t, b in zip(total, before, strict=True)]
        inputs = 1 if depthwise else self.channels
        weights = self.normal(filters, inputs, kernel, kernel, scale=(2 / (inputs * kernel**2)) ** 0.5)
        if self.bare:
            self.add("Transpose", perm=[0, 3, 1, 2])
        group = self.channels if depthwise else 1
        self.add("Conv", weights, self.normal(filters, scale=0.2), pads=pads, strides=[stride, stride], group=group)
        if self.bare:
            self.add("Transpose", perm=[0, 2, 3, 1])
        self.channels, self.size = filters, tuple(-(-n // stride) for n in self.size)

    def batch_norm(self) -> None:
        self.add("Mul", self.per_channel(1 + self.normal(self.channels, scale=0.3)))
        self.add("Add", self.per_channel(self.normal(self.channels, scale=0.3)))

    def head(self, flat: bool) -> None:
        """Flatten or global pooling, then Dense and softmax."""
        if flat:
            if not self.bare:
                self.add("Transpose", perm=[0, 2, 3, 1])
            self.channels *= self.size[0] * self.size[1]
            self.add("Reshape", np.array([-1, self.channels]))
        elif self.bare:
            self.add("ReduceMean", axes=[1, 2], keepdims=1)
            self.add("Squeeze", np.array([1, 2]))
        else:
            self.add("GlobalAveragePool")
            self.add("Squeeze", np.array([2, 3]))
        self.add("MatMul", self.normal(self.channels, CLASSES, scale=(8 / self.channels) ** 0.5))
        self.add("Add", self.normal(CLASSES, scale=0.2))
        self.add("Softmax", axis=-1)


def network(size: tuple[int, int] = SIZES[0], bare: bool = False, flat: bool = False) -> Any:
    """Two convolutions, the second padded after a batch norm, and a depthwise-separable block."""
    keras = Keras(size, bare)
    keras.conv(8, 3, stride=2)
    keras.add("Relu")
    keras.batch_norm()
    keras.conv(12, 3)
    keras.batch_norm()
    keras.add("Clip", np.float32(0), np.float32(6))
    keras.conv(12, 3, stride=2, depthwise=True)
    keras.add("Relu")
    keras.conv(16, 1)
    keras.batch_norm()
    keras.head(flat)
    return model(keras.nodes, {"image": ["unk__1", *size, 3]}, keras.last, keras.constants, opset=15)


def pictures(count: int, size: tuple[int, int]) -> Any:
    return np.random.default_rng(3).random((count, *size, 3)).astype(np.float32)


def exact(proto: Any, x: Any) -> Any:
    return np.concatenate([next(iter(wanted(proto, {"image": frame[None]}).values())) for frame in x])


@pytest.mark.parametrize("flat", [False, True], ids=["pooled", "flat"])
@pytest.mark.parametrize("bare", [False, True], ids=["optimised", "bare"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_float_graph(size: tuple[int, int], bare: bool, flat: bool) -> None:
    """Every transpose is a change of view, and the function is the source's."""
    proto = network(size, bare, flat)
    graph = verify(import_onnx(proto))
    x = pictures(3, size)
    later, _ = optimise(graph)
    for found in (evaluate(graph, {"image": x}), evaluate(later, {"image": x})):
        assert np.abs(next(iter(found.values())) - exact(proto, x)).max() < 1e-5
    assert not any(isinstance(n.op, Transpose) for n in graph.nodes)
    assert graph.inputs[0].perm == (0, 1, 2, 3)


def test_padding_and_batch_norms() -> None:
    """What is uneven stays uneven; a batch norm is folded unless a padded convolution reads it."""
    for bare in (False, True):
        graph, _ = optimise(import_onnx(network(bare=bare)))
        windows = [n.op for n in graph.nodes if isinstance(n.op, (Conv2D, DepthwiseConv2D))]
        assert [op.pads for op in windows] == [(0, 0, 1, 1), (1, 1, 1, 1), (0, 0, 1, 1), (0, 0, 0, 0), (0, 0, 0, 0)]
        makers = graph.producers()
        left = [n for n in graph.nodes if isinstance(n.op, Affine)]
        padded = next(n for n in graph.nodes if getattr(n.op, "pads", None) == (1, 1, 1, 1))
        assert left == [makers[padded.inputs[0]]]


@pytest.mark.parametrize("bare", [False, True], ids=["optimised", "bare"])
def test_from_camera_bytes_in_int8(bare: bool) -> None:
    size = SIZES[0]
    proto = network(size, bare, flat=True)
    patches = np.random.default_rng(4).integers(0, 256, (96, 3, 3, 3))  # coarse, or all pictures were alike to the head
    frames = patches.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)
    compiled = edgekern.compile(proto, preprocess=edgekern.Preprocess(size), calibration=frames)
    y = np.concatenate([compiled.run_image(frame) for frame in frames])
    x = frames if compiled.inputs[0].dtype == np.uint8 else frames.astype(np.float32) / 255
    assert np.array_equal(y, compiled.run(x))
    assert np.array_equal(y[:8], compiled.reference(x[:8]))
    want = exact(proto, frames.astype(np.float32) / 255)
    noise = float(((y - want) ** 2).sum())
    sqnr = 10 * np.log10(float(((want - want.mean(axis=0)) ** 2).sum()) / noise)  # a constant answer has 0 dB
    print(f"\n{sqnr:.1f} dB")
    assert sqnr > 20
