# SPDX-License-Identifier: Apache-2.0
"""A max pool or resize whose result a source model holds in another quantisation than its input: a copy follows."""

from __future__ import annotations

from dataclasses import replace

from edgekern.graph.graph import Graph, Node
from edgekern.ops.reshape import Reshape
from edgekern.ops.slice import Slice
from edgekern.ops.transpose import Transpose
from edgekern.passes._rewrite import rebuild
from edgekern.types import DType, Quant

__all__ = ["run"]

_ANY = Quant(1.0, 0)


def run(graph: Graph) -> Graph:
    """What must keep its input's quantisation does; the step to the one the source gives is a node of its own."""
    nodes: list[Node] = []
    types = dict(graph.types)
    for node in reversed(graph.nodes):  # what is only moved afterwards is made as it will be held
        source = types[node.inputs[0]]
        if isinstance(node.op, (Reshape, Slice, Transpose)) and source.quant is None:
            types[node.inputs[0]] = replace(source, quant=types[node.output].quant)
    for node in graph.nodes:
        given = types[node.output].quant
        if given is None or given == types[node.inputs[0]].quant or not _keeps(graph, node):
            nodes.append(node)
            continue
        copied = f"{node.output}/copied"
        types[copied] = replace(types[node.output], quant=types[node.inputs[0]].quant)
        nodes.append(replace(node, output=copied))
        nodes.append(Node(Reshape(types[copied].shape[1:]), (copied,), (), node.output, node.name, node.made_of))
    return rebuild(graph, nodes, types)


def _keeps(graph: Graph, node: Node) -> bool:
    """Whether the integer form must keep the quantisation of its input."""
    if node.op.rescales:
        return False
    inputs = [replace(graph.types[name], dtype=DType.INT8, quant=_ANY) for name in node.inputs]
    return node.op.infer(inputs, [graph.constants[name] for name in node.constants]).quant is not None
