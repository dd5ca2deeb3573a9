"""Observers, ranges, weight scales, bias correction and the fast integer runner."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_graphs import float_graph, normal

from edgekern import quant
from edgekern.calibrate import integer
from edgekern.calibrate.bias import correct_biases
from edgekern.calibrate.clipping import METHODS, choose_range, search_weight_scales
from edgekern.calibrate.observer import BINS, Histogram
from edgekern.calibrate.ranges import chunks, observe, ranges
from edgekern.errors import InputError, QuantizationError
from edgekern.graph.graph import Graph
from edgekern.graph.run import evaluate, feed, reference
from edgekern.graph.verify import verify
from edgekern.ops import Add, Affine, Concat, Conv2D, DepthwiseConv2D, MaxPool2D, Mean, Pad, Reshape, Softmax, Table
from edgekern.ops.conv2d import weight_scales
from edgekern.passes import quantise

IMAGE = (8, 9, 4)


def histogram(values: np.ndarray, parts: int = 1) -> Histogram:
    seen = Histogram("t")
    for part in np.array_split(values, parts):
        seen.add(part)
    return seen


def network() -> Graph:
    """Every weighted operator, two branches and a softmax."""
    return float_graph(
        IMAGE,
        [
            ("a", Conv2D((3, 3), pads=(1, 1, 1, 1), clip=(0.0, 6.0)), "x", (normal(8, 3, 3, 4, scale=0.3), normal(8))),
            ("b", DepthwiseConv2D((3, 3), pads=(1, 1, 1, 1)), "a", (normal(3, 3, 8), normal(8, seed=1))),
            ("c", Table("silu"), "b", ()),
            ("d", Add((0), clip=(0.0, 8.0)), "a c", ()),
            ("e", Affine(), "d", (normal(8, seed=2), normal(8, seed=3, scale=0.1))),
            ("f", Concat(3), "d e", ()),
            ("g", Pad((1, 0, 0, 1), value=0.5), "f", ()),
            ("h", MaxPool2D((3, 3), (2, 2)), "g", ()),
            ("i", Mean(), "h", ()),
            ("j", Conv2D((1, 1)), "i", (normal(5, 1, 1, 16, seed=4, scale=0.2), normal(5, seed=5, scale=0.1))),
            ("k", Reshape((5,)), "j", ()),
            ("l", Softmax(), "k", ()),
        ],
    )


def quantised(graph: Graph, x: np.ndarray, method: str = "minmax") -> Graph:
    return verify(quantise.run(graph, ranges(observe(graph, [{"x": x}]), method)))


# ---- observers ----------------------------------------------------------------------------------


def test_counts_do_not_depend_on_the_split() -> None:
    values = np.concatenate([normal(500, scale=0.01), normal(500, seed=1, scale=30), np.zeros(40, np.float32)])
    np.random.default_rng(2).shuffle(values)
    one = histogram(values)
    for parts in (2, 7, 400):
        other = histogram(values, parts)
        assert (one.low, one.high, one.zeros, one.exponent) == (other.low, other.high, other.zeros, other.exponent)
        assert np.array_equal(one.counts, other.counts)
    backwards = histogram(values[::-1].copy(), 13)
    assert np.array_equal(one.counts, backwards.counts)
    assert one.counts.size == BINS
    assert one.total == values.size


def test_a_power_of_two_does_not_depend_on_the_order() -> None:
    """A value on the edge itself must widen the bins, or it is counted with its lower neighbours."""
    values = np.float32([0.75, 1.0, -0.3, 1.9, -4.0])
    first, last = histogram(values, len(values)), histogram(values[::-1].copy(), len(values))
    assert first.exponent == last.exponent
    assert np.array_equal(first.counts, last.counts)
    for value in (1.0, -2.0):
        seen = histogram(np.float32([value]))
        assert abs(seen.centres[seen.counts > 0][0] - value) <= 2.0**seen.exponent / BINS


def test_bins_hold_their_values() -> None:
    for value in (-4.0, -3.999, -1e-20, 1e-30, 0.5, 3.999, 4.0):
        seen = histogram(np.float32([value, 4.0]))
        width = 2.0 ** (seen.exponent + 1) / BINS
        nearest = np.abs(seen.centres[seen.counts > 0] - value).min()
        assert nearest <= width


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_names_its_tensor(bad: float) -> None:
    with pytest.raises(QuantizationError, match="'t'"):
        histogram(np.float32([1, bad]))


# ---- ranges -------------------------------------------------------------------------------------


def test_each_method_knows_outliers_its_own_way() -> None:
    values = np.concatenate([normal(1_000_000), np.float32([15.0, -14.0])])
    seen = histogram(values)
    assert choose_range(seen, "minmax") == (-14.0, 15.0)
    low, high = choose_range(seen, "percentile")
    assert (low, high) == pytest.approx(tuple(np.quantile(values, [5e-5, 1 - 5e-5])), abs=0.05)
    low, high = choose_range(seen, "mse")
    assert 3 < high < 9
    assert -9 < low < -3


def test_least_squares_is_least() -> None:
    """The range found loses less, measured by quantising, than min-max or any range a tenth off."""
    values = np.float32(np.random.default_rng(0).laplace(size=50_000))
    low, high = choose_range(histogram(values), "mse")

    def loss(lo: float, hi: float) -> float:
        q = quant.choose_quant(lo, hi)
        return float(((quant.dequantise(quant.quantise(values, q), q) - values) ** 2).mean())

    assert loss(low, high) < 0.95 * loss(float(values.min()), float(values.max()))
    for lo, hi in ((1.15 * low, high), (low, 1.15 * high), (0.85 * low, high), (low, 0.85 * high)):
        assert loss(low, high) <= loss(lo, hi) * 1.02


@pytest.mark.parametrize("method", METHODS)
def test_extreme_tensors_have_a_range(method: str) -> None:
    for values in ([0.0, 0.0], [3.0], [-2.0, -1.0], [1e-30], [1e30, 1.0]):
        low, high = choose_range(histogram(np.float32(values)), method)
        assert np.isfinite([low, high]).all()
        assert low <= high
    ones = np.full(1000, 6, np.float32)
    assert choose_range(histogram(ones), method)[1] >= 5.7


def test_an_unknown_method() -> None:
    with pytest.raises(InputError, match="mse, minmax, percentile"):
        choose_range(histogram(np.float32([1])), "entropy")


# ---- the driver ---------------------------------------------------------------------------------


def test_samples_are_regrouped() -> None:
    x = normal(23, 2)
    for sizes in ([23], [1] * 23, [5, 18], [20, 3]):
        ends = np.cumsum(sizes)
        batches = [{"x": x[end - size : end]} for size, end in zip(sizes, ends, strict=True)]
        found = list(chunks(batches, 8))
        assert [len(f["x"]) for f in found] == [8, 8, 7]
        assert np.array_equal(np.concatenate([f["x"] for f in found]), x)


def test_observations_do_not_depend_on_batches() -> None:
    graph, x = network(), normal(40, *IMAGE)
    one = observe(graph, [{"x": x}])
    many = observe(graph, ({"x": x[i : i + 3]} for i in range(0, 40, 3)))
    assert all(np.array_equal(one[name].counts, many[name].counts) for name in graph.types)
    assert ranges(one, "mse") == ranges(many, "mse")


def test_no_sample_is_said() -> None:
    with pytest.raises(InputError, match="no calibration sample"):
        observe(network(), [])


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    observe(network(), [{"x": normal(40, *IMAGE)}], lambda *args: told.append(args))
    assert told[-1] == ("calibrate", 40, 0)


# ---- weights and biases -------------------------------------------------------------------------


def test_weight_scales_lose_least() -> None:
    rng = np.random.default_rng(0)
    weights = np.float32(rng.standard_t(4, size=(12, 3, 3, 256)))
    full, found = weight_scales(weights), search_weight_scales(weights)

    def loss(scale: np.ndarray) -> np.ndarray:
        s = scale.reshape(-1, 1, 1, 1)
        return ((quant.quantise_weights(weights, s) * s - weights) ** 2).sum(axis=(1, 2, 3))

    assert (loss(found) <= loss(full)).all()
    assert loss(found).sum() < 0.99 * loss(full).sum()
    assert loss(found * 0.9).sum() > loss(found).sum()
    assert (search_weight_scales(np.zeros((3, 1, 1, 2), np.float32)) > 0).all()


def test_bias_correction_brings_the_mean_back() -> None:
    graph, x = network(), normal(200, *IMAGE)
    plain = quantised(graph, x)
    rough = replace(plain, constants={n: c - (c > 3) if c.dtype == np.int8 else c for n, c in plain.constants.items()})
    corrected = verify(correct_biases(graph, rough, {"x": x}))
    fresh = normal(200, *IMAGE, seed=8)
    wanted = evaluate(graph, {"x": fresh}, trace=True)

    def offset(int8: Graph, name: str) -> float:
        q = int8.types[name].quant
        assert q is not None
        real = quant.dequantise(reference(int8, {"x": fresh}, trace=True)[name], q)
        return float(np.abs((real - wanted[name]).mean(axis=tuple(range(real.ndim - 1)))).mean())

    for name in ("b", "j"):
        assert offset(corrected, name) < 0.5 * offset(rough, name)
    moved = [n for n in rough.constants if not np.array_equal(rough.constants[n], corrected.constants[n])]
    assert moved
    assert all(corrected.constants[name].dtype == np.int32 for name in moved)
    again = correct_biases(graph, rough, {"x": x})
    assert all(np.array_equal(again.constants[n], corrected.constants[n]) for n in rough.constants)


def test_the_fast_runner_gives_the_reference_bytes() -> None:
    graph, x = network(), normal(24, *IMAGE)
    int8 = quantised(graph, x)
    fresh = {"x": normal(24, *IMAGE, seed=3, scale=1.5)}
    assert np.array_equal(integer.run(int8, fresh)["l"], reference(int8, fresh)["l"])
    wanted = reference(int8, fresh, trace=True)
    values = {"x": feed(int8, int8.inputs[0], fresh["x"])}
    for node in int8.nodes:
        values[node.output] = integer.step(int8, node, [values[name] for name in node.inputs])
        assert np.array_equal(values[node.output], wanted[node.output]), node.output


def test_sums_beyond_float32_are_exact() -> None:
    """6,000 products of full size pass 2^24, where float32 would round."""
    weights = np.where(np.arange(6000) % 2, 1.0, 0.997).astype(np.float32).reshape(1, 1, 1, 6000).repeat(3, 0)
    graph = float_graph((1, 1, 6000), [("y", Conv2D((1, 1)), "x", (weights, np.float32([0.1, 0, -3])))])
    x = np.random.default_rng(0).uniform(0.9, 1.0, (4, 1, 1, 6000)).astype(np.float32)
    int8 = quantised(graph, x)
    q = feed(int8, int8.inputs[0], x)
    node, of = int8.nodes[0], int8.types["x"].quant
    assert of is not None
    products = (q.astype(np.int64) - of.zero_point)[..., None, :] * int8.constants[node.constants[0]].reshape(3, 6000)
    sums = products.sum(axis=-1) + int8.constants[node.constants[1]]
    assert sums.max() > 1 << 24
    assert (sums % 2 == 1).any()
    assert np.array_equal(integer.accumulate(int8, node, q).total, sums.astype(np.float32))
    assert np.array_equal(integer.run(int8, {"x": x})["y"], reference(int8, {"x": x})["y"])


# ---- quantise -----------------------------------------------------------------------------------


def test_clipped_outputs_use_all_of_int8() -> None:
    graph, x = network(), normal(40, *IMAGE)
    int8 = quantised(graph, x)
    q = int8.types["a"].quant
    assert q is not None
    assert q.zero_point == -128
    assert int8.types["l"].quant is None
    assert int8.types["h"].quant == int8.types["g"].quant


def test_the_error_is_small() -> None:
    graph, x = network(), normal(60, *IMAGE)
    y, wanted = reference(quantised(graph, x), {"x": x})["l"], evaluate(graph, {"x": x})["l"]
    assert np.abs(y - wanted).max() < 0.02
    assert np.abs(y - wanted[::-1]).max() > 0.1, "the comparison can fail"


def test_scales_of_an_add_that_are_far_apart() -> None:
    """x + (-x) * 0.9999 leaves almost nothing: the result's scale is widened until an add can reach it."""
    weights = np.full(4, -0.9999, np.float32), np.zeros(4, np.float32)
    graph = float_graph(IMAGE, [("a", Affine(), "x", weights), ("b", Add(), "x a", ())])
    int8 = quantised(graph, normal(4, *IMAGE))
    q, of = int8.types["b"].quant, int8.types["x"].quant
    assert q is not None
    assert of is not None
    assert of.scale / q.scale < 256


