# SPDX-License-Identifier: Apache-2.0
"""Builds the float graph while the nodes of the source model are read in order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgekern.errors import CompileError, ShapeError, UnsupportedOpError
from edgekern.graph.graph import Graph, Node, Port
from edgekern.importers._layout import Value, regroup
from edgekern.ops._op import Op
from edgekern.ops.reshape import Reshape
from edgekern.ops.transpose import Transpose
from edgekern.quant import TINY
from edgekern.types import Array, Quant, TensorType

__all__ = ["Builder", "bounded"]

_MOST_ELEMENTS = 1 << 26  # of one frame's tensor: 64 channels of a million pixels


def bounded(shape: Sequence[int], what: str) -> tuple[int, ...]:
    """The shape, of a size that a network can have.

    Raises:
        ShapeError: It has too many elements, which nothing may try to hold.
    """
    if math.prod(max(n, 1) for n in shape) > _MOST_ELEMENTS:
        raise ShapeError(f"{what} has shape {list(shape)}", hint=f"{_MOST_ELEMENTS} elements at most.")
    return tuple(shape)


@dataclass
class Builder:
    """Nodes, tensors and constants made so far.

    Attributes:
        nodes: In execution order.
        types: Of every tensor.
        constants: By name.
        weight_scales: Of constants that the source model holds as integers, by name.
        place: Name of the source tensor being made; ours are called after it.
        node: Name of the source node being read.
        kind: Its operator, for reports.
        removed: Operator of each source node that left none of ours, and why.
    """

    nodes: list[Node] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    weight_scales: dict[str, Array] = field(default_factory=dict)
    place: str = ""
    node: str = ""
    kind: str = ""
    removed: list[tuple[str, str]] = field(default_factory=list)
    _made: int = 0
    _moves: dict[object, str] = field(default_factory=dict)

    # ---- what comes of a source node -------------------------------------------------------------

    def begin(self, place: str, node: str, kind: str) -> None:
        """What is made from here on comes of this source node; no kind: of none, it joins the others."""
        self.place, self.node, self.kind = place, node, kind
        self._made = len(self.nodes)

    def end(self) -> None:
        """The source node is read."""
        if len(self.nodes) == self._made:
            what = "the quantisation of a tensor" if "quantize" in self.kind.lower() else "nothing to compute"
            self.removed.append((self.kind, what))

    def graph(self, inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> Graph:
        """What was made, between these ports."""
        nodes, removed = tuple(self.nodes), tuple(self.removed)
        return Graph(inputs, outputs, nodes, dict(self.types), dict(self.constants), dict(self.weight_scales), removed)

    def _made_of(self) -> tuple[tuple[str, str], ...]:
        return ((self.node, self.kind),) if self.kind else ()

    # ---- making ---------------------------------------------------------------------------------

    def emit(self, op: Op, inputs: Sequence[str], constants: Sequence[Array] = ()) -> str:
        """Adds a node; returns the name of the tensor it makes. A move made before is not made again."""
        move = (op, *inputs) if isinstance(op, (Reshape, Transpose)) else None
        if move in self._moves:
            return self._moves[move]
        output = self._fresh(self.place)
        names = []
        for i, constant in enumerate(constants):
            name = f"{output}/c{i}"
            self.constants[name] = np.ascontiguousarray(constant)
            names.append(name)
        made = op.infer([self.types[name] for name in inputs], constants)
        bounded(made.shape, f"the result of {type(op).__name__}")
        self.types[output] = made
        self.nodes.append(Node(op, tuple(inputs), tuple(names), output, self.node, self._made_of()))
        if move is not None:
            self._moves[move] = output
        return output

    def keep_integers(self, scales: Array | None) -> None:
        """The weights of the node made last are whole multiples of these scales, one per output channel.

        A scale of 0 makes a channel of zeros: any other scale says the same.
        """
        if scales is None:
            return
        if not (np.isfinite(scales).all() and (scales >= 0).all()):
            raise CompileError("a scale of its weights is negative or not finite")
        self.weight_scales[self.nodes[-1].constants[0]] = np.where(scales < np.float32(TINY), np.float32(1), scales)

    def requantised(self, tensor: str, given: Quant) -> str:
        """The tensor in a quantisation that the source gives; a copy of it where it has another one already."""
        known = self.types[tensor]
        if known.quant not in (None, given):
            copy = self._fresh(self.place)
            self.nodes.append(Node(Reshape(known.shape[1:]), (tensor,), (), copy, self.node, self._made_of()))
            tensor = copy
        self.types[tensor] = replace(known, quant=given)
        return tensor

    def _fresh(self, stem: str) -> str:
        if stem not in self.types:
            return stem
        number = 1
        while f"{stem}.{number}" in self.types:
            number += 1
        return f"{stem}.{number}"

    # ---- looking --------------------------------------------------------------------------------

    def ours(self, value: Value) -> tuple[int, ...]:
        """Shape of the tensor a value looks at."""
        return self.types[value.tensor].shape

    def shape(self, value: Value) -> tuple[int, ...]:
        """Shape in the source model, the batch as 1."""
        return value.shape(self.ours(value))

    def value(self, tensor: str, order: Sequence[int], rank: int) -> Value:
        """A view of a tensor whose dimension k is source dimension order[k], of `rank` source dimensions.

        Source dimensions not named have size 1.
        """
        shape = self.types[tensor].shape
        groups: list[tuple[int, ...]] = [()] * rank
        for k, i in enumerate(order):
            if i >= 0 and (shape[k] > 1 or k == 0):
                groups[i] = (k,)
        return Value(tensor, tuple(groups))

    # ---- moving ---------------------------------------------------------------------------------

    def materialise(self, value: Value, order: Sequence[int], shape: Sequence[int]) -> str:
        """A tensor of the given shape that runs over the source dimensions in the given order.

        Args:
            value: What to bring there.
            order: Source dimensions; those left out have size 1. The batch comes first wherever it stands here.
            shape: Ours, batch first; its product is that of the source shape.
        """
        wanted = tuple(d for i in order for d in value.groups[i] if d != 0)
        tensor = value.tensor
        if wanted != tuple(sorted(wanted)):
            ours = self.ours(value)
            unit = tuple(d for d in range(1, len(ours)) if d not in wanted)
            tensor = self.emit(Transpose((0, *unit, *wanted)), [tensor])
        return self.reshaped(tensor, shape)

    def reshaped(self, tensor: str, shape: Sequence[int]) -> str:
        """The same tensor in another shape of ours; itself if it has that shape."""
        if self.types[tensor].shape == tuple(shape):
            return tensor
        return self.emit(Reshape(tuple(shape[1:])), [tensor])

    def reshape(self, value: Value, target: Sequence[int]) -> Value:
        """The same elements as the source shape `target`: seldom moves anything."""
        ours = self.ours(value)
        found = regroup(value, ours, target)
        if found is not None:
            groups, shape = found
            return Value(self.reshaped(value.tensor, shape), groups)
        source = self.shape(value)
        plain = self.materialise(value, range(len(source)), (1, *(n for n in source if n > 1)))
        if len([n for n in target if n > 1]) > 5:
            raise UnsupportedOpError(f"a tensor of shape {list(target)}", hint="Six dimensions at most.")
        body = [i for i, n in enumerate(target) if n > 1]
        tensor = self.reshaped(plain, (1, *(target[i] for i in body)))
        batch = next((i for i, n in enumerate(target) if n == 1), None) if value.batch is not None else None
        return self.plain(tensor, body, len(target), batch)

    def image(self, value: Value, what: str) -> str:
        """The [1, H, W, C] tensor of a source value [N, C, H, W] (or [N, C, L], read as one row)."""
        source = self.shape(value)
        if len(source) not in (3, 4):
            raise UnsupportedOpError(
                f"{what} over {len(source) - 2} dimensions", hint="Images [N, C, H, W] and rows [N, C, L] only."
            )
        if value.batch not in (0, None) or source[0] != 1:
            raise UnsupportedOpError(f"{what} over a dimension that is the batch", hint="Keep the batch first.")
        n, c, *space = range(len(source))
        height = 1 if len(space) == 1 else source[2]
        return self.materialise(value, (n, *space, c), (1, height, source[-1], source[1]))

    def image_value(self, tensor: str, rank: int) -> Value:
        """The source value [N, C, H, W] (rank 4) or [N, C, L] (rank 3) of a [1, H, W, C] tensor."""
        return self.value(tensor, (0, 2, 3, 1) if rank == 4 else (0, -1, 2, 1), rank)

    def align(self, values: Sequence[Value]) -> list[Value]:
        """The same values in one layout; their source shapes may differ in sizes."""
        first = values[0]
        if all(v.groups == first.groups and len(self.ours(v)) == len(self.ours(first)) for v in values):
            return list(values)
        body = [i for i in first.natural_order() if i != first.batch]
        done = []
        for value in values:
            source = self.shape(value)
            tensor = self.materialise(value, body, (1, *(source[i] for i in body)))
            done.append(self.plain(tensor, body, len(source), first.batch))
        return done

    def plain(self, tensor: str, body: Sequence[int], rank: int, batch: int | None) -> Value:
        """A view of a tensor whose dimensions after the batch are the source dimensions `body` (-1: none, size 1)."""
        groups: list[tuple[int, ...]] = [()] * rank
        for k, i in enumerate(body, start=1):
            if i >= 0:
                groups[i] = (k,) if self.types[tensor].shape[k] > 1 else ()
        if batch is not None:
            groups[batch] = (0,)
        return Value(tensor, tuple(groups))

    def spread(self, value: Value, constant: Array) -> Array:
        """A constant of the source model in the layout of our tensor, of size 1 where the constant has size 1.

        Args:
            value: The activation it meets.
            constant: Broadcasts against the source shape and does not enlarge it.
        """
        ours = list(self.ours(value))
        aligned = constant.reshape((1,) * (len(value.groups) - constant.ndim) + constant.shape)
        for i, group in enumerate(value.groups):
            if aligned.shape[i] == 1:
                for d in group:
                    ours[d] = 1
        full = np.broadcast_to(aligned, value.shape(tuple(ours)))
        sequence = value.sequence()
        full = full.reshape([ours[d] for d in sequence])
        placed = np.transpose(full, [int(i) for i in np.argsort(sequence)])
        return np.ascontiguousarray(placed.reshape(ours))
