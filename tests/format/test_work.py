# SPDX-License-Identifier: Apache-2.0
"""No file holds up whoever loads it: the work of a frame is counted before any of it is done."""

from __future__ import annotations

import re
import time

import pytest

from edgekern import _core
from edgekern.artifact import Artifact, work, write
from edgekern.errors import CompileError, CorruptModelError
from edgekern.graph import Graph, Node
from edgekern.ops import registry
from sample_models import Builder, every_op

UNLIMITED = 2**62


def pool(b: Builder, x: str, kernel: int, opcode: str = "MaxPool2D") -> str:
    """A pool that keeps the size of the image."""
    before, after = (kernel - 1) // 2, kernel // 2
    op = registry()[opcode]((kernel, kernel), (1, 1), (before, before, after, after))
    return b.add(op, (x,), b.shape(x), q=b.types[x].quant)


def figure(error: BaseException) -> int:
    found = re.search(r"takes (\d+) steps of work", str(error))
    assert found, error
    return int(found[1])


def refused(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> tuple[int, CorruptModelError, float]:
    """What the loader says of a graph that the writer would not write, and the seconds it took."""
    with monkeypatch.context() as patch:
        patch.setattr(work, "LIMIT", UNLIMITED)
        data = write(Artifact(graph))
    start = time.process_time()  # a busy machine makes the clock run on, not this
    with pytest.raises(CorruptModelError) as refusal:
        _core.Model(data)
    return figure(refusal.value), refusal.value, time.process_time() - start


def test_chained_windows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the ops is legal; together their frame would run for hours."""
    b = Builder((1, 512, 512, 1))
    x = "t0"
    for _ in range(16_000):
        x = pool(b, x, 256)
    graph = b.graph({"y": x})
    count, error, _ = refused(graph, monkeypatch)
    assert error.field == "op.work"
    assert 'op 3 (MaxPool2D "maxpool2d t4")' in str(error)
    assert count == 2**18 * (2 + 2 * 4 + 4 * 2**16)
    with pytest.raises(CompileError, match=r"maxpool2d t4.*2\^36") as compiling:
        write(Artifact(graph))
    assert figure(compiling.value) == count


def test_shared_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """16000 ops that share 8 MB of weights would be scanned and packed 16000 times."""
    b = Builder((1, 1, 1, 2048))
    x = b.conv("t0", 4096, 1)
    first = b.nodes[0]
    for i in range(16_000):
        b.types[f"c{i}"] = b.types[x]
        b.nodes.append(Node(first.op, first.inputs, first.constants, f"c{i}", f"c{i}"))
    count, error, seconds = refused(b.graph({"y": x}), monkeypatch)
    assert error.field == "op.work"
    assert 2**36 < count < 2**36 + 2**25
    # 4096 of the ops stand before the limit and take seconds, a minute under emulation or sanitizers; the scan of all
    # takes several times as long.
    assert seconds < 240


@pytest.mark.parametrize("opcode", ["MaxPool2D", "AveragePool2D", "Conv2D", "DepthwiseConv2D"])
def test_writer_and_loader_count_alike(opcode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure in both refusals, after one op of every kind and at windows of every kind."""
    first = every_op().graph
    b = Builder((1, 12, 14, 3))
    b.types, b.constants, b.nodes = dict(first.types), dict(first.constants), list(first.nodes)
    wide = b.add(registry()["Pad"]((500, 500, 512, 498), (0, 5), fill=0), ("t0",), (1, 1024, 1012, 8))
    for i in range(1, 40):
        if opcode == "Conv2D":
            b.conv(wide, 6, 41, pad=20, groups=2)
        elif opcode == "DepthwiseConv2D":
            b.depthwise(wide, 33 + 2 * i, pad=16 + i)
        else:
            pool(b, wide, 33 + 2 * i, opcode)
    graph = b.graph({"scores": first.outputs[0].tensor, "wide": wide})
    count, error, _ = refused(graph, monkeypatch)
    assert f"({opcode} " in str(error)
    with pytest.raises(CompileError) as compiling:
        write(Artifact(graph))
    assert figure(compiling.value) == count


def test_below_the_limit_a_file_loads() -> None:
    b = Builder((1, 512, 512, 1))
    x = "t0"
    for _ in range(3):
        x = pool(b, x, 256)
    graph = b.graph({"y": pool(b, x, 254)})
    assert 2**35 < work.check_work(graph) < 2**36
    _core.Model(write(Artifact(graph)))
