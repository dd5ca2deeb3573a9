# SPDX-License-Identifier: Apache-2.0
"""Removes nodes whose result nobody reads."""

from __future__ import annotations

from edgekern.graph.graph import Graph, Node

__all__ = ["run"]


def run(graph: Graph) -> Graph:
    """The graph without nodes that no output depends on; inputs stay, read or not."""
    needed = {port.tensor for port in graph.outputs}
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if node.output in needed:
            kept.append(node)
            needed.update(node.inputs)
    return graph.with_nodes(tuple(reversed(kept)))
