"""Float graphs written node by node, and whether two of them compute the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgekern.graph.graph import Graph, Node, Port
from edgekern.graph.run import evaluate
from edgekern.graph.verify import verify
from edgekern.ops import Op
from edgekern.types import TensorType

Step = tuple[str, Op, str, Sequence[Any]]  # result, operator, inputs separated by spaces, constants


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Any:
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def float_graph(shape: tuple[int, ...], steps: Sequence[Step], outputs: str = "") -> Graph:
    """A graph of one input x; its outputs are the named tensors, or the last one."""
    types = {"x": TensorType((1, *shape))}
    constants: dict[str, Any] = {}
    nodes = []
    for result, op, inputs, values in steps:
        names = tuple(f"{result}/{i}" for i in range(len(values)))
        constants.update(zip(names, values, strict=True))
        given = tuple(inputs.split())
        types[result] = op.infer([types[i] for i in given], values)
        nodes.append(Node(op, given, names, result, result))
    ports = tuple(port(name, types[name]) for name in (outputs.split() or [steps[-1][0]]))
    return verify(Graph((port("x", types["x"]),), ports, tuple(nodes), types, constants))


def port(name: str, kind: TensorType) -> Port:
    return Port(name, name, perm=tuple(range(len(kind.shape))))


def kinds(graph: Graph) -> list[str]:
    return [type(n.op).__name__ for n in graph.nodes]


def same(a: Graph, b: Graph, batch: int = 3) -> bool:
    """Whether both legal graphs give the same results, to float32 rounding."""
    x = {"x": normal(batch, *verify(a).types["x"].shape[1:], seed=9)}
    wanted, found = evaluate(a, x), evaluate(verify(b), x)
    close = [np.allclose(wanted[n], found[m], rtol=1e-4, atol=1e-4) for n, m in zip(wanted, found, strict=True)]
    return all(close)
