# SPDX-License-Identifier: Apache-2.0
"""The form every operator has: typed attributes and the faces `infer`, `evaluate`, `quantise`, `reference`, `lower`.

`lift` turns `lower` round, and `example` draws instances: tests walk the registry and need no edit for a new operator.

One operator, one file, one class. The class serves the float graph and the integer graph: `clip` (real numbers)
holds a fused activation until `quantise` turns it into `clamp` (int8 values).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from edgekern.errors import QuantizationError, ShapeError
from edgekern.types import Array, Quant, TensorType, WeightScale

__all__ = [
    "NO_CLAMP",
    "NO_CLIP",
    "Example",
    "Op",
    "draw_clip",
    "draw_fitting",
    "pick",
    "quant_of",
    "registered",
    "registry",
]

NO_CLIP = (-math.inf, math.inf)
NO_CLAMP = (-128, 127)

_REGISTRY: dict[str, type[Op]] = {}
_T = TypeVar("_T", bound="type[Op]")
_V = TypeVar("_V")


class Op(ABC):
    """One operator with its attributes (subclasses are frozen dataclasses).

    Attributes:
        opcode: Name in `cpp/model/opcodes.def`.
        kernels: Families in `cpp/kernels` that run it; "wide" among them runs it on int16 tensors, in and out.
        rescales: Its kernels can give another quantisation than the one `infer` names.
    """

    opcode: ClassVar[str]
    kernels: ClassVar[tuple[str, ...]]
    rescales: ClassVar[bool] = False

    @abstractmethod
    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        """Type of the result.

        For int8 inputs `quant` is the quantisation the operator forces on its result (such as that of its
        input for max pooling), or None where calibration chooses.

        Raises:
            ShapeError: Inputs, constants and attributes do not fit together.
        """

    @abstractmethod
    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        """Float32 result for a batch, fast: for calibration and reports, never the specification."""

    @abstractmethod
    def quantise(
        self,
        inputs: Sequence[TensorType],
        output: TensorType,
        constants: Sequence[Array],
        weight_scale: WeightScale | None = None,
    ) -> tuple[Op, tuple[Array, ...]]:
        """Integer form: the operator with `clamp` set, and its integer constants.

        Args:
            inputs: int8 types with quantisation, or int16 ones where the operator is `takes_wide`.
            output: int8 (or float32) type with quantisation, or an int16 one likewise.
            constants: Float constants.
            weight_scale: Instead of max|w| / 127.
        """

    @abstractmethod
    def reference(
        self, inputs: Sequence[Array], constants: Sequence[Array], types: Sequence[TensorType], out: TensorType
    ) -> Array:
        """The specification on int8 and int16 arrays (any batch): slow and obvious."""

    @classmethod
    def takes_wide(cls) -> bool:
        """Whether its inputs and its result may be int16, each for itself."""
        return "wide" in cls.kernels

    def macs(self, output: TensorType, constants: Sequence[Array]) -> int:
        """Multiply-accumulates of one frame; convolutions have some."""
        return 0

    @abstractmethod
    def lower(self) -> tuple[int, ...]:
        """Params of the integer form, as `opcodes.def` orders them."""

    @classmethod
    @abstractmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        """The integer form from its params and the type of its result (where a file keeps shapes)."""

    @classmethod
    @abstractmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        """A random small float instance whose first input has this shape; None where the operator takes no such one.

        Over many draws every attribute takes every kind of value that a kernel could treat differently.
        """


@dataclass(frozen=True, slots=True)
class Example:
    """An operator to try out.

    Attributes:
        op: In its float form.
        others: Shapes of the inputs after the first.
        constants: Float constants.
    """

    op: Op
    others: tuple[tuple[int, ...], ...] = ()
    constants: tuple[Array, ...] = ()


def pick(draw: np.random.Generator, values: Sequence[_V]) -> _V:
    """One of the values."""
    return values[int(draw.integers(len(values)))]


def draw_clip(draw: np.random.Generator) -> tuple[float, float]:
    """Often none; else an activation such as a ReLU."""
    return pick(draw, (NO_CLIP, NO_CLIP, (0.0, math.inf), (-1.0, 1.5)))


def draw_fitting(make: Callable[[], Example], shape: tuple[int, ...]) -> Example | None:
    """The first of 20 examples that takes an input of this shape."""
    for _ in range(20):
        example = make()
        try:
            example.op.infer([TensorType(s) for s in (shape, *example.others)], example.constants)
        except ShapeError:
            continue
        return example
    return None


def quant_of(tensor: TensorType) -> Quant:
    """The quantisation of a tensor of an integer graph.

    Raises:
        QuantizationError: It has none.
    """
    if tensor.quant is None:
        raise QuantizationError(f"a {tensor.dtype.name.lower()} tensor {tensor.shape} has no quantisation")
    return tensor.quant


def registered(cls: _T) -> _T:
    """Class decorator: enters an operator into the registry by its opcode."""
    _REGISTRY[cls.opcode] = cls
    return cls


def registry() -> dict[str, type[Op]]:
    """Every operator by opcode."""
    return dict(_REGISTRY)
