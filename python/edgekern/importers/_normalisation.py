# SPDX-License-Identifier: Apache-2.0
"""Layer normalisation: ONNX's operator, and the chain of nodes that exporters write where the operator set has none.

A node of our own stands in the place of a chain (`_chain` finds them).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgekern.errors import EdgekernError, ShapeError
from edgekern.importers._chain import Link, chains
from edgekern.importers._layout import Value
from edgekern.importers._proto import attributes
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


def fused(graph: GraphProto, values: Mapping[str, object]) -> list[NodeProto]:
    """The nodes of a model, every chain that spells a normalisation among them as one, or as one of three.

    Args:
        graph: Of the model.
        values: Its initializers.
    """
    from onnx import helper

    makers = {o: node for node in graph.node if node.op_type == "Constant" for o in node.output}

    def value(name: str) -> Array | None:
        found = values.get(name)
        if isinstance(found, np.ndarray) or name not in makers:
            return found if isinstance(found, np.ndarray) else None
        try:
            given = next(iter(attributes(makers[name]).values()))
            return np.asarray(given) if isinstance(given, (float, int, list, tuple, np.ndarray)) else None
        except _BROKEN:
            return None

    found = chains([_link(node, value) for node in graph.node], value, {o.name for o in graph.output})
    dropped = frozenset().union(*(chain.inside for chain in found.values()))
    nodes: list[NodeProto] = []
    for number, node in enumerate(graph.node):
        chain = found.get(number)
        if chain is None:
            nodes.extend([] if number in dropped else [node])
            continue
        last, names = node.output[0], [f"{node.output[0]}/normalised", f"{node.output[0]}/scaled"]
        rest = [(kind, name) for kind, name in (("Mul", chain.scale), ("Add", chain.bias)) if name]
        made = [*names[: len(rest)], last]
        own = helper.make_node("LayerNorm", [chain.x], made[:1], node.name, domain=OWN_DOMAIN)
        own.attribute.extend(
            [helper.make_attribute("axes", chain.axes), helper.make_attribute("epsilon", chain.epsilon)]
        )
        nodes.append(own)
        for (kind, name), source, result in zip(rest, made, made[1:], strict=False):
            nodes.append(helper.make_node(kind, [source, name], [result], node.name))
    return nodes


#: What a broken node can raise here: it is told where the node is read.
_BROKEN = (EdgekernError, LookupError, RuntimeError, StopIteration, TypeError, ValueError)


def _link(node: NodeProto, value: Callable[[str], Array | None]) -> Link:
    if node.domain not in ("", "ai.onnx"):
        return Link("", node.input, node.output)
    axes: tuple[int, ...] = ()
    if node.op_type == "ReduceMean":
        try:
            given = attributes(node)
            found = given.get("axes", value(node.input[1]) if len(node.input) > 1 else None)
            if found is not None and given.get("keepdims", 1):
                axes = tuple(sorted(int(a) for a in np.asarray(found).reshape(-1)))
        except _BROKEN:
            pass
    return Link(node.op_type, node.input, node.output, axes)
