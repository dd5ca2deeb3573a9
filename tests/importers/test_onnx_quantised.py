# SPDX-License-Identifier: Apache-2.0
"""Quantised ONNX: integers taken over as they are. ONNX's own node tests byte for byte, and what is refused."""

from __future__ import annotations

import warnings
from collections import Counter
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import edgekern  # noqa: E402
from edgekern.compiler import Settings, build  # noqa: E402
from edgekern.errors import EdgekernError, UnsupportedOpError  # noqa: E402
from edgekern.importers.onnx import import_onnx  # noqa: E402
from edgekern.ops import Conv2D  # noqa: E402
from edgekern.types import DType, Quant  # noqa: E402
from small_onnx import model, node, quantised_nodes  # noqa: E402

KINDS = ("DequantizeLinear", "QLinearConv", "QLinearMatMul", "QuantizeLinear", "ConvInteger", "MatMulInteger")
INT32 = "its result is int32, and a tensor of the engine is a byte"
PER_AXIS = "an activation with a scale for each place of an axis"
HALF = "float16 scales"
WORDS = "16-bit integers"
SMALL = "integers of 2 or 4 bits"
FLOATS = "floating-point numbers of 4 or 8 bits"
TYPES = {"float16": HALF, "int16": WORDS, "uint16": WORDS}
TYPES |= dict.fromkeys(("INT2", "INT4", "UINT2", "UINT4"), SMALL)
TYPES |= dict.fromkeys(("FLOAT4E2M1", "FLOAT8E4M3FN", "FLOAT8E5M2"), FLOATS)
SKIPS = {
    **dict.fromkeys(
        ("test_basic_convinteger", "test_convinteger_with_padding", "test_convinteger_without_padding"), INT32
    ),
    "test_matmulinteger": INT32,
    **dict.fromkeys(("test_dequantizelinear_axis", "test_quantizelinear_axis"), PER_AXIS),
    **{f"test_{q}quantizelinear_blocked{k}": PER_AXIS for q in ("de", "") for k in ("", "_asymmetric", "_symmetric")},
}


def reason(case: Any) -> str | None:
    """Why a case cannot run."""
    if case.name in SKIPS:
        return SKIPS[case.name]
    held = [x for values in case.data_sets[0] for x in values]
    kinds = {str(x.dtype) if hasattr(x, "dtype") else TensorProto.DataType.Name(x.data_type) for x in held}
    return next((TYPES[kind] for kind in sorted(kinds) if kind in TYPES), None)


@lru_cache(maxsize=1)
def cases() -> list[Any]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = load_model_tests(kind="node")
    return [c for c in found if c.model is not None and c.model.graph.node[0].op_type in KINDS]


def result(case: Any) -> tuple[Any, Any]:
    """What edgekern makes of a case whose operands are bound as initializers, and what is wanted; with a batch."""
    graph = case.model.graph
    values = dict(zip((i.name for i in graph.input), case.data_sets[0][0], strict=True))
    wanted = case.data_sets[0][1][0]
    first = graph.input[0]
    x = values.pop(first.name)
    batched = graph.node[0].op_type in ("QLinearConv", "ConvInteger")
    x, wanted = (x, wanted) if batched else (x[None], wanted[None])
    ports = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in ((first.name, x), (graph.output[0].name, wanted))
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in values.items()]
    bound = helper.make_graph(graph.node, "case", ports[:1], ports[1:], constants)
    made = edgekern.compile(helper.make_model(bound, opset_imports=case.model.opset_import))
    return made.run(x), wanted


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_node_tests_of_quantised_operators(case: Any) -> None:
    why = reason(case)
    if why is None:
        found, wanted = result(case)
        assert found.dtype == wanted.dtype
        assert (found == wanted).all()
        return
    try:
        found, wanted = result(case)
    except (EdgekernError, TypeError):  # TypeError: values that NumPy has no type for
        pytest.skip(why)
    assert found.dtype != wanted.dtype or (found != wanted).any(), f"a skip that would pass: {why}"
    pytest.skip(why)


