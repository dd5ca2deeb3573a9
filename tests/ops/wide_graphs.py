# SPDX-License-Identifier: Apache-2.0
"""Random integer graphs with int16 tensors: a graph that has grown in int8, some tensors of which become int16.

What may be int16 follows from the operators (`Op.takes_wide`), so one that learns it joins without an edit here.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from random_graphs import Growth, single

from edgekern import quant
from edgekern.graph import Graph, Port
from edgekern.ops import Op
from edgekern.types import DType, Quant, TensorType

TIES = 1 / 3  # share of the scales that are powers of two, whose sums meet rounding ties


def may_be_wide(graph: Graph) -> list[str]:
    """Tensors whose maker and readers all take int16."""
    refused = {name for node in graph.nodes if not node.op.takes_wide() for name in (*node.inputs, node.output)}
    return [name for name, held in graph.types.items() if held.quant and name not in refused]


def wide_type(held: TensorType, draw: np.random.Generator) -> TensorType:
    """An int16 type that reaches about as far as an int8 one."""
    assert held.quant
    reach = held.quant.scale * max(127 - held.quant.zero_point, held.quant.zero_point + 128)
    scale = quant.choose_wide(-reach, reach * float(draw.choice([0.6, 1.0, 1.3]))).scale
    if draw.random() < TIES:
        scale = float(2.0 ** np.ceil(np.log2(scale)))
    return TensorType(held.shape, DType.INT16, Quant(scale, 0))


def widened(growth: Growth, graph: Graph, draw: np.random.Generator, share: float) -> Graph:
    """The graph of a growth with about `share` of the possible tensors in int16, its constants made anew for them."""
    chosen = [name for name in may_be_wide(graph) if draw.random() < share]
    if not chosen:
        return graph
    types = {**graph.types, **{name: wide_type(graph.types[name], draw) for name in chosen}}
    constants, nodes = dict(graph.constants), []
    for node in graph.nodes:
        held = [types[name] for name in node.inputs]
        example, out = growth.floats[node.output], types[node.output]
        if any(t.wide for t in (*held, out)):
            op, made = example.op.quantise(held, out, example.constants)
            if not isinstance(example.op, type(op)):
                raise TypeError(f"{node.op.opcode} becomes {op.opcode}")
            node = replace(node, op=op)
            constants.update(zip(node.constants, (growth.disturbed(c, draw) for c in made), strict=True))
        nodes.append(node)

    def port(given: Port) -> Port:
        return replace(given, dtype=DType.FLOAT32) if types[given.tensor].wide else given

    inputs, outputs = tuple(map(port, graph.inputs)), tuple(map(port, graph.outputs))
    return replace(graph, inputs=inputs, outputs=outputs, nodes=tuple(nodes), types=types, constants=constants)


def single_wide(kind: type[Op], seed: int | list[int], wild: float | None = None) -> tuple[Growth, Graph]:
    """A graph of one node of `kind` with at least one int16 tensor."""
    growth = single(kind, seed) if wild is None else single(kind, seed, wild)
    graph, draw = growth.graph(), np.random.default_rng([11, *np.atleast_1d(seed)])
    while True:
        found = widened(growth, graph, draw, 0.6)
        if found is not graph:
            return growth, found
