# SPDX-License-Identifier: Apache-2.0
"""Fused groups: the same bytes as op by op, in less memory."""

from __future__ import annotations

import numpy as np
import pytest

from edgekern import _core, quant
from edgekern.artifact import Artifact, write
from edgekern.graph import Graph
from edgekern.model import Model
from edgekern.ops import registry
from edgekern.types import Quant
from sample_models import Builder

CAPS = ["scalar", *(name for name in _core.isa_available() if name != "scalar")]


def separable(seed: int) -> tuple[Graph, str]:
    """[convolution ->] depthwise [-> pointwise], sizes and strides at random; what surrounds it too."""
    b = Builder((1, int(np.random.default_rng(seed).integers(24, 60)), 41, 3), seed)
    draw = b.draw
    x = b.conv("t0", int(draw.choice([24, 33, 48])), 3, stride=1, pad=1)
    kind = ("expand", "project", "both")[seed % 3]
    if kind != "project":
        x = b.conv(x, int(draw.choice([40, 64])), 1, groups=1)
    else:
        x = b.add(registry()["Table"](), (x,), b.shape(x), (draw.permutation(np.arange(-128, 128)).astype(np.int8),))
    kh, kw = (int(v) for v in draw.choice([2, 3, 5], 2))
    sh, sw = (int(v) for v in draw.choice([1, 1, 2, 4], 2))
    dh, dw = (int(v) for v in draw.choice([1, 1, 2], 2))
    pads = tuple(int(v) for v in draw.integers(0, 4, 4))
    _, h, w, c = b.shape(x)
    oh = (h + pads[0] + pads[2] - (kh - 1) * dh - 1) // sh + 1
    ow = (w + pads[1] + pads[3] - (kw - 1) * dw - 1) // sw + 1
    op = registry()["DepthwiseConv2D"]((kh, kw), (sh, sw), (dh, dw), pads)
    x = b.add(op, (x,), (1, oh, ow, c), b.weighted((kh, kw, c), c))
    if kind != "expand":
        x = b.conv(x, 24, 1)
    if draw.random() < 0.5:  # a consumer with padding: the group then writes a halo
        x = b.conv(x, 8, 3, pad=1)
    return b.graph({"y": x}), kind


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("seed", range(24))
def test_fused_and_unfused_give_the_same_bytes(seed: int, cap: str) -> None:
    graph, _ = separable(seed)
    model = Model.from_bytes(write(Artifact(graph)), isa=cap)
    x = np.random.default_rng(seed).integers(0, 256, (2, *graph.types["t0"].shape[1:])).astype(np.uint8)
    fused, unfused = model.run(x, raw=True), model.trace(x)[graph.outputs[0].tensor]
    np.testing.assert_array_equal(fused, unfused)
    np.testing.assert_array_equal(fused, model.reference(x, raw=True))
    assert len(np.unique(fused)) > 16
    assert [step.op for step in model.profile(rounds=1, fused=False)] == [node.op.opcode for node in graph.nodes]


def test_every_form_of_group_is_made() -> None:
    """Else the test above compares a plan with itself."""
    seen = set()
    for seed in range(24):
        graph, kind = separable(seed)
        for step in Model.from_bytes(write(Artifact(graph))).plan():
            if step.op == "Separable":
                families = [name.split("_")[0] for name in step.kernel.split("+")]
                seen.add((kind, *("conv" if f in ("qgemm", "firstconv") else f for f in families)))
    assert {("expand", "conv", "dwconv"), ("project", "dwconv", "conv"), ("both", "conv", "dwconv", "conv")} <= seen


def narrow(seed: int) -> Graph:
    """Pointwise convolutions of few pixels a row, between which the rows have halos: several rows are one GEMM."""
    draw = np.random.default_rng(seed)
    b = Builder((1, int(draw.integers(5, 60)), int(draw.integers(2, 10)), 3), seed)
    x = b.conv("t0", int(draw.choice([16, 40, 64])), 3, pad=1)
    for _ in range(2):
        channels = int(draw.choice([24, 64, 100, 192]))
        if seed % 3:
            x = b.depthwise(x, 3, 1, 1)
        x = b.conv(b.conv(x, channels, 1), 32, 3, pad=1) if seed % 2 else b.depthwise(b.conv(x, channels, 1), 3, 1, 1)
    return b.graph({"y": x})


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("seed", range(16))
def test_narrow_rows_between_halos_give_the_same_bytes(seed: int, cap: str) -> None:
    graph = narrow(seed)
    x = np.random.default_rng(seed).integers(0, 256, (2, *graph.types["t0"].shape[1:])).astype(np.uint8)
    model = Model.from_bytes(write(Artifact(graph)), isa=cap)
    expected = model.reference(x, raw=True)
    np.testing.assert_array_equal(model.run(x, raw=True), expected)
    np.testing.assert_array_equal(model.trace(x)[graph.outputs[0].tensor], expected)
    divided = Model.from_bytes(write(Artifact(graph)), isa=cap, threads=2)
    np.testing.assert_array_equal(divided.run(x[:1], raw=True), expected[:1])
    assert len(np.unique(expected)) > 6


