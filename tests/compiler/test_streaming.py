# SPDX-License-Identifier: Apache-2.0
"""Calibration streams: what it needs is known from the network, not from how many samples come."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

import edgekern
from small_onnx import model, node, normal

SIDE, CHANNELS = 48, 32
SAMPLE = 4 * 3 * SIDE * SIDE  # bytes of one float32 sample
FEW, MANY = 50, 500
MORE = 40 * SAMPLE  # the first chunk of few samples holds those kept for later as well; after it they come on top


def network() -> bytes:
    """Large enough for both numbers of samples to lie beyond what bias correction and the report keep of them."""
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "b"),
        node("Conv", "b v", "c", pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", "c", "y"),
    ]
    weights = {"w": normal(CHANNELS, 3, 3, 3, scale=0.2), "v": normal(4, CHANNELS, 3, 3, seed=1, scale=0.1)}
    return bytes(model(nodes, {"x": [1, 3, SIDE, SIDE]}, "y", weights).SerializeToString())


def samples(count: int) -> Iterator[Any]:
    for i in range(count):
        yield normal(1, 3, SIDE, SIDE, seed=i)


def peak(data: bytes, calibration: Any) -> int:
    """Bytes held at once while compiling, above what was held before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        edgekern.compile(data, calibration=calibration)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def kept(count: int) -> Iterator[Any]:
    """Samples that stay: what a compiler that lists them would need."""
    held = list(samples(count))
    yield from held


@pytest.mark.slow
def test_ten_times_the_samples_need_no_more_memory() -> None:
    data = network()
    peak(data, samples(2))  # caches of the first call
    few, many = peak(data, samples(FEW)), peak(data, samples(MANY))
    assert few > FEW * SAMPLE, "tracemalloc sees no arrays: the comparison would prove nothing"
    assert many <= few + MORE, f"{few} bytes for {FEW} samples, {many} for {MANY}"
    assert peak(data, kept(3 * FEW)) > few + MORE  # a hoard is seen
