# SPDX-License-Identifier: Apache-2.0
"""The format is told twice, in C++ structs and in NumPy records: both tell the same."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from edgekern import _core
from edgekern.artifact import layout
from edgekern.ops import registry
from sample_models import every_op

STRUCTS = {
    "FileHeader": layout.HEADER,
    "SectionEntry": layout.SECTION,
    "GraphHeader": layout.GRAPH,
    "TensorRecord": layout.TENSOR,
    "ConstantRecord": layout.CONSTANT,
    "OpRecord": layout.OP,
    "PortRecord": layout.PORT,
    "PreprocessRecord": layout.PREPROCESS,
    "DecisionRecord": layout.DECISION,
}
TYPES = {"uint8_t": "u1", "uint16_t": "u2", "int32_t": "i4", "uint32_t": "u4", "uint64_t": "u8", "float": "f4"}


def fields_of(text: str, struct: str) -> list[tuple[str, str, int]]:
    """(name, type, count) of each field of a struct in format.h."""
    body = re.search(rf"struct {struct} \{{.*?\n(.*?)\n\}};", text, re.S)
    assert body, struct
    found = []
    for line in re.sub(r"//.*", "", body[1]).split(";"):
        if match := re.fullmatch(r"\s*(\w+)\s+(.+?)\s*", line, re.S):
            for name in match[2].split(","):
                whole = re.fullmatch(r"\s*(\w+)(?:\[(\d+)\])?\s*", name)
                assert whole, name
                found.append((whole[1], TYPES[match[1]], int(whole[2] or 1)))
    return found


@pytest.mark.parametrize("struct", STRUCTS)
def test_records_agree(repo: Path, struct: str) -> None:
    record = STRUCTS[struct]
    declared = fields_of((repo / "cpp" / "model" / "format.h").read_text(), struct)
    assert [name for name, _, _ in declared] == list(record.names or ())
    for name, kind, count in declared:
        part = record[name]
        assert part.itemsize == np.dtype(kind).itemsize * count, name
        assert part.base.kind == "S" or part.base == np.dtype(f"<{kind}"), name
    assert record.itemsize == sum(np.dtype(kind).itemsize * count for _, kind, count in declared)


def test_opcodes_agree() -> None:
    rows = {row["name"]: row for row in _core.opcodes()}
    assert {name: row["number"] for name, row in rows.items()} == layout.OPCODES
    assert set(registry()) == set(rows)
    for node in every_op().graph.nodes:
        row = rows[node.op.opcode]
        assert len(node.op.lower()) == row["params"], node.op.opcode
        assert len(node.constants) == row["constants"], node.op.opcode
        assert row["inputs"] in (-1, len(node.inputs)), node.op.opcode
    assert {node.op.opcode for node in every_op().graph.nodes} == set(rows)
