# SPDX-License-Identifier: Apache-2.0
"""Removes nodes that change nothing, and moves that undo each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekern.graph.graph import Graph, Node
from edgekern.ops._op import NO_CLIP
from edgekern.ops.affine import Affine
from edgekern.ops.concat import Concat
from edgekern.ops.max_pool import MaxPool2D
from edgekern.ops.pad import Pad
from edgekern.ops.reshape import Reshape
from edgekern.ops.slice import Slice
from edgekern.ops.transpose import Transpose
from edgekern.passes import dead_code
from edgekern.passes._rewrite import free, rebuild, renamed

__all__ = ["run"]


def run(graph: Graph) -> Graph:
    """Chains of reshapes or transposes become one; nodes that then copy their input go."""
    graph = _shorten(graph)
    inputs = {port.tensor for port in graph.inputs}
    outputs = {port.tensor for port in graph.outputs}
    aliases = {
        node.output: node.inputs[0]
        for node in graph.nodes
        if _copies(graph, node)
        and free(graph, node.output, node.inputs[0])
        and not (node.output in outputs and node.inputs[0] in inputs)
    }
    return dead_code.run(renamed(graph, aliases))


def _shorten(graph: Graph) -> Graph:
    """A reshape of a reshape reads the first one's input; a transpose of a transpose composes with it."""
    nodes: list[Node] = []
    makers: dict[str, Node] = {}
    for node in graph.nodes:
        maker = makers.get(node.inputs[0])
        if maker is None or not free(graph, maker.output, node.output):
            pass
        elif isinstance(node.op, Reshape) and isinstance(maker.op, Reshape):
            node = replace(node, inputs=maker.inputs)
        elif isinstance(node.op, Transpose) and isinstance(maker.op, Transpose):
            perm = tuple(maker.op.perm[i] for i in node.op.perm)
            node = replace(node, op=Transpose(perm), inputs=maker.inputs)
        nodes.append(node)
        makers[node.output] = node
    return rebuild(graph, nodes)


def _copies(graph: Graph, node: Node) -> bool:
    """Whether a node's result is its input, element by element and in the same shape."""
    op = node.op
    if len(node.inputs) == 1 and isinstance(op, Concat):
        return True
    if graph.types[node.output].shape != graph.types[node.inputs[0]].shape:
        return False
    if isinstance(op, Transpose):
        return op.perm == tuple(range(len(op.perm)))
    if isinstance(op, Affine):
        weights, bias = (graph.constants[name] for name in node.constants)
        return op.clip == NO_CLIP and bool(np.all(weights == 1) and np.all(bias == 0))
    if isinstance(op, MaxPool2D):
        return op.kernel == (1, 1) and op.stride == (1, 1) and op.clip == NO_CLIP
    return isinstance(op, (Reshape, Pad, Slice))
