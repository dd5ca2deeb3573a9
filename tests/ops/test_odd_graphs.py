# SPDX-License-Identifier: Apache-2.0
"""Legal graphs that no network looks like: nothing to compute, one tensor in several roles, tensors nobody wants."""

from __future__ import annotations

import numpy as np
import pytest
from random_graphs import differing, feeds

from edgekern.graph import Graph, Node, Port, run
from edgekern.ops import Add, Concat, MaxPool2D, Reshape, Softmax
from edgekern.types import Array, DType, Quant, TensorType

Q = Quant(0.5, 3)
PICTURE = (1, 4, 5, 3)
X = Port("x", "x", DType.FLOAT32, (0, 1, 2, 3))
POOL = Node(MaxPool2D((2, 2)), ("x",), (), "p", "pool")
POOLED = (1, 3, 4, 3)


def int8(*shape: int) -> TensorType:
    return TensorType(shape, DType.INT8, Q)


def out(tensor: str, dtype: DType = DType.INT8, perm: tuple[int, ...] = (0, 3, 1, 2)) -> Port:
    return Port(f"y {tensor} {dtype.name}", tensor, dtype, perm)


def softmax_then_reshape() -> Graph:
    types = {"x": int8(*PICTURE), "p": TensorType(PICTURE), "r": TensorType((1, 60))}
    softmax, (table,) = Softmax().quantise([types["x"]], types["p"], [])
    nodes = (Node(softmax, ("x",), ("table",), "p"), Node(Reshape((60,)), ("p",), (), "r"))
    return Graph((X,), (out("r", DType.FLOAT32, (0, 1)),), nodes, types, {"table": table})


GRAPHS = {
    "no nodes": Graph((X,), (out("x", DType.FLOAT32),), (), {"x": int8(*PICTURE)}),
    "one tensor for two outputs": Graph((X,), (out("x"), out("x", DType.UINT8)), (), {"x": int8(*PICTURE)}),
    "an input that is an output too": Graph(
        (X,), (out("p"), out("x", DType.UINT8)), (POOL,), {"x": int8(*PICTURE), "p": int8(*POOLED)}
    ),
    "an input nobody reads": Graph(
        (X, Port("u", "u", DType.INT8, (0, 1))),
        (out("p"),),
        (POOL,),
        {"x": int8(*PICTURE), "u": int8(1, 7), "p": int8(*POOLED)},
    ),
    "a node nobody reads": Graph((X,), (out("x"),), (POOL,), {"x": int8(*PICTURE), "p": int8(*POOLED)}),
    "a tensor added to itself": Graph(
        (X,),
        (out("s"),),
        (Node(Add(20, 1 << 19, 1 << 19), ("x", "x"), (), "s"),),
        {"x": int8(*PICTURE), "s": int8(*PICTURE)},
    ),
    "a tensor behind itself": Graph(
        (X,),
        (out("c"),),
        (Node(Concat(3), ("x", "x", "x"), (), "c"),),
        {"x": int8(*PICTURE), "c": int8(1, 4, 5, 9)},
    ),
    "a batch and nothing else": Graph(
        (Port("x", "x", DType.FLOAT32, (0,)),), (out("x", DType.FLOAT32, (0,)),), (), {"x": int8(1)}
    ),
    "float32 inside": softmax_then_reshape(),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_it_runs_like_any_other(name: str) -> None:
    graph = GRAPHS[name]
    given: dict[str, Array] = feeds(graph, np.random.default_rng(5))
    assert differing(graph, given, run.reference(graph, given)) == []


def test_a_large_batch() -> None:
    graph = GRAPHS["an input that is an output too"]
    given = feeds(graph, np.random.default_rng(5), 700)
    assert differing(graph, given, run.reference(graph, given)) == []
