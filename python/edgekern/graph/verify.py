# SPDX-License-Identifier: Apache-2.0
"""What a legal graph is: names, order, types. Run after import and, in tests, after every pass."""

from __future__ import annotations

from edgekern.errors import CompileError, ShapeError
from edgekern.graph.graph import Graph, Node, Port
from edgekern.types import DType, TensorType

__all__ = ["verify"]


def verify(graph: Graph) -> Graph:
    """Checks a graph and returns it.

    Every port and node names tensors and constants that exist; each tensor is made once, before it is read; the type
    of each tensor is what its operator infers; int8 tensors of a graph with int8 tensors have a quantisation; int16
    tensors stand only where operators and ports take them.

    Raises:
        CompileError: Something does not hold; the message names the node, port or tensor.
    """
    if not graph.inputs or not graph.outputs:
        raise CompileError(f"a graph of {len(graph.inputs)} inputs and {len(graph.outputs)} outputs")
    known: set[str] = set()
    for port in graph.inputs:
        _check_port(graph, port, "input")
        if port.tensor in known:
            raise CompileError(f"tensor {port.tensor!r} is fed by two inputs")
        known.add(port.tensor)
    for node in graph.nodes:
        _check_names(graph, node, known)
        _check_type(graph, node)
        known.add(node.output)
    for port in graph.outputs:
        _check_port(graph, port, "output")
        if port.tensor not in known:
            raise CompileError(f"output {port.name!r} reads tensor {port.tensor!r}, which no node makes")
    stray = sorted(set(graph.types) - known)
    if stray:
        raise CompileError(f"tensor {stray[0]!r} has a type and no maker")
    return graph


def _check_port(graph: Graph, port: Port, kind: str) -> None:
    shape = _type(graph, port.tensor, f"{kind} {port.name!r}").shape
    if graph.types[port.tensor].wide and port.dtype is not DType.FLOAT32:
        raise CompileError(f"{kind} {port.name!r}: {port.dtype.name} outside of an int16 tensor; FLOAT32 is possible")
    if sorted(port.perm) != list(range(len(shape))):
        raise CompileError(f"{kind} {port.name!r}: {port.perm} is no permutation of {len(shape)} dimensions")
    if shape[0] != 1:
        raise ShapeError(f"{kind} {port.name!r}: the first dimension of {shape} is the batch and must be 1")


def _check_names(graph: Graph, node: Node, known: set[str]) -> None:
    where = f"node {node.name or node.output!r}"
    for name in node.inputs:
        if name not in known:
            raise CompileError(f"{where} reads tensor {name!r} before it is made")
    for name in node.constants:
        if name not in graph.constants:
            raise CompileError(f"{where} reads constant {name!r}, which does not exist")
    if node.output in known:
        raise CompileError(f"{where} makes tensor {node.output!r} a second time")


def _check_type(graph: Graph, node: Node) -> None:
    where = f"node {node.name or node.output!r} ({type(node.op).__name__})"
    inputs = [_type(graph, name, where) for name in node.inputs]
    actual = _type(graph, node.output, where)
    found = node.op.infer(inputs, [graph.constants[name] for name in node.constants])
    if found.shape != actual.shape:
        raise ShapeError(f"{where}: its result has shape {found.shape}, the graph says {actual.shape}")
    if any(t.wide for t in (*inputs, actual)) and not node.op.takes_wide():
        raise CompileError(f"{where}: it works on int8, and one of its tensors is int16")
    integer = any(t.dtype is not DType.FLOAT32 for t in inputs)
    if not integer and actual.dtype is not DType.FLOAT32:
        raise CompileError(f"{where}: {actual.dtype.name} from float inputs")
    if integer and actual.dtype is not DType.FLOAT32 and actual.quant is None:
        raise CompileError(f"{where}: its result has no quantisation")


def _type(graph: Graph, name: str, where: str) -> TensorType:
    if name not in graph.types:
        raise CompileError(f"{where}: tensor {name!r} has no type")
    return graph.types[name]
