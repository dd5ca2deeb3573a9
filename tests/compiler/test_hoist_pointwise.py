# SPDX-License-Identifier: Apache-2.0
"""What stands behind moves of a convolution's result comes before them, where that is the same function."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from small_graphs import float_graph, kinds, normal, same

from edgekern.graph.graph import Graph, Port
from edgekern.graph.verify import verify
from edgekern.ops import Affine, Conv2D, MaxPool2D, Reshape, Slice, Table, Transpose
from edgekern.passes import hoist_pointwise
from edgekern.types import Quant

IMAGE = (4, 5, 3)
CONV = ("a", Conv2D((1, 1)), "x", (normal(8, 1, 1, 3), normal(8, seed=1)))
#: Depth to space: 8 channels to twice as many rows and columns of 2.
WOVEN: list[Any] = [
    ("m1", Reshape((4, 5, 2, 2, 2)), "a"),
    ("m2", Transpose((0, 1, 3, 2, 4, 5)), "m1"),
    ("m3", Reshape((8, 10, 2)), "m2"),
    ("m4", Slice(1, 1, 6), "m3"),
]


def built(layers: list[Any]) -> Graph:
    return float_graph(IMAGE, [layer if len(layer) == 4 else (*layer, ()) for layer in layers])


NORM = (normal(2, seed=3), normal(2, seed=4))


@pytest.mark.parametrize("clip", [Table("relu"), Table("clip", (-0.25, 0.5))])
def test_a_norm_and_a_clip_come_before_the_moves(clip: Table) -> None:
    graph = built([CONV, *WOVEN, ("n", Affine(), "m4", NORM), ("y", clip, "n")])
    moved = verify(hoist_pointwise.run(graph))
    assert kinds(moved) == ["Conv2D", "Affine", "Table", "Reshape", "Transpose", "Reshape", "Slice"]
    assert moved.nodes[-1].output == "y"
    assert same(graph, moved)


def test_channels_cut_off_by_a_slice_are_free() -> None:
    norm = (normal(3, seed=3), normal(3, seed=4))
    graph = built([CONV, ("s", Slice(3, 1, 3, 2), "a"), ("y", Affine(), "s", norm)])
    moved = verify(hoist_pointwise.run(graph))
    assert kinds(moved) == ["Conv2D", "Affine", "Slice"]
    assert same(graph, moved)


@pytest.mark.parametrize(
    ("moves", "width"),
    [([("m", Transpose((0, 1, 3, 2)), "a")], 5), ([("m", Reshape((4, 40)), "a")], 40)],
    ids=["columns", "columns and channels"],
)
def test_values_that_differ_along_a_channel_stay(moves: list[Any], width: int) -> None:
    norm = (normal(width, seed=3), normal(width, seed=4))
    graph = built([CONV, *moves, ("y", Affine(), "m", norm)])
    assert kinds(hoist_pointwise.run(graph)) == ["Conv2D", type(moves[0][1]).__name__, "Affine"]


@pytest.mark.parametrize(
    "layers",
    [
        [CONV, *WOVEN, ("y", Table("sigmoid"), "m4")],
        [CONV, ("y", Table("relu"), "a")],
        [("a", MaxPool2D((1, 1)), "x"), ("m", Reshape((20, 3)), "a"), ("y", Table("relu"), "m")],
        [("m", Reshape((20, 3)), "x"), ("y", Table("relu"), "m")],
        [("a", Conv2D((1, 1), clip=(0.0, 6.0)), "x", CONV[3]), *WOVEN, ("y", Affine(), "m4", NORM)],
    ],
    ids=["no clip", "no moves", "no convolution", "an input", "an affine behind a clip"],
)
def test_what_gains_nothing_stays(layers: list[Any]) -> None:
    graph = built(layers)
    assert hoist_pointwise.run(graph).nodes == graph.nodes


def test_a_tensor_that_the_caller_reads_stays() -> None:
    graph = built([CONV, *WOVEN, ("y", Table("relu"), "m4")])
    both = replace(graph, outputs=(*graph.outputs, Port("m2", "m2", perm=(0, 1, 2, 3, 4, 5))))
    assert hoist_pointwise.run(both).nodes == both.nodes


@pytest.mark.parametrize(("name", "moves"), [("m4", False), ("a", False), ("y", True)])
def test_a_quantisation_of_the_source_in_between_stays(name: str, moves: bool) -> None:
    """Values that the source rounds before the clip."""
    graph = built([CONV, *WOVEN, ("y", Table("relu"), "m4")])
    types = {**graph.types, name: replace(graph.types[name], quant=Quant(0.5, 3))}
    held = replace(graph, types=types)
    assert (hoist_pointwise.run(held).nodes != held.nodes) == moves
