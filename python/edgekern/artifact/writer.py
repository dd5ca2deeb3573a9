# SPDX-License-Identifier: Apache-2.0
"""From an artifact to the bytes of a model file. The same artifact gives the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from edgekern.artifact import layout
from edgekern.artifact.artifact import Artifact
from edgekern.artifact.work import check_work
from edgekern.errors import CompileError
from edgekern.graph.graph import Graph, Port
from edgekern.preprocess import Preprocess
from edgekern.types import Array, DType, TensorType

__all__ = ["write"]


class _Strings:
    """Names, each once, NUL-terminated."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._at: dict[str, int] = {}

    def add(self, name: str) -> int:
        if "\0" in name:
            raise CompileError(f"the name {name!r} holds a NUL")
        if name not in self._at:
            self._at[name] = len(self.data)
            self.data += name.encode() + b"\0"
        return self._at[name]


def _fill(record: Any, values: Iterable[int]) -> None:
    for i, value in enumerate(values):
        record[i] = value


def _tensors(graph: Graph, order: list[str], strings: _Strings) -> Array:
    records = np.zeros(len(order), layout.TENSOR)
    for record, name in zip(records, order, strict=True):
        t: TensorType = graph.types[name]
        if not 1 <= len(t.shape) <= layout.MAX_RANK or t.shape[0] != 1:
            raise CompileError(f"tensor {name!r} has shape {t.shape}; 1 to {layout.MAX_RANK} dimensions, batch 1")
        if (t.quant is None) != (t.dtype is DType.FLOAT32):
            raise CompileError(f"tensor {name!r} is {t.dtype.name.lower()} with quantisation {t.quant}")
        record["name"], record["dtype"], record["rank"] = strings.add(name), t.dtype.value, len(t.shape)
        _fill(record["dims"], t.shape)
        if t.quant:
            record["scale"], record["zero_point"] = t.quant.scale, t.quant.zero_point
    return records


def _constants(graph: Graph, order: list[str]) -> tuple[Array, bytes]:
    records = np.zeros(len(order), layout.CONSTANT)
    payload = bytearray()
    for record, name in zip(records, order, strict=True):
        value = np.ascontiguousarray(graph.constants[name])
        if value.dtype not in (np.int8, np.int32, np.float32):
            raise CompileError(f"constant {name!r} is {value.dtype}; int8, int32 or float32")
        payload += bytes(layout.align(len(payload), layout.PAYLOAD_ALIGN) - len(payload))
        record["dtype"], record["rank"] = DType[value.dtype.name.upper()].value, value.ndim
        _fill(record["dims"], value.shape)
        record["offset"], record["size"] = len(payload), value.nbytes
        payload += value.astype(value.dtype.newbyteorder("<")).tobytes()
    return records, bytes(payload)


def _ports(graph: Graph, index: dict[str, int], strings: _Strings) -> Array:
    for kind, of_kind in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        if len(of_kind) > layout.MAX_PORTS:
            raise CompileError(f"a model of {len(of_kind)} {kind}; at most {layout.MAX_PORTS}")
    ports: tuple[Port, ...] = (*graph.inputs, *graph.outputs)
    records = np.zeros(len(ports), layout.PORT)
    for record, port in zip(records, ports, strict=True):
        rank = len(graph.types[port.tensor].shape)
        record["name"], record["tensor"] = strings.add(port.name), index[port.tensor]
        record["dtype"], record["rank"] = port.dtype.value, rank
        _fill(record["perm"], port.perm or range(rank))
    return records


def _graph(graph: Graph) -> tuple[bytes, bytes]:
    """The graph section and the constants section."""
    tensors = [port.tensor for port in graph.inputs] + [node.output for node in graph.nodes]
    constants = list(dict.fromkeys(name for node in graph.nodes for name in node.constants))
    index = {name: i for i, name in enumerate(tensors)}
    if len(index) != len(tensors):
        raise CompileError("a tensor is made twice")
    check_work(graph)
    constant_index = {name: i for i, name in enumerate(constants)}
    strings = _Strings()
    tensor_records = _tensors(graph, tensors, strings)
    constant_records, payload = _constants(graph, constants)
    ops = np.zeros(len(graph.nodes), layout.OP)
    operands: list[int] = []
    params: list[int] = []
    for record, node in zip(ops, graph.nodes, strict=True):
        words = node.op.lower()
        record["name"], record["opcode"] = strings.add(node.name), layout.OPCODES[node.op.opcode]
        record["input_count"], record["output_count"] = len(node.inputs), 1
        record["constant_count"] = len(node.constants)
        record["operand_begin"], record["param_begin"], record["param_count"] = len(operands), len(params), len(words)
        operands += [*(index[name] for name in node.inputs), index[node.output]]
        operands += [constant_index[name] for name in node.constants]
        params += words
    ports = _ports(graph, index, strings)
    head = np.zeros((), layout.GRAPH)
    counts = (
        len(tensors),
        len(constants),
        len(ops),
        len(ports),
        len(graph.inputs),
        len(operands),
        len(params),
        len(strings.data),
    )
    for name, count in zip(layout.GRAPH.names or (), counts, strict=True):
        head[name] = count
    tables = [head, tensor_records, constant_records, ops, ports, np.array(operands, "<u4"), np.array(params, "<i4")]
    return b"".join(table.tobytes() for table in tables) + bytes(strings.data), payload


