# SPDX-License-Identifier: Apache-2.0
"""Files that lie, with a digest that fits the lie: each is refused with the byte and the field that lies."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ekm_fields import File, rehashed, run_lies

from edgekern import _core
from edgekern.__main__ import main
from edgekern.artifact import Artifact, write
from edgekern.errors import CorruptModelError, VersionError
from edgekern.model import Model
from edgekern.ops import registry
from sample_models import Builder, classifier, every_op

FILE = File.of(write(every_op()))
NAN, INF = float("nan"), float("inf")
TINY = float(np.float32(1e-40))  # subnormal


def row(opcode: str) -> int:
    return FILE.op(opcode)


def made_by(opcode: str) -> int:
    """Tensor that the first op of a kind makes."""
    at = FILE.get("op", row(opcode), "operand_begin") + FILE.get("op", row(opcode), "input_count")
    return int(FILE.get("operand", int(at), ""))


def constant_of(opcode: str, slot: int) -> int:
    begin = int(FILE.get("op", row(opcode), "operand_begin"))
    counts = [int(FILE.get("op", row(opcode), f"{kind}_count")) for kind in ("input", "output")]
    return int(FILE.get("operand", begin + sum(counts) + slot, ""))


def param(opcode: str, index: int) -> int:
    return int(FILE.get("op", row(opcode), "param_begin")) + index


# (table, row, field, item, value) -> field that the refusal names
LIES: list[tuple[tuple[str, int, str, int, Any], str]] = [
    (("header", 0, "file_size", 0, 2**63), "file_size"),
    (("header", 0, "section_count", 0, 0), "section_count"),
    (("header", 0, "section_count", 0, 2**32 - 1), "section_count"),
    (("header", 0, "reserved", 0, 1), "reserved"),
    (("header", 0, "format_version", 0, 0), "format_version"),
    (("header", 0, "arithmetic_version", 0, 0), "arithmetic_version"),
    (("section", 0, "kind", 0, 9), "section.kind"),
    (("section", 0, "kind", 0, 0), "section.kind"),
    (("section", 1, "kind", 0, 1), "section.kind"),
    (("section", 0, "reserved", 0, 1), "section.reserved"),
    (("section", 0, "reserved2", 0, 1), "section.reserved"),
    (("section", 0, "offset", 0, 2**63), "section.offset"),
    (("section", 1, "offset", 0, 64), "section.offset"),
    (("section", 0, "size", 0, 2**64 - 1), "section.size"),
    (("section", 0, "size", 0, 16), "section.size"),
    (("graph", 0, "tensor_count", 0, 2**32 - 1), "graph.tensor_count"),
    (("graph", 0, "op_count", 0, 100_000), "graph.op_count"),
    (("graph", 0, "input_count", 0, 0), "graph.input_count"),
    (("graph", 0, "input_count", 0, 3), "graph.input_count"),
    (("graph", 0, "port_count", 0, 18), "graph.port_count"),
    (("graph", 0, "port_count", 0, 2**32 - 1), "graph.port_count"),
    (("graph", 0, "string_bytes", 0, 2**31), "graph.string_bytes"),
    (("tensor", 1, "name", 0, 2**31), "tensor.name"),
    (("tensor", 1, "name", 0, int(FILE.get("tensor", 1, "name")) + 1), "tensor.name"),
    (("tensor", 1, "dtype", 0, 0), "tensor.dtype"),
    (("tensor", 1, "dtype", 0, 3), "tensor.dtype"),
    (("tensor", 1, "dtype", 0, 4), "tensor.zero_point"),
    (("tensor", 1, "dtype", 0, 1), "tensor.scale"),
    (("tensor", 1, "rank", 0, 0), "tensor.rank"),
    (("tensor", 1, "rank", 0, 7), "tensor.rank"),
    (("tensor", 1, "dims", 0, 2), "tensor.dims"),
    (("tensor", 1, "dims", 1, 0), "tensor.dims"),
    (("tensor", 1, "dims", 1, -1), "tensor.dims"),
    (("tensor", 1, "dims", 1, 2**31 - 1), "tensor.dims"),
    (("tensor", 1, "dims", 1, 2**27), "tensor.dims"),
    (("tensor", 1, "dims", 4, 1), "tensor.dims"),
    (("tensor", 1, "scale", 0, 0.0), "tensor.scale"),
    (("tensor", 1, "scale", 0, -0.5), "tensor.scale"),
    (("tensor", 1, "scale", 0, 257.0), "tensor.scale"),
    (("tensor", 1, "scale", 0, NAN), "tensor.scale"),
    (("tensor", 1, "scale", 0, INF), "tensor.scale"),
    (("tensor", 1, "scale", 0, TINY), "tensor.scale"),
    (("tensor", 1, "zero_point", 0, 128), "tensor.zero_point"),
    (("tensor", 1, "zero_point", 0, -129), "tensor.zero_point"),
    (("tensor", 1, "reserved", 1, 1), "tensor.reserved"),
    (("constant", 0, "dtype", 0, 4), "constant.dtype"),
    (("constant", 0, "rank", 0, 0), "constant.rank"),
    (("constant", 0, "dims", 0, -8), "constant.dims"),
    (("constant", 0, "dims", 0, 9), "constant.size"),
    (("constant", 0, "reserved", 0, 1), "constant.reserved"),
    (("constant", 0, "size", 0, 2**63), "constant.size"),
    (("constant", 1, "offset", 0, 0), "constant.offset"),
    (("constant", 1, "offset", 0, 2**64 - 64), "constant.offset"),
    (("op", 0, "name", 0, 2**31), "op.name"),
    (("op", 0, "opcode", 0, 0), "op.opcode"),
    (("op", 0, "opcode", 0, 99), "op.opcode"),
    (("op", 0, "opcode", 0, 2), "op.param_count"),
    (("op", 0, "input_count", 0, 0), "op.counts"),
    (("op", 0, "output_count", 0, 2), "op.counts"),
    (("op", 0, "constant_count", 0, 65535), "op.counts"),
    (("op", 0, "operand_begin", 0, 2**32 - 1), "op.operand_begin"),
    (("op", 0, "param_begin", 0, 2**32 - 1), "op.param_begin"),
    (("op", 0, "param_count", 0, 2**31), "op.param_count"),
    (("op", 0, "reserved", 0, 1), "op.reserved"),
    (("op", row("Concat"), "input_count", 0, 60_000), "op.operand_begin"),
    (("port", 0, "name", 0, 2**31), "port.name"),
    (("port", 0, "tensor", 0, 1), "port.tensor"),
    (("port", 1, "tensor", 0, 2**32 - 1), "port.tensor"),
    (("port", 0, "dtype", 0, 5), "port.dtype"),
    (("port", 1, "dtype", 0, 2), "port.dtype"),
    (("port", 0, "rank", 0, 3), "port.rank"),
    (("port", 0, "perm", 0, 1), "port.perm"),
    (("port", 0, "perm", 3, 1), "port.perm"),
    (("port", 0, "perm", 7, 1), "port.perm"),
    (("port", 0, "perm", 1, 255), "port.perm"),
    (("port", 0, "scale", 0, 1.0), "port.scale"),
    (("port", 0, "zero_point", 0, 1), "port.scale"),
    (("operand", 0, "", 0, 1), "operand"),  # op 0 reads what it makes
    (("operand", 0, "", 0, 2**32 - 1), "operand"),
    (("operand", 1, "", 0, 0), "operand"),  # makes its input again
    (("operand", 1, "", 0, 2), "operand"),
    (("operand", 2, "", 0, 2**32 - 1), "operand"),
    (("operand", 2, "", 0, 1), "constant.dtype"),
    (("preprocess", 0, "width", 0, 13), "preprocess.width"),
    (("preprocess", 0, "channels", 0, 4), "preprocess.channels"),
    (("preprocess", 0, "channels", 0, 1), "section.size"),
    (("preprocess", 0, "order", 0, 2), "preprocess.order"),
    (("preprocess", 0, "order", 0, 7), "preprocess.order"),
    (("preprocess", 0, "margin", 0, 2**32 - 1), "preprocess.margin"),
    (("preprocess", 0, "resize", 0, 1), "preprocess.resize"),
    (("preprocess", 0, "input", 0, 1), "preprocess.input"),
    (("preprocess", 0, "reserved", 0, 1), "preprocess.reserved"),
    (("decision", 0, "abstain_threshold", 0, NAN), "decision.abstain_threshold"),
    (("decision", 0, "abstain_threshold", 0, 1.5), "decision.abstain_threshold"),
    (("decision", 0, "temperature", 0, 0.0), "decision.temperature"),
    (("decision", 0, "reserved", 1, 1), "decision.reserved"),
    (("known_answer", 0, "", 0, 0), "known_answer.period"),
    (("known_answer", 0, "", 0, 2**32 - 1), "known_answer.period"),
    (("known_answer", 0, "", 0, 12 * 14 * 3 + 1), "known_answer.period"),
    (("known_answer", 0, "", 0, 12 * 14 * 3 - 1), "known_answer"),
    # params, by op
    (("param", param("Conv2D", 0), "", 0, 0), "op.kernel"),
    (("param", param("Conv2D", 0), "", 0, 2**31 - 1), "op.kernel"),
    (("param", param("Conv2D", 2), "", 0, 0), "op.stride"),
    (("param", param("Conv2D", 2), "", 0, -1), "op.stride"),
    (("param", param("Conv2D", 4), "", 0, 0), "op.dilation"),
    (("param", param("Conv2D", 6), "", 0, -1), "op.padding"),
    (("param", param("Conv2D", 6), "", 0, 2**31 - 1), "op.padding"),
    (("param", param("Conv2D", 10), "", 0, 0), "op.groups"),
    (("param", param("Conv2D", 10), "", 0, 2), "op.groups"),
    (("param", param("Conv2D", 11), "", 0, -129), "op.lo"),
    (("param", param("Conv2D", 12), "", 0, 128), "op.hi"),
    (("param", param("DepthwiseConv2D", 1), "", 0, 2), "tensor.dims"),
    (("param", param("MaxPool2D", 4), "", 0, 2), "op.padding"),
    (("param", param("AveragePool2D", 8), "", 0, 2), "op.count_include_pad"),
    (("param", param("Mean", 2), "", 0, 0x7F800000), "op.m"),
    (("param", param("Mean", 2), "", 0, 1), "op.m"),
    (("param", param("Add", 0), "", 0, 12), "op.shift"),
    (("param", param("Add", 0), "", 0, 31), "op.shift"),
    (("param", param("Add", 1), "", 0, -1), "op.m"),
    (("param", param("Add", 2), "", 0, 2**21 + 1), "op.n"),
    (("param", param("Concat", 0), "", 0, 0), "op.axis"),
    (("param", param("Concat", 0), "", 0, 4), "op.axis"),
    (("param", param("Pad", 0), "", 0, -1), "op.padding"),
    (("param", param("Pad", 6), "", 0, 128), "op.value"),
    (("param", param("Transpose", 0), "", 0, 1), "op.perm"),
    (("param", param("Transpose", 2), "", 0, 3), "op.perm"),
    (("param", param("Transpose", 5), "", 0, 1), "op.perm"),
    (("param", param("Mul", 1), "", 0, 128), "op.hi"),
    (("param", param("Mul", 2), "", 0, 0x4F000000), "op.m"),
    (("param", param("Mul", 2), "", 0, 0x80000000 - 2**32), "op.m"),
    (("param", param("Slice", 0), "", 0, 0), "op.axis"),
    (("param", param("Slice", 0), "", 0, 4), "op.axis"),
    (("param", param("Slice", 1), "", 0, -1), "op.begin"),
    (("param", param("Slice", 1), "", 0, 17), "op.begin"),
    (("param", param("Slice", 1), "", 0, 3), "tensor.dims"),
    (("param", param("Slice", 2), "", 0, 0), "op.step"),
    (("param", param("Slice", 2), "", 0, 3), "tensor.dims"),
    (("param", param("Slice", 2), "", 0, 2**31 - 1), "tensor.dims"),
    (("param", param("LayerNorm", 0), "", 0, -129), "op.lo"),
    (("param", param("LayerNorm", 2), "", 0, 0), "op.epsilon"),
    (("param", param("LayerNorm", 2), "", 0, 1), "op.epsilon"),
    (("param", param("LayerNorm", 2), "", 0, 0xBF800000 - 2**32), "op.epsilon"),
    (("param", param("LayerNorm", 2), "", 0, 0x6F800000), "op.epsilon"),  # 2^96
    (("param", param("LayerNorm", 2), "", 0, 0x7FC00000), "op.epsilon"),
    (("constant", constant_of("LayerNorm", 0), "dtype", 0, 5), "constant.dtype"),
    # shapes and quantisation of results
    (("tensor", made_by("LayerNorm"), "dims", 1, 6), "tensor.dims"),
    (("tensor", made_by("Conv2D"), "dims", 1, 7), "tensor.dims"),
    (("tensor", made_by("DepthwiseConv2D"), "dims", 3, 7), "tensor.dims"),
    (("tensor", made_by("MaxPool2D"), "scale", 0, 0.5), "tensor.scale"),
    (("tensor", made_by("MaxPool2D"), "zero_point", 0, 9), "tensor.zero_point"),
    (("tensor", made_by("Add"), "dims", 1, 5), "tensor.dims"),
    (("tensor", made_by("Concat"), "dims", 3, 15), "tensor.dims"),
    (("tensor", made_by("Transpose"), "dims", 1, 16), "tensor.dims"),
    (("tensor", made_by("Slice"), "dims", 1, 9), "tensor.dims"),
    (("tensor", made_by("Resize2D"), "dims", 1, 4), "constant.dims"),
    (("tensor", made_by("Resize2D"), "dims", 2, 14), "constant.dims"),
    (("tensor", made_by("Resize2D"), "dims", 3, 8), "tensor.dims"),
    (("tensor", made_by("Resize2D"), "scale", 0, 0.5), "tensor.scale"),
    (("tensor", made_by("Resize2D"), "zero_point", 0, 9), "tensor.zero_point"),
    (("constant", constant_of("Resize2D", 0), "dtype", 0, 1), "constant.dtype"),
    (("tensor", made_by("Slice"), "dims", 2, 6), "tensor.dims"),
    (("tensor", made_by("Reshape"), "dims", 1, 8), "tensor.dims"),
    (("tensor", made_by("Mean"), "dims", 3, 8), "tensor.dims"),
    (("tensor", made_by("Mul"), "dims", 2, 16), "tensor.dims"),
    (("operand", int(FILE.get("op", row("Mul"), "operand_begin")), "", 0, made_by("Mean")), "tensor.dims"),
    (("operand", int(FILE.get("op", row("Mul"), "operand_begin")) + 1, "", 0, made_by("Conv2D")), "tensor.dims"),
]


@pytest.mark.parametrize(("lie", "field"), LIES, ids=[f"{t}.{f or 'word'}[{r}.{i}]={v}" for (t, r, f, i, v), _ in LIES])
def test_a_lie_is_named(lie: tuple[str, int, str, int, Any], field: str) -> None:
    table, index, name, item, value = lie
    with pytest.raises(CorruptModelError) as refusal:
        _core.Model(FILE.put(table, index, name, value, item))
    assert refusal.value.field == field
    assert 0 <= refusal.value.offset <= len(FILE.data)
    if field == f"{table}.{name}" and name not in ("kind", "size", "offset", "scale"):
        at, dtype = FILE.offset(table, index, name, item)
        begin = at - item * dtype.itemsize  # arrays: any of their numbers
        assert begin <= refusal.value.offset <= begin + 8 * dtype.itemsize


@pytest.mark.parametrize("field", ["format_version", "arithmetic_version"])
def test_a_newer_file_is_a_version_error(field: str) -> None:
    with pytest.raises(VersionError, match="update edgekern") as refusal:
        _core.Model(FILE.put("header", 0, field, 2))
    assert refusal.value.field == field


def payload(opcode: str, slot: int, dtype: str, index: int, value: Any) -> bytes:
    """The file with one element of a constant changed."""
    at = FILE.starts["constants"] + int(FILE.get("constant", constant_of(opcode, slot), "offset"))
    at += index * np.dtype(dtype).itemsize
    raw = np.array(value).astype(dtype).tobytes()
    return rehashed(FILE.data[:at] + raw + FILE.data[at + len(raw) :])


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (payload("Conv2D", 1, "<i4", 3, 2**31 - 1), "constant.bias"),
        (payload("Conv2D", 1, "<i4", 3, -(2**31)), "constant.bias"),
        (payload("DepthwiseConv2D", 1, "<i4", 7, 2**31 - 1000), "constant.bias"),
        (payload("Affine", 1, "<i4", 0, -(2**31)), "constant.bias"),
        (payload("Conv2D", 2, "<f4", 2, -1.0), "constant.multiplier"),
        (payload("Conv2D", 2, "<f4", 2, -0.0), "constant.multiplier"),
        (payload("Conv2D", 2, "<f4", 2, NAN), "constant.multiplier"),
        (payload("Conv2D", 2, "<f4", 2, INF), "constant.multiplier"),
        (payload("Conv2D", 2, "<f4", 2, TINY), "constant.multiplier"),
        (payload("Conv2D", 2, "<f4", 2, 2.0**31), "constant.multiplier"),
        (payload("Resize2D", 0, "<i4", 0, -1), "constant.position"),
        (payload("Resize2D", 0, "<i4", 2, 6 * 2048 + 1), "constant.position"),
        (payload("Resize2D", 1, "<i4", 3, 7 * 2048 + 1), "constant.position"),
        (payload("Resize2D", 1, "<i4", 14, 2**31 - 1), "constant.position"),
        (payload("Softmax", 0, "<i4", 0, 2**23 - 1), "constant.table"),
        (payload("Softmax", 0, "<i4", 9, 2**23), "constant.table"),
        (payload("Softmax", 0, "<i4", 255, -1), "constant.table"),
        (payload("LayerNorm", 0, "<f4", 8, 2.0**31), "constant.real"),
        (payload("LayerNorm", 0, "<f4", 0, TINY), "constant.real"),
        (payload("LayerNorm", 1, "<f4", 0, NAN), "constant.real"),
        (payload("LayerNorm", 1, "<f4", 8, -INF), "constant.real"),
    ],
)
def test_a_lying_constant_is_named(data: bytes, field: str) -> None:
    with pytest.raises(CorruptModelError) as refusal:
        _core.Model(data)
    assert refusal.value.field == field
    assert FILE.starts["constants"] <= refusal.value.offset < FILE.starts["constants"] + FILE.sizes["constants"]


def changed(at: int, raw: bytes) -> bytes:
    return rehashed(FILE.data[:at] + raw + FILE.data[at + len(raw) :])


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (changed(FILE.starts["labels"], b"\x07\0\0\0"), "label"),
        (changed(FILE.starts["labels"], b"\xff\xff\xff\xff"), "label"),
        (changed(FILE.starts["labels"] + 4, b"\xff"), "label"),
        (changed(FILE.starts["labels"] + FILE.sizes["labels"] - 1, b"x"), "label"),
        (changed(FILE.starts["strings"], b"\xc0\x80"), "strings"),
        (changed(FILE.starts["provenance"], b"\xed\xa0\x80"), "provenance"),
        (changed(FILE.starts["labels"] - 1, b"\x01"), "padding"),
    ],
)
def test_lying_text_is_named(data: bytes, field: str) -> None:
    with pytest.raises(CorruptModelError) as refusal:
        _core.Model(data)
    assert refusal.value.field == field


@pytest.mark.parametrize(("axis", "length"), [(1, 2), (2, 2), (3, 9), (3, 7)])
def test_a_factor_is_one_pixel_of_the_same_channels(axis: int, length: int) -> None:
    b = Builder((1, 4, 4, 8))
    b.types["gate"] = replace(b.types["t0"], shape=(1, 1, 1, 8))
    made = b.add(registry()["Mul"](0.03), ("t0", "gate"), (1, 4, 4, 8))
    graph = b.graph({"y": made})
    ports = (*graph.inputs, replace(graph.inputs[0], name="gate", tensor="gate"))
    file = File.of(write(Artifact(replace(graph, inputs=ports))))
    _core.Model(file.data)
    gate = int(file.get("operand", 1, ""))
    with pytest.raises(CorruptModelError, match=r"op 0 \(Mul") as refusal:
        _core.Model(file.put("tensor", gate, "dims", length, axis))
    assert refusal.value.field == "tensor.dims"


def test_the_accumulator_proof_is_exact() -> None:
    """The greatest bias that the proof allows loads, one more does not."""
    w = FILE.starts["constants"] + int(FILE.get("constant", constant_of("Conv2D", 0), "offset"))
    weights = np.frombuffer(FILE.data, np.int8, 8 * 27, w).reshape(8, 27).astype(np.int64)
    zero = int(FILE.get("tensor", 0, "zero_point"))
    room = 2**31 - 1 - int(np.abs(weights[5]).sum()) * max(127 - zero, zero + 128)
    _core.Model(payload("Conv2D", 1, "<i4", 5, room))
    _core.Model(payload("Conv2D", 1, "<i4", 5, -room))
    for bias in (room + 1, -room - 1):
        with pytest.raises(CorruptModelError, match="accumulator"):
            _core.Model(payload("Conv2D", 1, "<i4", 5, bias))


def test_random_lies_do_no_harm() -> None:
    """Thousands of re-hashed mutations: refused with a place, or legal and then they run."""
    draw = np.random.default_rng(11)
    interesting = np.array([0, 1, 2, 3, 127, 128, 255, 256, 2**15, 2**16, 2**23, 2**24, 2**28, 2**31 - 1], np.int64)
    fields, ran = run_lies(FILE, draw, interesting, 3000, 10**8)
    assert all(fields)
    assert len(fields) > 1000, "the mutations hardly hurt: the test is weak"
    assert ran > 20, "hardly any mutation survives: the test never reaches the runtime"


@pytest.mark.parametrize(
    "text", ["[1]", "{bad", "null", '"a"', "[" * 60_000], ids=["list", "cut", "null", "text", "deep"]
)
def test_a_provenance_that_is_no_object_is_named(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime carries it unread, so the model runs; whoever looks at it gets told."""
    monkeypatch.setattr("edgekern.artifact.writer._json", lambda _: text.encode())
    data = write(classifier())
    model = Model.from_bytes(data)
    x = np.zeros(model.inputs[0].shape, model.inputs[0].dtype)
    assert model.run(x).shape == (1, 5)
    for look in (lambda: model.provenance, lambda: model.report, lambda: model.reference(x)):
        with pytest.raises(CorruptModelError, match="no JSON object"):
            look()
    path = tmp_path / "lie.ekm"
    path.write_bytes(data)
    if find_spec("typer"):
        assert main(["inspect", str(path)]) == 1
        assert "no JSON object" in capsys.readouterr().err