def test_no_case_is_left_out_without_a_reason() -> None:
    found = Counter(reason(case) or "run" for case in cases())
    print(f"\nquantised ONNX node tests: {dict(found)}")
    assert found["run"] >= 7
    assert found.keys() <= {"run", INT32, PER_AXIS, HALF, WORDS, SMALL, FLOATS}


def test_a_wrong_byte_of_a_node_test_is_seen() -> None:
    """One scale twice as large, and one zero point moved by one: neither gives the case's bytes."""
    case = next(c for c in cases() if c.name == "test_qlinearconv")
    for number, change in ((6, lambda v: v * 2), (7, lambda v: v + 1)):
        inputs = list(case.data_sets[0][0])
        inputs[number] = change(inputs[number]).astype(inputs[number].dtype)
        found, wanted = result(SimpleNamespace(model=case.model, data_sets=[(inputs, case.data_sets[0][1])]))
        assert (found != wanted).any()


def quantised_net(weight_zero: int = 0, dtype: str = "int8") -> Any:
    """QDQ: a convolution with per-channel weights, a ReLU, a mean, a fully connected layer."""
    draw = np.random.default_rng(3)
    low = 0 if dtype == "uint8" else -128
    q = {"xs": np.float32(0.02), "xz": np.array(low + 100, dtype), "ys": np.float32(0.03), "yz": np.array(low, dtype)}
    q |= {
        "ms": np.float32(0.01),
        "mz": np.array(low + 7, dtype),
        "os": np.float32(0.2),
        "oz": np.array(low + 90, dtype),
    }
    q["w"] = draw.integers(-127, 128, (6, 3, 3, 3)).astype(np.int8)
    q["ws"] = np.float32(0.001 * np.arange(1, 7))
    q["wz"] = np.full(6, weight_zero, np.int8)
    q["b"], q["bs"] = draw.integers(-9000, 9000, 6).astype(np.int32), np.float32(0.02) * q["ws"]
    q["f"], q["fs"] = draw.integers(-127, 128, (5, 6)).astype(np.int8), np.float32(0.01)
    return model(quantised_nodes("w ws wz"), {"x": [1, 3, 5, 4]}, "out", q), q


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("weight_zero", [0, 9])
def test_a_network_of_pairs_keeps_its_integers(dtype: str, weight_zero: int) -> None:
    proto, held = quantised_net(weight_zero, dtype)
    made = edgekern.compile(proto)
    x = np.random.default_rng(5).normal(size=(1, 3, 5, 4)).astype(np.float32)
    low = 0 if dtype == "uint8" else -128
    xi = np.clip(np.rint(x[0] / held["xs"]) + int(held["xz"]), low, low + 255).astype(np.int64) - int(held["xz"])
    padded = np.pad(xi, ((0, 0), (1, 1), (1, 1)))
    w = held["w"].astype(np.int64) - weight_zero
    acc = np.zeros((6, 5, 4), np.int64) + held["b"][:, None, None]
    for i in range(5):
        for j in range(4):
            acc[:, i, j] += (w * padded[:, i : i + 3, j : j + 3]).sum(axis=(1, 2, 3))
    m = (held["xs"] * held["ws"]) / held["ys"]
    y = np.clip(np.rint(acc.astype(np.float32) * m[:, None, None]), 0, 255) - 128  # ReLU: the zero point is the least
    traced = made.trace(x)
    found = next(v for v in traced.values() if v.shape == (1, 5, 4, 6))
    assert len(np.unique(y)) > 30
    assert (found[0].transpose(2, 0, 1) == y).all()
    assert (made.run(x) == made.reference(x)).all()


def test_the_report_says_that_no_integer_was_touched() -> None:
    sample = np.zeros((1, 3, 5, 4), np.float32)
    for samples in (None, [sample]):
        report = edgekern.compile(quantised_net()[0], calibration=samples).report
        assert report is not None
        assert not report.bias_correction
        assert report.rounding == "nearest"
        assert "biases corrected" not in str(report)
        seen = ("on one random frame", "integers of the source, no samples")
        assert all((text in str(report)) == (samples is None) for text in seen)


