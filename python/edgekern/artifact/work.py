# SPDX-License-Identifier: Apache-2.0
"""The work of a graph as the loader counts it: a file above the limit is refused, so none is written."""

from __future__ import annotations

import math

from edgekern.errors import CompileError
from edgekern.graph.graph import Graph, Node

__all__ = ["LIMIT", "check_work"]

LIMIT = 2**36  # as in cpp/model/check.cc


def _taps(graph: Graph, node: Node) -> int:
    """Elements that one element of the result looks at, where the op has a window; else 0."""
    if node.op.opcode in ("Conv2D", "DepthwiseConv2D", "Affine"):
        channels = graph.types[node.output].shape[-1]
        taps = graph.constants[node.constants[0]].size // channels
        return 2 * taps if graph.types[node.inputs[0]].wide else taps  # a sum for each byte
    if node.op.opcode in ("MaxPool2D", "AveragePool2D"):
        height, width = node.op.lower()[:2]
        return height * width
    if node.op.opcode == "Resize2D":
        return 4
    return 0


def check_work(graph: Graph) -> int:
    """Counts the elements that ports and ops visit in one frame, constants and window taps among them.

    Raises:
        CompileError: They are more than `LIMIT`; the op that passes it is named.
    """
    total = sum(math.prod(graph.types[port.tensor].shape) for port in (*graph.inputs, *graph.outputs))
    for node in graph.nodes:
        made = math.prod(graph.types[node.output].shape)
        total += made + sum(math.prod(graph.types[name].shape) for name in node.inputs)
        total += sum(graph.constants[name].size for name in node.constants)
        if total <= LIMIT:
            total += made * _taps(graph, node)
        if total > LIMIT:
            raise CompileError(
                f"node {node.name or node.output!r} ({node.op.opcode}): with it a frame takes {total} steps of work; "
                f"at most 2^36",
                hint="Make the input or the windows smaller.",
            )
    return total
