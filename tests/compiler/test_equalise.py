"""Equalisation: the float network stays what it was, bit for bit, and int8 gets back what bad scaling took."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_graphs import float_graph, normal

from edgekern.calibrate import integer
from edgekern.calibrate.clipping import search_weight_scales
from edgekern.calibrate.equalise import equalise, observe_again
from edgekern.calibrate.integer import WEIGHTED, channel_axis
from edgekern.calibrate.ranges import observe, ranges
from edgekern.graph.graph import Graph
from edgekern.graph.run import evaluate
from edgekern.graph.verify import verify
from edgekern.ops import Add, Affine, AveragePool2D, Conv2D, DepthwiseConv2D, MaxPool2D, Mean, Op, Table
from edgekern.passes import quantise
from edgekern.types import Quant

IMAGE = (8, 8, 4)
RELU = (0.0, float("inf"))
WIDE = 24


def spread(size: int, seed: int = 0, most: int = 4) -> Any:
    """Powers of two from 2^-most to 2^most."""
    return np.exp2(np.random.default_rng(seed).integers(-most, most + 1, size)).astype(np.float32)


def network(a: Any = 1.0, b: Any = 1.0, c: Any = 1.0) -> Graph:
    """Dense, depthwise, grouped, residual, pools, affine; channels scaled by a, b and c and scaled back."""
    a, b, c = (np.ones(WIDE, np.float32) * s for s in (a, b, c))
    first = normal(WIDE, 3, 3, 4, scale=0.25) * a.reshape(-1, 1, 1, 1), normal(WIDE, scale=0.1) * a
    deep = normal(3, 3, WIDE, seed=1, scale=0.4) / a * b, normal(WIDE, seed=2, scale=0.1) * b
    parts = (normal(WIDE, 1, 1, WIDE // 2, seed=3, scale=0.4) * c.reshape(-1, 1, 1, 1)).astype(np.float32)
    parts = (parts.reshape(2, -1, 1, 1, WIDE // 2) / b.reshape(2, 1, 1, 1, -1)).reshape(parts.shape)
    again = normal(WIDE, 1, 1, WIDE, seed=5, scale=0.3) * c.reshape(-1, 1, 1, 1) / c, normal(WIDE, seed=6) * c
    same = np.abs(normal(WIDE, seed=7)) + 0.5, normal(WIDE, seed=8, scale=0.1) * c
    last = normal(5, 1, 1, WIDE, seed=9, scale=0.3) / c, normal(5, seed=10, scale=0.1)
    edges = (1, 1, 1, 1)
    return float_graph(
        IMAGE,
        [
            ("first", Conv2D((3, 3), pads=edges, clip=RELU), "x", first),
            ("deep", DepthwiseConv2D((3, 3), pads=edges, clip=RELU), "first", deep),
            ("parts", Conv2D((1, 1), groups=2), "deep", (parts, normal(WIDE, seed=4) * c)),
            ("again", Conv2D((1, 1)), "parts", again),
            ("sum", Add(clip=RELU), "parts again", ()),
            ("max", MaxPool2D((2, 2), (2, 2)), "sum", ()),
            ("average", AveragePool2D((3, 3), (1, 1), edges), "max", ()),
            ("same", Affine(clip=RELU), "average", (same[0] * 1, same[1])),
            ("mean", Mean(), "same", ()),
            ("last", Conv2D((1, 1)), "mean", last),
        ],
    )


HARD = {"a": spread(WIDE), "b": spread(WIDE, 1), "c": spread(WIDE, 2)}


def sqnr(graph: Graph, x: Any, fresh: Any, equal: bool = True) -> float:
    """Of the result in dB, on other samples than calibrate."""
    seen = observe(graph, [{"x": x}])
    real, factors = equalise(graph, seen) if equal else (graph, {})
    if factors:
        seen = observe_again(real, factors, seen, {"x": x})
    scales = {
        node.output: search_weight_scales(np.moveaxis(real.constants[node.constants[0]], channel_axis(node), 0))
        for node in real.nodes
        if isinstance(node.op, WEIGHTED)
    }
    coded = verify(quantise.run(real, ranges(seen, "mse"), scales))
    wanted, found = (run["last"].astype(float) for run in (evaluate(graph, fresh), integer.run(coded, fresh)))
    return float(10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum()))


def test_the_scaled_network_is_the_same_and_stays_so() -> None:
    plain, hard = network(), network(**HARD)
    x = {"x": normal(16, *IMAGE, seed=20)}
    seen = observe(hard, [x])
    found, factors = equalise(hard, seen)
    assert set(factors) == {"first", "deep", "parts", "again", "sum", "max", "average", "same", "mean"}
    assert all(not np.array_equal(found.constants[n.constants[0]], hard.constants[m.constants[0]])
               for n, m in zip(found.nodes, hard.nodes, strict=True) if n.constants)  # fmt: skip
    wanted = evaluate(hard, x)["last"]
    assert np.array_equal(wanted, evaluate(plain, x)["last"])
    assert np.array_equal(wanted, evaluate(verify(found), x)["last"])
    traced, before = evaluate(found, x, trace=True), evaluate(hard, x, trace=True)
    for name, factor in factors.items():
        assert np.array_equal(traced[name], before[name] * factor.astype(np.float32)), name


def test_int8_gets_back_what_scaling_took() -> None:
    x, fresh = normal(64, *IMAGE, seed=21), {"x": normal(64, *IMAGE, seed=22)}
    plain, hard = network(), network(**HARD)
    figures = sqnr(plain, x, fresh), sqnr(hard, x, fresh), sqnr(hard, x, fresh, equal=False)
    print("\nplain {:.1f} dB, badly scaled {:.1f} dB, not equalised {:.1f} dB".format(*figures))
    assert figures[1] > figures[0] - 3
    assert figures[2] < figures[0] - 15


def test_a_network_that_is_well_scaled_is_left_alone() -> None:
    graph = network()
    found, factors = equalise(graph, observe(graph, [{"x": normal(64, *IMAGE, seed=21)}]))
    assert not factors
    assert found is graph


def test_ends_are_those_of_all_samples() -> None:
    """The held samples give the shape of a histogram, all of them its ends."""
    hard, x = network(**HARD), normal(40, *IMAGE, seed=23)
    seen = observe(hard, [{"x": x}])
    found, factors = equalise(hard, seen)
    wanted = observe(found, [{"x": x}])
    again = observe_again(found, factors, seen, {"x": x[:5]})
    assert again["parts"].total < wanted["parts"].total
    for name in found.types:
        assert (again[name].low, again[name].high) == (wanted[name].low, wanted[name].high), name
    assert again["x"] is seen["x"]


def chain(middle: Op, reader: Op | None = None) -> Graph:
    """Dense layer of badly scaled channels, `middle`, dense layer."""
    s = spread(WIDE)
    first = normal(WIDE, 3, 3, 4) * s.reshape(-1, 1, 1, 1), normal(WIDE, seed=1) * s
    second = normal(5, 1, 1, WIDE, seed=2) / s, normal(5, seed=3)
    nodes: list[Any] = [("a", Conv2D((3, 3)), "x", first), ("b", middle, "a", ()), ("c", Conv2D((1, 1)), "b", second)]
    return float_graph(
        IMAGE, nodes if reader is None else [*nodes, ("d", reader, "b", ())], "c" if reader is None else "c d"
    )


@pytest.mark.parametrize(
    ("graph", "moves"),
    [
        (chain(Table("relu")), True),
        (chain(Table("relu"), Mean()), False),  # what leaves the network keeps its scale
        (chain(Table("silu")), False),
        (chain(Table("clip", (0.0, 6.0))), False),
        (chain(Mean(clip=(0.0, 1.0))), False),
        (chain(AveragePool2D((2, 2), clip=RELU)), True),
    ],
)
def test_only_what_scales_with_its_input_is_touched(graph: Graph, moves: bool) -> None:
    assert bool(equalise(graph, observe(graph, [{"x": normal(8, *IMAGE)}]))[1]) is moves


def test_clips_and_quantised_sources_are_left_alone() -> None:
    graph = chain(Table("relu"))
    seen = observe(graph, [{"x": normal(8, *IMAGE)}])
    assert equalise(graph, seen)[1]
    first = graph.nodes[0]
    six = replace(graph, nodes=(replace(first, op=replace(first.op, clip=(0.0, 6.0))), *graph.nodes[1:]))
    given = replace(graph, types={**graph.types, "b": replace(graph.types["b"], quant=Quant(0.5, 0))})
    coded = [replace(graph, weight_scales={n.constants[0]: np.ones(1)}) for n in graph.nodes if n.constants]
    for other in (six, given, *coded):
        assert not equalise(other, seen)[1]


def test_a_silent_channel_stays() -> None:
    """What never moved on any sample could move any far later."""
    graph = chain(Table("relu"))
    weights, bias = (graph.constants[name].copy() for name in graph.nodes[0].constants)
    weights[3], bias[3] = 0, -1
    constants = {**graph.constants, **dict(zip(graph.nodes[0].constants, (weights, bias), strict=True))}
    graph = replace(graph, constants=constants)
    factors = equalise(graph, observe(graph, [{"x": normal(8, *IMAGE)}]))[1]["b"]
    assert factors.max() > factors[3]
    assert np.isfinite(factors).all()
