# SPDX-License-Identifier: Apache-2.0
"""TFLite -> graph: float models, int8 and uint8 ones (their integers taken over), and float ones with 8-bit weights.

The file is read with the published schema package (`tflite`, `flatbuffers`). A quantised model becomes a float graph
whose tensors and weights carry the file's own scales and zero points; uint8 values are taken 128 lower, as int8.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgekern.errors import CompileError, EdgekernError, ShapeError, UnsupportedOpError
from edgekern.graph.graph import Graph, Port
from edgekern.importers import _tflite_norm, _tflite_ops, _tflite_slices, _tflite_upsampling
from edgekern.importers._builder import Builder, bounded
from edgekern.importers._chain import Chain
from edgekern.importers._integers import real_values
from edgekern.importers._proto import NEEDS
from edgekern.importers._tflite_call import HANDLERS, Call, Constant
from edgekern.importers._tflite_shapes import folded
from edgekern.types import Array, DType, Quant, TensorType

__all__ = ["import_tflite", "is_tflite", "supported"]

_FAMILIES = (_tflite_ops, _tflite_slices, _tflite_upsampling)  # each enters its operators into HANDLERS
_DTYPES = {"FLOAT32": DType.FLOAT32, "INT8": DType.INT8, "UINT8": DType.UINT8}
# what reading broken tables can raise
_BROKEN = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError, struct.error)


def supported() -> tuple[str, ...]:
    """Operators that are read, by name."""
    return tuple(sorted(HANDLERS))


def is_tflite(data: bytes) -> bool:
    """Whether bytes are a TFLite file: its identifier stands at byte 4."""
    return data[4:8] == b"TFL3"


def import_tflite(data: bytes) -> Graph:
    """Reads a model as a graph, batch first and 1, ports as the file has them.

    Raises:
        UnsupportedOpError: Operators, attributes or types that edgekern does not run: all of them, by their result.
        ShapeError: Shapes do not fit, or are not fixed.
        CompileError: The file is broken, or the package `tflite` is missing.
    """
    try:
        import tflite
    except ImportError as error:
        raise CompileError(NEEDS) from error
    try:
        return _Reader(data, tflite).read()
    except _BROKEN as error:
        if isinstance(error, EdgekernError):
            raise
        raise CompileError(f"the TFLite file is broken: {type(error).__name__}: {error}") from error


def _names(kind: Any) -> dict[int, str]:
    return {number: name for name, number in vars(kind).items() if isinstance(number, int)}


class _Reader:
    def __init__(self, data: bytes, schema: Any) -> None:
        self.schema = schema
        self.model = schema.Model.GetRootAs(data, 0)
        if self.model.SubgraphsLength() < 1:
            raise CompileError("the TFLite file has no graph")
        self.graph = self.model.Subgraphs(0)
        if self.graph.TensorsLength() * 4 > len(data) or self.graph.OperatorsLength() * 4 > len(data):
            raise CompileError("the TFLite file is broken: it names more tensors or operators than it has bytes")
        self.operators = _names(schema.BuiltinOperator)
        self.types = _names(schema.TensorType)
        self.build = Builder()
        self.values: dict[int, str] = {}  # tensor number -> ours
        self.refused: dict[int, str] = {}
        self.unpacked: dict[int, Constant] = {}  # results of operators on constants

    def read(self) -> Graph:
        graph = self.graph
        inputs = tuple(self._input(graph.Inputs(k)) for k in range(graph.InputsLength()))
        if not inputs:
            raise CompileError("the model has no input")
        chains = _tflite_norm.chains_of(self)
        inside = frozenset[int]().union(*(chain.inside for chain in chains.values()))
        for k in range(graph.OperatorsLength()):
            if k not in inside:
                self._operator(graph.Operators(k), chains.get(k))
        if self.refused:
            texts = list(dict.fromkeys(text for text in self.refused.values() if text))
            raise UnsupportedOpError(
                f"{len(texts)} operator(s) that edgekern does not run: " + "; ".join(texts),
                hint="Replace them in the model, or cut the model before them.",
            )
        outputs = tuple(self._output(graph.Outputs(k)) for k in range(graph.OutputsLength()))
        if not outputs:
            raise CompileError("the model has no output")
        return self.build.graph(inputs, outputs)

    # ---- tensors --------------------------------------------------------------------------------

    def _tensor(self, number: int) -> Any:
        if not 0 <= number < self.graph.TensorsLength():
            raise CompileError(f"the TFLite file is broken: there is no tensor {number}")
        return self.graph.Tensors(number)

    def _name(self, number: int) -> str:
        return str((self._tensor(number).Name() or b"").decode("utf-8", "replace")) or f"tensor {number}"

    def _shape(self, number: int) -> tuple[int, ...]:
        tensor = self._tensor(number)
        shape = tuple(int(n) for n in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
        where = f"tensor {self._name(number)!r}"
        if any(n < 0 for n in shape):
            raise ShapeError(f"{where} has shape {list(shape)}")
        return bounded(shape, where)

    def held_as(self, number: int) -> str:
        """Name of the type of a tensor."""
        return self.types.get(self._tensor(number).Type(), f"type {self._tensor(number).Type()}")

    def _quant(self, number: int) -> Quant | None:
        """Of an activation; a uint8 one's zero point 128 lower."""
        kind, held = self.held_as(number), self._tensor(number).Quantization()
        if kind == "FLOAT32":
            return None
        where = f"tensor {self._name(number)!r}"
        if kind not in ("INT8", "UINT8"):
            hint = "16x8 models do not run: quantise activations to int8." if kind == "INT16" else ""
            raise UnsupportedOpError(f"{where} has type {kind}; an activation is float32, int8 or uint8", hint=hint)
        if held is None or held.ScaleLength() != 1:
            raise UnsupportedOpError(f"{where} is {kind.lower()} without one scale", hint="Quantise it per tensor.")
        zero = int(held.ZeroPoint(0)) if held.ZeroPointLength() else 0
        try:
            return Quant(float(np.float32(held.Scale(0))), zero - (128 if kind == "UINT8" else 0))
        except ValueError as error:
            raise UnsupportedOpError(f"{where}: {error}") from error

    def constant(self, number: int) -> Constant | None:
        """A tensor that the file holds in a buffer; None for activations."""
        tensor = self._tensor(number)
        buffer = self.model.Buffers(tensor.Buffer()) if 0 <= tensor.Buffer() < self.model.BuffersLength() else None
        if buffer is None or not buffer.DataLength():
            return None
        name, kind, shape = self._name(number), self.held_as(number), self._shape(number)
        if kind not in ("FLOAT32", "FLOAT16", "INT8", "UINT8", "INT32", "INT64", "BOOL"):
            raise UnsupportedOpError(f"constant {name!r} has type {kind}")
        data = buffer.DataAsNumpy().tobytes()
        dtype = np.dtype(kind.lower()).newbyteorder("<")
        if len(data) != int(np.prod(shape, dtype=np.int64)) * dtype.itemsize:
            raise CompileError(f"constant {name!r} of shape {list(shape)} has {len(data)} bytes of {kind.lower()}")
        values = np.frombuffer(data, dtype).reshape(shape)
        held = tensor.Quantization()
        if kind not in ("INT8", "UINT8") or held is None or not held.ScaleLength():
            return Constant(name, values.astype(np.float32) if values.dtype.kind == "f" else values)
        scale = np.asarray(held.ScaleAsNumpy(), np.float32)
        zero = np.asarray(held.ZeroPointAsNumpy() if held.ZeroPointLength() else 0, np.int64)
        axis = int(held.QuantizedDimension()) if len(scale) > 1 else 0
        try:
            return Constant(name, real_values(values, scale, zero, axis), scale, axis)
        except CompileError as error:
            raise type(error)(f"constant {name!r}: {error.args[0]}") from error

    # ---- edges ----------------------------------------------------------------------------------

    def _input(self, number: int) -> Port:
        name, shape = self._name(number), self._shape(number)
        tensor = self._tensor(number)
        signature = [int(tensor.ShapeSignature(i)) for i in range(tensor.ShapeSignatureLength())]
        if not 2 <= len(shape) <= 6:
            raise ShapeError(f"input {name!r} has {len(shape)} dimensions", hint="The batch and one to five more.")
        if min(signature[1:], default=1) < 0 or 0 in shape[1:]:
            raise ShapeError(
                f"input {name!r} has no fixed size: {signature or list(shape)}",
                hint="Convert the model with a fixed image size.",
            )
        quant = self._quant(number)
        if name in self.build.types:
            raise CompileError(f"two inputs are called {name!r}")
        self.build.types[name] = TensorType((1, *shape[1:]), DType.FLOAT32, quant)
        self.values[number] = name
        return Port(name, name, _DTYPES[self.held_as(number)], tuple(range(len(shape))))

    def _output(self, number: int) -> Port:
        name = self._name(number)
        if number not in self.values:
            raise CompileError(f"output {name!r} is made by no operator")
        tensor = self.values[number]
        return Port(name, tensor, _DTYPES[self.held_as(number)], tuple(range(len(self.build.types[tensor].shape))))

    # ---- operators ------------------------------------------------------------------------------

    def kind(self, operator: Any) -> str:
        """Name of an operator, such as CONV_2D."""
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if self.operators.get(number) == "CUSTOM":
            return str((code.CustomCode() or b"CUSTOM").decode("utf-8", "replace"))
        return self.operators.get(number, f"operator {number}")

    def _operator(self, operator: Any, chain: Chain | None) -> None:
        name = self.kind(operator)
        numbers = [operator.Outputs(k) for k in range(operator.OutputsLength())]
        if not numbers:
            raise CompileError(f"operator {name} has no output")
        where = f"{self._name(numbers[0])} ({name})"
        given = [operator.Inputs(k) for k in range(operator.InputsLength())]
        if chain is not None:
            given = [int(name) if name else -1 for name in (chain.x, chain.scale, chain.bias)]
        if any(n in self.refused for n in given):
            self.refused.update(dict.fromkeys(numbers, ""))
            return
        try:
            self._emit(name, operator, given, numbers, chain)
        except UnsupportedOpError as error:
            text = f"{where}: {error.args[0]}" + (f" ({error.hint})" if error.hint else "")
            self.refused.update(dict.fromkeys(numbers, text))
        except EdgekernError as error:
            raise type(error)(f"operator {where}: {error.args[0]}", hint=error.hint) from error
        except _BROKEN as error:
            raise CompileError(f"operator {where} is broken: {type(error).__name__}: {error}") from error

    def _emit(self, name: str, operator: Any, given: list[int], numbers: list[int], chain: Chain | None) -> None:
        if name not in HANDLERS and chain is None and name != "SHAPE":
            raise UnsupportedOpError(f"operator {name} is not supported")
        result = numbers[0]
        for number in numbers:
            if number in self.values:
                raise CompileError(f"{self._name(number)!r} is made a second time")
        build = self.build
        build.begin(self._name(result), self._name(result), name)
        inputs = [self._operand(n) for n in given]
        if name == "DEQUANTIZE" and isinstance(inputs[0], Constant):  # weights held as float16 or int8
            self.unpacked[result] = inputs[0]
            build.end()
            return
        options = self.options(operator) if chain is None else chain
        if chain is None and (value := self._folded(name, options, given, inputs)) is not None:
            self.unpacked[result] = Constant(self._name(result), value)
            build.end()
            return
        quant = self._quant(result)
        origin = -128 if self.held_as(result) == "UINT8" else 0
        names = [self._name(n) for n in numbers]
        batch = next((self._shape(n)[0] for n in given if n in self.values), 1)
        call = Call(name, options, inputs, (1, *self._shape(result)[1:]), names, batch, build, quant, origin)
        made = HANDLERS[name](call) if chain is None else _tflite_norm.normalised(call)
        build.end()
        for number, tensor in zip(numbers, [made] if isinstance(made, str) else made, strict=False):
            known = build.types[tensor]
            if tensor not in call.inputs:  # the handler made it
                build.types[tensor] = replace(known, quant=self._quant(number))
            self.values[number] = tensor

    def _folded(
        self, name: str, options: Any, given: list[int], inputs: Sequence[str | Constant | None]
    ) -> Array | None:
        """The value of an operator on shapes and constant integers; None where it is none."""
        constants = [x.values for x in inputs if isinstance(x, Constant) and x.values.dtype.kind == "i"]
        if name == "SHAPE" and isinstance(inputs[0], str):
            return folded(name, options, [], self._shape(given[0]))
        return folded(name, options, constants, None) if len(constants) == len(inputs) else None

    def _operand(self, number: int) -> str | Constant | None:
        if number == -1:
            return None
        if number in self.values:
            return self.values[number]
        constant = self.unpacked.get(number) or self.constant(number)
        if constant is None:
            raise CompileError(f"its input {self._name(number)!r} is made by no operator before it")
        return constant

    def options(self, operator: Any) -> Any:
        """The operator's table of options, in its own type; None if it has none."""
        table = operator.BuiltinOptions()
        kinds = _names(self.schema.BuiltinOptions)
        kind = kinds.get(operator.BuiltinOptionsType(), "NONE")
        if table is None or kind == "NONE":
            return None
        options = getattr(self.schema, kind)()
        options.Init(table.Bytes, table.Pos)
        return options
