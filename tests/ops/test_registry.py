# SPDX-License-Identifier: Apache-2.0
"""Every operator of the registry has all faces, and its faces agree. A new operator needs no edit here."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from random_graphs import Growth, differing, feeds, model_bytes, single

import edgekern
from edgekern import _core, quant
from edgekern.artifact import layout
from edgekern.graph import Graph, Node, run
from edgekern.ops import Op, registry
from edgekern.ops._op import quant_of
from edgekern.types import Array

FACES = ("infer", "evaluate", "quantise", "reference", "lower", "lift", "example")
REFERENCE_LINES = 40
EXAMPLES = 25

every_op = pytest.mark.parametrize("kind", registry().values(), ids=list(registry()))
every_seed = pytest.mark.parametrize("seed", range(EXAMPLES))


def opcode_rows(repo: Path) -> dict[str, tuple[int, ...]]:
    """number, inputs, outputs, constants and params of each row of opcodes.def."""
    text = (repo / "cpp" / "model" / "opcodes.def").read_text()
    rows = re.findall(r"^EK_OPCODE\((\w+),([^)]*)\)", text, flags=re.M)
    return {name: tuple(int(v) for v in numbers.split(",")) for name, numbers in rows}


def only_node(graph: Graph) -> Node:
    (node,) = graph.nodes
    return node


def test_the_registry_is_what_a_file_can_hold(repo: Path) -> None:
    rows = opcode_rows(repo)
    assert {name: row[0] for name, row in rows.items()} == layout.OPCODES
    assert set(registry()) == set(rows)


@every_op
def test_every_face_is_there(kind: type[Op]) -> None:
    assert not inspect.isabstract(kind)
    assert is_dataclass(kind)
    assert kind.__doc__
    assert kind.__hash__ is not None
    assert all(face in vars(kind) for face in FACES)
    families = {row["family"] for row in _core.kernels()}
    assert set(kind.kernels) <= families, f"{kind.kernels} of {sorted(families)}"


@every_op
def test_a_reference_is_short(kind: type[Op]) -> None:
    assert len(inspect.getsource(kind.reference).splitlines()) <= REFERENCE_LINES


@every_op
@every_seed
def test_infer_agrees_with_reference(kind: type[Op], seed: int) -> None:
    graph = single(kind, seed).graph()
    node = only_node(graph)
    constants = [graph.constants[name] for name in node.constants]
    types = [graph.types[name] for name in node.inputs]
    out = graph.types[node.output]
    made = node.op.infer(types, constants)
    tensors = run.reference(graph, feeds(graph, np.random.default_rng(seed)), trace=True)
    y = tensors[node.output]
    assert (made.shape, out.shape, out.dtype.numpy) == (out.shape, (1, *y.shape[1:]), y.dtype)
    assert len(y) == len(tensors[node.inputs[0]])


@every_op
@every_seed
def test_lower_and_lift_are_inverse(kind: type[Op], seed: int, repo: Path) -> None:
    graph = single(kind, seed).graph()
    node = only_node(graph)
    _, inputs, _, constants, params = opcode_rows(repo)[kind.opcode]
    words = node.op.lower()
    assert (len(words), len(node.constants)) == (params, constants)
    assert len(node.inputs) == inputs or inputs < 0
    assert all(np.int32(word) == word for word in words)
    assert kind.lift(words, graph.types[node.output]) == node.op


def steps_off(growth: Growth, graph: Graph, given: dict[str, Array]) -> Array:
    """How far the reference lies from the float function, in steps of the output; clamped values count as met."""
    node = only_node(graph)
    example = growth.floats[node.output]
    tensors = run.reference(graph, given, trace=True)
    floats = [quant.dequantise(tensors[name], quant_of(graph.types[name])) for name in node.inputs]
    real = example.op.evaluate(floats, example.constants).astype(np.float64)
    q = graph.types[node.output].quant
    if q is None:
        return np.abs(tensors[node.output] - real) * 256
    lo, hi = getattr(node.op, "clamp", (-128, 127))
    exact = np.clip(real / q.scale + q.zero_point, lo, hi)
    return np.where(np.isnan(exact), 0, np.abs(exact - tensors[node.output]))


@every_op
def test_the_reference_computes_the_float_function(kind: type[Op]) -> None:
    means = []
    for seed in range(EXAMPLES):
        growth = single(kind, seed, wild=0)
        graph = growth.graph()
        given = feeds(graph, np.random.default_rng(seed), 4)
        means.append(float(steps_off(growth, graph, given).mean()))
    assert np.median(means) < 0.5, means
    assert max(means) < 2, means


@every_op
@every_seed
def test_kernels_equal_the_reference(kind: type[Op], seed: int) -> None:
    graph = single(kind, seed).graph()
    given = feeds(graph, np.random.default_rng(seed), 3)
    assert differing(graph, given, run.reference(graph, given)) == []


@every_op
@every_seed
def test_the_plan_counts_the_operators_multiply_accumulates(kind: type[Op], seed: int) -> None:
    graph = single(kind, seed).graph()
    node = only_node(graph)
    macs = node.op.macs(graph.types[node.output], [graph.constants[name] for name in node.constants])
    assert sum(step.macs for step in edgekern.Model.from_bytes(model_bytes(graph)).plan()) == macs


@every_op
def test_attributes_are_plain(kind: type[Op]) -> None:
    """Operators are compared and hashed by their attributes: no arrays among them."""
    op = only_node(single(kind, 0).graph()).op
    assert all(isinstance(getattr(op, f.name), (int, float, str, bool, tuple)) for f in fields(op))