def test_biases_over_weights_of_the_source_are_ours() -> None:
    """Weights in 8 bits, activations in float: the integers stay, what rounding shifts goes into biases."""
    draw = np.random.default_rng(3)
    held = {
        "wq": draw.integers(-127, 128, (6, 3, 3, 3)).astype(np.int8),
        "ws": np.float32(draw.uniform(0.01, 0.02, 6)),
        "wz": np.zeros(6, np.int8),
        "b": np.float32(draw.normal(size=6)),
    }
    proto = model(
        [node("DequantizeLinear", "wq ws wz", "w", axis=0), node("Conv", "x w b", "y")], {"x": [1, 3, 8, 8]}, "y", held
    )
    samples = np.float32(draw.normal(size=(20, 3, 8, 8)))
    found = {}
    for choice in (True, False):
        artifact, report = build(proto, samples, settings=Settings(bias_correction=choice))
        assert report.bias_correction is choice
        layer = next(n for n in artifact.graph.nodes if isinstance(n.op, Conv2D))
        weights, found[choice], _ = (artifact.graph.constants[name] for name in layer.constants)
        assert np.array_equal(weights.transpose(0, 3, 1, 2), held["wq"])
    assert (found[True] != found[False]).any()


def test_the_graph_has_the_sources_quantisation() -> None:
    proto, held = quantised_net(0, "uint8")
    graph = import_onnx(proto)
    assert graph.types["x"].quant == Quant(float(held["xs"]), 100 - 128)
    assert graph.inputs[0].dtype is DType.FLOAT32
    assert {k.tobytes() for k in graph.weight_scales.values()} == {
        held["ws"].tobytes(),
        np.full(5, held["fs"]).tobytes(),
    }


@pytest.mark.parametrize(
    ("zero", "text"),
    [
        (np.array(0, np.uint16), "uint16"),
        (np.zeros(3, np.uint8), "2 scales|shape|scales"),
    ],
)
def test_an_activation_of_another_kind_is_refused(zero: Any, text: str) -> None:
    scale = np.ones(zero.shape, np.float32) * np.float32(0.5)
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")]
    with pytest.raises(UnsupportedOpError, match=text):
        edgekern.compile(model(nodes, {"x": [1, 3, 4, 4]}, "y", {"s": scale, "z": zero}))


def test_integers_read_with_another_scale_are_refused() -> None:
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q t z", "y")]
    held = {"s": np.float32(0.5), "t": np.float32(0.25), "z": np.uint8(3)}
    with pytest.raises(UnsupportedOpError, match="made with"):
        edgekern.compile(model(nodes, {"x": [1, 4]}, "y", held))


def test_an_integer_input_needs_a_scale() -> None:
    proto = model([node("Relu", "x", "y")], {"x": [1, 4]}, "y", dtype=TensorProto.UINT8)
    with pytest.raises(UnsupportedOpError, match="nothing quantises it"):
        edgekern.compile(proto)


@pytest.mark.parametrize("scale", [0.0, -0.5, 1e38])
def test_a_scale_of_weights_that_no_kernel_takes(scale: float) -> None:
    """0 makes a channel of zeros; what is negative or reaches beyond a multiplier is refused by name."""
    proto, held = quantised_net()
    scales = held["ws"].copy()
    scales[2] = scale
    (place,) = (t for t in proto.graph.initializer if t.name == "ws")
    place.CopyFrom(numpy_helper.from_array(scales, "ws"))
    x = np.random.default_rng(5).normal(size=(1, 3, 5, 4)).astype(np.float32)
    if scale == 0:
        made = edgekern.compile(proto)
        found = next(v for v in made.trace(x).values() if v.shape == (1, 5, 4, 6))
        assert len(np.unique(found[..., 2])) == 1
        assert (made.run(x) == made.reference(x)).all()
        return
    with pytest.raises(EdgekernError, match="scale"):
        edgekern.compile(proto)
