# SPDX-License-Identifier: Apache-2.0
"""ONNX's protobuf as Python and NumPy values. The only door to the package `onnx` that opens files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekern.errors import CompileError, UnsupportedOpError
from edgekern.importers._text import type_name, unreadable
from edgekern.types import Array

if TYPE_CHECKING:
    import onnx

__all__ = ["NEEDS", "attributes", "constant", "file_bytes", "load_onnx", "result_shapes"]

_MOST_NODES = 100_000  # of all functions unfolded
_FEW = 64  # elements of a constant that says a shape, at most
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
    return _inlined(model, where) if model.functions else model


def _inlined(model: onnx.ModelProto, where: object) -> onnx.ModelProto:
    """The model without functions of its own: their nodes stand where they are called.

    Raises:
        CompileError: A function calls itself, or all of them unfold to more nodes than any network has.
    """
    from onnx import inliner

    functions = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Any, callers: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in callers:
                raise CompileError(f"{where}: its function {node.op_type!r} calls itself")
            if key in functions and key not in sizes:
                sizes[key] = size(functions[key].node, (*callers, key))
            total += sizes[key] if key in functions else 1
            inner = [a.g for a in node.attribute] + [g for a in node.attribute for g in a.graphs]
            total += sum(size(graph.node, callers) for graph in inner if graph.node)
        return total

    try:
        if size(model.graph.node, ()) > _MOST_NODES:
            raise CompileError(f"{where}: its functions unfold to more than {_MOST_NODES} nodes")
        return inliner.inline_local_functions(model)
    except CompileError:
        raise
    except Exception as error:  # onnx raises what it likes, and a chain of calls may be too deep
        raise CompileError(f"{where}: its functions cannot be unfolded: {error}") from error


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


def result_shapes(node: onnx.NodeProto, values: Mapping[str, Array], opset: int) -> list[list[int]]:
    """Shapes of what a node of constants will make, as far as ONNX can tell without making it.

    Args:
        node: Of ONNX's own operators.
        values: Its inputs by name.
        opset: The operator set.
    """
    import onnx
    from onnx import helper, numpy_helper, shape_inference

    types = {
        name: helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in values.items()
    }
    held = {name: numpy_helper.from_array(value) for name, value in values.items() if value.size <= _FEW}
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
        uses = [helper.make_opsetid("", opset)]
        made = shape_inference.infer_node_outputs(schema, node, types, held, opset_imports=uses)
    except Exception:  # a wrong node: whoever computes it says so
        return []
    return [[int(d.dim_value) for d in kind.tensor_type.shape.dim] for kind in made.values()]


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
