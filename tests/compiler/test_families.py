# SPDX-License-Identifier: Apache-2.0
"""Every named family of networks compiles, runs in int8 from end to end, and stays near its float form.

SQNR is the power of what differs between frames over that of the error: a constant answer has 0 dB, however good.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

from onnx.reference import ReferenceEvaluator  # noqa: E402

import edgekern  # noqa: E402
from edgekern.artifact import write  # noqa: E402
from edgekern.compiler import build, optimise  # noqa: E402
from edgekern.graph import Graph  # noqa: E402
from edgekern.graph.run import evaluate  # noqa: E402
from edgekern.importers.onnx import import_onnx  # noqa: E402
from edgekern.ops.softmax import Softmax  # noqa: E402
from edgekern.types import DType  # noqa: E402
from float_families import FAMILIES  # noqa: E402

CALIBRATION, JUDGED = 256, 12
#: Least SQNR in dB, 3 below what was measured, and what makes the network one of its family.
EXPECTED: dict[str, tuple[float, set[str]]] = {
    "autoencoder": (18, {"Conv2D"}),
    "convnext": (27, {"LayerNorm", "DepthwiseConv2D", "Table"}),
    "detector": (23, {"Concat", "Table"}),
    "ds_cnn": (18, {"DepthwiseConv2D", "AveragePool2D", "Softmax"}),
    "efficientnet_lite": (24, {"DepthwiseConv2D", "Add"}),
    "mobilenet_v1": (22, {"DepthwiseConv2D", "Softmax"}),
    "mobilenet_v2": (29, {"DepthwiseConv2D", "Add"}),
    "mobilenet_v3": (16, {"DepthwiseConv2D", "Mul", "Table"}),
    "regnet": (21, {"Mul", "Table", "Add"}),
    "resnet": (27, {"Add", "Mean"}),
    "shufflenet_v2": (28, {"Slice", "Transpose", "Concat"}),
    "squeezenet": (32, {"Concat", "MaxPool2D"}),
    "vgg": (23, {"MaxPool2D"}),
}
family = pytest.mark.parametrize("name", sorted(FAMILIES))


def caps() -> list[str]:
    """All of this CPU, each instruction set alone, and none."""
    names = [name for name in edgekern.isa_available() if name != "scalar"]
    return list(dict.fromkeys([",".join(names), *names, "scalar"])) if names else ["scalar"]


def frames(shape: tuple[int, ...], count: int, seed: int) -> Any:
    """Noise of each frame's own contrast round a level of each frame's and channel's own, so that answers differ."""
    draw = np.random.default_rng(seed)
    contrast = draw.uniform(0.3, 2, (count, *(1,) * (len(shape) - 1)))
    levels = 1.5 * draw.normal(size=(count, shape[1], *(1,) * (len(shape) - 2)))
    return (levels * (len(shape) > 2) + contrast * draw.normal(size=(count, *shape[1:]))).astype(np.float32)


def by_name(result: Any, names: list[str]) -> dict[str, Any]:
    return result if isinstance(result, dict) else {names[0]: result}


@cache
def compiled(name: str) -> tuple[Graph, bytes, Any, Mapping[str, Any]]:
    """(integer graph, file, frames to judge, what ONNX's reference makes of them in float32)."""
    proto = FAMILIES[name]()
    shape = tuple(d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim)
    artifact, _ = build(proto, calibration=frames(shape, CALIBRATION, 1))
    x = frames(shape, JUDGED, 2)
    evaluator, outputs = ReferenceEvaluator(proto), [o.name for o in proto.graph.output]
    parts = [evaluator.run(None, {"x": frame[None]}) for frame in x]
    wanted = {output: np.concatenate([part[i] for part in parts]) for i, output in enumerate(outputs)}
    return artifact.graph, write(artifact), x, wanted


def sqnr(wanted: Any, found: Any) -> float:
    signal, noise = np.square(wanted - wanted.mean(axis=0)).sum(), np.square(wanted - found).sum()
    return float(10 * np.log10(signal / noise))


def test_every_family_is_judged() -> None:
    assert set(EXPECTED) == set(FAMILIES)


@family
def test_the_float_graph_is_the_network(name: str) -> None:
    """Before int8 comes in: reading and rewriting change nothing but the last bits."""
    _, _, x, wanted = compiled(name)
    graph, _ = optimise(import_onnx(FAMILIES[name]()))
    found = evaluate(graph, {"x": x})
    for output, want in wanted.items():
        assert np.abs(found[output] - want).max() < 1e-4 * np.abs(want).max()


@family
def test_nothing_between_input_and_output_is_float(name: str) -> None:
    graph, *_ = compiled(name)
    ends = {port.tensor for port in graph.outputs}
    floats = {tensor for tensor, kind in graph.types.items() if kind.dtype is not DType.INT8 or kind.quant is None}
    last = {node.output for node in graph.nodes if isinstance(node.op, Softmax)}
    assert floats == last & ends  # probabilities that nobody inside reads
    assert {node.op.opcode for node in graph.nodes} >= EXPECTED[name][1]


@family
@pytest.mark.parametrize("cap", caps())
def test_run_gives_the_bytes_of_the_reference(name: str, cap: str) -> None:
    graph, data, x, _ = compiled(name)
    model = edgekern.Model.from_bytes(data, isa=cap)
    outputs = [port.name for port in graph.outputs]
    wanted = by_name(model.reference(x), outputs)
    made = by_name(model.run(x), outputs)
    for output in outputs:
        assert made[output].dtype == np.float32
        assert np.array_equal(made[output], wanted[output])
        assert len(np.unique(made[output])) > JUDGED
    for first, last in ((0, 1), (1, 4)):  # other batches
        part = by_name(model.run(x[first:last]), outputs)
        assert all(np.array_equal(part[output], wanted[output][first:last]) for output in outputs)


@family
def test_it_stays_near_its_float_form(name: str) -> None:
    _, data, x, wanted = compiled(name)
    made = by_name(edgekern.Model.from_bytes(data).run(x), list(wanted))
    least = EXPECTED[name][0]
    for output, want in wanted.items():
        found = sqnr(want, made[output])
        print(f"\n{name} {output}: {found:.1f} dB")
        assert made[output].shape == want.shape
        assert found >= least
        assert sqnr(want, np.roll(made[output], 1, axis=0)) < 1  # the answer to another frame
        assert sqnr(want, np.broadcast_to(want.mean(axis=0), want.shape)) < 0.1
