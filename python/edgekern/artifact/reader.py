# SPDX-License-Identifier: Apache-2.0
"""From the bytes of a model file to an artifact, for `Model.reference`, `trace` and `inspect`.

The runtime reads the file by its own, stricter eyes (cpp/model); nothing here decides what a frame computes.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NoReturn

import numpy as np

from edgekern.artifact import layout
from edgekern.artifact.artifact import Artifact, Decision, KnownAnswer
from edgekern.errors import CorruptModelError, VersionError
from edgekern.graph.graph import Graph, Node, Port
from edgekern.ops import registry
from edgekern.preprocess import Preprocess
from edgekern.types import Array, DType, Quant, TensorType

__all__ = ["parse_provenance", "read"]

_NAMES = {number: name for name, number in layout.OPCODES.items()}
_KINDS = {number: name for name, number in layout.KINDS.items()}


def _refuse(message: str, offset: int, field: str) -> NoReturn:
    raise CorruptModelError(
        f"{message} (byte {offset}, {field})", offset=offset, field=field, hint="Compile or fetch the file again."
    )


class _Cursor:
    """Takes tables from a section, one after the other."""

    def __init__(self, data: bytes, start: int, size: int) -> None:
        self.data, self.at, self.end = data, start, start + size

    def take(self, dtype: Any, count: int, field: str) -> Array:
        dtype = np.dtype(dtype)
        if count * dtype.itemsize > self.end - self.at:
            _refuse(f"{count} records pass the end of their section", self.at, field)
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += count * dtype.itemsize
        return values


def _sections(data: bytes) -> dict[str, tuple[int, int]]:
    """Offset and size of each section, after the header and digest are checked."""
    if len(data) < layout.HEADER.itemsize:
        _refuse(f"the file ends after {len(data)} bytes; a header has {layout.HEADER.itemsize}", len(data), "file_size")
    head = np.frombuffer(data, layout.HEADER, 1)[0]
    if data[:8] != layout.MAGIC:
        _refuse("this is no .ekm file", 0, "magic")
    for field, known in (("format_version", layout.FORMAT), ("arithmetic_version", layout.ARITHMETIC)):
        if not 1 <= int(head[field]) <= known:
            raise VersionError(f"{field} is {head[field]}, this edgekern knows {known}", field=field, hint="Update it.")
    if int(head["file_size"]) != len(data):
        _refuse(f"the header says {head['file_size']} bytes, the file has {len(data)}", 16, "file_size")
    digest = bytes(head["sha256"])
    if hashlib.sha256(data[:32] + bytes(32) + data[64:]).digest() != digest:
        _refuse("the digest differs: the file was damaged or edited", 32, "sha256")
    table = _Cursor(data, layout.HEADER.itemsize, len(data) - layout.HEADER.itemsize)
    sections: dict[str, tuple[int, int]] = {}
    for entry in table.take(layout.SECTION, int(head["section_count"]), "section_count"):
        offset, size = int(entry["offset"]), int(entry["size"])
        if int(entry["kind"]) not in _KINDS or offset > len(data) or size > len(data) - offset:
            _refuse(f"section of kind {entry['kind']} is unknown or passes the end", table.at, "section")
        sections[_KINDS[int(entry["kind"])]] = (offset, size)
    if "graph" not in sections:
        _refuse("the file has no graph", layout.HEADER.itemsize, "section.kind")
    return sections


def _shape(record: Any, offset: int) -> tuple[int, ...]:
    rank = int(record["rank"])
    if not 1 <= rank <= layout.MAX_RANK or (record["dims"][:rank] < 1).any():
        _refuse(f"rank {rank}, dimensions {record['dims'].tolist()}", offset, "dims")
    return tuple(int(v) for v in record["dims"][:rank])


def _dtype(record: Any, offset: int) -> DType:
    try:
        return DType(int(record["dtype"]))
    except ValueError:
        _refuse(f"dtype {record['dtype']}", offset, "dtype")


class _GraphReader:
    """The graph section, table by table."""

    def __init__(self, data: bytes, sections: dict[str, tuple[int, int]]) -> None:
        self.start, size = sections["graph"]
        at = _Cursor(data, self.start, size)
        head = at.take(layout.GRAPH, 1, "graph")[0]
        self.tensors = at.take(layout.TENSOR, int(head["tensor_count"]), "graph.tensor_count")
        self.constants = at.take(layout.CONSTANT, int(head["constant_count"]), "graph.constant_count")
        self.ops = at.take(layout.OP, int(head["op_count"]), "graph.op_count")
        self.ports = at.take(layout.PORT, int(head["port_count"]), "graph.port_count")
        self.operands = at.take("<u4", int(head["operand_count"]), "graph.operand_count")
        self.params = at.take("<i4", int(head["param_count"]), "graph.param_count")
        self.strings = at.take("u1", int(head["string_bytes"]), "graph.string_bytes").tobytes()
        self.input_count = int(head["input_count"])
        self.payload = _Cursor(data, *sections.get("constants", (len(data), 0)))

    def name(self, offset: int) -> str:
        end = self.strings.find(b"\0", offset)
        if end < 0:
            _refuse(f"name at byte {offset} of {len(self.strings)}", self.start, "name")
        try:
            return self.strings[offset:end].decode()
        except UnicodeDecodeError:
            _refuse("a name is no UTF-8", self.start, "name")

    def tensor(self, record: Any) -> tuple[str, TensorType]:
        dtype, quant = _dtype(record, self.start), None
        shape, name = _shape(record, self.start), self.name(int(record["name"]))
        try:
            if dtype is not DType.FLOAT32:
                quant = Quant(float(record["scale"]), int(record["zero_point"]))
            return name, TensorType(shape, dtype, quant)
        except ValueError as error:
            _refuse(str(error), self.start, "tensor.scale")

    def constant(self, record: Any) -> Array:
        shape, dtype = _shape(record, self.start), _dtype(record, self.start).numpy
        begin = self.payload.at + int(record["offset"])
        at = _Cursor(self.payload.data, begin, self.payload.end - begin)
        return at.take(dtype.newbyteorder("<"), int(np.prod(shape)), "constant.size").astype(dtype).reshape(shape)

    def port(self, record: Any, names: list[str]) -> Port:
        rank = int(record["rank"])
        perm = tuple(int(v) for v in record["perm"][:rank])
        if sorted(perm) != list(range(rank)) or int(record["tensor"]) >= len(names):
            _refuse(f"perm {perm} of tensor {record['tensor']}", self.start, "port.perm")
        tensor = names[int(record["tensor"])]
        return Port(self.name(int(record["name"])), tensor, _dtype(record, self.start), perm)

    def node(self, record: Any, names: list[str], types: dict[str, TensorType]) -> Node:
        opcode = _NAMES.get(int(record["opcode"]))
        if opcode is None:
            _refuse(f"opcode {record['opcode']}", self.start, "op.opcode")
        n, k = int(record["input_count"]), int(record["constant_count"])
        begin = int(record["operand_begin"])
        words = [int(v) for v in self.operands[begin : begin + n + 1 + k]]
        if (
            len(words) != n + 1 + k
            or max(words[: n + 1]) >= len(names)
            or max(words[n + 1 :], default=-1) >= len(self.constants)
        ):
            _refuse(f"operands {words} do not exist", self.start, "operand")
        output = names[words[n]]
        first = int(record["param_begin"])
        params = [int(v) for v in self.params[first : first + int(record["param_count"])]]
        try:
            op = registry()[opcode].lift(params, types[output])
        except (IndexError, TypeError, ValueError):
            _refuse(f"parameters {params} of {opcode}", self.start, "op.params")
        inputs, constants = tuple(names[i] for i in words[:n]), tuple(f"constant_{i}" for i in words[n + 1 :])
        return Node(op, inputs, constants, output, self.name(int(record["name"])))

    def graph(self) -> Graph:
        pairs = [self.tensor(record) for record in self.tensors]
        names, types = [name for name, _ in pairs], dict(pairs)
        if len(types) != len(names):
            _refuse("two tensors have one name", self.start, "tensor.name")
        constants = {f"constant_{i}": self.constant(record) for i, record in enumerate(self.constants)}
        ports = [self.port(record, names) for record in self.ports]
        nodes = tuple(self.node(record, names, types) for record in self.ops)
        for node in nodes:
            try:
                made = node.op.infer([types[name] for name in node.inputs], [constants[c] for c in node.constants])
            except (ArithmeticError, IndexError, ValueError) as error:
                _refuse(f"{node.op.opcode} {node.name!r}: {error}", self.start, "op")
            if made.shape != types[node.output].shape:
                _refuse(f"{node.op.opcode} {node.name!r} makes {made.shape}", self.start, "tensor.dims")
        inputs, outputs = tuple(ports[: self.input_count]), tuple(ports[self.input_count :])
        return Graph(inputs, outputs, nodes, types, constants)


def parse_provenance(text: str | bytes, offset: int = 0) -> dict[str, Any]:
    """The JSON object that says where a model comes from; the runtime carries it unread.

    Raises:
        CorruptModelError: It is no JSON object.
    """
    try:
        found = json.loads(text)
    except (RecursionError, ValueError):
        found = None
    if not isinstance(found, dict):
        _refuse("the provenance is no JSON object", offset, "provenance")
    return found


def _numbers(value: Any) -> float | tuple[float, ...]:
    return tuple(float(v) for v in value) if isinstance(value, list) else float(value)


def _preprocess(data: bytes, at: tuple[int, int], graph: Graph, provenance: dict[str, Any]) -> Preprocess:
    cursor = _Cursor(data, *at)
    record = cursor.take(layout.PREPROCESS, 1, "preprocess")[0]
    table = cursor.take("u1", int(record["channels"]) * 256, "preprocess.tables").reshape(-1, 256)
    known = provenance.pop("preprocess", {})
    q = graph.types[graph.inputs[0].tensor].quant
    try:
        preprocess = Preprocess(
            size=(int(record["height"]), int(record["width"])),
            scale=float(known["scale"]),
            mean=_numbers(known["mean"]),
            std=_numbers(known["std"]),
            channels=layout.ORDERS[int(record["order"])],
            layout=str(known["layout"]),
            margin=int(record["margin"]),
        )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        _refuse(f"the preprocess makes no sense: {error!r}", at[0], "preprocess")
    if q is None or not np.array_equal(preprocess.table(q), table):
        _refuse("the byte tables are not those of the provenance's scale, mean and std", at[0], "preprocess.tables")
    return preprocess


def _known_answer(data: bytes, at: tuple[int, int], graph: Graph) -> KnownAnswer:
    cursor = _Cursor(data, *at)

    def shape_of(port: Port) -> tuple[int, ...]:
        inside = graph.types[port.tensor].shape
        return port.outside(inside) if port.perm else inside

    def repeat(port: Port) -> Array:
        dtype, shape = np.dtype(port.dtype.numpy), shape_of(port)
        period = int(cursor.take("<u4", 1, "known_answer.period")[0])
        if not period or period % dtype.itemsize:
            _refuse(f"a pattern of {period} bytes", cursor.at, "known_answer.period")
        return np.resize(cursor.take(dtype, period // dtype.itemsize, "known_answer"), shape)

    def take(port: Port) -> Array:
        shape = shape_of(port)
        return cursor.take(port.dtype.numpy, int(np.prod(shape)), "known_answer").reshape(shape)

    return KnownAnswer({p.name: repeat(p) for p in graph.inputs}, {p.name: take(p) for p in graph.outputs})


def _labels(data: bytes, at: tuple[int, int]) -> tuple[str, ...]:
    cursor = _Cursor(data, *at)
    count = int(cursor.take("<u4", 1, "labels")[0])
    texts = data[cursor.at : cursor.end].split(b"\0")
    if len(texts) != count + 1 or texts[-1]:
        _refuse(f"{len(texts) - 1} labels, not {count}", at[0], "labels")
    try:
        return tuple(text.decode() for text in texts[:-1])
    except UnicodeDecodeError:
        _refuse("a label is no UTF-8", at[0], "labels")


def read(data: bytes) -> Artifact:
    """The artifact in the bytes of a model file. Constants are called constant_0, constant_1, ….

    Raises:
        CorruptModelError: The bytes break a rule of the format.
        VersionError: A newer edgekern wrote them.
    """
    sections = _sections(data)
    graph = _GraphReader(data, sections).graph()
    provenance: dict[str, Any] = {}
    if at := sections.get("provenance"):
        provenance = parse_provenance(data[at[0] : at[0] + at[1]], at[0])
    preprocess, decision, answer = None, None, None
    labels: tuple[str, ...] = ()
    if at := sections.get("preprocess"):
        preprocess = _preprocess(data, at, graph, provenance)
    if at := sections.get("labels"):
        labels = _labels(data, at)
    if at := sections.get("decision"):
        record = _Cursor(data, *at).take(layout.DECISION, 1, "decision")[0]
        decision = Decision(float(record["abstain_threshold"]), float(record["temperature"]))
    if at := sections.get("known_answer"):
        answer = _known_answer(data, at, graph)
    return Artifact(graph, preprocess, labels, decision, answer, provenance)
