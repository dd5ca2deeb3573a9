# SPDX-License-Identifier: Apache-2.0
"""A clip or affine behind a convolution whose result is only moved: it comes before the moves, so that it can fuse.

A transposed convolution is a convolution, then moves; its batch norm and ReLU stand behind them in the source.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from edgekern.graph.graph import Graph, Node
from edgekern.ops._op import NO_CLIP
from edgekern.ops.affine import Affine
from edgekern.ops.conv2d import Conv2D
from edgekern.ops.depthwise import DepthwiseConv2D
from edgekern.ops.reshape import Reshape
from edgekern.ops.slice import Slice
from edgekern.ops.transpose import Transpose
from edgekern.passes._rewrite import free, only_reader, rebuild
from edgekern.passes.fuse_activation import clip_of
from edgekern.types import Array, TensorType

__all__ = ["run"]

_MOVES = (Reshape, Slice, Transpose)
_WEIGHTED = (Affine, Conv2D, DepthwiseConv2D)


def run(graph: Graph) -> Graph:
    """Clips and affines that alone read moves that alone read a convolution stand before the moves."""
    alone = set(only_reader(graph))
    made: dict[str, Node] = {}  # by result, in order
    types, constants = dict(graph.types), dict(graph.constants)
    for node in graph.nodes:
        moves = _moves_before(graph, node, made, alone)
        held = _before(node, moves, types, constants) if moves else None
        if held is None:
            made[node.output] = node
            continue
        for move in moves:
            del made[move.output]
        inner, root = f"{node.output}/unmoved", moves[0].inputs[0]
        names = tuple(f"{inner}/c{i}" for i in range(len(held)))
        constants.update(zip(names, held, strict=True))
        types[inner] = TensorType(types[root].shape)
        made[inner] = replace(node, inputs=(root,), constants=names, output=inner)
        made[moves[0].output] = replace(moves[0], inputs=(inner,))
        for move in moves[1:]:
            made[move.output] = move
        last = made.pop(moves[-1].output)
        made[node.output] = replace(last, output=node.output)
        alone.add(inner)
    return rebuild(graph, list(made.values()), types, constants)


def _moves_before(graph: Graph, node: Node, made: Mapping[str, Node], alone: Collection[str]) -> list[Node]:
    """The moves between a convolution (or what was put behind it) and a node that may stand before them, in order."""
    if clip_of(node.op) is None and not isinstance(node.op, Affine):
        return []
    moves: list[Node] = []
    name = node.inputs[0]
    while name in alone and name in made and (name not in graph.types or free(graph, name, node.output)):
        maker = made[name]
        if isinstance(maker.op, _MOVES):
            moves.insert(0, maker)
            name = maker.inputs[0]
            continue
        clips = isinstance(maker.op, _WEIGHTED) and maker.op.clip != NO_CLIP
        if isinstance(node.op, Affine):
            fuses = isinstance(maker.op, _WEIGHTED) and not clips
        else:
            fuses = isinstance(maker.op, _WEIGHTED) or clip_of(maker.op) is not None
        return moves if fuses else []
    return []


def _before(
    node: Node, moves: list[Node], types: Mapping[str, TensorType], constants: Mapping[str, Array]
) -> list[Array] | None:
    """The node's constants for the channels before the moves; None where one channel would need several values."""
    found = []
    for name in node.constants:
        full = np.broadcast_to(constants[name], types[moves[-1].output].shape)
        for move in reversed(moves):
            full = _unmoved(move, full, types[move.inputs[0]].shape)
        rows = full.reshape(-1, full.shape[-1])
        values = np.fmin.reduce(rows, axis=0)  # NaN: sliced off, whatever it is
        if not (np.isnan(rows) | (rows == values)).all():
            return None
        found.append(np.nan_to_num(values))
    return found


def _unmoved(move: Node, values: Array, shape: tuple[int, ...]) -> Array:
    """Values of a move's result where they stand in its input; NaN where the result has none."""
    op = move.op
    if isinstance(op, Transpose):
        return np.transpose(values, np.argsort(op.perm))
    if isinstance(op, Slice):
        whole = np.full(shape, np.nan, values.dtype)
        taken = slice(op.begin, op.begin + (op.size - 1) * op.step + 1, op.step)
        whole[(slice(None),) * op.axis + (taken,)] = values
        return whole
    return np.asarray(values.reshape(shape))
