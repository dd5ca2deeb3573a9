# SPDX-License-Identifier: Apache-2.0
"""ReLU, ReLU6 and Clip become the clip of the node before them, when nobody else reads that node's result."""

from __future__ import annotations

import math
from dataclasses import replace

from edgekern.graph.graph import Graph, Node
from edgekern.ops._op import Op
from edgekern.ops.table import Table
from edgekern.passes._rewrite import free, made_of, only_reader, rebuild

__all__ = ["clip_of", "run"]

Clip = tuple[float, float]


def clip_of(op: Op) -> Clip | None:
    """The limits an operator stands for, if it is nothing but a clip."""
    if not isinstance(op, Table):
        return None
    if op.function == "relu":
        return 0.0, math.inf
    if op.function == "clip":
        return op.parameters[0], op.parameters[1]
    return None


def run(graph: Graph) -> Graph:
    """Producers that have a clip take over the clips that alone read them."""
    alone = only_reader(graph)
    fused: dict[str, Node] = {}  # by result
    for node in graph.nodes:
        maker = fused.get(node.inputs[0])
        outer = clip_of(node.op)
        if maker is not None and outer is not None and hasattr(maker.op, "clip"):
            fits = alone.get(node.inputs[0]) is not None and free(graph, node.inputs[0], node.output)
            if fits:
                low, high = maker.op.clip
                clip = tuple(min(max(end, outer[0]), outer[1]) for end in (low, high))
                del fused[maker.output]
                node = replace(
                    maker,
                    op=replace(maker.op, clip=clip),  # type: ignore[type-var]
                    output=node.output,
                    made_of=made_of(maker, node),
                )
        fused[node.output] = node
    return rebuild(graph, list(fused.values()))
