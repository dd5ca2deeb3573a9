# SPDX-License-Identifier: Apache-2.0
"""A node of the source model as its handler sees it, and the table of handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekern.errors import CompileError, ShapeError, UnsupportedOpError
from edgekern.importers._builder import Builder
from edgekern.importers._layout import Value
from edgekern.types import Array

__all__ = ["HANDLERS", "Handler", "Scaled", "Source", "handles"]


class Scaled(np.ndarray[Any, np.dtype[np.float32]]):
    """Real values of a constant that the source model holds as integers.

    Attributes:
        scale: One, or one for each place along `axis`.
        axis: Of the scales.
    """

    scale: Array
    axis: int


@dataclass(frozen=True)
class Source:
    """One node of the source model.

    Attributes:
        kind: Operator type.
        opset: Version of the default operator set.
        attributes: By name, as Python values.
        inputs: What stands at each input: an activation, a constant, or None where the model leaves it out.
        batch: Batch size the model was exported with; 1 if it is dynamic.
        build: Where the graph grows.
        outputs: Names of the results; "" where the model leaves one out.
    """

    kind: str
    opset: int
    attributes: Mapping[str, Any]
    inputs: Sequence[Value | Array | None]
    batch: int
    build: Builder
    outputs: Sequence[str]

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        return self.attributes.get(name, default)

    def has(self, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int = 0) -> Value:
        """The activation at an input."""
        if not self.has(index):
            raise CompileError(f"input {index} is missing")
        found = self.inputs[index]
        if isinstance(found, Value):
            return found
        raise UnsupportedOpError(f"input {index} is a constant where an activation is expected")

    def constant(self, index: int, what: str) -> Array:
        """The constant at an input."""
        if not self.has(index):
            raise CompileError(f"its {what} (input {index}) is missing")
        found = self.inputs[index]
        if isinstance(found, Value):
            raise UnsupportedOpError(
                f"its {what} is computed from the model's input",
                hint="Make it a constant of the model (an initializer).",
            )
        return np.asarray(found)

    def floats(self, index: int, what: str) -> Array:
        """The constant at an input as finite float32."""
        found = self.constant(index, what)
        if found.dtype.kind != "f":
            raise UnsupportedOpError(f"its {what} has type {found.dtype}, not float32")
        if not np.isfinite(found).all():
            raise CompileError(f"its {what} has values that are not finite")
        return found.astype(np.float32)

    def scales(self, index: int, axis: int) -> Array | None:
        """Scale of each output channel along `axis` of a constant that the model holds as integers; else None."""
        found = self.inputs[index]
        if not isinstance(found, Scaled) or (found.scale.size > 1 and found.axis != axis):
            return None
        return np.ascontiguousarray(np.broadcast_to(found.scale.ravel(), found.shape[axis]), np.float32)

    def ints(self, index: int, name: str, default: Sequence[int] | None = None) -> list[int] | None:
        """Integers that are an attribute in old operator sets and an input in new ones."""
        if name in self.attributes:
            return [int(v) for v in self.attributes[name]]
        if self.has(index):
            return [int(v) for v in np.atleast_1d(self.constant(index, name))]
        return None if default is None else list(default)

    def shape(self, value: Value) -> tuple[int, ...]:
        """Source shape of an activation, the batch as 1."""
        return self.build.shape(value)

    def axis(self, axis: int, rank: int) -> int:
        """A dimension number counted from the front."""
        if not -rank <= axis < rank:
            raise ShapeError(f"axis {axis} of a tensor of {rank} dimensions")
        return axis % rank

    def refuse(self, condition: bool, what: str, hint: str = "") -> None:
        """Raises UnsupportedOpError if the condition holds."""
        if condition:
            raise UnsupportedOpError(what, hint=hint)


Handler = Callable[[Source], "Value | Array | list[Value]"]
HANDLERS: dict[str, Handler] = {}


def handles(*kinds: str) -> Callable[[Handler], Handler]:
    """Decorator: enters a function as the handler of operator types."""

    def enter(function: Handler) -> Handler:
        for kind in kinds:
            HANDLERS[kind] = function
        return function

    return enter
