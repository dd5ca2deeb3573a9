# SPDX-License-Identifier: Apache-2.0
"""ONNX's protobuf as Python and NumPy values. The only door to the package `onnx` that opens files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekern.errors import CompileError, UnsupportedOpError
from edgekern.importers._text import type_name, unreadable
from edgekern.types import Array

if TYPE_CHECKING:
    import onnx

__all__ = ["NEEDS", "attributes", "constant", "file_bytes", "load_onnx"]

NEEDS = "edgekern.compile needs pip install 'edgekern[compile]'"


def file_bytes(source: str | os.PathLike[str] | bytes) -> bytes:
    """The bytes themselves, or those of the file.

    Raises:
        CompileError: It cannot be read.
    """
    try:
        return source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise CompileError(f"{source!s}: {error.strerror or error}") from error


def load_onnx(source: str | os.PathLike[str] | bytes | onnx.ModelProto, data: bytes | None = None) -> onnx.ModelProto:
    """Reads a model file (with the external data beside it), its bytes, or takes the model as it is.

    Args:
        source: Path, bytes or ModelProto.
        data: Bytes of the file, where the caller has read them.

    Raises:
        CompileError: There is no such file, it is not ONNX, or the package `onnx` is missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise CompileError(NEEDS) from error
    where = source if isinstance(source, (str, os.PathLike)) else "the model"
    if isinstance(source, onnx.ModelProto):
        model = source
    else:
        data = file_bytes(source) if data is None else data
        try:
            model = onnx.load_model_from_string(data)
            if not isinstance(source, bytes):
                onnx.load_external_data_for_model(model, str(Path(source).parent))
        except OSError as error:
            raise CompileError(f"{where}: {error.strerror or error}") from error
        except Exception as error:  # protobuf and onnx raise what they like
            raise CompileError(f"{where} is no readable ONNX file: {error}") from error
    if not model.graph.node or not model.opset_import:
        raise CompileError(f"{where} is no ONNX model: it has no nodes or no operator set")
    if broken := next(unreadable(model), None):
        raise CompileError(f"{where}: the text of {broken} is not UTF-8")
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    return model


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes as Python values; text decoded, tensors as arrays."""
    from onnx import AttributeProto, helper

    found: dict[str, Any] = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if attribute.type == AttributeProto.STRING:
            value = str(value, "utf-8", "replace")
        elif attribute.type == AttributeProto.TENSOR:
            value = constant(value, f"attribute {attribute.name!r}")
        found[attribute.name] = value
    return found


def constant(tensor: onnx.TensorProto, where: str) -> Array:
    """A tensor as an array, float64 as float32."""
    from onnx import numpy_helper

    kind = type_name(tensor.data_type)
    if kind in ("FLOAT16", "BFLOAT16") or kind.startswith(("FLOAT8", "FLOAT4")):
        raise UnsupportedOpError(
            f"{where} has type {kind}", hint="Export the model in float32; edgekern quantises it itself."
        )
    try:
        value = np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:  # wrong sizes, unknown types, missing external data
        raise CompileError(f"{where} cannot be read: {error}") from error
    return value.astype(np.float32) if value.dtype == np.float64 else value