def added(b: Builder, left: str, right: str) -> str:
    """Their sum, in either order, with clamps that cut."""
    pair = (left, right) if b.draw.random() < 0.5 else (right, left)
    quants = [b.types[name].quant for name in (*pair, left)]
    q = Quant(0.125, int(b.draw.integers(-20, 20)))
    assert quants[0]
    assert quants[1]
    shift, m, n = quant.add_parameters(quants[0], quants[1], q)
    return b.add(registry()["Add"](shift, m, n, clamp=(-110, 115)), pair, b.shape(left), q=q)


def residual(seed: int) -> tuple[Graph, str]:
    """A sum with what a convolution has just made: of a bottleneck or of a basic block, sizes and strides at random."""
    b = Builder((1, int(np.random.default_rng(seed).integers(40, 70)), 47, 3), seed)
    draw = b.draw
    channels = int(draw.choice([36, 64, 80]))
    x = b.conv("t0", channels, 3, pad=1)
    if draw.random() < 0.5:
        x = b.conv(x, channels, 1)
    k, pad, stride = ((3, 1, 1), (5, 2, 1), (3, 1, 2), (1, 0, 1))[seed // 2 % 4]
    if seed % 2:
        kind, y = "Bottleneck", b.conv(b.depthwise(b.conv(x, 32, 1), 3, stride, 1), channels, 1)
    else:
        kind, y = "ConvAdd", b.conv(x, channels, k, stride, pad)
    other = x if stride == 1 else b.conv(x, channels, 1, 2)  # made after what it is added to, and before it runs
    y = added(b, y, other)
    if draw.random() < 0.5:  # a consumer with padding: the group then writes a halo, and its rows have gaps
        y = b.conv(y, 8, 3, pad=1)
    return b.graph({"y": y}), kind


def pooled(seed: int) -> tuple[Graph, str]:
    """A convolution and the pool that reads it."""
    b = Builder((1, int(np.random.default_rng(seed).integers(40, 70)), 51, 3), seed)
    draw = b.draw
    k = int(draw.choice([3, 4, 5]))
    x = b.conv(b.conv("t0", 24, 3, pad=1), int(draw.choice([40, 64, 96])), k, 1, k // 2)
    window = (2, 3, (3, 2), (2, 5), 4)[seed % 5]
    kh, kw = window if isinstance(window, tuple) else (window, window)
    sh, sw = (int(v) for v in draw.choice([1, 2, 3], 2))
    pads = tuple(int(draw.integers(0, size)) for size in (kh, kw, kh, kw))
    _, h, w, c = b.shape(x)
    shape = (1, (h + pads[0] + pads[2] - kh) // sh + 1, (w + pads[1] + pads[3] - kw) // sw + 1, c)
    if seed % 2:
        op, q = registry()["MaxPool2D"]((kh, kw), (sh, sw), pads), b.types[x].quant
    else:
        op, q = registry()["AveragePool2D"]((kh, kw), (sh, sw), pads, bool(seed % 4)), Quant(0.03125, 0)
    y = b.add(op, (x,), shape, q=q)
    if draw.random() < 0.5:
        y = b.conv(y, 8, 3, pad=1)
    return b.graph({"y": y}), "ConvPool"


GRAPHS = {"residual": residual, "pooled": pooled}
SEEDS = [*range(40), 87, 139]  # the last two: max pools of stride 1 that join a group under AVX2 too


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("graphs", GRAPHS)
def test_sums_and_pools_in_a_group_give_the_same_bytes(graphs: str, seed: int, cap: str) -> None:
    graph, _ = GRAPHS[graphs](seed)
    model = Model.from_bytes(write(Artifact(graph)), isa=cap)
    x = np.random.default_rng(seed).integers(0, 256, (2, *graph.types["t0"].shape[1:])).astype(np.uint8)
    fused, unfused = model.run(x, raw=True), model.trace(x)[graph.outputs[0].tensor]
    np.testing.assert_array_equal(fused, unfused)
    np.testing.assert_array_equal(fused, model.reference(x, raw=True))
    assert len(np.unique(fused)) > 16


@pytest.mark.parametrize("cap", CAPS)
def test_every_form_of_sum_and_pool_is_in_a_group(cap: str) -> None:
    """Both operands of a sum, rows with and without gaps, strides, both kinds of pool: else the test above is idle."""
    seen: set[tuple[object, ...]] = set()
    for seed in SEEDS:
        for draw in GRAPHS.values():
            graph, kind = draw(seed)
            groups = {s.name: s for s in Model.from_bytes(write(Artifact(graph)), isa=cap).plan() if s.op == kind}
            made = [node.output for node in graph.nodes]
            for node in graph.nodes:
                if (group := groups.get(node.name)) is None:
                    continue
                assert group.predicted_cycles < group.unfused_cycles
                last, opcode = node.output == graph.outputs[0].tensor, node.op.opcode
                if opcode == "Add":
                    assert group.kernel.split("+")[-1].startswith("eltwise_")
                    order = [made.index(name) for name in node.inputs]
                    seen |= {(kind, "last", last), (kind, "newer first", order[0] > order[1])}
                else:
                    assert group.kernel.split("+")[-1].startswith("pool_")
                    seen |= {(opcode, "last", last), (opcode, "stride", node.op.stride[0])}
    for kind in ("Bottleneck", "ConvAdd"):
        assert {(kind, about, is_so) for about in ("last", "newer first") for is_so in (False, True)} <= seen
    for opcode in ("MaxPool2D", "AveragePool2D"):
        assert {(opcode, "last", False), (opcode, "last", True)} <= seen
        assert {(opcode, "stride", stride) for stride in (1, 2, 3)} <= seen


def test_the_input_of_a_group_outlives_what_runs_in_between() -> None:
    """The group runs where its last op stands: its first op's input must last until then, past its other readers."""
    b = Builder((1, 44, 44, 16))
    x = b.conv("t0", 64, 1)
    y = b.conv(b.depthwise(b.conv(x, 32, 1)), 64, 1)
    other = b.conv(b.conv(b.depthwise(x), 16, 1), 64, 3, pad=1)
    graph = b.graph({"y": added(b, y, other)})
    model = Model.from_bytes(write(Artifact(graph)))
    assert "Bottleneck" in {step.op for step in model.plan()}
    image = b.draw.integers(0, 256, (1, 44, 44, 16)).astype(np.uint8)
    np.testing.assert_array_equal(model.run(image, raw=True), model.reference(image, raw=True))


def test_what_others_read_is_not_fused_away() -> None:
    """A tensor with a second reader, or one the caller reads, exists whole."""
    b = Builder((1, 48, 48, 3))
    wide = b.conv("t0", 64, 1)
    deep = b.depthwise(wide)
    thin = b.conv(deep, 16, 1)
    steps = {name: len(Model.from_bytes(write(Artifact(b.graph(outputs)))).plan()) for name, outputs in {
        "all fused": {"y": thin}, "wide is read": {"y": thin, "w": wide}, "deep is read": {"y": thin, "d": deep},
    }.items()}  # fmt: skip
    assert steps == {"all fused": 1, "wide is read": 2, "deep is read": 2}
    x = b.draw.integers(0, 256, (1, 48, 48, 3)).astype(np.uint8)
    model = Model.from_bytes(write(Artifact(b.graph({"y": thin, "w": wide, "d": deep}))))
    for name, y in model.reference(x).items():
        np.testing.assert_array_equal(model.run(x)[name], y)


@pytest.mark.parametrize("cap", CAPS)
def test_a_group_needs_a_fraction_of_the_memory(cap: str) -> None:
    b = Builder((1, 96, 96, 16))
    graph = b.graph({"y": b.conv(b.depthwise(b.conv("t0", 96, 1)), 16, 1)})
    data = write(Artifact(graph))
    whole = _core.Session(_core.Model(data), trace=True, selftest=False).memory()
    kept = Model.from_bytes(data, isa=cap).memory_plan()
    assert whole["arena"] > 2 * 96 * 96 * 96
    widened = 2 if cap == "avx2" else 1  # bytes of an activation that a row multiplies
    assert kept.arena + kept.scratch < widened * whole["arena"] / 4
