# SPDX-License-Identifier: Apache-2.0
"""Runs a graph in NumPy: float graphs for calibration, integer graphs as the reference of every kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgekern import quant
from edgekern.errors import InputError
from edgekern.graph.graph import Graph, Node, Port
from edgekern.types import Array, DType

__all__ = ["evaluate", "feed", "fetch", "reference"]

Result = dict[str, Array]


def feed(graph: Graph, port: Port, x: Array) -> Array:
    """The tensor inside of a caller's tensor (with batch): dimensions in order, float32 quantised, uint8 shifted.

    Raises:
        InputError: Wrong dtype or shape.
    """
    inside = graph.types[port.tensor]
    shape = port.outside(inside.shape) if port.perm else inside.shape
    if x.dtype != port.dtype.numpy or x.shape[1:] != shape[1:]:
        raise InputError(
            f"input {port.name!r} is {x.dtype.name} {x.shape}, not {port.dtype.name.lower()} (batch, "
            f"{', '.join(map(str, shape[1:]))})"
        )
    if port.perm:
        x = x.transpose(np.argsort(port.perm))
    q = inside.quant
    if q is None or (port.dtype is DType.FLOAT32 and inside.dtype is DType.FLOAT32):
        return x
    if port.dtype is DType.FLOAT32:
        return quant.quantise(x, q, inside.dtype)
    x = x if port.dtype is DType.INT8 else (x ^ 0x80).view(np.int8)
    return quant.dequantise(x, q) if inside.dtype is DType.FLOAT32 else x


def fetch(graph: Graph, port: Port, y: Array, raw: bool = False) -> Array:
    """The caller's tensor of a tensor inside; `raw` leaves integers as they are."""
    inside = graph.types[port.tensor]
    q = inside.quant
    if inside.dtype is DType.FLOAT32 and port.dtype is not DType.FLOAT32 and q is not None:
        y = quant.quantise(y, q)
    if q is not None and not raw:
        if port.dtype is DType.FLOAT32 and inside.dtype is not DType.FLOAT32:
            y = quant.dequantise(y, q)
        elif port.dtype is DType.UINT8:
            y = np.ascontiguousarray(y).view(np.uint8) ^ 0x80
    return np.ascontiguousarray(y.transpose(port.perm) if port.perm else y)


def evaluate(graph: Graph, feeds: Mapping[str, Array], trace: bool = False) -> Result:
    """Float outputs by port name for a batch; with `trace` every tensor by its name, as it lies inside.

    Args:
        graph: A float graph.
        feeds: The caller's tensor of each input, by port name.
        trace: Return every tensor, and hold them all in memory.
    """

    def run(node: Node, inputs: list[Array]) -> Array:
        return node.op.evaluate(inputs, [graph.constants[name] for name in node.constants])

    return _walk(graph, feeds, run, trace, False)


def reference(graph: Graph, feeds: Mapping[str, Array], trace: bool = False, raw: bool = False) -> Result:
    """What every kernel on every CPU computes: outputs by port name, for any batch.

    Args:
        graph: An integer graph.
        feeds: The caller's tensor of each input, by port name.
        trace: Return every tensor by its name instead, as it lies inside (NHWC, int8 or int16).
        raw: Leave integer outputs as they are inside.
    """

    def run(node: Node, inputs: list[Array]) -> Array:
        types = [graph.types[name] for name in node.inputs]
        constants = [graph.constants[name] for name in node.constants]
        return node.op.reference(inputs, constants, types, graph.types[node.output])

    return _walk(graph, feeds, run, trace, raw)


def _walk(
    graph: Graph, feeds: Mapping[str, Array], run: Callable[[Node, list[Array]], Array], trace: bool, raw: bool
) -> Result:
    missing = {port.name for port in graph.inputs} ^ set(feeds)
    if missing:
        raise InputError(f"inputs are {[port.name for port in graph.inputs]}; {sorted(missing)} is missing or unknown")
    values = {port.tensor: feed(graph, port, feeds[port.name]) for port in graph.inputs}
    kept = {port.tensor for port in graph.outputs}
    last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    for i, node in enumerate(graph.nodes):
        values[node.output] = run(node, [values[name] for name in node.inputs])
        for name in node.inputs:
            if not trace and last[name] == i and name not in kept:
                values.pop(name, None)
    if trace:
        return values
    return {port.name: fetch(graph, port, values[port.tensor], raw) for port in graph.outputs}