def test_a_bias_far_above_its_weights_is_kept() -> None:
    weights = np.full((2, 1, 1, 4), 1e-9, np.float32), np.float32([1.0, -2.0])
    graph = float_graph(IMAGE, [("a", Conv2D((1, 1)), "x", weights)])
    x = normal(4, *IMAGE)
    y = reference(quantised(graph, x), {"x": x})["a"]
    assert np.allclose(y, [1.0, -2.0], atol=0.02)


def test_a_tensor_that_int8_cannot_hold_is_named() -> None:
    graph = float_graph(IMAGE, [("huge", Affine(), "x", (np.full(4, 1e6, np.float32), np.zeros(4, np.float32)))])
    with pytest.raises(QuantizationError, match="'huge'"):
        quantised(graph, normal(4, *IMAGE))


def test_a_range_wider_than_255_scales_of_256_is_named() -> None:
    """Each end alone would fit."""
    graph = float_graph(IMAGE, [("wide", Table("relu"), "x", ())])
    for low, high in ((-60_000.0, 60_000.0), (-65_281.0, 0.0), (1.0, 65_281.0)):
        with pytest.raises(QuantizationError, match="'x' spans"):
            quantise.run(graph, {"x": (low, high), "wide": (0.0, 1.0)})
    assert quantise.run(graph, {"x": (-32_640.0, 32_640.0), "wide": (0.0, 1.0)}).types["x"].quant.scale == 256  # type: ignore[union-attr]


def test_a_sum_that_could_overflow_is_named() -> None:
    weights = np.ones((1, 1, 1, 70_000), np.float32), np.zeros(1, np.float32)
    graph = float_graph((1, 1, 70_000), [("wide", Conv2D((1, 1)), "x", weights)])
    with pytest.raises(QuantizationError, match="'wide'"):
        quantised(graph, np.full((1, 1, 1, 70_000), 1e-3, np.float32))
