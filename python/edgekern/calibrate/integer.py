# SPDX-License-Identifier: Apache-2.0
"""The integer graph through BLAS: the bytes of `graph.run.reference`, many times faster.

Sums of products of integers are exact in floating point while they stay below 2^24 (float32) or 2^53 (float64), in
whatever order BLAS adds them; the requantisation is the specification's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgekern import quant
from edgekern.graph.graph import Graph, Node
from edgekern.graph.run import feed, fetch
from edgekern.ops._op import NO_CLIP
from edgekern.ops.affine import Affine
from edgekern.ops.conv2d import Conv2D
from edgekern.ops.depthwise import DepthwiseConv2D
from edgekern.types import Array

__all__ = ["WEIGHTED", "Sums", "accumulate", "channel_axis", "finish", "run", "step"]

WEIGHTED = (Conv2D, DepthwiseConv2D, Affine)  # constants: weights, bias, m
_EXACT_FLOAT32 = 1 << 24


def channel_axis(node: Node) -> int:
    """Which axis of a weighted node's weights is its output channel."""
    return 0 if isinstance(node.op, (Conv2D, Affine)) else 2


@dataclass(frozen=True)
class Sums:
    """The int32 sums of a weighted node as floats that hold them exactly.

    Attributes:
        low: Of an int16 input those over the low bytes, else the only ones; the bias is in them.
        high: Those over the high bytes of an int16 input.
    """

    low: Array
    high: Array | None = None

    @property
    def total(self) -> Array:
        """Both in one, in units of s_in * s_w."""
        return self.low if self.high is None else self.high.astype(np.float64) * 256 + self.low

    def moved(self, shift: Array) -> Sums:
        """With another bias."""
        return replace(self, low=self.low + shift.astype(self.low.dtype))


def accumulate(graph: Graph, node: Node, x: Array) -> Sums:
    """The sums of a weighted node on a batch."""
    q = graph.types[node.inputs[0]].quant
    assert q is not None
    assert isinstance(node.op, WEIGHTED)
    weights, bias = (graph.constants[name] for name in node.constants[:2])
    by_channel = np.moveaxis(weights, channel_axis(node), 0).reshape(len(bias), -1)
    most = np.abs(by_channel.astype(np.int64)).sum(axis=1) * 255 + np.abs(bias.astype(np.int64))
    exact = np.float32 if int(most.max()) < _EXACT_FLOAT32 else np.float64
    op = replace(node.op, clip=NO_CLIP)
    sums = [
        op.evaluate([plane.astype(exact)], [weights.astype(exact), added.astype(exact)])
        for plane, added in zip(quant.planes(x, q.zero_point)[::-1], (bias, np.zeros_like(bias)), strict=False)
    ]
    return Sums(*sums)


def finish(graph: Graph, node: Node, sums: Sums) -> Array:
    """Requantises the sums of a weighted node."""
    out = graph.types[node.output]
    assert out.quant is not None
    assert isinstance(node.op, WEIGHTED)
    m, zero = graph.constants[node.constants[2]], out.quant.zero_point
    if sums.high is not None:
        return quant.requantise_wide(sums.high, sums.low, m, zero, *node.op.clamp, out.dtype)
    return quant.requantise(sums.low, m, zero, *node.op.clamp, out.dtype)


def step(graph: Graph, node: Node, inputs: Sequence[Array]) -> Array:
    """One node of an integer graph on a batch."""
    if isinstance(node.op, WEIGHTED):
        return finish(graph, node, accumulate(graph, node, inputs[0]))
    types = [graph.types[name] for name in node.inputs]
    constants = [graph.constants[name] for name in node.constants]
    return node.op.reference(inputs, constants, types, graph.types[node.output])


def run(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs by port name, as `graph.run.reference` gives them."""
    values = {port.tensor: feed(graph, port, feeds[port.name]) for port in graph.inputs}
    last = {name: node.output for node in graph.nodes for name in node.inputs}
    kept = {port.tensor for port in graph.outputs}
    for node in graph.nodes:
        values[node.output] = step(graph, node, [values[name] for name in node.inputs])
        for name in set(node.inputs) - kept:
            if last[name] == node.output:
                del values[name]
    return {port.name: fetch(graph, port, values[port.tensor]) for port in graph.outputs}
