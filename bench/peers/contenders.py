# SPDX-License-Identifier: Apache-2.0
"""Every runtime as one call from the NumPy array `x` to the NumPy array `y`, both of the model file's own types.

Each takes the shortest way that its Python interface has for that. Nothing here sends anything: telemetry is off.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass
class Contender:
    """A model loaded by a runtime.

    Attributes:
        call: Runs what stands in the array given at loading.
        output: What the last call made.
        items: How many frames of the network a call runs.
    """

    call: Callable[[], object]
    output: Callable[[], Array]
    items: int = 1


@dataclass(frozen=True)
class Files:
    """One network: what each runtime loads, for how many threads; `float32` is the source where it has no twin."""

    source: Path
    float32: Path
    compiled: Path
    threads: int


def edgekern(files: Files, x: Array) -> Contender:
    import edgekern as ek

    model = ek.load(files.compiled, threads=files.threads)
    (output,) = model.outputs
    y = np.empty((len(x), *output.shape[1:]), output.dtype)
    run = model.run
    return Contender(lambda: run(x, out=y), lambda: y)


def camera(files: Files, x: Array | None = None) -> Contender:
    """The bundled model from camera frames: a call crops, resizes and classifies the boxes of one of latency.py's."""
    from edgekern.model import Model
    from latency import MODEL, scene

    frames, boxes = scene()
    model = Model.from_bytes(MODEL.read_bytes(), threads=files.threads)
    y = np.empty((boxes.shape[1], *model.outputs[0].shape[1:]), model.outputs[0].dtype)
    turns = itertools.cycle(zip(frames, boxes, strict=True))
    run = model.run_image

    def call() -> None:
        frame, box = next(turns)
        run(frame, box, out=y)

    return Contender(call, lambda: y, len(y))


def onnxruntime(files: Files, x: Array) -> Contender:
    """Input and output stay bound to NumPy's memory."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = files.threads, 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(files.source), options, providers=["CPUExecutionProvider"])
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    y = np.empty([len(x), *made.shape[1:]], np.float32)
    binding = session.io_binding()
    binding.bind_input(given.name, "cpu", 0, x.dtype, x.shape, x.ctypes.data)
    binding.bind_output(made.name, "cpu", 0, y.dtype, y.shape, y.ctypes.data)
    return Contender(lambda: session.run_with_iobinding(binding), lambda: y)


def openvino(files: Files, x: Array) -> Contender:
    """Input and output share NumPy's memory, the shape is fixed."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino as ov

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": files.threads, "NUM_STREAMS": 1}
    core = ov.Core()
    model = core.read_model(str(files.source))
    model.reshape(list(x.shape))
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(ov.Tensor(x, shared_memory=True))
    held = request.get_output_tensor()
    y = np.empty(list(held.shape), held.data.dtype)
    request.set_output_tensor(ov.Tensor(y, shared_memory=True))

    # A third less for the smallest nets than start_async and wait, and a quarter of infer([x]).
    return Contender(lambda: request.infer(share_outputs=True), lambda: y)


def litert(files: Files, x: Array) -> Contender:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(files.source), num_threads=files.threads)
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    last: list[Array] = []

    def call() -> None:
        interpreter.set_tensor(given, x)
        interpreter.invoke()
        last[:] = [interpreter.get_tensor(made)]

    return Contender(call, lambda: last[0])


def torch(files: Files, x: Array) -> Contender:
    """Eager float32 of the same network."""
    from peers.eager import eager

    return eager(files.source, files.float32, x, files.threads)


MAKERS: dict[str, Callable[[Files, Array], Contender]] = {
    "edgekern": edgekern,
    "camera": camera,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "litert": litert,
    "torch": torch,
}
FORMS = {
    "onnx": ("edgekern", "onnxruntime", "openvino", "torch"),
    "tflite": ("edgekern", "litert", "openvino", "torch"),
}
CAPPED = ("edgekern", "openvino")
