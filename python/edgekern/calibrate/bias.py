# SPDX-License-Identifier: Apache-2.0
"""Bias correction: what int8 shifts a channel's mean by goes into its bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgekern.calibrate.integer import WEIGHTED, accumulate, channel_axis, finish, step
from edgekern.calibrate.ranges import Progress, unseen
from edgekern.graph.graph import Graph, Node
from edgekern.graph.run import feed
from edgekern.ops._op import NO_CLIP
from edgekern.ops.conv2d import Conv2D
from edgekern.types import Array

__all__ = ["correct_biases", "frames_at_once"]

_MOST_BIAS = 2**30
_MOST_HELD = 256  # frames
_BUDGET = 1 << 24  # elements of the largest unfolded convolution input over all held frames


def correct_biases(original: Graph, integer: Graph, feeds: Mapping[str, Array], progress: Progress = unseen) -> Graph:
    """The integer graph with biases moved by the mean error of each output channel, measured before the activation.

    Node after node, each on what the corrected nodes before it give: errors of the inputs are corrected too.

    Args:
        original: The float graph `integer` was made from, node by node.
        integer: Its integer form, float32 ports.
        feeds: Samples, the caller's tensors by port name.
        progress: Called with ("biases", nodes done, of how many).
    """
    constants = dict(integer.constants)
    corrected = replace(integer, constants=constants)  # sees the biases as they change
    floats = {port.tensor: feed(original, port, feeds[port.name]) for port in original.inputs}
    ints = {port.tensor: feed(integer, port, feeds[port.name]) for port in integer.inputs}
    last = {name: node.output for node in original.nodes for name in node.inputs}
    for done, (node, coded) in enumerate(zip(original.nodes, integer.nodes, strict=True)):
        progress("biases", done, len(original.nodes))
        given = [floats[name] for name in node.inputs]
        held = [original.constants[name] for name in node.constants]
        if isinstance(node.op, WEIGHTED):
            exact = replace(node.op, clip=NO_CLIP).evaluate(given, held)
            sums = accumulate(corrected, coded, ints[coded.inputs[0]])
            sums = sums.moved(_shift(corrected, coded, exact, sums.total, constants))
            floats[node.output] = np.clip(exact, *node.op.clip)
            ints[node.output] = finish(corrected, coded, sums)
        else:
            floats[node.output] = node.op.evaluate(given, held)
            ints[node.output] = step(corrected, coded, [ints[name] for name in coded.inputs])
        for name in set(node.inputs):
            if last[name] == node.output:
                del floats[name], ints[name]
    return corrected


def frames_at_once(graph: Graph) -> int:
    """Frames that bias correction takes at once: as many as fit the budget unfolded."""
    largest = max((t.size for t in graph.types.values()), default=1)
    for node in graph.nodes:
        if isinstance(node.op, Conv2D):
            weights = graph.constants[node.constants[0]]
            pixels = graph.types[node.output].size // weights.shape[0]
            largest = max(largest, pixels * weights[0].size)
    return min(_MOST_HELD, _BUDGET // max(largest, 1))


def _shift(graph: Graph, node: Node, exact: Array, acc: Array, constants: dict[str, Array]) -> Array:
    """Moves a node's bias in `constants`; returns by how much, per channel."""
    q = graph.types[node.output].quant
    assert q is not None
    weights, bias, m = (constants[name] for name in node.constants)
    unit = m.astype(np.float64) * q.scale
    axes = tuple(range(exact.ndim - 1))
    wanted = exact.mean(axis=axes, dtype=np.float64)
    found = acc.mean(axis=axes, dtype=np.float64) * unit
    shift = np.rint(np.divide(wanted - found, unit, out=np.zeros_like(unit), where=unit > 0))
    moved = bias + shift
    by_channel = np.moveaxis(weights, channel_axis(node), 0).reshape(len(bias), -1).astype(np.int64)
    room = 2**31 - 1 - np.abs(by_channel).sum(axis=1) * 255
    moved = np.where(np.abs(moved) <= np.minimum(room, _MOST_BIAS), moved, bias).astype(np.int32)
    constants[node.constants[1]] = moved
    shifts: Array = moved - bias
    return shifts
