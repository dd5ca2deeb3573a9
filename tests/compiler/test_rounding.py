"""Rounding compensation: the integers of textbook GPTQ, and less noise on samples it has not seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_graphs import float_graph, normal

from edgekern.calibrate import integer, rounding
from edgekern.calibrate.clipping import search_weight_scales
from edgekern.calibrate.integer import WEIGHTED, channel_axis
from edgekern.calibrate.ranges import observe, ranges
from edgekern.calibrate.rounding import compensate
from edgekern.graph.graph import Graph
from edgekern.graph.run import evaluate, feed
from edgekern.graph.verify import verify
from edgekern.ops import Affine, Conv2D, DepthwiseConv2D, Mean
from edgekern.passes import quantise

IMAGE = (9, 8, 6)
RELU = (0.0, float("inf"))


def pictures(count: int, seed: int) -> Any:
    """Neighbouring pixels and channels move together, as in pictures."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(count, *IMAGE)) * 0.3
    return (x + draw.normal(size=(count, 1, 1, 1)) + draw.normal(size=(count, 1, 8, 1)) * 0.5).astype(np.float32)


def network() -> Graph:
    edges = (1, 1, 1, 1)
    return float_graph(
        IMAGE,
        [
            ("a", Conv2D((3, 3), pads=edges, clip=RELU), "x", (normal(16, 3, 3, 6, scale=0.3), normal(16))),
            ("b", DepthwiseConv2D((3, 3), (2, 1), pads=edges, clip=RELU), "a", (normal(3, 3, 16, seed=1), normal(16))),
            ("c", Conv2D((1, 2), dilation=(1, 2), groups=2), "b", (normal(12, 1, 2, 8, seed=2, scale=0.4), normal(12))),
            ("d", Affine(clip=RELU), "c", (normal(12, seed=3), normal(12, seed=4))),
            ("e", Mean(), "d", ()),
            ("f", Conv2D((1, 1)), "e", (normal(5, 1, 1, 12, seed=5), normal(5, seed=6))),
        ],
    )


def quantised(graph: Graph, x: Any) -> Graph:
    scales = {
        n.output: search_weight_scales(np.moveaxis(graph.constants[n.constants[0]], channel_axis(n), 0))
        for n in graph.nodes
        if isinstance(n.op, WEIGHTED)
    }
    return verify(quantise.run(graph, ranges(observe(graph, [{"x": x}]), "mse"), scales))


def textbook(wanted: Any, inputs: Any, damping: float) -> Any:
    """GPTQ column by column with the inverse of H, widest inputs first."""
    h = inputs.T @ inputs
    order = np.argsort(np.diagonal(h), kind="stable")[::-1]
    h = h[np.ix_(order, order)] + np.eye(len(h)) * damping * np.diagonal(h).mean()
    left, inverse = wanted[:, order].copy(), np.linalg.inv(h)
    whole = np.zeros_like(left)
    for j in range(len(h)):
        whole[:, j] = np.clip(np.rint(left[:, j]), -127, 127)
        left -= np.outer((left[:, j] - whole[:, j]) / inverse[j, j], inverse[j])
        inverse = inverse - np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
        inverse[j], inverse[:, j] = 0, 0
        inverse[j, j] = 1
    found = np.empty_like(whole)
    found[:, order] = whole
    return found


