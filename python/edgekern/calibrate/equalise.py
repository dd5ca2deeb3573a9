# SPDX-License-Identifier: Apache-2.0
"""Cross-layer equalisation: channels of one tensor come to like ranges, and the network computes the same.

An int8 tensor has one scale, so a channel far smaller than the largest one keeps few steps. Where nothing but ReLU,
additions and pools lie between the layers that make a tensor and those that read it, a channel of the makers' weights
may be multiplied by a factor and the readers' divided by it (Nagel et al. 2019, arXiv:1906.04721). Factors are powers
of two: every float result stays as it was, bit for bit.

The factors follow the ranges seen on the samples, not the weights alone: weights have a scale for each output channel
already. How far they go is settled by the noise that the readers would get from both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edgekern.calibrate.observer import Histogram
from edgekern.calibrate.ranges import observe
from edgekern.graph.graph import Graph, Node
from edgekern.ops._op import Op
from edgekern.ops.add import Add
from edgekern.ops.affine import Affine
from edgekern.ops.average_pool import AveragePool2D
from edgekern.ops.conv2d import Conv2D
from edgekern.ops.depthwise import DepthwiseConv2D
from edgekern.ops.max_pool import MaxPool2D
from edgekern.ops.mean import Mean
from edgekern.ops.table import Table
from edgekern.types import Array

__all__ = ["equalise", "observe_again"]

_WEIGHTED = (Affine, Conv2D, DepthwiseConv2D)
_JOINING = (Add, AveragePool2D, MaxPool2D, Mean, Table)  # where homogeneous: f(s * x) = s * f(x) for s > 0
_ENDS = (0.0, math.inf)  # of a clip that a factor does not move
_RANGES = (0.25, 0.5, 0.75, 1.0)  # exponents tried of a channel's range below the largest one, in its factor
_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # and of its readers' weights below the largest ones
_MOST = 10  # powers of two that count of a range or weight below the largest
_LEFT = 0.2  # of the noise at most, or a tensor stays as it is
_SPREAD = 1 / 12  # mean square of a channel's values in squares of its range: even ones


@dataclass
class _Group:
    """Tensors whose channels share their factors, who makes them and who reads them."""

    tensors: list[str] = field(default_factory=list)
    makers: list[Node] = field(default_factory=list)
    readers: list[Node] = field(default_factory=list)
    free: bool = True


def equalise(graph: Graph, seen: Mapping[str, Histogram]) -> tuple[Graph, dict[str, Array]]:
    """The same function with channels of like ranges, and the factors of every tensor that changed.

    Tensors that the source quantises, ports, and what an operator other than those above reads stay as they are, and
    so does everything where the factors would not take away most of the noise.

    Args:
        graph: A float graph after all passes.
        seen: Every tensor over the samples.
    """
    peaks = {name: histogram.peaks for name, histogram in seen.items()}
    constants = dict(graph.constants)
    nodes = {node.output: node for node in graph.nodes}
    changed: dict[str, Array] = {}
    for group in _groups(graph):
        factors = _factors(group, nodes, constants, peaks)
        if factors is None:
            continue
        for made in group.makers:
            nodes[made.output] = _scaled(nodes[made.output], constants, factors, None)
        for reader in group.readers:
            nodes[reader.output] = _scaled(nodes[reader.output], constants, None, factors)
        changed.update(dict.fromkeys(group.tensors, factors))
    if not changed:
        return graph, changed
    return graph.with_nodes(tuple(nodes.values()), constants=constants), changed


def observe_again(
    graph: Graph, factors: Mapping[str, Array], seen: Mapping[str, Histogram], held: Mapping[str, Array]
) -> dict[str, Histogram]:
    """Histograms with those of the scaled tensors made anew; their ends are those of all samples.

    Args:
        graph: The equalised one.
        factors: What `equalise` gave with it.
        seen: Of all samples, before.
        held: Some of the samples as one batch.
    """
    again = observe(graph, [held])
    for name, factor in factors.items():
        again[name].low = float((seen[name].lows * factor).min())
        again[name].high = float((seen[name].highs * factor).max())
    return {name: again[name] if name in factors else histogram for name, histogram in seen.items()}


# ---- which tensors go together --------------------------------------------------------------------


def _groups(graph: Graph) -> Iterator[_Group]:
    """Sets of tensors that can be scaled, channel by channel, without changing what leaves the graph."""
    leader = {name: name for name in graph.types}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for node in graph.nodes:
        if _joins(node.op):
            for name in node.inputs:
                leader[find(name)] = find(node.output)
    found: dict[str, _Group] = {}
    for name, kind in graph.types.items():
        group = found.setdefault(find(name), _Group())
        group.tensors.append(name)
        group.free &= kind.quant is None
    for port in (*graph.inputs, *graph.outputs):
        found[find(port.tensor)].free = False
    for node in graph.nodes:
        own = node.constants and node.constants[0] not in graph.weight_scales
        if isinstance(node.op, _WEIGHTED) and own:
            found[find(node.inputs[0])].readers.append(node)
            made = found[find(node.output)]
            made.makers.append(node)
            made.free &= _homogeneous(node.op)
        elif not _joins(node.op):
            for name in (*node.inputs, node.output):
                found[find(name)].free = False
    return (group for group in found.values() if group.free and group.makers and group.readers)


def _homogeneous(op: Op) -> bool:
    return all(math.isinf(end) or end == 0 for end in getattr(op, "clip", ()))


def _joins(op: Op) -> bool:
    """Whether every channel of the result scales as its inputs' do."""
    return isinstance(op, _JOINING) and _homogeneous(op) and (not isinstance(op, Table) or op.function == "relu")


