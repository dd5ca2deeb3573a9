# SPDX-License-Identifier: Apache-2.0
"""Float graph and ranges -> integer graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from edgekern import quant
from edgekern.errors import QuantizationError
from edgekern.graph.graph import Graph, Node
from edgekern.ops.add import Add
from edgekern.ops.softmax import Softmax
from edgekern.types import Array, DType, Quant, TensorType, WeightScale

__all__ = ["run", "wide_candidates"]

_MOST_RATIO = 2.0**8  # of an add's input scale to its output scale, exclusive
_LEAST_RATIO = 2.0**-10


def run(
    graph: Graph,
    ranges: Mapping[str, tuple[float, float]],
    weight_scales: Mapping[str, Array] | None = None,
    wide: Collection[str] = (),
) -> Graph:
    """The integer form: int8 (or chosen int16) tensors, integer constants, the same ports.

    A tensor's quantisation is the source model's own where it gives one, else the one its operator forces (a pool keeps
    its input's), otherwise that of its range. A softmax that nobody inside reads gives float32, if the source does not
    quantise it.

    Args:
        graph: A float graph.
        ranges: Least and greatest value of every tensor.
        weight_scales: Scale per output channel of a node's weights, by the node's result; max|w| / 127 if absent.
        wide: Tensors that become int16; `wide_candidates` lists those that can. Their ranges should hold everything
            that was seen: one cut for int8 loses more than it gains here.

    Raises:
        QuantizationError: A range or constant is not finite, or a sum could overflow; the node is named. Or a tensor
            of `wide` cannot be int16; it is named with what stands against it.
    """
    for name in wide:
        if (obstacle := _against_wide(graph, name)) is not None:
            raise QuantizationError(
                f"tensor {name!r} cannot be int16: {obstacle}", hint="`wide_candidates` lists the tensors that can be."
            )
    scales = {name: WeightScale(values) for name, values in (weight_scales or {}).items()}
    for node in graph.nodes:
        if node.constants and node.constants[0] in graph.weight_scales:
            scales[node.output] = WeightScale(graph.weight_scales[node.constants[0]], given=True)
    types: dict[str, TensorType] = {}
    for port in graph.inputs:
        given = graph.types[port.tensor].quant
        types[port.tensor] = (
            _wide(graph, port.tensor, ranges)
            if port.tensor in wide
            else _int8(graph, port.tensor, given or _of_range(ranges, port.tensor))
        )
    readers = graph.consumers()
    nodes: list[Node] = []
    constants: dict[str, Array] = {}
    for node in graph.nodes:
        inputs = [types[name] for name in node.inputs]
        floats = [graph.constants[name] for name in node.constants]
        try:
            types[node.output] = (
                _wide(graph, node.output, ranges)
                if node.output in wide
                else _result(graph, node, inputs, ranges, bool(readers[node.output]))
            )
            op, integers = node.op.quantise(inputs, types[node.output], floats, scales.get(node.output))
        except QuantizationError as error:
            where = f"node {node.name or node.output!r} ({type(node.op).__name__})"
            raise QuantizationError(f"{where}: {error.args[0]}", hint=error.hint) from error
        names = tuple(f"{node.output}/{i}" for i in range(len(integers)))
        constants.update(zip(names, integers, strict=True))
        nodes.append(replace(node, op=op, constants=names))
    return replace(graph, nodes=tuple(nodes), types=types, constants=constants, weight_scales={})


def wide_candidates(graph: Graph) -> tuple[str, ...]:
    """Tensors of a float graph that can be int16, in the order they are made.

    What makes one and all that read it take int16; ports that do are float32 outside; the source gives it no
    quantisation of its own. An input that a preprocess feeds stays int8: that is not seen here.
    """
    made = [port.tensor for port in graph.inputs] + [node.output for node in graph.nodes]
    return tuple(name for name in made if _against_wide(graph, name) is None)


def _against_wide(graph: Graph, name: str) -> str | None:
    """Why a tensor cannot be int16; None where it can."""
    if name not in graph.types:
        return "the graph has no such tensor"
    if graph.types[name].quant is not None:
        return "the source model gives it a quantisation of its own"
    ports = [port for port in (*graph.inputs, *graph.outputs) if port.tensor == name]
    for port in ports:
        if port.dtype is not DType.FLOAT32:
            return f"port {port.name!r} hands it over as {port.dtype.name.lower()}"
    for node in graph.nodes:
        if node.output == name and not node.op.takes_wide():
            return f"node {node.name or node.output!r} ({node.op.opcode}) makes int8 only"
        if name in node.inputs and not node.op.takes_wide():
            return f"node {node.name or node.output!r} ({node.op.opcode}) reads int8 only"
    return None


def _result(
    graph: Graph,
    node: Node,
    inputs: list[TensorType],
    ranges: Mapping[str, tuple[float, float]],
    read_inside: bool,
) -> TensorType:
    given = graph.types[node.output].quant
    if given is not None:
        return _int8(graph, node.output, given)
    if isinstance(node.op, Softmax) and not read_inside:
        return graph.types[node.output]
    forced = node.op.infer(inputs, [graph.constants[name] for name in node.constants]).quant
    if any(t.wide for t in inputs):  # what an int16 tensor has is too fine for int8
        forced = None
    chosen = forced or _of_range(ranges, node.output)
    if isinstance(node.op, Add) and not any(t.wide for t in inputs):
        chosen = _add_within_limits(inputs, chosen)
    return _int8(graph, node.output, chosen)


def _int8(graph: Graph, name: str, q: Quant) -> TensorType:
    return TensorType(graph.types[name].shape, DType.INT8, q)


def _wide(graph: Graph, name: str, ranges: Mapping[str, tuple[float, float]]) -> TensorType:
    low, high = _range(ranges, name, 2 * 32767 * 256)
    return TensorType(graph.types[name].shape, DType.INT16, quant.choose_wide(low, high))


def _of_range(ranges: Mapping[str, tuple[float, float]], name: str) -> Quant:
    return quant.choose_quant(*_range(ranges, name, 255 * 256))


def _range(ranges: Mapping[str, tuple[float, float]], name: str, most: float) -> tuple[float, float]:
    """The finite range of a tensor; `most` is the span that its integers reach over at the greatest scale."""
    if name not in ranges:
        raise QuantizationError(f"tensor {name!r} has no range", hint="Give at least one calibration sample.")
    low, high = ranges[name]
    if not (np.isfinite(low) and np.isfinite(high)):
        raise QuantizationError(f"tensor {name!r} has the range [{low}, {high}], which is not finite")
    if max(high, 0) - min(low, 0) > most:
        raise QuantizationError(
            f"tensor {name!r} spans [{low:.6g}, {high:.6g}]; "
            + ("int8 reaches over 255 * 256 at most" if most == 255 * 256 else f"int16 reaches over {most} at most"),
            hint="Normalise the model's input, or check its weights.",
        )
    return low, high


def _add_within_limits(inputs: list[TensorType], q: Quant) -> Quant:
    """The result's quantisation, its scale moved until an add can compute it from its inputs' scales."""
    top = max(t.quant.scale for t in inputs if t.quant)
    least, most = top / _MOST_RATIO * 1.01, top / _LEAST_RATIO
    scale = float(np.float32(min(max(q.scale, least), most)))
    return q if scale == q.scale else Quant(scale, q.zero_point)