@pytest.mark.parametrize("block", [1, 7, 128])
def test_the_integers_are_those_of_the_textbook(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(rounding, "_BLOCK", block)
    draw = np.random.default_rng(0)
    inputs = (draw.normal(size=(2, 400, 30)) @ draw.normal(size=(2, 30, 30)) * 20).round()
    wanted = draw.normal(size=(2, 9, 30)) * 60
    nearest = np.clip(np.rint(wanted), -127, 127)
    found = rounding._rounded(wanted, nearest, inputs)
    kept = 0
    for g in range(2):
        h = inputs[g].T @ inputs[g]
        damped = h + np.eye(30) * rounding._DAMPING * np.diagonal(h).mean()

        def loss(whole: Any, g: int = g, h: Any = damped) -> Any:
            return np.einsum("nk,kj,nj->n", wanted[g] - whole, h, wanted[g] - whole)

        expected = textbook(wanted[g], inputs[g], rounding._DAMPING)
        worse = loss(expected) >= loss(nearest[g])
        kept += int(worse.sum())
        expected[worse] = nearest[g][worse]
        assert np.array_equal(found[g], expected)
        assert loss(found[g]).sum() < 0.6 * loss(nearest[g]).sum()
    assert kept == 1  # a row that the bounds of int8 spoil
    assert np.abs(found).max() == 127
    assert (found != nearest).mean() > 0.2


def test_inputs_that_have_nothing_in_common_change_nothing() -> None:
    inputs = np.eye(12)[None] * 50
    wanted = np.random.default_rng(1).normal(size=(1, 4, 12)) * 60
    nearest = np.clip(np.rint(wanted), -127, 127)
    assert np.array_equal(rounding._rounded(wanted, nearest, inputs), nearest)
    assert np.array_equal(rounding._rounded(wanted, nearest, inputs * 0), nearest)


def test_a_row_that_is_no_better_stays() -> None:
    """What is given as nearest is kept where it is best: here it is exact."""
    draw = np.random.default_rng(2)
    inputs = draw.normal(size=(1, 300, 20)) @ draw.normal(size=(1, 20, 20)) * 9
    wanted = np.rint(draw.normal(size=(1, 6, 20)) * 150)  # some beyond int8: compensation moves the others
    found = rounding._rounded(wanted, wanted, inputs)
    assert np.array_equal(found, wanted)
    assert not np.array_equal(rounding._rounded(wanted, np.clip(wanted, -127, 127), inputs), wanted)


@pytest.mark.parametrize(
    ("op", "weights"),
    [
        (Conv2D((3, 3), pads=(1, 1, 1, 1)), (5, 3, 3, 6)),
        (Conv2D((3, 2), (2, 1), (2, 3), (2, 0, 1, 3), groups=2), (8, 3, 2, 3)),
        (Conv2D((9, 8)), (4, 9, 8, 6)),
        (DepthwiseConv2D((3, 3), pads=(1, 1, 1, 1)), (3, 3, 6)),
        (DepthwiseConv2D((2, 3), (1, 2), (3, 2), (0, 1, 2, 1)), (2, 3, 6)),
    ],
)
def test_inputs_are_what_a_layer_sums(op: Any, weights: tuple[int, ...]) -> None:
    outputs = weights[0] if isinstance(op, Conv2D) else weights[-1]
    graph, x = float_graph(IMAGE, [("f", op, "x", (normal(*weights), normal(outputs)))]), pictures(5, 0)
    coded = quantised(graph, x + 0.7)
    node, of = coded.nodes[0], coded.types["x"].quant
    assert of is not None
    assert of.zero_point != 0
    whole, bias, _ = (coded.constants[c] for c in node.constants)
    given = feed(coded, coded.inputs[0], x)
    rows = rounding._rows_of(node, whole.astype(np.float32))
    seen = rounding._inputs(node, given, of.zero_point, rows)
    sums = (seen @ rows.transpose(0, 2, 1)).transpose(1, 0, 2).reshape(-1, len(bias)) + bias
    assert np.array_equal(sums, integer.accumulate(coded, node, given).total.reshape(-1, len(bias)))


def sqnr(graph: Graph, coded: Graph, x: Any) -> float:
    wanted, found = evaluate(graph, {"x": x})["f"].astype(float), integer.run(coded, {"x": x})["f"]
    return float(10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum()))


def test_less_noise_on_fresh_samples_and_the_same_bytes_twice() -> None:
    graph, x, fresh = network(), pictures(96, 1), pictures(96, 2)
    plain = quantised(graph, x)
    better = verify(compensate(graph, plain, {"x": x}))
    again = compensate(graph, plain, {"x": x})
    figures = sqnr(graph, plain, fresh), sqnr(graph, better, fresh)
    print("\nnearest {:.1f} dB, compensated {:.1f} dB".format(*figures))
    assert figures[1] > figures[0] + 1
    moved = {
        n.output
        for n in plain.nodes
        for c in n.constants
        if not np.array_equal(plain.constants[c], better.constants[c])
    }
    assert moved == {"a", "b", "c", "f"}
    for name, value in better.constants.items():
        assert np.array_equal(value, again.constants[name])
        assert value.dtype == plain.constants[name].dtype
        assert value.shape == plain.constants[name].shape
    told: list[Any] = []
    compensate(graph, plain, {"x": x}, lambda *args: told.append(args))
    assert told == [("rounding", i, 6) for i in range(6)]