def _preprocess(preprocess: Preprocess, graph: Graph) -> bytes:
    kind = graph.types[graph.inputs[0].tensor]
    q = kind.quant
    if q is None or kind.dtype is not DType.INT8:
        raise CompileError("a preprocess needs an int8 input")
    record = np.zeros((), layout.PREPROCESS)
    record["height"], record["width"] = preprocess.size
    record["channels"], record["order"] = preprocess.depth, layout.ORDERS.index(preprocess.channels)
    record["margin"] = preprocess.margin
    return record.tobytes() + preprocess.table(q).tobytes()


def _normalisation(preprocess: Preprocess) -> dict[str, Any]:
    """What the byte tables do not tell, kept in the provenance."""
    return {
        "scale": float(preprocess.scale),
        "mean": np.asarray(preprocess.mean, np.float64).tolist(),
        "std": np.asarray(preprocess.std, np.float64).tolist(),
        "layout": preprocess.layout,
    }


def _pattern(tensor: Array) -> bytes:
    """The shortest run of elements that gives the tensor when repeated, and its length in bytes before it."""
    data: bytes = tensor.tobytes()
    period = size = tensor.itemsize

    def repeats() -> bool:  # a few bytes tell most places apart; only then is the whole rest copied
        return data.startswith(data[period : period + 64]) and data.startswith(data[period:])

    while period % size or not repeats():
        period = data.find(data[:size], period + 1)
        period = len(data) if period < 0 else period
    return period.to_bytes(4, "little") + data[:period]


def _json(provenance: dict[str, Any]) -> bytes:
    try:
        text = json.dumps(provenance, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CompileError(f"the provenance is no JSON: {error}") from error
    return text.encode()


def _sections(artifact: Artifact) -> dict[str, bytes]:
    graph = artifact.graph
    sections: dict[str, bytes] = {}
    sections["graph"], constants = _graph(graph)
    if constants:
        sections["constants"] = constants
    provenance = dict(artifact.provenance)
    if artifact.preprocess:
        sections["preprocess"] = _preprocess(artifact.preprocess, graph)
        provenance["preprocess"] = _normalisation(artifact.preprocess)
    if artifact.labels:
        if any("\0" in label for label in artifact.labels):
            raise CompileError("a label holds a NUL")
        names = b"".join(label.encode() + b"\0" for label in artifact.labels)
        sections["labels"] = np.uint32(len(artifact.labels)).astype("<u4").tobytes() + names
    if artifact.decision:
        record = np.zeros((), layout.DECISION)
        record["abstain_threshold"], record["temperature"] = artifact.decision.threshold, artifact.decision.temperature
        sections["decision"] = record.tobytes()
    if answer := artifact.known_answer:
        patterns = [_pattern(answer.inputs[p.name]) for p in graph.inputs]
        outputs = [answer.outputs[p.name].tobytes() for p in graph.outputs]
        sections["known_answer"] = b"".join(patterns + outputs)
    if provenance:
        sections["provenance"] = _json(provenance)
    return sections


def write(artifact: Artifact) -> bytes:
    """The bytes of the model file.

    Raises:
        CompileError: The artifact holds something the format has no place for.
    """
    sections = _sections(artifact)
    head = np.zeros((), layout.HEADER)
    head["magic"], head["section_count"] = layout.MAGIC, len(sections)
    head["format_version"], head["arithmetic_version"] = layout.FORMAT, layout.ARITHMETIC
    table = np.zeros(len(sections), layout.SECTION)
    body = bytearray()
    start = layout.HEADER.itemsize + table.nbytes
    for entry, (name, data) in zip(table, sections.items(), strict=True):
        offset = layout.align(start + len(body), layout.SECTION_ALIGN)
        body += bytes(offset - start - len(body)) + data
        entry["kind"], entry["offset"], entry["size"] = layout.KINDS[name], offset, len(data)
    head["file_size"] = start + len(body)
    plain = head.tobytes() + table.tobytes() + bytes(body)
    digest = hashlib.sha256(plain).digest()
    at = layout.HEADER.fields["sha256"][1] if layout.HEADER.fields else 0
    return plain[:at] + digest + plain[at + len(digest) :]
