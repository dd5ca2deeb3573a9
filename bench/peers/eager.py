# SPDX-License-Identifier: Apache-2.0
"""A network as plain PyTorch: float32, NCHW, one eager call per operator.

It is the float graph that edgekern reads: of the float network where there is one, else of the int8 file with weights
and biases as float32. Inputs and outputs of integer models stand outside: torch gets and gives float32.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as f

from edgekern import ops
from edgekern.compiler import optimise
from edgekern.graph import Graph, Node
from edgekern.graph.run import feed
from edgekern.importers.source import read
from peers.contenders import Contender

Layer = Callable[..., torch.Tensor]


def planar(x: Any) -> torch.Tensor:
    """NCHW of a batch of images, contiguous; vectors stay."""
    return torch.from_numpy(np.array(x.transpose(0, 3, 1, 2) if x.ndim == 4 else x, np.float32, order="C"))


def clipped(layer: Layer, clip: tuple[float, float]) -> Layer:
    low, high = clip
    if (low, high) == (-np.inf, np.inf):
        return layer
    if (low, high) == (0, np.inf):
        return lambda *x: f.relu(layer(*x))
    return lambda *x: f.hardtanh(layer(*x), max(low, -3e38), min(high, 3e38))


def padded(layer: Layer, pads: tuple[int, ...], value: float = 0.0) -> Layer:
    """Padding that differs from side to side, in front of a layer that has none."""
    top, left, bottom, right = pads
    return lambda x: layer(f.pad(x, (left, right, top, bottom), value=value))


def window(op: Any, make: Callable[[tuple[int, int]], Layer], value: float = 0.0) -> Layer:
    """A layer with a window: its own padding where both sides are alike."""
    top, left, bottom, right = op.pads
    if (top, left) == (bottom, right):
        return make((top, left))
    return padded(make((0, 0)), op.pads, value)


def convolution(op: Any, weights: Any, bias: Any) -> Layer:
    if isinstance(op, ops.DepthwiseConv2D):
        w, groups = weights.transpose(2, 0, 1)[:, None], weights.shape[2]
    else:  # the kernels of a weight beyond int8 lie one below the other
        n, _, kw, c = weights.shape
        w, groups = weights.reshape(n, -1, op.kernel[0], kw, c).sum(axis=1).transpose(0, 3, 1, 2), op.groups
    w, b = (torch.from_numpy(np.array(v, np.float32, order="C")) for v in (w, bias))
    rows = w.flatten(1)

    def make(pads: tuple[int, int]) -> Layer:
        def layer(x: torch.Tensor) -> torch.Tensor:
            if x.ndim == 2 or (pads == (0, 0) and x.shape[2:] == w.shape[2:] and groups == 1):  # fully connected
                return f.linear(x.flatten(1), rows, b).reshape(len(x), len(w), *[1] * (x.ndim - 2))
            return f.conv2d(x, w, b, op.stride, pads, op.dilation, groups)

        return layer

    return clipped(window(op, make), op.clip)


def layer_of(graph: Graph, node: Node) -> Layer:
    """The torch call of a node.

    Raises:
        NotImplementedError: An operator that no network of the comparison has.
    """
    op: Any = node.op
    if isinstance(op, (ops.Conv2D, ops.DepthwiseConv2D)):
        return convolution(op, *(graph.constants[name] for name in node.constants))
    if isinstance(op, ops.Add):
        return clipped(torch.add, op.clip)
    if isinstance(op, ops.MaxPool2D):
        return clipped(window(op, lambda pads: lambda x: f.max_pool2d(x, op.kernel, op.stride, pads), -3e38), op.clip)
    if isinstance(op, ops.AveragePool2D) and not any(op.pads):
        return clipped(lambda x: f.avg_pool2d(x, op.kernel, op.stride), op.clip)
    if isinstance(op, ops.Mean):
        return clipped(lambda x: x.mean((2, 3), keepdim=True), op.clip)
    if isinstance(op, ops.Reshape):
        shape = graph.types[node.inputs[0]].shape
        if len(op.shape) == 1:  # rows that count channels last, as the weights behind them do
            return lambda x: (x.permute(0, 2, 3, 1) if len(shape) == 4 else x).reshape(len(x), *op.shape)
    if isinstance(op, ops.Softmax):
        return lambda x: f.softmax(x / op.temperature if op.temperature != 1 else x, 1)
    if isinstance(op, ops.Pad) and not any(op.channels):
        return padded(lambda x: x, op.pads, op.value)
    raise NotImplementedError(f"{type(op).__name__} {op} has no torch layer here")


def eager(source: Path, float32: Path, x: Any, threads: int) -> Contender:
    """The network of a model file, from its float twin. A call runs on what `x` held at loading or at `output`.

    Args:
        source: The int8 file, whose own tensor `x` is.
        float32: The float network; `source` where there is none.
        x: One frame.
        threads: Threads of torch.
    """
    torch.set_num_threads(threads)
    outside, (graph, _) = read(source)[0], optimise(read(float32)[0])
    layers = [(layer_of(graph, node), node.inputs, node.output) for node in graph.nodes]
    (port,), (given,), (made,) = outside.inputs, graph.inputs, graph.outputs
    start = planar(feed(outside, port, x))
    last = {name: i for i, (_, inputs, _) in enumerate(layers) for name in inputs}
    values: dict[str, torch.Tensor] = {}

    def call() -> None:
        values[given.tensor] = start
        with torch.inference_mode():
            for i, (layer, inputs, output) in enumerate(layers):
                values[output] = layer(*[values[name] for name in inputs])
                for name in inputs:
                    if last[name] == i:
                        values.pop(name, None)

    def output() -> Any:
        start.copy_(planar(feed(outside, port, x)))
        call()
        y = values[made.tensor].numpy()
        return y.transpose(0, 2, 3, 1) if y.ndim == 4 else y

    return Contender(call, output)