def test_means_stay() -> None:
    """What the weights' change does to a channel's mean goes into its bias, to a unit."""
    graph, x = network(), pictures(64, 3)
    plain = quantised(graph, x)
    better = compensate(graph, plain, {"x": x})
    given = feed(plain, plain.inputs[0], x)
    means = [
        integer.accumulate(g, g.nodes[0], given).total.mean(axis=(0, 1, 2), dtype=np.float64) for g in (plain, better)
    ]
    assert np.abs(means[0] - means[1]).max() <= 0.51
    name = plain.nodes[0].constants[1]
    assert np.abs(better.constants[name] - plain.constants[name]).max() > 2


def test_a_dead_channel_and_a_constant_input_stay() -> None:
    weights = normal(4, 3, 3, 6)
    weights[2] = 0
    graph = float_graph(IMAGE, [("f", Conv2D((3, 3)), "x", (weights, np.float32([0.1, 0, 0, 0])))])
    x = pictures(8, 0)
    plain = quantised(graph, x)
    better = compensate(graph, plain, {"x": x})
    assert not better.constants[better.nodes[0].constants[0]][2].any()
    m = plain.constants[plain.nodes[0].constants[2]].copy()
    m[1] = 0  # a multiplier too small for float32: whatever the sum is, 0 comes out
    mute = replace(plain, constants={**plain.constants, plain.nodes[0].constants[2]: m})
    assert not compensate(graph, mute, {"x": x}).constants[better.nodes[0].constants[0]][1].any()
    for flat in (x * 0, x * 0 + 1):
        held = compensate(graph, plain, {"x": flat})
        assert all(np.array_equal(held.constants[n], plain.constants[n]) for n in plain.constants)


def test_weights_that_the_source_gives_stay() -> None:
    graph, x = network(), pictures(32, 1)
    plain = quantised(graph, x)
    given = replace(graph, weight_scales={graph.nodes[2].constants[0]: np.ones(12, np.float32)})
    better = compensate(given, plain, {"x": x})
    moved = {
        n.output
        for n in plain.nodes
        for c in n.constants
        if not np.array_equal(plain.constants[c], better.constants[c])
    }
    assert moved == {"a", "b", "f"}


def test_wide_sums_are_rounded_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: no part of H is larger than the limit, and the result is still better than nearest."""
    graph, x = network(), pictures(96, 1)
    plain = quantised(graph, x)
    sizes: list[int] = []
    factor = np.linalg.cholesky

    def spied(h: Any) -> Any:
        sizes.append(h.shape[-1])
        return factor(h)

    monkeypatch.setattr(np.linalg, "cholesky", spied)
    monkeypatch.setattr(rounding, "_WIDEST", 10)
    better = compensate(graph, plain, {"x": x})
    assert sizes == [10] * 5 + [4, 9, 10, 6, 10, 2]
    assert sqnr(graph, better, pictures(96, 2)) > sqnr(graph, plain, pictures(96, 2))


def test_a_sum_that_could_overflow_keeps_its_weights() -> None:
    graph, x = network(), pictures(16, 0)
    plain = quantised(graph, x)
    node = plain.nodes[0]
    bias = plain.constants[node.constants[1]].copy()
    bias[3] = 2**31 - 1 - 255 * int(np.abs(plain.constants[node.constants[0]][3].astype(np.int64)).sum())
    full = replace(plain, constants={**plain.constants, node.constants[1]: bias})
    weights, biases = (compensate(graph, full, {"x": x}).constants[c] for c in node.constants[:2])
    most = np.abs(weights.astype(np.int64)).reshape(16, -1).sum(axis=1) * 255 + np.abs(biases.astype(np.int64))
    assert (most < 2**31).all()
