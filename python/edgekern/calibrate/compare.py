# SPDX-License-Identifier: Apache-2.0
"""Float graph against integer graph on the same samples: noise per layer, agreement of outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edgekern import quant
from edgekern.calibrate.integer import run, step
from edgekern.calibrate.ranges import Progress, unseen
from edgekern.graph.graph import Graph, Port
from edgekern.graph.run import evaluate, feed
from edgekern.report import Layer, OutputError
from edgekern.types import Array, DType

__all__ = ["layers", "outputs"]

Feeds = Mapping[str, Array]


def _sqnr(exact: Array, real: Array) -> float:
    """Decibels of what is to what it became; where that is no finite number (a logarithm of 0) nothing is compared."""
    kept = np.isfinite(exact)
    signal = exact[kept].astype(np.float64)
    noise = float(((signal - real[kept]) ** 2).sum())
    return math.inf if noise == 0 else 10 * math.log10(max(float((signal**2).sum()), 1e-30) / noise)


def layers(original: Graph, integer: Graph, feeds: Feeds, progress: Progress = unseen) -> tuple[Layer, ...]:
    """Every node with the signal-to-noise ratio of its result.

    Args:
        original: The float graph `integer` was made from, node by node.
        integer: Its integer form.
        feeds: Samples for the float graph's ports, which the integer graph shares.
        progress: Called with ("compare", nodes done, of how many).
    """
    floats = {port.tensor: feed(original, port, feeds[port.name]) for port in original.inputs}
    ints = {port.tensor: feed(integer, port, feeds[port.name]) for port in integer.inputs}
    last = {name: node.output for node in original.nodes for name in node.inputs}
    found: list[Layer] = []
    for node, coded in zip(original.nodes, integer.nodes, strict=True):
        progress("compare", len(found), len(original.nodes))
        constants = [original.constants[name] for name in node.constants]
        exact = node.op.evaluate([floats[name] for name in node.inputs], constants)
        floats[node.output] = exact
        y = ints[node.output] = step(integer, coded, [ints[name] for name in coded.inputs])
        held = integer.types[node.output]
        real = y if held.dtype is DType.FLOAT32 or held.quant is None else quant.dequantise(y, held.quant)
        size = sum(integer.constants[name].nbytes for name in coded.constants)
        ratio = _sqnr(exact, real)
        kind = type(node.op).__name__
        macs, made_of = node.op.macs(held, constants), tuple(operator for _, operator in node.made_of)
        found.append(Layer(node.name or node.output, kind, held.shape[1:], macs, size, ratio, made_of))
        for name in set(node.inputs):
            if last[name] == node.output:
                del floats[name], ints[name]
    return tuple(found)


def outputs(original: Graph, integer: Graph, feeds: Feeds) -> tuple[OutputError, ...]:
    """Every output port, float against int8."""
    wanted, found = evaluate(original, feeds), run(integer, feeds)
    result = []
    for port in integer.outputs:
        name = port.name
        y, z = (_real(integer, port, side[name]) for side in (wanted, found))
        difference = (y.astype(np.float64) - z)[np.isfinite(y)]
        flat = y.reshape(len(y), -1).argmax(axis=1) == z.reshape(len(y), -1).argmax(axis=1)
        greatest = float(np.abs(difference).max(initial=0))
        result.append(OutputError(name, _sqnr(y, z), greatest, float(flat.mean())))
    return tuple(result)


def _real(graph: Graph, port: Port, y: Array) -> Array:
    """A caller's tensor as real numbers."""
    q = graph.types[port.tensor].quant
    if port.dtype is DType.FLOAT32 or q is None:
        return y
    return quant.dequantise(y.astype(np.int16) - (128 if port.dtype is DType.UINT8 else 0), q)
