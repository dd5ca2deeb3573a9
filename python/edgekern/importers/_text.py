# SPDX-License-Identifier: Apache-2.0
"""Words of a source model: text that is no text, types that have no name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["type_name", "unreadable"]


def unreadable(message: Any) -> Iterator[str]:
    """Paths of the text fields of a protobuf message that are not UTF-8, such as "node.output".

    Protobuf hands these over as bytes, which no name may be: it could not be compared with the others or written.
    """
    for field, value in message.ListFields():
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        for part in value if hasattr(value, "append") or hasattr(value, "add") else (value,):
            if isinstance(part, bytes):
                yield field.name
            elif field.type == field.TYPE_MESSAGE:
                yield from (f"{field.name}.{inner}" for inner in unreadable(part))


def type_name(code: int) -> str:
    """Name of an element type; its number where ONNX has no such type."""
    from onnx import TensorProto

    known = code in TensorProto.DataType.values()
    return str(TensorProto.DataType.Name(code)) if known else f"number {code}"
