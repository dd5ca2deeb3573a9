# SPDX-License-Identifier: Apache-2.0
"""The structs of `cpp/model/format.h`, field by field, as NumPy record types."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "ARITHMETIC",
    "CONSTANT",
    "DECISION",
    "FORMAT",
    "GRAPH",
    "HEADER",
    "KINDS",
    "MAGIC",
    "MAX_PORTS",
    "MAX_RANK",
    "OP",
    "OPCODES",
    "ORDERS",
    "PAYLOAD_ALIGN",
    "PORT",
    "PREPROCESS",
    "SECTION",
    "SECTION_ALIGN",
    "TENSOR",
    "align",
]

MAGIC = b"\x89EKM\r\n\x1a\n"
FORMAT = 1  # format version
ARITHMETIC = 1  # arithmetic version
SECTION_ALIGN = 64
PAYLOAD_ALIGN = 8
MAX_RANK = 6
MAX_PORTS = 16  # inputs, and outputs

KINDS = {"graph": 1, "constants": 2, "preprocess": 3, "labels": 4, "decision": 5, "known_answer": 6, "provenance": 7}
ORDERS = ("rgb", "bgr", "gray")  # PreprocessRecord.order

#: Number of each operator in a file, as in opcodes.def.
OPCODES = {
    "Conv2D": 1,
    "DepthwiseConv2D": 2,
    "MaxPool2D": 3,
    "AveragePool2D": 4,
    "Mean": 5,
    "Add": 6,
    "Affine": 7,
    "Table": 8,
    "Softmax": 9,
    "Concat": 10,
    "Pad": 11,
    "Reshape": 12,
    "Transpose": 13,
    "Mul": 14,
    "Slice": 15,
    "Resize2D": 16,
    "LayerNorm": 17,
}


def _record(*fields: Any) -> np.dtype[Any]:
    return np.dtype([(f[0], *f[1:]) for f in fields])


HEADER = _record(
    ("magic", "S8"),
    ("format_version", "<u4"),
    ("arithmetic_version", "<u4"),
    ("file_size", "<u8"),
    ("section_count", "<u4"),
    ("reserved", "<u4"),
    ("sha256", "u1", 32),
)
SECTION = _record(("kind", "<u4"), ("reserved", "<u4"), ("offset", "<u8"), ("size", "<u8"), ("reserved2", "<u8"))
GRAPH = _record(
    ("tensor_count", "<u4"),
    ("constant_count", "<u4"),
    ("op_count", "<u4"),
    ("port_count", "<u4"),
    ("input_count", "<u4"),
    ("operand_count", "<u4"),
    ("param_count", "<u4"),
    ("string_bytes", "<u4"),
)
TENSOR = _record(
    ("name", "<u4"),
    ("dtype", "<u2"),
    ("rank", "<u2"),
    ("dims", "<i4", MAX_RANK),
    ("scale", "<f4"),
    ("zero_point", "<i4"),
    ("reserved", "<u4", 2),
)
CONSTANT = _record(
    ("dtype", "<u2"),
    ("rank", "<u2"),
    ("dims", "<i4", MAX_RANK),
    ("reserved", "<u4"),
    ("offset", "<u8"),
    ("size", "<u8"),
)
OP = _record(
    ("name", "<u4"),
    ("opcode", "<u2"),
    ("input_count", "<u2"),
    ("output_count", "<u2"),
    ("constant_count", "<u2"),
    ("operand_begin", "<u4"),
    ("param_begin", "<u4"),
    ("param_count", "<u4"),
    ("reserved", "<u4", 2),
)
PORT = _record(
    ("name", "<u4"),
    ("tensor", "<u4"),
    ("dtype", "<u2"),
    ("rank", "<u2"),
    ("perm", "u1", 8),
    ("scale", "<f4"),
    ("zero_point", "<i4"),
    ("reserved", "<u4", 5),
)
PREPROCESS = _record(
    ("width", "<u4"),
    ("height", "<u4"),
    ("channels", "<u4"),
    ("order", "<u4"),
    ("margin", "<u4"),
    ("resize", "<u4"),
    ("input", "<u4"),
    ("reserved", "<u4"),
)
DECISION = _record(("abstain_threshold", "<f4"), ("temperature", "<f4"), ("reserved", "<u4", 2))


def align(offset: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-offset // step) * step
