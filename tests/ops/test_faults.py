# SPDX-License-Identifier: Apache-2.0
"""The comparison can fail: a fault of every kind, planted in every operator, is seen by the frames the suite uses.

Faults in a model (one step in a weight, a bias, an attribute) stand for a kernel that reads the wrong tap or pads
wrongly; faults in the arithmetic stand for one that rounds another way. Each is compared with the sound reference.
"""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from itertools import chain, permutations
from typing import Any

import numpy as np
import pytest
from random_graphs import caps, feeds, model_bytes, run_under, single
from wide_graphs import single_wide

from edgekern import quant
from edgekern.errors import ModelFormatError
from edgekern.graph import Graph, run
from edgekern.ops import Op, registry
from edgekern.types import Array, DType, Quant

TRIES = 40  # graphs of one node; a fault that none of them shows is not caught
#: Attributes of the float form: constants, clamps and shapes hold them by now.
FLOAT_FORM = {"clip", "temperature", "value", "function", "parameters", "shape", "size"}
#: Attributes on which shapes depend so that a loader always refuses one step; see faults_of_equal_shapes.
OF_SHAPES = {"axis", "perm", "channels", "groups"}
every_op = pytest.mark.parametrize("kind", registry().values(), ids=list(registry()))


# ---- faults in a model ----------------------------------------------------------------------------


def nudged(constant: Array, draw: np.random.Generator) -> Array:
    """One element changed as little as a kernel's slip would change it."""
    changed = constant.copy()
    at = tuple(int(draw.integers(n)) for n in constant.shape)
    if constant.dtype == np.float32:
        changed[at] *= np.float32(1 + 2**-6)
    else:
        changed[at] += -1 if changed[at] > 0 else 1
    return changed


def constant_faults(graph: Graph, draw: np.random.Generator) -> Iterator[tuple[str, Graph]]:
    (node,) = graph.nodes
    for i, name in enumerate(node.constants):
        yield f"constant {i}", replace(graph, constants={**graph.constants, name: nudged(graph.constants[name], draw)})


def attribute_faults(graph: Graph) -> Iterator[tuple[str, Graph]]:
    """Each number among the attributes one step off, where a graph of the same shapes remains."""
    (node,) = graph.nodes
    for field in fields(node.op):
        if field.name in FLOAT_FORM | OF_SHAPES:
            continue
        value = getattr(node.op, field.name)
        parts = value if isinstance(value, tuple) else (value,)
        for i, part in enumerate(parts):
            near = (part * (1 + 2**-6),) if isinstance(part, float) else (part + 1, part - 1)
            for other in (not part,) if isinstance(part, bool) else near:
                new: Any = (*parts[:i], other, *parts[i + 1 :]) if isinstance(value, tuple) else other
                yield field.name, replace(graph, nodes=(replace(node, op=replace(node.op, **{field.name: new})),))


def with_op(graph: Graph, **changed: Any) -> Graph:
    (node,) = graph.nodes
    return replace(graph, nodes=(replace(node, op=replace(node.op, **changed)),))


