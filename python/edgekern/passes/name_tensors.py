# SPDX-License-Identifier: Apache-2.0
"""Names each tensor after the node that makes it: one name to look for in traces, profiles and files."""

from __future__ import annotations

from dataclasses import replace

from edgekern.graph.graph import Graph

__all__ = ["run"]


def run(graph: Graph) -> Graph:
    """Tensors get the names of their nodes; the second of one name gets ".1" and so on. Inputs keep theirs."""
    taken = {port.tensor for port in graph.inputs}
    names = {name: name for name in taken}
    nodes = []
    for node in graph.nodes:
        stem = node.name or node.output
        name, number = stem, 0
        while name in taken:
            number += 1
            name = f"{stem}.{number}"
        taken.add(name)
        names[node.output] = name
        nodes.append(replace(node, name=name, inputs=tuple(names[i] for i in node.inputs), output=name))
    outputs = tuple(replace(port, tensor=names[port.tensor]) for port in graph.outputs)
    types = {names[name]: kind for name, kind in graph.types.items() if name in names}
    return replace(graph, outputs=outputs, nodes=tuple(nodes), types=types)
