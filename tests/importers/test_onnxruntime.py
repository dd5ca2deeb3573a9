# SPDX-License-Identifier: Apache-2.0
"""Networks quantised by ONNX Runtime's own tool, run by both.

Whole networks: 99 % of all output values within one step. Layer by layer, on ONNX Runtime's own quantised tensors:
weighted layers, maxima and moves give its bytes, sums and means are at most one step apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

from onnx import helper, numpy_helper  # noqa: E402

import edgekern  # noqa: E402
from edgekern import _core  # noqa: E402
from float_nets import NETS  # noqa: E402

pytestmark = [pytest.mark.peer, pytest.mark.slow]
FRAMES = 40
NEAR = {"Add", "GlobalAveragePool"}  # sums and means, which ONNX Runtime computes in float32
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


def session_of(source: Path | bytes, integers: bool = False) -> Any:
    """ONNX Runtime on a file. Without VNNI its products saturate unless it is told not to.

    Args:
        source: Path or bytes.
        integers: Run layers of int8 activations in integers; on x86-64 some are left in float32 otherwise.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if not has_vnni():
        options.add_session_config_entry("session.x64quantprecision", "1")
    if integers:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    given = source if isinstance(source, bytes) else str(source)
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def outputs(path: Path, x: Any, integers: bool = False) -> Any:
    """What ONNX Runtime makes of the frames."""
    session = session_of(path, integers)
    return np.concatenate([session.run(None, {"x": frame[None]})[0] for frame in x])


def quantised_tensors(proto: Any, x: Any) -> dict[str, Any]:
    """Result of every QuantizeLinear by its name, and the first output, as ONNX Runtime has them."""
    kinds = {t.name: t.data_type for t in proto.graph.initializer}
    wider = onnx.ModelProto()
    wider.CopyFrom(proto)
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear":
            wider.graph.output.append(helper.make_tensor_value_info(node.output[0], kinds[node.input[2]], None))
    session = session_of(wider.SerializeToString(), integers=True)
    names = [port.name for port in session.get_outputs()]
    frames = [session.run(names, {"x": frame[None]}) for frame in x]
    return {name: np.concatenate(values) for name, values in zip(names, zip(*frames, strict=True), strict=True)}


def layer(proto: Any, known: dict[str, Any], end: Any) -> tuple[str, Any]:
    """(kinds of its float operators, a model) from known tensors to the QuantizeLinear `end`."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    taken, starts, wanted = [], [], [end]
    while wanted:
        node = wanted.pop()
        if node in taken:
            continue
        taken.append(node)
        for name in node.input:
            if name in known:
                starts.append(name)
            elif name in makers:
                wanted.append(makers[name])
    nodes = [node for node in proto.graph.node if node in taken]
    held = {name for node in nodes for name in node.input}
    ports = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(known[name].dtype), [1, *known[name].shape[1:]]
        )
        for name in [*dict.fromkeys(starts), end.output[0]]
    ]
    constants = [t for t in proto.graph.initializer if t.name in held]
    graph = helper.make_graph(nodes, "layer", ports[:-1], ports[-1:], constants)
    kinds = [n.op_type for n in nodes if n.op_type not in ("QuantizeLinear", "DequantizeLinear")]
    return " ".join(kinds), helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)


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


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("net", NETS)
def test_each_layer_of_onnx_runtime_s_own_tensors(net: str, form: str, tmp_path: Path) -> None:
    """The reference, and the kernels, of every layer alone."""
    if form == "s8s8" and not has_vnni():
        pytest.skip("ONNX Runtime has no exact kernels for it on this CPU")
    path = quantised(net, form, "QDQ", tmp_path)
    proto = onnx.load(path)
    x = frames(4, proto.graph.input[0].type.tensor_type.shape.dim[3].dim_value, 2)
    known = quantised_tensors(proto, x)
    assert np.array_equal(known[proto.graph.output[0].name], outputs(path, x, True)), "more outputs, other bytes"
    values: Counter[str] = Counter()
    apart: Counter[str] = Counter()
    for node in proto.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] == "x":
            continue
        kind, part = layer(proto, known, node)
        model = edgekern.compile(part)
        feeds = {port.name: known[port.name] for port in model.inputs}
        made, wanted = model.reference(feeds), known[node.output[0]]
        assert np.array_equal(made, model.run(feeds if len(feeds) > 1 else next(iter(feeds.values()))))
        assert made.dtype == wanted.dtype
        gap = np.abs(made.astype(int) - wanted)
        values[kind] += gap.size
        apart[kind] += int((gap != 0).sum())
        assert gap.max() <= (kind in NEAR), (kind, node.name, int((gap != 0).sum()))
    print(f"\n{net}, {form}: values compared {dict(values)}, one step apart {dict(+apart) or 'none'}")
    assert values["Conv"] > 50_000
    assert values["Gemm"] or values["GlobalAveragePool"]


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
