# SPDX-License-Identifier: Apache-2.0
"""What each layer costs: the float network with one layer in integers, against itself.

Noise of different layers is independent to first order, so its energies at the outputs add: a layer's share of their
sum is what it would save if it were exact.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from edgekern import quant
from edgekern.calibrate.accuracy import Run
from edgekern.calibrate.integer import WEIGHTED, channel_axis
from edgekern.calibrate.ranges import Progress, unseen
from edgekern.graph.graph import Graph, Node
from edgekern.graph.run import evaluate, feed, fetch
from edgekern.ops.reshape import Reshape
from edgekern.ops.softmax import Softmax
from edgekern.ops.transpose import Transpose
from edgekern.types import Array, DType, TensorType

__all__ = ["Noise", "alone", "scan"]

Feeds = Mapping[str, Array]
Values = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Noise:
    """Energy at the outputs, as a share of theirs, that one node alone adds; an input port counts as a node.

    Attributes:
        tensor: What the node makes.
        weights: By rounding its weights.
        activations: By rounding its result.
    """

    tensor: str
    weights: float
    activations: float

    @property
    def both(self) -> float:
        """The two together."""
        return self.weights + self.activations


def scan(original: Graph, integer: Graph, feeds: Feeds, progress: Progress = unseen) -> tuple[Noise, ...]:
    """The noise of every input and every node alone, in the graph's order.

    A softmax squeezes what lies before it: noise is measured where it reads.

    Args:
        original: The float graph `integer` was made from, node by node.
        integer: Its integer form.
        feeds: A few samples.
        progress: Called with ("sensitivity", layers done, of how many).
    """
    with np.errstate(all="ignore"):  # a logarithm of 0, in a source that quantises
        exact = evaluate(original, feeds, trace=True)
    ends = _ends(original)
    energy = {name: float((_finite(exact[name]).astype(np.float64) ** 2).sum()) or 1.0 for name in ends}
    found = []
    total = len(original.inputs) + len(original.nodes)
    for port in original.inputs:
        found.append(Noise(port.tensor, 0.0, _spread(original, integer, exact, port.tensor, energy)))
    for node, coded in zip(original.nodes, integer.nodes, strict=True):
        activations = _spread(original, integer, exact, node.output, energy)
        weights = 0.0
        if isinstance(node.op, WEIGHTED) and node.constants[0] not in original.weight_scales:
            changed = node.op.evaluate([exact[name] for name in node.inputs], _rounded(original, integer, node, coded))
            weights = _reaching(original, integer, exact, {node.output: changed}, energy)
        found.append(Noise(node.output, weights, activations))
        progress("sensitivity", len(found), total)
    return tuple(found)


def alone(original: Graph, integer: Graph, tensors: Collection[str]) -> Run:
    """The float network in which only these nodes have integer weights and results."""
    coded = {node.output: node for node in integer.nodes}

    def run(feeds: Feeds) -> dict[str, Array]:
        values = {port.tensor: feed(original, port, feeds[port.name]) for port in original.inputs}
        for name in values.keys() & set(tensors):
            values[name] = _held_as(values[name], integer.types[name])
        for node in original.nodes:
            constants = [original.constants[name] for name in node.constants]
            if node.output in tensors and isinstance(node.op, WEIGHTED):
                constants = _rounded(original, integer, node, coded[node.output])
            held = integer.types[node.output]
            y = _computed(node, [values[name] for name in node.inputs], constants, held)
            values[node.output] = _held_as(y, held) if node.output in tensors else y
        return {port.name: fetch(original, port, values[port.tensor]) for port in original.outputs}

    return run


def _ends(graph: Graph) -> tuple[str, ...]:
    """Where noise is measured: the outputs, or what the softmax that makes one reads."""
    makers = graph.producers()
    found = []
    for port in graph.outputs:
        name = port.tensor
        while name in makers and isinstance(makers[name].op, (Reshape, Transpose)):
            name = makers[name].inputs[0]
        last = name in makers and isinstance(makers[name].op, Softmax)
        found.append(makers[name].inputs[0] if last else port.tensor)
    return tuple(dict.fromkeys(found))


def _held_as(y: Array, held: TensorType) -> Array:
    """Real values after a stay in a tensor of the integer graph."""
    if held.quant is None or held.dtype is DType.FLOAT32:
        return y
    return quant.dequantise(quant.quantise(y, held.quant, held.dtype), held.quant)


def _computed(node: Node, inputs: list[Array], constants: list[Array], held: TensorType) -> Array:
    """A node's real result. What rounding before it makes infinite or NaN (a logarithm of 0) ends as in integers."""
    with np.errstate(all="ignore"):
        y = node.op.evaluate(inputs, constants)
    finite = np.isfinite(y)
    return y if finite.all() else np.where(finite, y, _held_as(y, held))


def _finite(y: Array) -> Array:
    return y[np.isfinite(y)]


def _rounded(original: Graph, integer: Graph, node: Node, coded: Node) -> list[Array]:
    """A weighted node's constants with the real values of its integer weights."""
    weights, _, m = (integer.constants[name] for name in coded.constants)
    source, result = integer.types[coded.inputs[0]].quant, integer.types[coded.output].quant
    assert source is not None
    assert result is not None
    scale = m.astype(np.float64) * result.scale / source.scale
    axis = channel_axis(node)
    real = np.moveaxis(np.moveaxis(weights, axis, -1) * scale, -1, axis).astype(np.float32)
    return [real, *(original.constants[name] for name in node.constants[1:])]


def _spread(graph: Graph, integer: Graph, exact: Values, name: str, energy: Mapping[str, float]) -> float:
    """Noise at the ends by holding one tensor in integers."""
    return _reaching(graph, integer, exact, {name: _held_as(exact[name], integer.types[name])}, energy)


def _reaching(graph: Graph, integer: Graph, exact: Values, changed: Values, energy: Mapping[str, float]) -> float:
    """Noise at the ends by changed tensors; only what depends on them is computed again."""
    (start,) = changed
    if np.array_equal(changed[start], exact[start]):
        return 0.0
    now = dict(changed)
    for node in graph.nodes:
        if node.output in now or not any(name in now for name in node.inputs):
            continue
        inputs = [now.get(name, exact[name]) for name in node.inputs]
        constants = [graph.constants[name] for name in node.constants]
        now[node.output] = _computed(node, inputs, constants, integer.types[node.output])
    total = 0.0
    for name in energy:
        if name in now:
            noise = _finite(exact[name] - now[name].astype(np.float64))
            total += float((noise**2).sum()) / energy[name]
    return total
