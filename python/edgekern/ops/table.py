# SPDX-License-Identifier: Apache-2.0
"""Any function of one variable, as a table of 256 bytes."""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

import numpy as np

from edgekern import quant
from edgekern.errors import ShapeError, UnsupportedOpError
from edgekern.ops._op import Example, Op, pick, quant_of, registered
from edgekern.ops.pointwise import FUNCTIONS, exact, fast
from edgekern.types import Array, TensorType, WeightScale

__all__ = ["Table"]


@registered
@dataclass(frozen=True, slots=True)
class Table(Op):
    """y = f(x), elementwise.

    Constants of the integer form: table int8 [256], indexed by q + 128. It holds f of the exact real value
    (q - z) * scale, computed to 50 digits and rounded once, so it is the same on every machine.

    Attributes:
        function: A name in `pointwise.FUNCTIONS`; "" in the integer form.
        parameters: Of the function.

    >>> Table("leaky_relu", (0.1,)).function
    'leaky_relu'
    """

    opcode: ClassVar[str] = "Table"
    kernels: ClassVar[tuple[str, ...]] = ("eltwise",)

    function: str = ""
    parameters: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.function and FUNCTIONS.get(self.function) != len(self.parameters):
            raise UnsupportedOpError(f"no function {self.function!r} of {len(self.parameters)} parameters")

    def infer(self, inputs: Sequence[TensorType], constants: Sequence[Array]) -> TensorType:
        if not inputs[0].shape:
            raise ShapeError("a tensor has a batch dimension")
        return TensorType(inputs[0].shape, inputs[0].dtype)

    def evaluate(self, inputs: Sequence[Array], constants: Sequence[Array]) -> Array:
        return fast(self.function, self.parameters, inputs[0])

    def quantise(
        self,
        inputs: Sequence[TensorType],
        output: TensorType,
        constants: Sequence[Array],
        weight_scale: WeightScale | None = None,
    ) -> tuple[Op, tuple[Array, ...]]:
        q_x = quant_of(inputs[0])
        with decimal.localcontext(decimal.Context(prec=60)):
            reals = [(q - q_x.zero_point) * Decimal(q_x.scale) for q in range(-128, 128)]
        return Table(), (quant.byte_table(exact(self.function, self.parameters, reals), quant_of(output)),)

    def reference(
        self, inputs: Sequence[Array], constants: Sequence[Array], types: Sequence[TensorType], out: TensorType
    ) -> Array:
        return np.asarray(constants[0][inputs[0].astype(np.int32) + 128], np.int8)

    def lower(self) -> tuple[int, ...]:
        return ()

    @classmethod
    def lift(cls, params: Sequence[int], output: TensorType) -> Op:
        return cls()

    @classmethod
    def example(cls, draw: np.random.Generator, shape: tuple[int, ...]) -> Example | None:
        function = pick(draw, sorted(FUNCTIONS))
        return Example(cls(function, ((), (0.5,), (-0.75, 1.5))[FUNCTIONS[function]]))
