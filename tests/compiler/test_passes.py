"""Each pass: what it joins, that the result computes the same, and what it must leave alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_graphs import float_graph, kinds, normal, same

from edgekern.compiler import PASSES, optimise
from edgekern.errors import CompileError, ShapeError
from edgekern.graph.graph import Graph
from edgekern.graph.run import evaluate
from edgekern.graph.verify import verify
from edgekern.ops import (
    NO_CLIP,
    Add,
    Affine,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    MaxPool2D,
    Pad,
    Reshape,
    Table,
    Transpose,
)
from edgekern.passes import dead_code, fold_batch_norm, fold_padding, fuse_activation, name_tensors, remove_no_ops

IMAGE = (6, 7, 4)
CONV = (normal(5, 3, 3, 4), normal(5, seed=1))
DEPTHWISE = (normal(3, 3, 4, seed=2), normal(4, seed=3))
NORM4, NORM5 = (normal(4, seed=4), normal(4, seed=5)), (normal(5, seed=6), normal(5, seed=7))
PADDED = Conv2D((3, 3), pads=(1, 1, 1, 1))
VALID = Conv2D((3, 3))


# ---- batch norm ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "constants", "norm"),
    [
        (PADDED, CONV, NORM5),
        (Conv2D((3, 3), groups=2), (normal(5 - 1, 3, 3, 2), normal(4)), NORM4),
        (DepthwiseConv2D((3, 3), pads=(1, 1, 1, 1)), DEPTHWISE, NORM4),
        (Affine(), NORM4, NORM4),
    ],
    ids=["conv", "grouped", "depthwise", "affine"],
)
def test_a_norm_after_joins(first: Conv2D, constants: tuple[np.ndarray, ...], norm: tuple[np.ndarray, ...]) -> None:
    graph = float_graph(IMAGE, [("a", first, "x", constants), ("b", Affine((0.0, 3.0)), "a", norm)])
    joined = fold_batch_norm.run(graph)
    assert kinds(joined) == [type(first).__name__]
    assert joined.nodes[0].op.clip == (0.0, 3.0)  # type: ignore[attr-defined]
    assert same(graph, joined)


@pytest.mark.parametrize(
    ("second", "constants"),
    [
        (VALID, CONV),
        (Conv2D((3, 3), groups=2), (normal(6, 3, 3, 2), normal(6))),
        (DepthwiseConv2D((3, 3), stride=(2, 2)), DEPTHWISE),
    ],
    ids=["conv", "grouped", "depthwise"],
)
def test_a_norm_before_an_unpadded_window_joins(second: Conv2D, constants: tuple[np.ndarray, ...]) -> None:
    graph = float_graph(IMAGE, [("a", Affine(), "x", NORM4), ("b", second, "a", constants)])
    joined = fold_batch_norm.run(graph)
    assert kinds(joined) == [type(second).__name__]
    assert same(graph, joined)


@pytest.mark.parametrize("second", [PADDED, DepthwiseConv2D((3, 3), pads=(1, 1, 1, 1))])
def test_a_scale_before_a_padded_window_joins(second: Conv2D) -> None:
    constants = CONV if isinstance(second, Conv2D) else DEPTHWISE
    graph = float_graph(IMAGE, [("a", Affine(), "x", (NORM4[0], NORM4[0] * 0)), ("b", second, "a", constants)])
    joined = fold_batch_norm.run(graph)
    assert kinds(joined) == [type(second).__name__]
    assert same(graph, joined)


def test_a_norm_before_a_padded_window_stays() -> None:
    graph = float_graph(IMAGE, [("a", Affine(), "x", NORM4), ("b", PADDED, "a", CONV)])
    assert fold_batch_norm.run(graph) == graph
    # Folding it all the same would be wrong at the border: this test can tell.
    unpadded = replace(graph, nodes=(graph.nodes[0], replace(graph.nodes[1], op=VALID)))
    small = replace(unpadded, types={**unpadded.types, "b": VALID.infer([graph.types["a"]], CONV)})
    folded = fold_batch_norm.run(verify(small))
    wrong = replace(folded, nodes=(replace(folded.nodes[0], op=PADDED),), types=graph.types | folded.types)
    wrong = replace(wrong, types={"x": graph.types["x"], "b": graph.types["b"]})
    assert not same(graph, wrong)


def test_a_norm_between_others_stays() -> None:
    clipped = float_graph(IMAGE, [("a", replace(PADDED, clip=(0.0, 6.0)), "x", CONV), ("b", Affine(), "a", NORM5)])
    assert kinds(fold_batch_norm.run(clipped)) == ["Conv2D", "Affine"]
    seen = float_graph(IMAGE, [("a", PADDED, "x", CONV), ("b", Affine(), "a", NORM5)], outputs="a b")
    assert kinds(fold_batch_norm.run(seen)) == ["Conv2D", "Affine"]
    shared = float_graph(
        IMAGE, [("a", PADDED, "x", CONV), ("b", Affine(), "a", NORM5), ("c", Add(), "a b", ())], outputs="c"
    )
    assert kinds(fold_batch_norm.run(shared)) == ["Conv2D", "Affine", "Add"]


# ---- activations --------------------------------------------------------------------------------


def test_activations_become_clips() -> None:
    steps = [
        ("a", PADDED, "x", CONV),
        ("b", Table("relu"), "a", ()),
        ("c", Table("clip", (-1.0, 6.0)), "b", ()),
        ("d", MaxPool2D((2, 2)), "c", ()),
        ("e", Table("clip", (0.5, 2.0)), "d", ()),
    ]
    graph = float_graph(IMAGE, steps)
    fused = fuse_activation.run(graph)
    assert [n.op.clip for n in fused.nodes] == [(0.0, 6.0), (0.5, 2.0)]  # type: ignore[attr-defined]
    assert same(graph, fused)


def test_an_activation_of_a_shared_or_seen_tensor_stays() -> None:
    steps = [("a", PADDED, "x", CONV), ("b", Table("relu"), "a", ()), ("c", Add(), "a b", ())]
    assert kinds(fuse_activation.run(float_graph(IMAGE, steps))) == ["Conv2D", "Table", "Add"]
    assert kinds(fuse_activation.run(float_graph(IMAGE, steps[:2], outputs="a b"))) == ["Conv2D", "Table"]
    assert kinds(fuse_activation.run(float_graph(IMAGE, [("a", Table("relu"), "x", ())]))) == ["Table"]
    steps = [("a", PADDED, "x", CONV), ("b", Table("sigmoid"), "a", ())]
    assert kinds(fuse_activation.run(float_graph(IMAGE, steps))) == ["Conv2D", "Table"]


# ---- padding, no-ops, dead code, names ----------------------------------------------------------


def test_zero_padding_joins_the_window() -> None:
    steps = [("a", Pad((0, 1, 2, 0)), "x", ()), ("b", replace(PADDED, stride=(2, 2)), "a", CONV)]
    graph = float_graph(IMAGE, steps)
    joined = fold_padding.run(graph)
    assert kinds(joined) == ["Conv2D"]
    assert joined.nodes[0].op.pads == (1, 2, 3, 1)  # type: ignore[attr-defined]
    assert same(graph, joined)


@pytest.mark.parametrize("pad", [Pad((1, 1, 1, 1), value=0.5), Pad((1, 1, 1, 1), (0, 1))], ids=["value", "channels"])
def test_other_padding_stays(pad: Pad) -> None:
    weights = normal(5, 3, 3, 4 + sum(pad.channels))
    graph = float_graph(IMAGE, [("a", pad, "x", ()), ("b", VALID, "a", (weights, CONV[1]))])
    assert kinds(fold_padding.run(graph)) == ["Pad", "Conv2D"]


def test_what_changes_nothing_goes() -> None:
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    steps = [
        ("a", Transpose((0, 3, 1, 2)), "x", ()),
        ("b", Transpose((0, 2, 3, 1)), "a", ()),
        ("c", Affine(), "b", (ones, zeros)),
        ("d", Reshape((42, 4)), "c", ()),
        ("e", Reshape((6, 28)), "d", ()),
        ("f", Concat(1), "e", ()),
        ("g", Table("tanh"), "f", ()),
        ("h", Table("exp"), "x", ()),
    ]
    graph = float_graph(IMAGE, steps, outputs="g")
    short = remove_no_ops.run(graph)
    assert kinds(short) == ["Reshape", "Table"]
    assert same(graph, short)
    assert kinds(dead_code.run(graph)) == kinds(graph)[:-1]


def test_what_changes_something_stays() -> None:
    steps = [
        ("a", Transpose((0, 2, 1, 3)), "x", ()),
        ("b", Affine((0.0, 1.0)), "a", (np.ones(4, np.float32), np.zeros(4, np.float32))),
        ("c", Affine(), "b", NORM4),
    ]
    assert kinds(remove_no_ops.run(float_graph(IMAGE, steps))) == ["Transpose", "Affine", "Affine"]
    copy = float_graph(IMAGE, [("a", Reshape(IMAGE), "x", ())])
    assert kinds(remove_no_ops.run(copy)) == ["Reshape"], "an output needs a node that makes it"


def test_names_are_those_of_nodes_and_differ() -> None:
    graph = float_graph(IMAGE, [("t1", Table("relu"), "x", ()), ("t2", Table("tanh"), "t1", ())])
    graph = replace(graph, nodes=tuple(replace(n, name="layer") for n in graph.nodes))
    named = name_tensors.run(graph)
    assert [n.output for n in named.nodes] == ["layer", "layer.1"]
    assert [p.tensor for p in named.outputs] == ["layer.1"]
    assert same(graph, named)


# ---- all together -------------------------------------------------------------------------------


def tower() -> Graph:
    """conv, norm, relu, pad, depthwise, norm, clip, residual, pool: what networks are made of."""
    return float_graph(
        IMAGE,
        [
            ("c", PADDED, "x", CONV),
            ("n", Affine(), "c", NORM5),
            ("r", Table("relu"), "n", ()),
            ("p", Pad((1, 1, 1, 1)), "r", ()),
            ("d", DepthwiseConv2D((3, 3)), "p", (normal(3, 3, 5), normal(5))),
            ("m", Affine(), "d", NORM5),
            ("q", Table("clip", (0.0, 6.0)), "m", ()),
            ("s", Add(), "q r", ()),
            ("t", Reshape((42, 5)), "s", ()),
            ("u", Reshape((6, 7, 5)), "t", ()),
            ("v", MaxPool2D((2, 2)), "u", ()),
        ],
    )


def test_all_passes_keep_the_function() -> None:
    graph = tower()
    for _, run in PASSES:
        later = verify(run(graph))
        assert same(graph, later)
        assert run(later) == later or run is name_tensors.run, "a second run finds nothing more"
        graph = later
    assert kinds(graph) == ["Conv2D", "DepthwiseConv2D", "Add", "MaxPool2D"]
    assert all(value.dtype == np.float32 for value in graph.constants.values())


def test_passes_do_not_touch_what_they_are_given() -> None:
    graph = tower()
    before = evaluate(graph, {"x": normal(2, *IMAGE)})
    values = {name: value.copy() for name, value in graph.constants.items()}
    optimise(graph)
    assert all(np.array_equal(graph.constants[name], value) for name, value in values.items())
    assert np.array_equal(before["v"], evaluate(graph, {"x": normal(2, *IMAGE)})["v"])
    assert graph.nodes[0].op.clip == NO_CLIP  # type: ignore[attr-defined]


# ---- the legal graph ----------------------------------------------------------------------------


def test_an_illegal_graph_is_named() -> None:
    graph = tower()
    nodes = graph.nodes
    wrong_type = {**graph.types, "d": graph.types["x"]}
    cases = [
        (replace(graph, nodes=nodes[::-1]), "'v' reads tensor 'u' before it is made"),
        (replace(graph, nodes=(*nodes, nodes[-1])), "makes tensor 'v' a second time"),
        (replace(graph, constants={}), "'c' reads constant"),
        (replace(graph, types=wrong_type), "has shape"),
        (replace(graph, outputs=(replace(graph.outputs[0], tensor="none"),)), "tensor 'none' has no type"),
        (replace(graph, outputs=(replace(graph.outputs[0], perm=(0, 1)),)), "no permutation"),
        (replace(graph, nodes=nodes[:-1]), "which no node makes"),
        (replace(graph, types={**graph.types, "stray": graph.types["x"]}), "'stray' has a type and no maker"),
        (replace(graph, inputs=()), "0 inputs"),
    ]
    for broken, words in cases:
        with pytest.raises((CompileError, ShapeError)) as caught:
            verify(broken)
        assert words in str(caught.value)
