# SPDX-License-Identifier: Apache-2.0
"""Random integer graphs: kernels under every instruction-set cap of this CPU give the bytes of the NumPy reference.

280 graphs have fixed seeds; 20 more are new in every run. Their seed is printed, and EDGEKERN_FRESH_SEED brings it
back. The last test measures what the 280 can prove, and fails when that is little.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from random_graphs import caps, differing, feeds, grow, grow_separable, model_bytes

import edgekern
from edgekern.graph import Graph, Node, run
from edgekern.ops import registry
from edgekern.types import Array

FIXED, FRESH, LARGE, FUSED = 280, 20, 15, 24
LEAST_GRAPHS = 20  # that hold each operator, and each value below
LEAST_FUSED = 3  # of each form
LEAST_OFF_CLAMP = 0.6
#: Share of the tensors, of 64 bytes and more in all frames, that show 16 values and more.
LEAST_ALIVE = 0.7
BOTH = (False, True)
CLAMPED = {"clamp.lo": BOTH, "clamp.hi": BOTH}


def pairs(name: str, *values: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}[{i}]": values for i in range(2)}


def sides(*values: int) -> dict[str, tuple[int, ...]]:
    return {f"pads[{i}]": values for i in range(4)}


STRIDES = pairs("stride", 1, 2, 3)
WINDOWS = {"window": ("3x3 by 1", "3x3 by 2", "5x5 by 1", "5x5 by 2")}
POOL = pairs("kernel", 1, 2, 3) | STRIDES | sides(0, 1, 2) | CLAMPED
TAPS = pairs("kernel", 1, 2, 3, 5) | STRIDES | pairs("dilation", 1, 2) | sides(0, 1, 2) | CLAMPED
#: What a kernel or a plan treats differently, by operator.
DISTINGUISHED: dict[str, Mapping[str, tuple[object, ...]]] = {
    "Add": CLAMPED,
    "Affine": CLAMPED,
    "AveragePool2D": POOL | {"count_include_pad": BOTH, "rescales": BOTH},
    "Concat": {"axis": (1, 2, 3), "inputs": (1, 2, 3), "rescales": BOTH},
    "Conv2D": TAPS | {"groups": (1, 2, 3, 4)},
    "DepthwiseConv2D": TAPS | WINDOWS,
    "LayerNorm": CLAMPED,
    "MaxPool2D": POOL,
    "Mean": CLAMPED,
    "Mul": CLAMPED | {"broadcast": BOTH},
    "Pad": sides(0, 1, 2) | pairs("channels", 0, 1, 2) | {"rescales": BOTH},
    "Reshape": {"rank": (2, 3, 4), "rescales": BOTH},
    "Resize2D": {"rows between pixels": BOTH, "columns between pixels": BOTH},
    "Slice": {"axis": (1, 2, 3), "begin": (0, 1), "step": (1, 2), "rescales": BOTH},
    "Softmax": {"float out": BOTH},
    "Table": {},
    "Transpose": {f"perm[{i}]": (1, 2, 3) for i in (1, 2, 3)} | {"rescales": BOTH},
}


@lru_cache(maxsize=FIXED)
def sample(seed: int) -> tuple[Graph, dict[str, Array]]:
    return (graph := grow(seed)), feeds(graph, np.random.default_rng([seed, 1]))


@pytest.mark.parametrize("seed", range(FIXED))
def test_kernels_equal_the_reference(seed: int) -> None:
    graph, given = sample(seed)
    assert differing(graph, given, run.reference(graph, given)) == []


def test_fresh_graphs_too(capsys: pytest.CaptureFixture[str]) -> None:
    first = int(os.environ.get("EDGEKERN_FRESH_SEED") or int.from_bytes(os.urandom(4), "little"))
    with capsys.disabled():
        print(f"\n{FRESH} fresh graphs: EDGEKERN_FRESH_SEED={first}, caps {', '.join(caps())}")
    for index in range(FRESH):
        graph = grow([first, index])
        given = feeds(graph, np.random.default_rng([first, index, 1]))
        found = differing(graph, given, run.reference(graph, given))
        assert found == [], f"EDGEKERN_FRESH_SEED={first}, graph {index}"


@pytest.mark.parametrize("seed", range(LARGE))
def test_larger_tensors_too(seed: int) -> None:
    """Pictures and channels beyond every tile: whole panels, rings that turn, strips that are cut."""
    sides, channels = (6, 12, 13, 24, 31, 48), (3, 8, 16, 24, 32, 33, 48, 64, 96)
    graph = grow([seed, 2], 4, 10, sides, channels, 60_000)
    given = feeds(graph, np.random.default_rng([seed, 3]), 1)
    assert differing(graph, given, run.reference(graph, given)) == []


def test_traces_equal_the_reference() -> None:
    """Every tensor, also those inside, from a plan that keeps them all."""
    for seed in range(0, FIXED, 8):
        graph, given = sample(seed)
        want = run.reference(graph, given, trace=True)
        model = edgekern.Model.from_bytes(model_bytes(graph))
        made = model.trace(given if len(given) > 1 else next(iter(given.values())))
        assert [n.output for n in graph.nodes if not np.array_equal(made[n.output], want[n.output])] == [], seed


@pytest.mark.parametrize("seed", range(FUSED))
def test_fused_groups_too(seed: int) -> None:
    """Random graphs are too small to be fused; these are large enough."""
    graph = grow_separable([seed, 4])
    given = feeds(graph, np.random.default_rng([seed, 5]), 1)
    assert differing(graph, given, run.reference(graph, given)) == []


def test_the_fused_graphs_are_fused() -> None:
    """In both forms of two, and under every cap; all three together, seldom predicted to pay here: test_fusion.py."""
    forms: dict[str, Counter[str]] = {cap: Counter() for cap in caps()}
    for seed in range(FUSED):
        model = model_bytes(grow_separable([seed, 4]))
        for cap in caps():
            steps = edgekern.Model.from_bytes(model, isa=cap, selftest=False).plan()
            groups = [step.kernel.split("+") for step in steps if step.op == "Separable"]
            forms[cap].update(" ".join("deep" if "dwconv" in row else "conv" for row in group) for group in groups)
    wanted = ("conv deep", "deep conv")
    assert [cap for cap in caps() if min(forms[cap][form] for form in wanted) < LEAST_FUSED] == [], forms


def attribute_values(graph: Graph, node: Node) -> Iterator[tuple[str, object]]:
    """What of a node a kernel could treat differently; clamps count as used or not."""
    op, out = node.op, graph.types[node.output]
    for field in fields(op):
        value = getattr(op, field.name)
        if field.name == "clamp":
            yield "clamp.lo", value[0] > -128
            yield "clamp.hi", value[1] < 127
        elif isinstance(value, tuple):
            yield from ((f"{field.name}[{i}]", v) for i, v in enumerate(value))
        else:
            yield field.name, value
    if {"kernel", "stride"} <= {field.name for field in fields(op)}:
        window: Any = op
        square = window.kernel[0] == window.kernel[1] and window.stride[0] == window.stride[1]
        if square and getattr(window, "dilation", (1, 1)) == (1, 1):
            yield "window", f"{window.kernel[0]}x{window.kernel[1]} by {window.stride[0]}"
    if op.opcode == "Resize2D":
        for axis, name in zip(("rows", "columns"), node.constants, strict=True):
            yield f"{axis} between pixels", bool((graph.constants[name] % 2048).any())
    yield "inputs", len(node.inputs)
    yield "broadcast", any(graph.types[name].shape != out.shape for name in node.inputs)
    yield "rank", len(out.shape)
    yield "float out", out.quant is None
    yield "rescales", {graph.types[name].quant for name in node.inputs} != {out.quant}


def test_the_fixed_graphs_prove_something(capsys: pytest.CaptureFixture[str]) -> None:
    graphs_with: dict[str, Counter[tuple[str, object]]] = defaultdict(Counter)
    holds: Counter[str] = Counter()
    clamped, bytes_of, alive, large = (Counter[str]() for _ in range(4))
    for seed in range(FIXED):
        graph, given = sample(seed)
        tensors = run.reference(graph, given, trace=True)
        seen: dict[str, set[tuple[str, object]]] = defaultdict(set)
        for node in graph.nodes:
            name = node.op.opcode
            seen[name].update(attribute_values(graph, node))
            if (y := tensors[node.output]).dtype == np.int8:
                bytes_of[name] += y.size
                clamped[name] += int(np.isin(y, getattr(node.op, "clamp", (-128, 127))).sum())
                large[name] += y.size >= 64
                alive[name] += y.size >= 64 and len(np.unique(y)) >= 16
        holds.update(seen.keys())
        for opcode, values in seen.items():
            graphs_with[opcode].update(values)
    lines, weak = [], []
    for opcode in registry():
        counts = {f"{name}={v}": graphs_with[opcode][name, v] for name, vs in DISTINGUISHED[opcode].items() for v in vs}
        rare, times = min(counts.items(), key=lambda item: item[1], default=("none", holds[opcode]))
        off, living = 1 - clamped[opcode] / max(bytes_of[opcode], 1), alive[opcode] / max(large[opcode], 1)
        lines.append(
            f"{opcode:16} {holds[opcode]:3} graphs, rarest value {rare:20} {times:3}, {off:4.0%} off the clamp, "
            f"{living:4.0%} of {large[opcode]:3} tensors alive"
        )
        if min(holds[opcode], times, large[opcode]) < LEAST_GRAPHS or off < LEAST_OFF_CLAMP or living < LEAST_ALIVE:
            weak.append(lines[-1])
    with capsys.disabled():
        print(f"\n{FIXED} fixed graphs:\n  " + "\n  ".join(lines))
    assert weak == []
