# SPDX-License-Identifier: Apache-2.0
"""Compiles a float ResNet-18 (random weights, 46.8 MB) with streamed frames; prints time, memory and sizes as JSON.

A program of its own, so that its peak memory is the compile's and nothing else's: `large_resnet.py FOLDER FRAMES`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from peak_memory import peak

SIDE, CLASSES = 224, 1000
STAGES = ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))  # channels in, out, stride


def write(path: Path) -> None:
    """ResNet-18 as ONNX: each batch norm's statistics are near those that its input has on normal noise."""
    from onnx import TensorProto, helper, numpy_helper, save

    draw = np.random.default_rng(18)
    nodes: list[Any] = []
    held: list[Any] = []

    def add(kind: str, *inputs: Any, **attributes: Any) -> str:
        names = []
        for x in inputs:
            if not isinstance(x, str):
                held.append(numpy_helper.from_array(np.asarray(x, np.float32), f"w{len(held)}"))
                x = held[-1].name
            names.append(x)
        nodes.append(helper.make_node(kind, names, [f"{kind}_{len(nodes)}"], **attributes))
        return str(nodes[-1].output[0])

    def conv(x: str, ci: int, co: int, k: int, stride: int, square: float) -> str:
        """Convolution and batch norm; `square` is the mean square of x, and that of the result is about 1."""
        w = draw.normal(size=(co, ci, k, k)) * np.sqrt(2 / (ci * k * k))
        y = add("Conv", x, w, kernel_shape=[k, k], strides=[stride] * 2, pads=[k // 2] * 4)
        about = draw.uniform(0.8, 1.2, (2, co))
        small = draw.normal(size=(2, co)) * 0.1
        return add("BatchNormalization", y, about[0], small[0], small[1], 2 * square * about[1])

    x = add("Relu", conv("x", 3, 64, 7, 2, 1.0))
    x, square = add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 1.5
    for ci, co, stride in STAGES:
        for into, step in ((ci, stride), (co, 1)):
            y = add("Relu", conv(x, into, co, 3, step, square))
            y = conv(y, co, co, 3, 1, 0.5)
            short = x if (into, step) == (co, 1) else conv(x, into, co, 1, step, square)
            square = 1.0 if short != x else 0.5 + square  # of the sum, the negative half cut off
            x = add("Relu", add("Add", y, short))
    x = add("Flatten", add("GlobalAveragePool", x))
    y = add("Gemm", x, draw.normal(size=(CLASSES, 512)) / 20, draw.normal(size=CLASSES) * 0.1, transB=1)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ["batch", 3, SIDE, SIDE]), (y, ["batch", CLASSES]))
    ]
    graph = helper.make_graph(nodes, "resnet18", ends[:1], ends[1:], held)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def frames(count: int) -> Iterator[Any]:
    """Noise round a colour of each frame's own."""
    draw = np.random.default_rng(5)
    for _ in range(count):
        yield (draw.normal(size=(3, 1, 1)) + draw.normal(size=(3, SIDE, SIDE))).astype(np.float32)


def main(folder: Path, count: int) -> None:
    import edgekern

    source, target = folder / "resnet18.onnx", folder / "resnet18.ekm"
    if not source.exists():
        write(source)
        return  # the compile has a process of its own
    begin, used = time.perf_counter(), time.process_time()
    model = edgekern.compile(source, calibration=frames(count))
    model.save(target)
    report = model.report
    assert report is not None
    figures = {
        "seconds": time.perf_counter() - begin,
        "cpu_seconds": time.process_time() - used,
        "peak": peak(),
        "source": source.stat().st_size,
        "target": target.stat().st_size,
        "sqnr": report.outputs[0].sqnr,
        "samples": report.calibration_samples,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
