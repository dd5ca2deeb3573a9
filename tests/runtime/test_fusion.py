# SPDX-License-Identifier: Apache-2.0
"""Fused groups: the same bytes as op by op, in less memory."""

from __future__ import annotations

import numpy as np
import pytest

from edgekern import _core
from edgekern.artifact import Artifact, write
from edgekern.graph import Graph
from edgekern.model import Model
from edgekern.ops import registry
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


def test_a_group_needs_a_fraction_of_the_memory() -> None:
    b = Builder((1, 96, 96, 16))
    graph = b.graph({"y": b.conv(b.depthwise(b.conv("t0", 96, 1)), 16, 1)})
    data = write(Artifact(graph))
    whole = _core.Session(_core.Model(data), trace=True, selftest=False).memory()
    kept = Model.from_bytes(data).memory_plan()
    assert whole["arena"] > 2 * 96 * 96 * 96
    assert kept.arena + kept.scratch < whole["arena"] / 4
