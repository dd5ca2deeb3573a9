# SPDX-License-Identifier: Apache-2.0
"""A per-channel affine (batch norm, bias, scale) joins its neighbours where the result is the same function.

- affine after affine: one affine;
- affine after a layer norm: into its scale and bias;
- affine after a convolution, nothing between: into its weights and bias;
- affine before a convolution without padding, or a mere scale before any convolution: into its weights and bias.
  With padding an offset stays: the border of the convolution's input is 0, not the affine of 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekern.graph.graph import Graph, Node
from edgekern.ops._op import NO_CLIP
from edgekern.ops.affine import Affine
from edgekern.ops.conv2d import Conv2D
from edgekern.ops.depthwise import DepthwiseConv2D
from edgekern.ops.layer_norm import LayerNorm
from edgekern.passes._rewrite import made_of, only_reader, rebuild
from edgekern.types import Array

__all__ = ["run"]

Pair = tuple[Array, Array]  # float64 weights and bias


def run(graph: Graph) -> Graph:
    """Joins affines until none can join."""
    while True:
        joined = _join_one(graph)
        if joined is None:
            return graph
        graph = joined


def _join_one(graph: Graph) -> Graph | None:
    alone = only_reader(graph)
    for first in graph.nodes:
        second = alone.get(first.output)
        if second is None or getattr(first.op, "clip", None) != NO_CLIP or graph.types[first.output].quant is not None:
            continue
        pair = _joined(graph, first, second)
        if pair is None:
            continue
        keep = first if isinstance(second.op, Affine) else second
        op = replace(keep.op, clip=second.op.clip)  # type: ignore[attr-defined, type-var]
        names = (f"{second.output}/weights", f"{second.output}/bias")
        node = Node(op, first.inputs, names, second.output, keep.name, made_of(first, second))
        nodes = [node if n is second else n for n in graph.nodes if n is not first]
        weights, bias = (np.ascontiguousarray(a, np.float32) for a in pair)
        scales = dict(graph.weight_scales)
        held = first.constants[0]
        if held in scales and isinstance(second.op, Affine) and (weights == graph.constants[held]).all():
            scales[names[0]] = scales[held]  # only the bias changed
        return rebuild(replace(graph, weight_scales=scales), nodes, constants={names[0]: weights, names[1]: bias})
    return None


def _joined(graph: Graph, first: Node, second: Node) -> Pair | None:
    """Weights and bias of both as one, in float64; None if they do not join."""
    if not isinstance(first.op, (Affine, Conv2D, DepthwiseConv2D, LayerNorm)):
        return None
    if not isinstance(second.op, (Affine, Conv2D, DepthwiseConv2D)):
        return None
    w1, b1 = (graph.constants[name].astype(np.float64) for name in first.constants)
    w2, b2 = (graph.constants[name].astype(np.float64) for name in second.constants)
    if isinstance(second.op, Affine):
        per_output = w2.reshape(-1, 1, 1, 1) if isinstance(first.op, Conv2D) else w2
        return w1 * per_output, b1 * w2 + b2
    if not isinstance(first.op, Affine) or (any(second.op.pads) and (b1 != 0).any()):
        return None
    if isinstance(second.op, DepthwiseConv2D):
        return w2 * w1, b2 + (w2 * b1).sum(axis=(0, 1))
    groups, per_group = second.op.groups, w2.shape[3]
    outputs = np.arange(w2.shape[0]) // (w2.shape[0] // groups)  # group of each output channel
    factor, offset = w1.reshape(groups, per_group)[outputs], b1.reshape(groups, per_group)[outputs]
    bias = b2 + (w2 * offset[:, None, None, :]).sum(axis=(1, 2, 3))
    return w2 * factor[:, None, None, :], bias
