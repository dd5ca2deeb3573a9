# SPDX-License-Identifier: Apache-2.0
"""What a load costs others: their interpreter, their memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from edgekern import _core
from edgekern.artifact import Artifact, KnownAnswer, write
from edgekern.errors import InputError, MemoryLimitError, SelfTestError
from edgekern.graph import Graph
from edgekern.model import Model
from edgekern.ops import registry
from edgekern.types import DType
from sample_models import INPUT, Builder, classifier


def longest_silence(call: Callable[[], object]) -> float:
    """The longest time that another thread of Python stood still while `call` ran, as a part of the call's time."""
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.wait(0.001):
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    while not ticks:
        time.sleep(0.001)
    start = time.perf_counter()
    call()
    end = time.perf_counter()
    done.set()
    thread.join()
    inside = [start, *(t for t in ticks if start < t < end), end]
    assert end - start > 0.05, "the call is too short: the test shows nothing"
    return max(np.diff(inside)) / (end - start)


def slow_frame() -> tuple[Graph, KnownAnswer]:
    """A frame of 2^30 steps, and an answer to it that is wrong."""
    b = Builder((1, 256, 256, 1))
    op = registry()["MaxPool2D"]((128, 128), (1, 1), (63, 63, 64, 64))
    graph = b.graph({"y": b.add(op, ("t0",), (1, 256, 256, 1), q=INPUT)}, DType.INT8)
    x = np.zeros((1, 256, 256, 1), np.int8)
    return graph, KnownAnswer({"image": x}, {"y": np.full(x.shape, 9, np.float32)})


def test_a_self_test_lets_other_threads_go_on() -> None:
    graph, wrong = slow_frame()
    model = _core.Model(write(Artifact(graph, known_answer=wrong)))

    def call() -> None:
        with pytest.raises(SelfTestError):
            _core.Session(model, isa="scalar")

    assert longest_silence(call) < 0.5


def test_verification_lets_other_threads_go_on() -> None:
    b = Builder((1, 1, 1, 8192))
    b.linear("t0", 8192)
    data = write(Artifact(b.graph({"y": "t1"})))
    assert longest_silence(lambda: _core.Model(data)) < 0.5


def test_the_frame_of_the_self_test_counts() -> None:
    """The limit is exact with it, and as exact without."""
    data = write(classifier())
    total = Model.from_bytes(data).memory_plan().total
    frame = 24 * 24 * 3 + 3 * 64  # the picture; the scores and two lists of buffers, a line each
    Model.from_bytes(data, memory_limit=total + frame)
    with pytest.raises(MemoryLimitError, match=f"self-test need {total + frame} bytes"):
        Model.from_bytes(data, memory_limit=total + frame - 1)


def test_records_beyond_the_limit_are_never_made() -> None:
    """The plan remembers each part of a copying op: many parts of a byte each take more than the tensors do."""
    b = Builder((1, 1, 1, 1))
    for _ in range(8):
        b.add(registry()["Concat"](3), ("t0",) * 60_000, (1, 1, 1, 60_000), q=INPUT)
    data = write(Artifact(b.graph({"y": "t8"})))
    with pytest.raises(MemoryLimitError, match="records alone need"):
        Model.from_bytes(data, memory_limit="16 MiB")
    Model.from_bytes(data, memory_limit="256 MiB")


def test_halos_are_counted_together() -> None:
    """One pixel, padded above for one reader and on the left for another, has a plane around it; a frame writes all."""
    b = Builder((1, 1, 1, 1))
    make = registry()["DepthwiseConv2D"]
    x = "t0"
    for _ in range(70):
        y = b.add(make((1, 1), (16_384, 1), (1, 1), (16_384, 0, 0, 0)), (x,), (1, 2, 1, 1), b.weighted((1, 1, 1), 1))
        b.add(make((1, 1), (1, 16_384), (1, 1), (0, 16_384, 0, 0)), (x,), (1, 1, 2, 1), b.weighted((1, 1, 1), 1))
        x = b.add(registry()["MaxPool2D"]((2, 1)), (y,), (1, 1, 1, 1))
    with pytest.raises(InputError, match=r"2\^36 bytes in all"):
        Model.from_bytes(write(Artifact(b.graph({"y": x}))), selftest=False, memory_limit="64 MiB")


def test_a_plan_reads_its_operands_once() -> None:
    """Not once for each depthwise op: a legal file of 2^14 ops and 2^20 operands would take minutes."""

    def seconds(depthwise: bool) -> float:
        b = Builder((1, 1, 1, 1))
        x = "t0"
        for _ in range(3000):
            one = (1, 1, 1, 1)
            pool = registry()["MaxPool2D"]((1, 1))
            x = b.depthwise(x, 1, pad=0) if depthwise else b.add(pool, (x,), one, q=b.types[x].quant)
        for _ in range(10):
            b.add(registry()["Concat"](3), ("t0",) * 60_000, (1, 1, 1, 60_000), q=INPUT)
        model = _core.Model(write(Artifact(b.graph({"y": x}))))
        start = time.process_time()
        _core.Session(model, selftest=False)
        return time.process_time() - start

    assert seconds(True) < 3 * seconds(False)