def faults_of_equal_shapes(graph: Graph) -> Iterator[tuple[str, Graph]]:
    """For attributes that shapes depend on, so that one step off is refused: another fault of the same attribute."""
    (node,) = graph.nodes
    op: Any = node.op
    if (pads := getattr(op, "pads", None)) is not None:  # the whole padding one row or column away
        top, left, bottom, right = pads
        for moved in ((top + 1, left, bottom - 1, right), (top, left - 1, bottom, right + 1)):
            yield "pads", with_op(graph, pads=moved)
    if op.opcode == "Pad":
        front, back = op.channels
        yield "channels", with_op(graph, channels=(front + 1, back - 1))
    if op.opcode in ("Conv2D", "DepthwiseConv2D"):
        name = node.constants[0]
        w = graph.constants[name]
        rows = int(op.opcode == "Conv2D")  # the axis of kh
        if op.kernel[0] == op.kernel[1] > 1:  # rows for columns
            yield "kernel", replace(graph, constants={**graph.constants, name: w.swapaxes(rows, rows + 1).copy()})
        if getattr(op, "groups", 1) > 1:  # each group with the weights of another
            moved = np.roll(w, len(w) // op.groups, axis=0)
            yield "groups", replace(graph, constants={**graph.constants, name: moved})
    if op.opcode == "AveragePool2D":  # the other of two
        yield "origin", with_op(graph, origin=-128 - op.origin)
    if op.opcode == "Transpose":
        shape = graph.types[node.inputs[0]].shape
        for perm in permutations(op.perm):
            if perm[0] == 0 and perm != op.perm and [shape[i] for i in perm] == [shape[i] for i in op.perm]:
                yield "perm", with_op(graph, perm=perm)
    if len(node.inputs) > 1:
        yield "order", replace(graph, nodes=(replace(node, inputs=node.inputs[::-1]),))


def quant_faults(graph: Graph) -> Iterator[tuple[str, Graph]]:
    """The zero point of the first input or of the result one step off."""
    (node,) = graph.nodes
    for name, where in ((node.inputs[0], "in"), (node.output, "out")):
        if (q := graph.types[name].quant) is not None:
            other = Quant(q.scale, q.zero_point + (-1 if q.zero_point > 0 else 1))
            types = {**graph.types, name: replace(graph.types[name], quant=other)}
            yield f"zero point {where}", replace(graph, types=types)


def expected_faults(kind: type[Op]) -> set[str]:
    """What must be planted and seen: every constant and attribute of the integer form, and both zero points."""
    (node,) = single(kind, 0).graph().nodes
    names = {f"constant {i}" for i in range(len(node.constants))}
    names |= {field.name for field in fields(kind)} - FLOAT_FORM - {"axis"}
    names |= {"order"} if kind.opcode in ("Add", "Concat") else set()
    return names | (set() if kind.opcode in ("MaxPool2D", "Resize2D") else {"zero point in", "zero point out"})


def outcome(graph: Graph, faulty: Graph, given: dict[str, Array]) -> str:
    """What becomes of a faulty model: "seen" in the outputs, "refused" by the loader, or "silent"."""
    want = run.reference(graph, given)
    try:
        made = run_under("scalar", faulty, model_bytes(faulty), given)
    except ModelFormatError:
        return "refused"
    return "silent" if all(np.array_equal(y, made[name]) for name, y in want.items()) else "seen"


@every_op
def test_a_fault_in_the_model_is_caught(kind: type[Op]) -> None:
    outcomes: dict[str, set[str]] = defaultdict(set)
    for seed in range(TRIES):
        graph = single(kind, seed).graph()
        draw = np.random.default_rng([seed, 2])
        given = feeds(graph, np.random.default_rng(seed))
        every = (constant_faults(graph, draw), attribute_faults(graph), faults_of_equal_shapes(graph))
        for name, faulty in chain(*every, quant_faults(graph)):
            if "seen" not in outcomes[name]:
                outcomes[name].add(outcome(graph, faulty, given))
    expected = expected_faults(kind)
    assert expected <= set(outcomes), f"{kind.opcode}: nothing plants {expected - set(outcomes)}"
    unseen = {name: results for name, results in outcomes.items() if name in expected and "seen" not in results}
    assert not unseen, f"{kind.opcode}: no frame shows a fault in {unseen}"


# ---- faults in the arithmetic ---------------------------------------------------------------------


def half_up(t: Array) -> Array:
    return np.floor(t + np.float32(0.5))


def rounded_half_up(t: Array, zero_point: int, lo: int, hi: int, dtype: DType) -> Array:
    t = np.minimum(np.maximum(t, np.float32(lo - zero_point)), np.float32(hi - zero_point))
    return (half_up(t).astype(np.int32) + zero_point).astype(dtype.numpy)


def requantise_half_up(
    acc: Array, m: Array, zero_point: int, lo: int = -128, hi: int = 127, dtype: DType = DType.INT8
) -> Array:
    return rounded_half_up(acc.astype(np.float32) * np.asarray(m, np.float32), zero_point, lo, hi, dtype)


def wide_half_up(high: Array, low: Array, m: Array, zero: int, lo: int, hi: int, dtype: DType = DType.INT8) -> Array:
    t = high.astype(np.float32) * np.float32(256) + low.astype(np.float32)
    return rounded_half_up(t * m, zero, lo, hi, dtype)


def wide_in_two(high: Array, low: Array, m: Array, zero: int, lo: int, hi: int, dtype: DType = DType.INT8) -> Array:
    """Each sum by the multiplier instead of both: three roundings for two."""
    t = high.astype(np.float32) * (np.float32(256) * m) + low.astype(np.float32) * m
    return (np.rint(np.clip(t, lo - zero, hi - zero)).astype(np.int32) + zero).astype(dtype.numpy)


def add_wide_half_up(*args: Any) -> Array:
    a, b, za, zb, zy, ra, rb, lo, hi, dtype = args
    t = (a.astype(np.int32) - za) * np.float32(ra) + (b.astype(np.int32) - zb) * np.float32(rb)
    return rounded_half_up(t.astype(np.float32), zy, lo, hi, dtype)


def add_wide_exact(*args: Any) -> Array:
    """Products and sum in float64: what fusing them would give, or better."""
    a, b, za, zb, zy, ra, rb, lo, hi, dtype = args
    t = (a.astype(np.float64) - za) * ra + (b.astype(np.float64) - zb) * rb
    return (np.rint(np.clip(t, lo - zy, hi - zy)) + zy).astype(dtype.numpy)


def rescale_half_up(x: Array, of: Quant, to: Quant, dtype: DType = DType.INT8) -> Array:
    m = np.float32(of.scale) / np.float32(to.scale)
    ends = np.iinfo(dtype.numpy)
    return requantise_half_up(x.astype(np.int32) - of.zero_point, m, to.zero_point, ends.min, ends.max, dtype)


def quantise_half_up(x: Array, q: Quant, dtype: DType = DType.INT8) -> Array:
    t = np.clip(x / np.float32(q.scale), np.float32(-128 - q.zero_point), np.float32(127 - q.zero_point))
    return (half_up(np.nan_to_num(t, nan=-128.0 - q.zero_point)).astype(np.int32) + q.zero_point).astype(np.int8)


def quantise_by_reciprocal(x: Array, q: Quant, dtype: DType = DType.INT8) -> Array:
    with np.errstate(invalid="ignore"):
        t = np.asarray(x, np.float32) * (np.float32(1) / np.float32(q.scale))
    t = np.clip(np.nan_to_num(t, nan=-np.inf), np.float32(-128 - q.zero_point), np.float32(127 - q.zero_point))
    return (np.rint(t).astype(np.int32) + q.zero_point).astype(np.int8)


def quantise_down(x: Array, q: Quant) -> Array:
    t = np.clip(x / np.float32(q.scale), -128 - q.zero_point, 127 - q.zero_point)
    return (np.floor(t).astype(np.int32) + q.zero_point).astype(np.int8)


def average_half_even(total: Array, count: Array | int) -> Array:
    return np.rint(total / np.asarray(count, np.float64)).astype(np.int32)


def add_without_half(*args: Any) -> Array:
    a, b, za, zb, zy, shift, m, n, lo, hi = args
    acc = (a.astype(np.int64) - za) * m + (b.astype(np.int64) - zb) * n
    return np.clip((acc >> shift) + zy, lo, hi).astype(np.int8)


ROUNDING = [
    ("Conv2D", "requantise", requantise_half_up),
    ("DepthwiseConv2D", "requantise", requantise_half_up),
    ("Affine", "requantise", requantise_half_up),
    ("Mean", "requantise", requantise_half_up),
    ("Mul", "requantise", requantise_half_up),
    ("AveragePool2D", "requantise", requantise_half_up),
    ("AveragePool2D", "average", average_half_even),
    ("Concat", "rescale", rescale_half_up),
    ("Pad", "rescale", rescale_half_up),
    ("Reshape", "rescale", rescale_half_up),
    ("Transpose", "rescale", rescale_half_up),
    ("Slice", "rescale", rescale_half_up),
    ("LayerNorm", "requantise", requantise_half_up),
    ("Add", "requantise_add", add_without_half),
    ("Conv2D", "requantise_wide", wide_half_up),
    ("Conv2D", "requantise_wide", wide_in_two),
    ("DepthwiseConv2D", "requantise_wide", wide_half_up),
    ("Affine", "requantise_wide", wide_half_up),
    ("Add", "requantise_add_wide", add_wide_half_up),
    ("Add", "requantise_add_wide", add_wide_exact),
    ("Softmax", "quantise", quantise_down),
]
ROUNDS = re.compile(r"quant\.(requantise\w*|rescale|average|quantise)\b")


def test_every_rounding_of_a_reference_has_a_fault() -> None:
    used = {(name, f) for name, kind in registry().items() for f in ROUNDS.findall(inspect.getsource(kind.reference))}
    assert {(opcode, function) for opcode, function, _ in ROUNDING} == used


@pytest.mark.parametrize(("opcode", "function", "fault"), ROUNDING, ids=[f"{o}-{f.__name__}" for o, _, f in ROUNDING])
def test_a_fault_in_rounding_is_caught(
    opcode: str, function: str, fault: Callable[..., Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(TRIES):
        kind = registry()[opcode]
        graph = single_wide(kind, seed)[1] if function.endswith("_wide") else single(kind, seed).graph()
        given = feeds(graph, np.random.default_rng(seed))
        made = run_under("scalar", graph, model_bytes(graph), given)
        raw = replace(graph, outputs=tuple(replace(p, name=f"fault {p.name}") for p in graph.outputs))
        with monkeypatch.context() as patch:
            given_inside = feeds_before_patch(graph, given)
            patch.setattr(quant, function, fault)
            node = graph.nodes[0]
            constants = [graph.constants[name] for name in node.constants]
            types = [graph.types[name] for name in node.inputs]
            inside = node.op.reference(
                [given_inside[name] for name in node.inputs], constants, types, graph.types[node.output]
            )
        wrong = run.fetch(raw, graph.outputs[0], inside)
        if not np.array_equal(wrong, made[graph.outputs[0].name]):
            return
    pytest.fail(f"{TRIES} graphs of {opcode} do not show {fault.__name__}")


def feeds_before_patch(graph: Graph, given: dict[str, Array]) -> dict[str, Array]:
    """The tensors inside, quantised by the sound arithmetic."""
    return {port.tensor: run.feed(graph, port, given[port.name]) for port in graph.inputs}


@pytest.mark.parametrize("fault", [quantise_half_up, quantise_by_reciprocal], ids=lambda f: f.__name__)
def test_a_fault_in_rounding_at_a_float_port_is_caught(
    fault: Callable[..., Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(TRIES):
        graph = single(registry()["Transpose"], seed).graph()
        if graph.inputs[0].dtype is not DType.FLOAT32:
            continue
        given = feeds(graph, np.random.default_rng(seed))
        made = run_under("scalar", graph, model_bytes(graph), given)
        with monkeypatch.context() as patch:
            patch.setattr(quant, "quantise", fault)
            wrong = run.reference(graph, given)
        if any(not np.array_equal(y, made[name]) for name, y in wrong.items()):
            return
    pytest.fail(f"{TRIES} graphs do not show {fault.__name__}")


# ---- faults in reading ----------------------------------------------------------------------------


@every_op
def test_reading_the_element_beside_is_caught(kind: type[Op]) -> None:
    for seed in range(TRIES):
        graph = single(kind, seed).graph()
        given = feeds(graph, np.random.default_rng(seed))
        made = run_under(caps()[0], graph, model_bytes(graph), given)
        node = graph.nodes[0]
        inside = feeds_before_patch(graph, given)
        inside[node.inputs[0]] = np.roll(inside[node.inputs[0]], 1, axis=-1)
        constants = [graph.constants[name] for name in node.constants]
        types = [graph.types[name] for name in node.inputs]
        y = node.op.reference([inside[name] for name in node.inputs], constants, types, graph.types[node.output])
        if not np.array_equal(run.fetch(graph, graph.outputs[0], y), made[graph.outputs[0].name]):
            return
    pytest.fail(f"{TRIES} graphs of {kind.opcode} do not show it")


def test_a_reciprocal_in_softmax_is_caught() -> None:
    """e * (1 / S) is another float than e / S in some outputs."""
    for seed in range(TRIES):
        graph = single(registry()["Softmax"], seed).graph()
        node = graph.nodes[0]
        if graph.types[node.output].quant:
            continue
        given = feeds(graph, np.random.default_rng(seed))
        made = run_under(caps()[0], graph, model_bytes(graph), given)[graph.outputs[0].name]
        x = feeds_before_patch(graph, given)[node.inputs[0]].astype(np.int32)
        e = graph.constants[node.constants[0]][x.max(axis=-1, keepdims=True) - x].astype(np.float32)
        reciprocal = np.float32(1) / e.sum(axis=-1, keepdims=True, dtype=np.uint64).astype(np.float32)
        if not np.array_equal(run.fetch(graph, graph.outputs[0], e * reciprocal), made):
            return
    pytest.fail(f"{TRIES} graphs do not show it")
