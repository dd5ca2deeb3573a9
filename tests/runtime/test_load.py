# SPDX-License-Identifier: Apache-2.0
"""What a load costs others: their interpreter."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from edgekern import _core
from edgekern.artifact import Artifact, KnownAnswer, write
from edgekern.errors import SelfTestError
from edgekern.graph import Graph
from edgekern.ops import registry
from edgekern.types import DType
from sample_models import INPUT, Builder


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
