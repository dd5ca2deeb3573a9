# SPDX-License-Identifier: Apache-2.0
"""Layer normalisation in TFLite: it has no operator of the name, float files spell it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from edgekern.errors import EdgekernError, ShapeError, UnsupportedOpError
from edgekern.importers._chain import Chain, Link, chains
from edgekern.importers._tflite_call import Call, Constant
from edgekern.ops.layer_norm import LayerNorm
from edgekern.types import Array

__all__ = ["chains_of", "normalised"]

_KINDS = {
    "ADD": "Add",
    "DIV": "Div",
    "MEAN": "ReduceMean",
    "MUL": "Mul",
    "POW": "Pow",
    "RSQRT": "Rsqrt",
    "SQRT": "Sqrt",
    "SQUARE": "Mul",
    "SQUARED_DIFFERENCE": "SquaredDifference",
    "SUB": "Sub",
}
_FUSING = ("ADD", "DIV", "MUL", "SUB")  # an activation may be part of them


class File(Protocol):
    """A TFLite file as it is read: its graph's table, and what its operators and tensors are."""

    graph: Any

    def kind(self, operator: Any) -> str: ...
    def options(self, operator: Any) -> Any: ...
    def held_as(self, number: int) -> str: ...
    def constant(self, number: int) -> Constant | None: ...


def chains_of(reader: File) -> dict[int, Chain]:
    """Chains of float operators, by the number of the last; tensors are called by their numbers."""
    graph = reader.graph
    operators = [graph.Operators(k) for k in range(graph.OperatorsLength())]
    if all(reader.kind(operator) != "MEAN" for operator in operators):
        return {}
    unpacked = {
        str(operator.Outputs(0)): operator.Inputs(0)
        for operator in operators
        if reader.kind(operator) == "DEQUANTIZE" and operator.OutputsLength() and operator.InputsLength()
    }

    def constant(name: str) -> Array | None:
        number = unpacked.get(name, int(name))
        try:
            held = None if number < 0 else reader.constant(number)
        except EdgekernError:  # told where it is read
            return None
        return None if held is None else held.values

    outputs = {str(graph.Outputs(k)) for k in range(graph.OutputsLength())}
    return chains([_link(reader, operator, constant) for operator in operators], constant, outputs)


def _link(reader: File, operator: Any, constant: Callable[[str], Array | None]) -> Link:
    kind = reader.kind(operator)
    inputs = [str(operator.Inputs(k)) for k in range(operator.InputsLength())]
    outputs = [str(operator.Outputs(k)) for k in range(operator.OutputsLength())]
    options = reader.options(operator) if kind in (*_FUSING, "MEAN") else None
    fuses = kind in _FUSING and options is not None and options.FusedActivationFunction() != 0
    if kind not in _KINDS or fuses or any(reader.held_as(int(name)) != "FLOAT32" for name in outputs):
        return Link("", inputs, outputs)
    axes: tuple[int, ...] = ()
    if kind == "MEAN" and len(inputs) == 2 and options is not None and options.KeepDims():
        held = constant(inputs[1])
        axes = () if held is None else tuple(sorted(int(a) for a in np.asarray(held).reshape(-1)))
    return Link(_KINDS[kind], inputs * 2 if kind == "SQUARE" else inputs, outputs, axes)


def normalised(call: Call) -> str:
    """Emits the operator of a chain, which stands in the place of the options."""
    chain: Chain = call.options
    shape = call.type(0).shape
    if {a % len(shape) for a in chain.axes} != {len(shape) - 1}:
        raise UnsupportedOpError(f"a normalisation over dimensions {list(chain.axes)}", hint="Over the last one only.")
    if not (np.isfinite(chain.epsilon) and chain.epsilon >= 0):
        raise UnsupportedOpError(f"epsilon {chain.epsilon}")
    constants = []
    for k, default in ((1, 1.0), (2, 0.0)):
        held = call.constant(k)
        values = np.asarray(default if held is None else held.values, np.float32)
        if values.size not in (1, shape[-1]) or (values.size > 1 and values.shape[-1] != shape[-1]):
            raise ShapeError(f"a scale or bias of shape {list(values.shape)} for {shape[-1]} channels")
        constants.append(np.broadcast_to(values.reshape(-1), shape[-1:]))
    return call.build.emit(LayerNorm(chain.epsilon), [call.tensor(0)], constants)
