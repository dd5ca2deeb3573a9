# SPDX-License-Identifier: Apache-2.0
"""The graph: nodes in execution order, tensors by name, constants by name. Plain immutable data.

A graph is *float* (as imported: float32 tensors, float constants) or *integer* (as run: int8 tensors with
quantisation, a few of them int16; integer constants). The same operator classes serve both. A quantised source model is
imported as a float graph too, whose tensors and weights carry the quantisation that the source gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edgekern.types import Array, DType, TensorType

if TYPE_CHECKING:
    from edgekern.ops._op import Op

__all__ = ["Graph", "Node", "Port"]


@dataclass(frozen=True, slots=True)
class Node:
    """One operator applied to named tensors; it makes one tensor.

    Attributes:
        op: The operator with its attributes.
        inputs: Names of activation tensors.
        constants: Names of constants, in the operator's order.
        output: Name of the tensor it makes.
        name: Name of the node in the source model, for reports.
        made_of: Name and operator of each source node it stands for, for reports.
    """

    op: Op
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    output: str
    name: str = ""
    made_of: tuple[tuple[str, str], ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output as the caller sees it.

    Attributes:
        name: Name in the source model.
        tensor: Tensor inside the graph.
        dtype: Of the caller's tensor; int8 and int16 tensors inside may be float32 outside.
        perm: Dimension i outside is dimension perm[i] inside (NCHW outside: (0, 3, 1, 2)).
    """

    name: str
    tensor: str
    dtype: DType = DType.FLOAT32
    perm: tuple[int, ...] = ()

    def outside(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape outside for a shape inside."""
        return tuple(shape[i] for i in self.perm)


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in execution order over named tensors.

    Attributes:
        inputs: Ports fed by the caller.
        outputs: Ports read by the caller.
        nodes: In execution order; each tensor is made once.
        types: Type of every tensor, inputs included.
        constants: Value of every constant.
        weight_scales: Scales [N] by the name of a constant that the source model holds as integers, zero points taken
            off. Only in float graphs.
        removed: Operator of each source node of which nothing is left, and why, for reports.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    types: Mapping[str, TensorType]
    constants: Mapping[str, Array] = field(default_factory=dict)
    weight_scales: Mapping[str, Array] = field(default_factory=dict)
    removed: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    @property
    def quantised(self) -> bool:
        """Of a float graph: whether the source model quantises some tensor of it."""
        return any(kind.quant is not None for kind in self.types.values())

    def consumers(self) -> dict[str, list[Node]]:
        """Nodes that read each tensor; graph outputs are not counted."""
        readers: dict[str, list[Node]] = {name: [] for name in self.types}
        for node in self.nodes:
            for name in node.inputs:
                readers[name].append(node)
        return readers

    def producers(self) -> dict[str, Node]:
        """The node that makes each tensor; inputs have none."""
        return {node.output: node for node in self.nodes}

    def with_nodes(
        self,
        nodes: tuple[Node, ...],
        types: Mapping[str, TensorType] | None = None,
        constants: Mapping[str, Array] | None = None,
    ) -> Graph:
        """Same ports with other nodes; types and constants nobody uses any more are dropped."""
        all_types = dict(self.types if types is None else types)
        all_constants = dict(self.constants if constants is None else constants)
        used = {p.tensor for p in (*self.inputs, *self.outputs)}
        used.update(name for node in nodes for name in (*node.inputs, node.output))
        held = {name for node in nodes for name in node.constants}
        return replace(
            self,
            nodes=nodes,
            types={k: v for k, v in all_types.items() if k in used},
            constants={k: v for k, v in all_constants.items() if k in held},
            weight_scales={k: v for k, v in self.weight_scales.items() if k in held},
        )
