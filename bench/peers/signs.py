# SPDX-License-Identifier: Apache-2.0
"""The bundled sign model beside ONNX Runtime and OpenVINO on the same float network, one pinned thread.

    python bench/peers/signs.py sign.onnx calib.npz [--model signs.ekm] [--core N] [--rounds 60] [--json FILE]

The peers' int8 models are made by ONNX Runtime's own quantizer (QDQ, uint8 activations, per-channel int8 weights) from
the float ONNX file, calibrated on the crops of `calib.npz` (array `images`, uint8 [n, 48, 48, 3]). All contenders take
turns in blocks; the figure is the median over rounds. `agree` is the share of crops on which a contender names the
class that the float network names (ONNX Runtime, float32).
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import edgekern

Call = Callable[[np.ndarray], np.ndarray]


def quantised(onnx_path: Path, images: np.ndarray, target: Path) -> Path:
    """Writes the QDQ int8 version of a float ONNX file."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = onnx.load(onnx_path).graph.input[0].name

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds = iter([{name: planar(image[None])} for image in images])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._feeds, None)

    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(str(onnx_path), str(prepared))
    quantize_static(
        str(prepared),
        str(target),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return target


def planar(crops: np.ndarray) -> np.ndarray:
    """Float32 NCHW in 0..1, the input of the float network."""
    return np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def onnxruntime(path: Path) -> Call:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def openvino(path: Path) -> Call:
    import openvino as ov

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    request = ov.Core().compile_model(str(path), "CPU", settings).create_infer_request()
    return lambda x: request.infer([x], share_inputs=True, share_outputs=True)[0]


def ours(model: Path | None, isa: str | None) -> Call:
    engine = edgekern.SignClassifier(isa=isa).model if model is None else edgekern.load(model, isa=isa)
    out = np.empty((1, len(engine.labels)), np.float32)
    return lambda x: engine.run(x, out=out)


def block_ns(call: Call, x: np.ndarray, count: int) -> float:
    start = time.perf_counter_ns()
    for _ in range(count):
        call(x)
    return (time.perf_counter_ns() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("crops", type=Path)
    parser.add_argument("--model", type=Path, help="compiled model; the bundled one if left out")
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    archive = np.load(options.crops)
    crops = archive["val_images"] if "val_images" in archive else archive["images"]

    with tempfile.TemporaryDirectory() as directory:
        int8 = quantised(options.onnx, archive["images"][:200], Path(directory) / "int8.onnx")
        calls: dict[str, tuple[Call, bool]] = {
            "edgekern int8": (ours(options.model, None), False),
            "ONNX Runtime float32": (onnxruntime(options.onnx), True),
            "ONNX Runtime int8": (onnxruntime(int8), True),
            "OpenVINO float32": (openvino(options.onnx), True),
            "OpenVINO int8": (openvino(int8), True),
        }
        inputs = {True: planar(crops[:1]), False: np.ascontiguousarray(crops[:1])}
        times: dict[str, list[float]] = {name: [] for name in calls}
        for call, is_planar in calls.values():
            block_ns(call, inputs[is_planar], 200)
        for _ in range(options.rounds):
            for name, (call, is_planar) in calls.items():
                times[name].append(block_ns(call, inputs[is_planar], 100))

        judge = [int(calls["ONNX Runtime float32"][0](planar(c[None])).argmax()) for c in crops[:2000]]
        rows = []
        for name, (call, is_planar) in calls.items():
            named = [int(call(planar(c[None]) if is_planar else c[None]).argmax()) for c in crops[:2000]]
            agree = sum(a == b for a, b in zip(named, judge, strict=True)) / len(judge)
            rows.append({"contender": name, "us": statistics.median(times[name]) / 1e3, "agree": agree})

    best = min(r["us"] for r in rows if not r["contender"].startswith("edgekern"))
    print(f"{'contender':22} {'us':>8} {'/ best peer':>12} {'agree':>8}")
    for r in rows:
        print(f"{r['contender']:22} {r['us']:8.1f} {r['us'] / best:12.2f} {r['agree']:8.2%}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
