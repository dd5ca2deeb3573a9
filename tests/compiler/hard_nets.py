"""Networks that compute what another one does and are hard to quantise: channels scaled by factors far apart.

The sign classifier that ships is taken apart into a float network with ReLU, whose clips a factor does not move.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgekern.artifact import read
from edgekern.graph.graph import Graph, Node
from edgekern.ops import Add, Conv2D, DepthwiseConv2D, Mean

SIDE, CLASSES = 48, 43  # of the classifier that ships
MOST = 4  # factors are 2^-4 to 2^4


@dataclass
class Layer:
    """A convolution in float: weights [N, C / groups, kh, kw], bias, and how it runs."""

    weights: Any
    bias: Any
    groups: int
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]
    relu: bool


def sign_layers() -> tuple[Graph, dict[str, Layer]]:
    """The graph that ships, and each of its convolutions as real numbers, by result."""
    graph = read(resources.files("edgekern.signs").joinpath("signs.ekm").read_bytes()).graph
    found = {}
    for node in graph.nodes:
        if isinstance(node.op, (Conv2D, DepthwiseConv2D)):
            weights, bias, m = (graph.constants[name].astype(np.float64) for name in node.constants)
            of, to = graph.types[node.inputs[0]].quant, graph.types[node.output].quant
            assert of is not None
            assert to is not None
            deep = isinstance(node.op, DepthwiseConv2D)
            kernel = weights.transpose(2, 0, 1)[:, None] if deep else weights.transpose(0, 3, 1, 2)
            scale = m * to.scale / of.scale
            found[node.output] = Layer(
                kernel * scale.reshape(-1, 1, 1, 1),
                bias * of.scale * scale,
                len(kernel) if deep else 1,
                node.op.stride,
                node.op.pads,
                node.op.clamp[0] == to.zero_point,
            )
    return graph, found


def scale_channels(graph: Graph, layers: dict[str, Layer], seed: int) -> None:
    """Multiplies every channel between two convolutions by a power of two and takes it back where it is read.

    Tensors that an addition or a pool ties share their factors.
    """
    draw = np.random.default_rng(seed)
    ties = {name: name for name in graph.types}

    def first(name: str) -> str:
        return name if ties[name] == name else first(ties[name])

    for node in graph.nodes:
        if isinstance(node.op, (Add, Mean)):
            for name in node.inputs:
                ties[first(name)] = first(node.output)
    read = {first(n.inputs[0]) for n in graph.nodes if n.output in layers}
    for name in sorted(read - {first(port.tensor) for port in graph.inputs}):
        factors = np.exp2(draw.integers(-MOST, MOST + 1, graph.types[name].shape[-1]))
        for node in graph.nodes:
            if node.output not in layers:
                continue
            layer = layers[node.output]
            if first(node.output) == name:
                layer.weights = layer.weights * factors.reshape(-1, 1, 1, 1)
                layer.bias = layer.bias * factors
            if first(node.inputs[0]) == name:
                by_input = factors.reshape((-1, 1, 1, 1) if layer.groups > 1 else (1, -1, 1, 1))
                layer.weights = layer.weights / by_input


def sign_net(seed: int | None = None) -> ModelProto:
    """The sign classifier as a float ONNX network [n, 3, 48, 48] -> [n, 43]; with a seed its badly scaled twin."""
    graph, layers = sign_layers()
    if seed is not None:
        scale_channels(graph, layers, seed)
    nodes, constants = [], {}
    names = {graph.inputs[0].tensor: "image"}
    for i, node in enumerate(graph.nodes):
        given, made = [names[name] for name in node.inputs], f"t{i}"
        names[node.output] = made
        if node.output in layers:
            layer = layers[node.output]
            constants[f"w{i}"], constants[f"b{i}"] = layer.weights, layer.bias
            top, left, bottom, right = layer.pads
            raw = f"{made}/sum" if layer.relu else made
            nodes.append(
                helper.make_node(
                    "Conv",
                    [*given, f"w{i}", f"b{i}"],
                    [raw],
                    name=f"conv {i}",
                    group=layer.groups,
                    strides=list(layer.stride),
                    pads=[top, left, bottom, right],
                )
            )
            if layer.relu:
                nodes.append(helper.make_node("Relu", [raw], [made]))
        else:
            nodes.append(helper.make_node(*_plain(node), given, [made], name=f"{type(node.op).__name__} {i}"))
    port = helper.make_tensor_value_info
    ends = port("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE]), port(made, TensorProto.FLOAT, ["n", CLASSES])
    held = [numpy_helper.from_array(np.float32(value), name) for name, value in constants.items()]
    body = helper.make_graph(nodes, "signs", [ends[0]], [ends[1]], held)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _plain(node: Node) -> tuple[str]:
    return (
        {"Add": "Add", "Mean": "GlobalAveragePool", "Reshape": "Flatten", "Softmax": "Softmax"}[type(node.op).__name__],
    )