# ---- how far ---------------------------------------------------------------------------------------


def _factors(
    group: _Group, nodes: Mapping[str, Node], constants: Mapping[str, Array], peaks: Mapping[str, Array]
) -> Array | None:
    """Powers of two, one a channel, that lose least of those tried; None where nothing is gained."""
    tops = np.stack([peaks[name] for name in group.tensors]).astype(np.float64)
    most = tops.max(axis=0)
    if not most.max() > 0:
        return None
    readers = [_columns(nodes[node.output], constants) for node in group.readers]
    heights = np.max([np.abs(weights).max(axis=(0, 1)) for weights, _ in readers], axis=0)
    above, below = _powers(most), _powers(heights)
    above[most == 0] = 0  # a channel that was never seen to move may move any far: it stays
    tried = [np.exp2(np.floor(above * a - below * b)) for a in _RANGES for b in _WEIGHTS]
    losses = [_noise(readers, tops, factors) for factors in tried]
    best = int(np.argmin(losses))
    return tried[best] if losses[best] < _LEFT * _noise(readers, tops, np.ones_like(most)) else None


def _powers(values: Array) -> Array:
    """How many powers of two each lies below the greatest."""
    top = max(float(values.max()), 1e-30)
    return np.log2(top / np.maximum(values, top * 2.0**-_MOST))


def _columns(node: Node, constants: Mapping[str, Array]) -> tuple[Array, bool]:
    """A reader's weights as [N, K, C], C its input's channels, and whether one scale serves several channels."""
    weights = constants[node.constants[0]].astype(np.float64)
    if not isinstance(node.op, Conv2D):
        return weights.reshape(1, -1, weights.shape[-1]), False
    groups = node.op.groups
    n, per_group = len(weights) // groups, weights.shape[3]
    spread = weights.reshape(groups, n, -1, per_group).transpose(1, 2, 0, 3)
    return spread.reshape(n, -1, groups * per_group), True


def _noise(readers: list[tuple[Array, bool]], tops: Array, factors: Array) -> float:
    """Noise that rounding tensors and weights puts on the readers' sums, in parts of their own energy."""
    steps = float(((tops * factors).max(axis=1) ** 2).sum()) / (12 * 255**2)
    energy = (tops.max(axis=0) ** 2) * _SPREAD
    total = 0.0
    for weights, shared in readers:
        scaled = weights / factors
        columns = (scaled**2).sum(axis=(0, 1))
        noise = steps * float(columns.sum())
        if shared:
            widest = (np.abs(scaled).max(axis=(1, 2)) ** 2).sum() / (12 * 127**2)
            noise += float(widest * weights.shape[1] * (energy * factors**2).sum())
        total += noise / max(float(((weights**2).sum(axis=(0, 1)) * energy).sum()), 1e-300)
    return total


# ---- the change -----------------------------------------------------------------------------------


def _scaled(node: Node, constants: dict[str, Array], made: Array | None, read: Array | None) -> Node:
    """The node with its result multiplied by `made`, or its input taken as multiplied by `read`, channel by channel."""
    weights, bias = (constants[name] for name in node.constants)
    if made is not None:
        factors = made.astype(np.float32)
        weights = weights * (factors.reshape(-1, 1, 1, 1) if isinstance(node.op, Conv2D) else factors)
        bias = bias * factors
    if read is not None:
        factors = np.float32(1) / read.astype(np.float32)
        if isinstance(node.op, Conv2D):
            by_group = factors.reshape(node.op.groups, 1, 1, 1, -1)
            weights = (weights.reshape(node.op.groups, -1, *weights.shape[1:]) * by_group).reshape(weights.shape)
        else:
            weights = weights * factors
    names = (f"{node.output}/weights equalised", f"{node.output}/bias equalised")
    constants.update(zip(names, (weights, bias), strict=True))
    return replace(node, constants=names)
