# SPDX-License-Identifier: Apache-2.0
"""Runs inside the emulated Python: `guest.py MODEL COUNT` infers COUNT times on zeros, from Python, on one thread.

A .tflite file by LiteRT, a .ekm file by edgekern; a call of one Python function is a frame of either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np


def litert(path: str) -> Callable[[], object]:
    from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]

    net = Interpreter(path, num_threads=1)
    net.allocate_tensors()
    for info in net.get_input_details():
        net.set_tensor(info["index"], np.zeros(info["shape"], info["dtype"]))
    return net.invoke  # type: ignore[no-any-return]


def edgekern(path: str) -> Callable[[], object]:
    import edgekern as ek

    model = ek.load(path)
    x = np.zeros((1, *model.inputs[0].shape[1:]), model.inputs[0].dtype)
    y = model.run(x)
    return lambda: model.run(x, out=y)


def main() -> None:
    path, count = sys.argv[1], int(sys.argv[2])
    call = (litert if path.endswith(".tflite") else edgekern)(path)
    for _ in range(count):
        call()


if __name__ == "__main__":
    main()
