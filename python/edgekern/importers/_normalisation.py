# SPDX-License-Identifier: Apache-2.0
"""Layer normalisation: ONNX's operator, and the chain of nodes that exporters write where the operator set has none.

The chain is one operator or nothing: its mean and variance have no use in int8. It is found before nodes are read,
and a node of our own stands in its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekern.errors import EdgekernError, ShapeError
from edgekern.importers._layout import Value
from edgekern.importers._proto import attributes, constant
from edgekern.importers._source import Source, handles
from edgekern.ops.layer_norm import LayerNorm
from edgekern.types import Array

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

__all__ = ["OWN_DOMAIN", "fused"]

OWN_DOMAIN = "edgekern"


# ---- the operator -------------------------------------------------------------------------------


@handles("LayerNormalization")
def _layer_normalization(s: Source) -> Value:
    value = s.value(0)
    source = s.shape(value)
    first = s.axis(int(s.get("axis", -1)), len(source))
    s.refuse(int(s.get("stash_type", 1)) != 1, f"stash_type {s.get('stash_type')}", "float32 (1) only.")
    gamma = s.floats(1, "scale")
    beta = s.floats(2, "bias") if s.has(2) else np.zeros((), np.float32)
    axes = list(range(first, len(source)))
    return normalised(s, value, axes, float(s.get("epsilon", 1e-5)), gamma, beta)


@handles(f"{OWN_DOMAIN}.LayerNorm")
def _chain(s: Source) -> Value:
    value = s.value(0)
    axes = sorted({s.axis(int(a), len(value.groups)) for a in s.attributes["axes"]})
    one, none = np.ones((), np.float32), np.zeros((), np.float32)
    return normalised(s, value, axes, float(s.attributes["epsilon"]), one, none)


def normalised(s: Source, value: Value, axes: Sequence[int], epsilon: float, gamma: Array, beta: Array) -> Value:
    """LayerNorm over some source dimensions, in place where they are our last dimension.

    Args:
        s: The node.
        value: What is normalised.
        axes: Source dimensions, not the batch.
        epsilon: Added to the variance.
        gamma: Broadcasts against the extents of `axes`.
        beta: Likewise.
    """
    s.refuse(value.batch in axes, "a normalisation over the batch", "Keep the batch first.")
    s.refuse(not (math.isfinite(epsilon) and epsilon >= 0), f"epsilon {epsilon}")
    source, ours = s.shape(value), s.build.ours(value)
    extents = [source[i] for i in axes]
    for held in (gamma, beta):
        fitting = [n in (1, extent) for n, extent in zip(held.shape[::-1], extents[::-1], strict=False)]
        if held.ndim > len(extents) or not all(fitting):
            raise ShapeError(f"a scale or bias of shape {list(held.shape)} for {extents}")
    natural = value.natural_order()
    reduced = sorted(axes, key=natural.index)
    turn = [list(axes).index(i) for i in reduced]
    constants = [np.broadcast_to(held, extents).transpose(turn).reshape(-1) for held in (gamma, beta)]
    if tuple(d for i in reduced for d in value.groups[i]) == (len(ours) - 1,):
        return Value(s.build.emit(LayerNorm(epsilon), [value.tensor], constants), value.groups)
    kept = [i for i in natural if i not in axes and i != value.batch]
    order = [*kept, *reduced]
    if len(reduced) == 1:
        x = s.build.materialise(value, order, (1, *(source[i] for i in order)))
        return s.build.plain(s.build.emit(LayerNorm(epsilon), [x], constants), order, len(source), value.batch)
    shape = (1, math.prod(source[i] for i in kept), math.prod(extents))
    x = s.build.materialise(value, order, shape)
    y = s.build.emit(LayerNorm(epsilon), [x], constants)
    flat = Value(y, tuple((d,) for d in (1, 2) if shape[d] > 1))
    split = s.build.reshape(flat, [source[i] for i in order])
    groups = [split.groups[order.index(i)] if i in order else (0,) for i in range(len(source))]
    return Value(split.tensor, tuple(groups))


# ---- the chain ----------------------------------------------------------------------------------


def fused(graph: GraphProto) -> list[NodeProto]:
    """The nodes of a model, every (x - mean(x)) / sqrt(variance(x) + epsilon) among them as one."""
    from onnx import helper

    search = _Search(graph)
    dropped: set[int] = set()
    replaced: dict[int, NodeProto] = {}
    for number, node in enumerate(graph.node):
        try:
            found = search.chain(node)
        except (EdgekernError, LookupError, TypeError, ValueError):  # a broken node is told where it is read
            found = None
        if found is not None:
            x, axes, epsilon = found
            replaced[number] = helper.make_node(
                "LayerNorm", [x], node.output, node.name, domain=OWN_DOMAIN, axes=axes, epsilon=epsilon
            )
            dropped |= search.inside(number, x)
    return [replaced.get(i, node) for i, node in enumerate(graph.node) if i not in dropped or i in replaced]


@dataclass
class _Search:
    """Follows the nodes of a model backwards."""

    graph: GraphProto
    makers: dict[str, int] = field(default_factory=dict)
    readers: dict[str, list[int]] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.constants = {t.name: t for t in self.graph.initializer}
        for number, node in enumerate(self.graph.node):
            self.makers.update((o, number) for o in node.output if o)
            for name in node.input:
                self.readers.setdefault(name, []).append(number)

    def chain(self, node: NodeProto) -> tuple[str, list[int], float] | None:
        """(x, axes, epsilon) of a node that ends a normalisation."""
        if len(node.input) != 2:
            return None
        top, root = node.input
        if node.op_type == "Mul":  # with the reciprocal of the root, on either side
            return self._times(top, root) or self._times(root, top)
        return self._over_root(top, root) if node.op_type == "Div" else None

    def _times(self, centred: str, inverse: str) -> tuple[str, list[int], float] | None:
        """Centred values times 1 / root."""
        node = self._made(inverse)
        if node is None:
            return None
        if node.op_type == "Reciprocal":
            return self._over_root(centred, node.input[0])
        if node.op_type == "Div" and self._number(node.input[0]) == 1:
            return self._over_root(centred, node.input[1])
        if node.op_type == "Pow" and self._number(node.input[1]) == -0.5:
            return self._over_sum(centred, node.input[0])
        return None

    def _over_root(self, centred: str, root: str) -> tuple[str, list[int], float] | None:
        node = self._made(root)
        if node is None:
            return None
        if node.op_type == "Sqrt" or (node.op_type == "Pow" and self._number(node.input[1]) == 0.5):
            return self._over_sum(centred, node.input[0])
        return None

    def _over_sum(self, centred: str, total: str) -> tuple[str, list[int], float] | None:
        """Centred values over the root of variance + epsilon."""
        of = self._centre(centred)
        node = self._made(total)
        if of is None or node is None or node.op_type != "Add":
            return None
        for variance, other in (node.input, reversed(node.input)):
            epsilon = self._number(other)
            mean = self._mean(variance)
            square = None if mean is None else self._made(mean[0])
            if epsilon is None or mean is None or square is None or mean[1] != of[1]:
                continue
            twice = square.op_type == "Mul" and square.input[0] == square.input[1]
            if (twice or (square.op_type == "Pow" and self._number(square.input[1]) == 2)) and self._centre(
                square.input[0]
            ) == of:
                return of[0], of[1], epsilon
        return None

    def _centre(self, name: str) -> tuple[str, list[int]] | None:
        """(x, axes) of x - mean(x)."""
        node = self._made(name)
        if node is None or node.op_type != "Sub":
            return None
        mean = self._mean(node.input[1])
        return mean if mean is not None and mean[0] == node.input[0] else None

    def _mean(self, name: str) -> tuple[str, list[int]] | None:
        """(x, axes) of a mean that keeps its dimensions."""
        node = self._made(name)
        if node is None or node.op_type != "ReduceMean":
            return None
        given = attributes(node)
        axes = given.get("axes")
        if axes is None and len(node.input) > 1:
            axes = self._array(node.input[1])
        if axes is None or not given.get("keepdims", 1):
            return None
        return node.input[0], sorted(int(a) for a in np.asarray(axes).reshape(-1))

    def _made(self, name: str) -> NodeProto | None:
        number = self.makers.get(name)
        node = None if number is None else self.graph.node[number]
        return node if node is not None and node.domain in ("", "ai.onnx") else None

    def _number(self, name: str) -> float | None:
        """A constant of one element."""
        array = self._array(name)
        return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None

    def _array(self, name: str) -> Array | None:
        if name in self.constants:
            return constant(self.constants[name], f"initializer {name!r}")
        node = self._made(name)
        if node is None or node.op_type != "Constant":
            return None
        for attribute in node.attribute:
            if attribute.name == "value":
                return constant(attribute.t, f"constant {name!r}")
        values = list(attributes(node).values())
        return np.asarray(values[0]) if values and isinstance(values[0], (int, float, list, tuple)) else None

    def inside(self, last: int, x: str) -> set[int]:
        """The nodes from x on that only this one needs."""
        outside = {o.name for o in self.graph.output}
        found = {last}
        waiting = list(self.graph.node[last].input)
        for number in range(last - 1, -1, -1):
            node = self.graph.node[number]
            if x in node.output or not any(o in waiting for o in node.output):
                continue
            if all(o not in outside and set(self.readers.get(o, ())) <= found for o in node.output):
                found.add(number)
                waiting.extend(node.input)
        return found - {last}
