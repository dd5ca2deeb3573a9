# SPDX-License-Identifier: Apache-2.0
"""Small TFLite files, written operator by operator with the schema's own builder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite

_TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "int16": 7, "int8": 9}


@dataclass
class Tensor:
    """A tensor of the file: `data` makes it a constant."""

    shape: Sequence[int]
    dtype: str = "float32"
    scale: float | Sequence[float] | None = None
    zero: int | Sequence[int] = 0
    axis: int = 0
    data: Any = None


@dataclass
class Operator:
    """An operator: its name in the schema, tensors by name ("" is left out), options by the schema's names."""

    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    table: str = ""


def _vector(builder: Any, values: Sequence[Any], kind: str) -> Any:
    add = {"i4": "PrependInt32", "i8": "PrependInt64", "f4": "PrependFloat32", "ref": "PrependUOffsetTRelative"}[kind]
    builder.StartVector({"i8": 8}.get(kind, 4), len(values), {"i8": 8}.get(kind, 4))
    for value in reversed(values):
        getattr(builder, add)(value)
    return builder.EndVector()


def _table(builder: Any, kind: str, values: Mapping[str, Any]) -> Any:
    getattr(tflite, f"{kind}Start")(builder)
    for name, value in values.items():
        getattr(tflite, f"{kind}Add{name}")(builder, value)
    return getattr(tflite, f"{kind}End")(builder)


def _quantisation(builder: Any, tensor: Tensor) -> Any:
    scales = [float(s) for s in np.atleast_1d(np.asarray(tensor.scale, np.float32))]
    zeros = [int(z) for z in np.broadcast_to(tensor.zero, len(scales))]
    scale, zero = _vector(builder, scales, "f4"), _vector(builder, zeros, "i8")
    return _table(
        builder, "QuantizationParameters", {"Scale": scale, "ZeroPoint": zero, "QuantizedDimension": tensor.axis}
    )


def model(
    tensors: Mapping[str, Tensor], operators: Sequence[Operator], inputs: Sequence[str], outputs: Sequence[str]
) -> bytes:
    """The bytes of a file with one graph."""
    builder = flatbuffers.Builder(1024)
    names = list(tensors)
    number = {name: i for i, name in enumerate(names)} | {"": -1}
    buffers = [_table(builder, "Buffer", {})]
    made = []
    for name in names:
        tensor = tensors[name]
        buffer = 0
        if tensor.data is not None:
            data = builder.CreateNumpyVector(np.frombuffer(np.asarray(tensor.data, tensor.dtype).tobytes(), np.uint8))
            buffer = len(buffers)
            buffers.append(_table(builder, "Buffer", {"Data": data}))
        fields = {"Shape": _vector(builder, list(tensor.shape), "i4"), "Name": builder.CreateString(name)}
        if tensor.scale is not None:
            fields["Quantization"] = _quantisation(builder, tensor)
        made.append(_table(builder, "Tensor", {**fields, "Type": _TYPES[tensor.dtype], "Buffer": buffer}))
    codes, calls = [], []
    for op in operators:
        code = getattr(tflite.BuiltinOperator, op.name)
        codes.append(
            _table(
                builder, "OperatorCode", {"BuiltinCode": code, "DeprecatedBuiltinCode": min(code, 127), "Version": 1}
            )
        )
        fields = {
            "Inputs": _vector(builder, [number[n] for n in op.inputs], "i4"),
            "Outputs": _vector(builder, [number[n] for n in op.outputs], "i4"),
            "OpcodeIndex": len(codes) - 1,
        }
        if op.table:
            fields["BuiltinOptions"] = _table(builder, op.table, op.options)
            fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, op.table)
        calls.append(_table(builder, "Operator", fields))
    parts = {
        "Tensors": _vector(builder, made, "ref"),
        "Inputs": _vector(builder, [number[n] for n in inputs], "i4"),
        "Outputs": _vector(builder, [number[n] for n in outputs], "i4"),
        "Operators": _vector(builder, calls, "ref"),
    }
    graph = _table(builder, "SubGraph", parts)
    whole = {
        "OperatorCodes": _vector(builder, codes, "ref"),
        "Subgraphs": _vector(builder, [graph], "ref"),
        "Buffers": _vector(builder, buffers, "ref"),
    }
    builder.Finish(_table(builder, "Model", {"Version": 3, **whole}), b"TFL3")
    return bytes(builder.Output())
