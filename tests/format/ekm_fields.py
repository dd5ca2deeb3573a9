# SPDX-License-Identifier: Apache-2.0
"""Where each field of a model file lies, and files with one field changed and the digest made good again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekern.artifact import layout
from edgekern.errors import EdgekernError, ModelFormatError
from edgekern.model import Model

TABLES = ("tensor", "constant", "op", "port")
RECORDS = {
    "header": layout.HEADER,
    "section": layout.SECTION,
    "graph": layout.GRAPH,
    "tensor": layout.TENSOR,
    "constant": layout.CONSTANT,
    "op": layout.OP,
    "port": layout.PORT,
    "operand": np.dtype("<u4"),
    "param": np.dtype("<i4"),
    "preprocess": layout.PREPROCESS,
    "decision": layout.DECISION,
    "known_answer": np.dtype("<u4"),  # the first period
}


def rehashed(data: bytes) -> bytes:
    """The file with the digest of its bytes as they are."""
    digest = hashlib.sha256(data[:32] + bytes(32) + data[64:]).digest()
    return data[:32] + digest + data[64:]


@dataclass(frozen=True)
class File:
    """A model file and the offsets of its tables and sections."""

    data: bytes
    starts: dict[str, int]
    sizes: dict[str, int]

    @classmethod
    def of(cls, data: bytes) -> File:
        head = np.frombuffer(data, layout.HEADER, 1)[0]
        sections = np.frombuffer(data, layout.SECTION, int(head["section_count"]), 64)
        names = {number: name for name, number in layout.KINDS.items()}
        starts = {names[int(s["kind"])]: int(s["offset"]) for s in sections}
        sizes = {names[int(s["kind"])]: int(s["size"]) for s in sections}
        starts |= {"header": 0, "section": 64}
        graph = np.frombuffer(data, layout.GRAPH, 1, starts["graph"])[0]
        at = starts["graph"] + layout.GRAPH.itemsize
        for table in (*TABLES, "operand", "param"):
            starts[table] = at
            at += int(graph[f"{table}_count"]) * RECORDS[table].itemsize
        starts["strings"] = at
        return cls(data, starts, sizes)

    def offset(self, table: str, row: int, field: str, item: int = 0) -> tuple[int, np.dtype[Any]]:
        """Byte offset and type of one number."""
        record = RECORDS[table]
        begin = self.starts[table] + row * record.itemsize
        if record.fields is None:
            return begin, record
        dtype, inner = record.fields[field][:2]
        base = dtype.base
        return begin + inner + item * base.itemsize, base

    def get(self, table: str, row: int, field: str, item: int = 0) -> Any:
        at, dtype = self.offset(table, row, field, item)
        return np.frombuffer(self.data, dtype, 1, at)[0]

    def put(self, table: str, row: int, field: str, value: Any, item: int = 0) -> bytes:
        """The file with one number changed."""
        at, dtype = self.offset(table, row, field, item)
        raw = np.array(value).astype(dtype).tobytes()
        return rehashed(self.data[:at] + raw + self.data[at + len(raw) :])

    def op(self, opcode: str) -> int:
        """Row of the first op of one kind."""
        count = (self.starts["port"] - self.starts["op"]) // layout.OP.itemsize
        return next(i for i in range(count) if self.get("op", i, "opcode") == layout.OPCODES[opcode])


def run_lies(file: File, draw: np.random.Generator, values: Any, count: int, most_macs: int) -> tuple[list[str], int]:
    """Loads re-hashed mutations of a file's graph and runs what is legal.

    Args:
        file: The file.
        draw: Of places and values.
        values: int64, put into fields as they are or negated.
        count: Of mutations.
        most_macs: Of a legal file that is run, exclusive.

    Returns:
        The fields that were refused, and how many files ran.
    """
    fields: list[str] = []
    ran = 0
    for _ in range(count):
        data = bytearray(file.data)
        for _ in range(int(draw.integers(1, 4))):
            at = int(draw.integers(file.starts["graph"], file.starts["strings"])) & ~3
            if draw.random() < 0.5:
                value = int(draw.choice(values)) * (1 if draw.random() < 0.7 else -1)
                data[at : at + 4] = np.array(value & 0xFFFFFFFF, "<u4").tobytes()
            else:
                data[at] = int(draw.integers(256))
        try:
            model = Model.from_bytes(rehashed(bytes(data)), memory_limit="64 MiB", selftest=False)
        except ModelFormatError as refusal:
            fields.append(refusal.field)
            continue
        except EdgekernError:  # a legal file that needs too much
            continue
        if sum(op.macs for op in model.plan()) < most_macs:
            model.profile(rounds=1)
            ran += 1
    return fields, ran
