# SPDX-License-Identifier: Apache-2.0
"""Random integer graphs: kernels under every instruction-set cap of this CPU give the bytes of the NumPy reference.

200 graphs have fixed seeds; 20 more are new in every run. Their seed is printed, and EDGEKERN_FRESH_SEED brings it
back. The last test measures what the 200 can prove, and fails when that is little.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import fields
from functools import lru_cache

import numpy as np
import pytest
from random_graphs import caps, differing, feeds, grow, model_bytes

import edgekern
from edgekern.graph import Graph, run
from edgekern.ops import Op, registry
from edgekern.types import Array

FIXED, FRESH, LARGE = 200, 20, 15
LEAST_GRAPHS = 20  # that hold each operator and each value of each attribute
LEAST_OFF_CLAMP = 0.6
LEAST_DISTINCT = 16
#: Attributes with as many values as there are graphs, and what becomes of them in the count.
CONTINUOUS = {"m", "n", "shift", "fill", "shape"}


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


def attribute_values(op: Op) -> Iterator[tuple[str, object]]:
    """What of an operator's attributes a kernel could treat differently; clamps count as used or not."""
    for field in fields(op):
        value = getattr(op, field.name)
        if field.name == "clamp":
            yield "clamp.lo", value[0] > -128
            yield "clamp.hi", value[1] < 127
        elif field.name in CONTINUOUS or isinstance(value, (float, str)) or value == ():
            continue  # floats are folded into constants by now
        elif isinstance(value, tuple):
            if not any(isinstance(v, float) for v in value):
                yield from ((f"{field.name}[{i}]", v) for i, v in enumerate(value))
        else:
            yield field.name, value


def test_the_fixed_graphs_prove_something(capsys: pytest.CaptureFixture[str]) -> None:
    graphs_with: dict[str, Counter[tuple[str, object]]] = defaultdict(Counter)
    holds: Counter[str] = Counter()
    counts: dict[str, Array] = defaultdict(lambda: np.zeros(256, np.int64))
    clamped: Counter[str] = Counter()
    for seed in range(FIXED):
        graph, given = sample(seed)
        tensors = run.reference(graph, given, trace=True)
        seen: dict[str, set[tuple[str, object]]] = defaultdict(set)
        for node in graph.nodes:
            seen[node.op.opcode].update(attribute_values(node.op))
            if (y := tensors[node.output]).dtype == np.int8:
                counts[node.op.opcode] += np.bincount(y.ravel().astype(np.int64) + 128, minlength=256)
                clamped[node.op.opcode] += int(np.isin(y, getattr(node.op, "clamp", (-128, 127))).sum())
        holds.update(seen.keys())
        for opcode, values in seen.items():
            graphs_with[opcode].update(values)
    lines, weak = [], []
    for opcode in registry():
        rare, times = min(graphs_with[opcode].items(), key=lambda item: item[1], default=(("", ""), holds[opcode]))
        off = 1 - clamped[opcode] / max(counts[opcode].sum(), 1)
        distinct = int((counts[opcode] > 0).sum())
        lines.append(
            f"{opcode:16} {holds[opcode]:3} graphs, rarest value {'='.join(map(str, rare)) or 'none':18} {times:3}, "
            f"{off:4.0%} off the clamp, {distinct:3} distinct"
        )
        if min(holds[opcode], times) < LEAST_GRAPHS or off < LEAST_OFF_CLAMP or distinct < LEAST_DISTINCT:
            weak.append(lines[-1])
    with capsys.disabled():
        print(f"\n{FIXED} fixed graphs:\n  " + "\n  ".join(lines))
    assert weak == []
