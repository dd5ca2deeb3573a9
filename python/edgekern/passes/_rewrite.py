# SPDX-License-Identifier: Apache-2.0
"""What passes share: who alone reads a tensor, and how a tensor is replaced by another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgekern.graph.graph import Graph, Node
from edgekern.types import Array, TensorType

__all__ = ["free", "made_of", "only_reader", "rebuild", "renamed"]


def made_of(*nodes: Node) -> tuple[tuple[str, str], ...]:
    """The source nodes that these stand for; one that several of them come from counts once."""
    return tuple(dict.fromkeys(part for node in nodes for part in node.made_of))


def only_reader(graph: Graph) -> dict[str, Node]:
    """For each tensor read by exactly one input of one node and by no output port: that node."""
    outside = {port.tensor for port in graph.outputs}
    return {
        name: nodes[0]
        for name, nodes in graph.consumers().items()
        if len(nodes) == 1 and name not in outside and nodes[0].inputs.count(name) == 1
    }


def free(graph: Graph, name: str, kept: str) -> bool:
    """Whether tensor `name` may go: the source gives it no quantisation, or that of tensor `kept`."""
    given = graph.types[name].quant
    return given is None or given == graph.types[kept].quant


def renamed(graph: Graph, aliases: Mapping[str, str]) -> Graph:
    """Readers of each key read its value instead, output ports too; chains are followed."""

    def final(name: str) -> str:
        while name in aliases:
            name = aliases[name]
        return name

    nodes = tuple(replace(n, inputs=tuple(final(i) for i in n.inputs)) for n in graph.nodes)
    outputs = tuple(replace(p, tensor=final(p.tensor)) for p in graph.outputs)
    return replace(graph, outputs=outputs).with_nodes(nodes)


def rebuild(
    graph: Graph,
    nodes: Sequence[Node],
    types: Mapping[str, TensorType] | None = None,
    constants: Mapping[str, Array] | None = None,
) -> Graph:
    """The graph with other nodes, and with these types and constants added."""
    return graph.with_nodes(tuple(nodes), {**graph.types, **(types or {})}, {**graph.constants, **(constants or {})})
