# SPDX-License-Identifier: Apache-2.0
"""Networks quantised by ONNX Runtime's own tool, run by both: 99 % of all output values within one step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

from onnx import numpy_helper  # noqa: E402

import edgekern  # noqa: E402
from edgekern import _core  # noqa: E402
from float_nets import NETS  # noqa: E402

pytestmark = [pytest.mark.peer, pytest.mark.slow]
FRAMES = 40
FORMS = {  # activations, weights, a scale for each output channel
    "u8s8 per channel": ("QUInt8", "QInt8", True),
    "s8s8": ("QInt8", "QInt8", False),
    "u8u8": ("QUInt8", "QUInt8", False),
}


def frames(count: int, side: int, seed: int) -> Any:
    """Noise round a colour of each frame's own, so that answers differ."""
    draw = np.random.default_rng(seed)
    colours = draw.normal(size=(count, 3, 1, 1)) * 1.5
    return (colours + draw.normal(size=(count, 3, side, side))).astype(np.float32)


def has_vnni() -> bool:
    return any(row["runs_here"] and row["isa"] in ("avxvnni", "avx512vnni") for row in _core.kernels())


def quantised(net: str, form: str, layout: str, folder: Path) -> Path:
    """The network as ONNX Runtime quantises it."""
    tool = pytest.importorskip("onnxruntime.quantization", reason="needs pip install onnxruntime")
    proto = NETS[net]()
    side = proto.graph.input[0].type.tensor_type.shape.dim[3].dim_value
    source, target = folder / "float.onnx", folder / "quantised.onnx"
    onnx.save(proto, source)

    class Reader(tool.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.rest: Iterator[Any] = iter(frames(16, side, 1))

        def get_next(self) -> dict[str, Any] | None:
            frame = next(self.rest, None)
            return None if frame is None else {"x": frame[None]}

    activations, weights, per_channel = FORMS[form]
    tool.quantize_static(
        str(source), str(target), Reader(), quant_format=tool.QuantFormat[layout], per_channel=per_channel,
        activation_type=tool.QuantType[activations], weight_type=tool.QuantType[weights],
    )  # fmt: skip
    return target


def outputs(path: Path, x: Any) -> Any:
    """What ONNX Runtime makes of the frames. Without VNNI its products saturate unless it is told not to."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if not has_vnni():
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": frame[None]})[0] for frame in x])


@pytest.mark.parametrize("layout", ["QDQ", "QOperator"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("net", NETS)
def test_both_give_the_same_steps(net: str, form: str, layout: str, tmp_path: Path) -> None:
    if (form, layout) == ("s8s8", "QOperator") and not has_vnni():
        pytest.skip("ONNX Runtime has no exact kernels for it on this CPU")
    path = quantised(net, form, layout, tmp_path)
    model = edgekern.compile(path)
    x = frames(FRAMES, model.inputs[0].shape[3], 2)
    wanted, found = outputs(path, x), model.run(x)
    steps = np.abs(wanted - found) / model.outputs[0].scale
    print(f"\n{net}, {form}, {layout}: {(steps < 0.01).mean():.2%} equal, at most {steps.max():.0f} step(s) apart")
    assert (steps < 1.01).mean() >= 0.99
    assert len(np.unique(wanted.argmax(axis=1))) > 1
    swapped = np.abs(wanted[1:] - found[:-1]) / model.outputs[0].scale  # the answer to another frame
    assert (swapped < 1.01).mean() < 0.7


def test_a_swapped_layer_fails(tmp_path: Path) -> None:
    path = quantised("resnet", "s8s8", "QDQ", tmp_path)
    proto = onnx.load(path)
    kernels = [t for t in proto.graph.initializer if t.name.endswith("_quantized") and t.dims[:] == [16, 16, 3, 3]]
    first, second = (numpy_helper.to_array(t).copy() for t in kernels[:2])
    kernels[0].CopyFrom(numpy_helper.from_array(second, kernels[0].name))
    kernels[1].CopyFrom(numpy_helper.from_array(first, kernels[1].name))
    model = edgekern.compile(proto)
    x = frames(FRAMES, 32, 2)
    steps = np.abs(outputs(path, x) - model.run(x)) / model.outputs[0].scale
    assert (steps < 1.01).mean() < 0.5
