# SPDX-License-Identifier: Apache-2.0
"""What reads an operator of a TFLite file is given, and where it enters itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgekern.errors import UnsupportedOpError
from edgekern.importers._builder import Builder
from edgekern.types import Array, Quant, TensorType

__all__ = ["HANDLERS", "Call", "Constant", "handles"]


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant of the file.

    Attributes:
        name: Of its tensor.
        values: Real values, float32; integers (shapes, axes, biases) as they are.
        scale: Per channel along `axis`, or of the whole tensor; None where the file holds no 8-bit integers.
        axis: Of the scales.
    """

    name: str
    values: Array
    scale: Array | None = None
    axis: int = 0


@dataclass(slots=True)
class Call:
    """One operator of the file while it is read.

    Attributes:
        name: Of the operator, such as CONV_2D.
        options: Its table of options.
        inputs: Tensor names of activations, constants, or None where an input is left out.
        shape: Of the result as the file says, batch first.
        outputs: Names of the results.
        batch: First dimension of the first activation, as the file says.
        build: Where nodes go.
        quant: Of the result; None for float32.
        origin: -128 if the file holds the result as uint8, else 0.
    """

    name: str
    options: Any
    inputs: list[str | Constant | None]
    shape: tuple[int, ...]
    outputs: list[str]
    batch: int
    build: Builder
    quant: Quant | None
    origin: int

    def tensor(self, k: int) -> str:
        """The activation at input k."""
        found = self.inputs[k] if k < len(self.inputs) else None
        if not isinstance(found, str):
            what = "constant" if found else "absent"
            raise UnsupportedOpError(f"input {k} is {what}", hint="An activation is needed.")
        return found

    def constant(self, k: int) -> Constant | None:
        """The constant at input k; None if it is left out."""
        found = self.inputs[k] if k < len(self.inputs) else None
        if isinstance(found, str):
            raise UnsupportedOpError(f"input {k} ({found!r}) depends on the model's input", hint="It must be constant.")
        return found

    def type(self, k: int) -> TensorType:
        """Type of the activation at input k."""
        return self.build.types[self.tensor(k)]


Handler = Callable[[Call], str | list[str]]
HANDLERS: dict[str, Handler] = {}


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Decorator: enters the handler of operators."""

    def enter(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return enter
