# SPDX-License-Identifier: Apache-2.0
"""Files with int16 tensors: where they may stand, what must hold of them, and what lies about them cost."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ekm_fields import File, rehashed, run_lies

from edgekern import _core, quant
from edgekern.artifact import Artifact, read, work, write
from edgekern.errors import CompileError, CorruptModelError
from edgekern.graph import Graph
from edgekern.model import Model
from edgekern.ops import registry
from edgekern.preprocess import Preprocess
from edgekern.types import DType, Quant, TensorType
from sample_models import Builder

INT16 = Quant(2.0**-12, 0)


def bits(value: float) -> int:
    return int(np.float32(value).view(np.int32))


def widen(b: Builder, *names: str) -> None:
    for name in names:
        b.types[name] = TensorType(b.shape(name), DType.INT16, INT16)


def mixed() -> Graph:
    """conv, depthwise, conv, add, mean: int8 in, int16 between, int16 and int8 out."""
    b = Builder((1, 9, 10, 3))
    first = b.conv("t0", 8, 3, pad=1)
    deep = b.depthwise(first)
    last = b.conv(deep, 8, 1, groups=2)
    ratios = bits(0.5), bits(20.0)
    both = b.add(registry()["Add"](0, *ratios, clamp=(-32768, 32767)), (first, last), b.shape(first))
    mean = b.add(registry()["Mean"](float(np.float32(2e-4))), (both,), (1, 1, 1, 8))
    widen(b, first, deep, both)
    graph = b.graph({"both": both, "mean": mean}, DType.INT8)
    wide = {n.output for n in graph.nodes if b.types[n.output].wide}
    nodes = [replace(n, op=replace(n.op, clamp=(-32768, 32767))) if n.output in wide else n for n in graph.nodes]
    finer = {first: 200, deep: 1, last: 1 / 256}  # multipliers are drawn for bytes on both sides
    constants = {
        name: v * np.float32(finer[name[:-2]]) if name.endswith(".2") else v for name, v in b.constants.items()
    }
    return replace(graph, nodes=tuple(nodes), constants=constants)


GRAPH = mixed()
FILE = File.of(write(Artifact(GRAPH)))
NAMES = ["t0", *(node.output for node in GRAPH.nodes)]
FIRST, DEEP, LAST, BOTH, MEAN = (NAMES.index(node.output) for node in GRAPH.nodes)


def param(op: int, index: int) -> int:
    return int(FILE.get("op", op, "param_begin")) + index


def test_the_file_runs() -> None:
    model = Model.from_bytes(FILE.data)
    x = np.random.default_rng(0).integers(-128, 128, (2, 9, 10, 3)).astype(np.int8)
    made, want = model.run(x), model.reference(x)
    assert all(np.array_equal(made[name], want[name]) for name in want)
    assert all(len(np.unique(y)) > 10 for y in made.values())


LIES: list[tuple[tuple[str, int, str, int, Any], str]] = [
    (("tensor", FIRST, "zero_point", 0, 1), "tensor.zero_point"),
    (("tensor", BOTH, "zero_point", 0, -1), "tensor.zero_point"),
    (("tensor", FIRST, "scale", 0, 0.0), "tensor.scale"),
    (("tensor", FIRST, "scale", 0, float("nan")), "tensor.scale"),
    (("tensor", FIRST, "dtype", 0, 5), "tensor.dtype"),
    (("tensor", FIRST, "dtype", 0, 2), "op.lo"),  # int8 by its dtype, int16 by its clamp
    (("tensor", LAST, "dtype", 0, 4), "tensor.zero_point"),
    (("port", 0, "dtype", 0, 4), "port.dtype"),
    (("port", 1, "dtype", 0, 2), "port.dtype"),  # the int16 output as int8, uint8, int16
    (("port", 1, "dtype", 0, 3), "port.dtype"),
    (("port", 1, "dtype", 0, 4), "port.dtype"),
    (("param", param(0, 11), "", 0, -32769), "op.lo"),
    (("param", param(0, 12), "", 0, 32768), "op.hi"),
    (("param", param(0, 11), "", 0, 2**31 - 1), "op.lo"),
    (("param", param(1, 10), "", 0, -32769), "op.lo"),
    (("param", param(2, 11), "", 0, -129), "op.lo"),  # int16 in, int8 out
    (("param", param(2, 12), "", 0, 128), "op.hi"),
    (("param", param(3, 0), "", 0, 1), "op.shift"),
    (("param", param(3, 0), "", 0, 20), "op.shift"),
    *(
        (("param", param(3, slot), "", 0, bad), f"op.{'?mn'[slot]}")
        for slot in (1, 2)
        for bad in (1, bits(-0.5), bits(-0.0), bits(np.inf), bits(np.nan), bits(2.0**31), -(2**31), 2**31 - 1)
    ),
    (("param", param(3, 4), "", 0, 32768), "op.hi"),
    (("param", param(4, 0), "", 0, -129), "op.lo"),
]


@pytest.mark.parametrize(("lie", "field"), LIES, ids=[f"{t}.{f or 'word'}[{r}.{i}]={v}" for (t, r, f, i, v), _ in LIES])
def test_a_lie_is_named(lie: tuple[str, int, str, int, Any], field: str) -> None:
    table, index, name, item, value = lie
    with pytest.raises(CorruptModelError) as refusal:
        _core.Model(FILE.put(table, index, name, value, item))
    assert refusal.value.field == field


@pytest.mark.parametrize(("slot", "best"), [(1, 2.0**30), (2, 2.0**30), (1, 0.0)])
def test_every_legal_ratio_loads(slot: int, best: float) -> None:
    _core.Model(FILE.put("param", param(3, slot), "", bits(best)))


def test_both_readers_refuse_a_zero_point() -> None:
    with pytest.raises(CorruptModelError, match="zero point 0"):
        read(FILE.put("tensor", FIRST, "zero_point", 7))


def test_the_proof_of_the_two_sums_is_exact() -> None:
    """255 times the weights and the bias stay below 2^31: the greatest such bias loads, one more does not."""
    node = GRAPH.nodes[2]
    weights, bias = (GRAPH.constants[name] for name in node.constants[:2])
    index = int(FILE.get("operand", int(FILE.get("op", 2, "operand_begin")) + 3, ""))
    at = FILE.starts["constants"] + int(FILE.get("constant", index, "offset")) + 4 * 5
    assert np.frombuffer(FILE.data, "<i4", 1, at)[0] == bias[5]
    room = 2**31 - 1 - 255 * int(np.abs(weights[5].astype(np.int64)).sum())

    def with_bias(value: int) -> bytes:
        return rehashed(FILE.data[:at] + np.array(value, "<i4").tobytes() + FILE.data[at + 4 :])

    x = np.random.default_rng(0).integers(-128, 128, (3, 9, 10, 3)).astype(np.int8)
    for value in (room, -room):
        model = Model.from_bytes(with_bias(value))
        made, want = model.run(x), model.reference(x)
        assert all(np.array_equal(made[name], want[name]) for name in want)
    for value in (room + 1, -room - 1):
        with pytest.raises(CorruptModelError, match="accumulator") as refusal:
            _core.Model(with_bias(value))
        assert refusal.value.field == "constant.bias"


def test_a_preprocess_makes_no_int16() -> None:
    b = Builder((1, 8, 8, 3))
    graph = b.graph({"y": b.conv("t0", 4, 3)}, DType.FLOAT32)
    pre = Preprocess((8, 8))
    wide = replace(graph, types={**graph.types, "t0": TensorType((1, 8, 8, 3), DType.INT16, INT16)})
    with pytest.raises(CompileError, match="needs an int8 input"):
        write(Artifact(wide, pre))
    file = File.of(write(Artifact(graph, pre)))
    at, kind = file.offset("tensor", 0, "dtype", 0)
    zero, word = file.offset("tensor", 0, "zero_point", 0)
    data = bytearray(file.data)
    data[at : at + kind.itemsize] = np.array(4, kind).tobytes()
    data[zero : zero + word.itemsize] = np.array(0, word).tobytes()
    with pytest.raises(CorruptModelError, match="a preprocess makes INT8") as refusal:
        _core.Model(rehashed(bytes(data)))
    assert refusal.value.field == "tensor.dtype"


@pytest.mark.parametrize("opcode", ["Conv2D", "DepthwiseConv2D"])
def test_two_sums_are_twice_the_work(opcode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writer and loader count alike; a graph below the limit in int8 is above it in int16."""
    b = Builder((1, 1024, 1024, 8))
    made = b.conv("t0", 8, 31, pad=15) if opcode == "Conv2D" else b.depthwise("t0", 81, pad=40)
    graph = b.graph({"y": made}, DType.FLOAT32)
    taps = graph.constants[graph.nodes[0].constants[0]].size // 8
    size = 1024 * 1024 * 8
    narrow = work.check_work(graph)
    wide = replace(graph, types={**graph.types, "t0": TensorType(b.shape("t0"), DType.INT16, INT16)})
    assert narrow < work.LIMIT < narrow + size * taps
    with pytest.raises(CompileError, match=r"takes (\d+) steps of work") as compiling:
        write(Artifact(wide))
    monkeypatch.setattr(work, "LIMIT", 2**62)
    assert work.check_work(wide) == narrow + size * taps
    with pytest.raises(CorruptModelError, match=r"takes (\d+) steps of work") as loading:
        _core.Model(write(Artifact(wide)))
    figures = {re.search(r"takes (\d+) steps", str(e.value))[1] for e in (compiling, loading)}  # type: ignore[index]
    assert figures == {str(narrow + size * taps)}


def test_random_lies_do_no_harm() -> None:
    """Re-hashed mutations: refused with a place, or legal, and then they run and equal the reference's types."""
    draw = np.random.default_rng(12)
    interesting = np.array([0, 1, 2, 4, 127, 255, 256, 2**15 - 1, 2**15, 2**16, 2**24, 2**28, 2**31 - 1], np.int64)
    fields, ran = run_lies(FILE, draw, interesting, 2000, 10**7)
    assert all(fields)
    assert len(fields) > 600, "the mutations hardly hurt: the test is weak"
    assert ran > 20, "hardly any mutation survives: the test never reaches the runtime"


def test_quantise_spans_int16() -> None:
    x = np.float32([-np.inf, -9, -8, 0, 7.9998, 8, np.inf, np.nan])
    assert quant.quantise(x, INT16, DType.INT16).tolist() == [-32768, -32768, -32768, 0, 32767, 32767, 32767, -32768]
