# SPDX-License-Identifier: Apache-2.0
"""Pad with zeros, then convolve: the convolution pads itself."""

from __future__ import annotations

from dataclasses import replace

from edgekern.graph.graph import Graph, Node
from edgekern.ops.conv2d import Conv2D
from edgekern.ops.depthwise import DepthwiseConv2D
from edgekern.ops.pad import Pad
from edgekern.passes._rewrite import free, made_of, only_reader, rebuild

__all__ = ["run"]


def run(graph: Graph) -> Graph:
    """Zero padding of height and width moves into the convolution that alone reads it."""
    alone = only_reader(graph)
    makers = graph.producers()
    nodes: list[Node] = []
    for node in graph.nodes:
        maker = makers.get(node.inputs[0])
        if (
            isinstance(node.op, (Conv2D, DepthwiseConv2D))
            and maker is not None
            and isinstance(maker.op, Pad)
            and alone.get(maker.output) is node
            and maker.op.value == 0
            and maker.op.channels == (0, 0)
            and free(graph, maker.output, maker.inputs[0])
        ):
            top, left, bottom, right = (a + b for a, b in zip(node.op.pads, maker.op.pads, strict=True))
            op = replace(node.op, pads=(top, left, bottom, right))
            nodes = [n for n in nodes if n.output != maker.output]
            node = replace(node, op=op, inputs=maker.inputs, made_of=made_of(maker, node))
        nodes.append(node)
    return rebuild(graph, nodes)
