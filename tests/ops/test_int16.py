# SPDX-License-Identifier: Apache-2.0
"""int16 tensors, from one node to whole files: kernels under every cap give the bytes of the NumPy reference."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_graphs import caps, differing, feeds, grow_growth, model_bytes, single
from wide_graphs import single_wide, widened

import edgekern
from edgekern import quant
from edgekern.artifact import Artifact, KnownAnswer, write
from edgekern.errors import CompileError, CorruptModelError, InputError, MemoryLimitError, SelfTestError
from edgekern.graph import Graph, Node, Port, run
from edgekern.graph.verify import verify
from edgekern.model import Model
from edgekern.ops import registry
from edgekern.types import Array, DType, Quant, TensorType

WIDE = [name for name, kind in registry().items() if kind.takes_wide()]
SINGLES, GRAPHS, LARGE = 40, 120, 12
LEAST_MIXES = 2  # graphs of each operator that hold each mix of elements

every_wide_op = pytest.mark.parametrize("opcode", WIDE)


def random_graph(seed: int) -> Graph:
    growth = grow_growth(seed)
    return widened(growth, growth.graph(), np.random.default_rng([seed, 21]), 0.5)


def large_graph(seed: int) -> Graph:
    """Windows of many pixels and panels, tensors that a plan of bytes would fuse."""
    growth = grow_growth([seed, 22], 4, 10, (6, 12, 13, 24, 31), (3, 8, 16, 24, 32, 33, 48), 60_000)
    return widened(growth, growth.graph(), np.random.default_rng([seed, 23]), 0.5)


def only(given: dict[str, Array]) -> dict[str, Array] | Array:
    return given if len(given) > 1 else next(iter(given.values()))


@every_wide_op
@pytest.mark.parametrize("seed", range(SINGLES))
def test_one_node_equals_the_reference(opcode: str, seed: int) -> None:
    """Frames of -32768, of 32767, of both in turn, of random values; float ports with ties, NaN and infinities."""
    _, graph = single_wide(registry()[opcode], seed)
    given = feeds(graph, np.random.default_rng(seed), 3)
    assert differing(graph, given, run.reference(graph, given)) == []


def test_every_mix_of_elements_occurs() -> None:
    for opcode in WIDE:
        mixes: Counter[tuple[bool, ...]] = Counter()
        for seed in range(SINGLES):
            _, graph = single_wide(registry()[opcode], seed)
            (node,) = graph.nodes
            mixes[tuple(graph.types[name].wide for name in (*node.inputs[:2], node.output))] += 1
        least = min(map(len, mixes))  # a concat may have more
        found = {mix: count for mix, count in mixes.items() if len(mix) == least}
        assert len(found) == 2**least - 1, (opcode, found)
        assert min(found.values()) >= LEAST_MIXES, (opcode, found)


@pytest.mark.parametrize("seed", range(GRAPHS))
def test_random_graphs_equal_the_reference(seed: int) -> None:
    graph = random_graph(seed)
    given = feeds(graph, np.random.default_rng([seed, 24]), 3)
    assert differing(graph, given, run.reference(graph, given)) == []


@pytest.mark.parametrize("seed", range(LARGE))
def test_larger_tensors_too(seed: int) -> None:
    graph = large_graph(seed)
    given = feeds(graph, np.random.default_rng([seed, 25]), 1)
    assert differing(graph, given, run.reference(graph, given)) == []


def test_the_random_graphs_prove_something() -> None:
    """How many hold each operator on int16, and how many tensors of those take many values."""
    holds: Counter[str] = Counter()
    alive = tensors = 0
    for seed in range(GRAPHS):
        graph = random_graph(seed)
        for node in graph.nodes:
            if any(graph.types[name].wide for name in (*node.inputs, node.output)):
                holds[node.op.opcode] += 1
        values = run.reference(graph, feeds(graph, np.random.default_rng([seed, 24]), 3), trace=True)
        for name, kind in graph.types.items():
            if kind.wide and values[name].size >= 64:
                tensors += 1
                alive += len(np.unique(values[name])) >= 40
    assert all(holds[opcode] >= 20 for opcode in WIDE), holds
    assert alive > 0.7 * tensors > 70, (alive, tensors)


def test_a_trace_equals_the_reference() -> None:
    """Every tensor by name, int16 ones as int16."""
    seen = 0
    for seed in range(0, GRAPHS, 4):
        graph = random_graph(seed)
        given = feeds(graph, np.random.default_rng([seed, 24]), 2)
        want = run.reference(graph, given, trace=True)
        made = Model.from_bytes(model_bytes(graph)).trace(only(given))
        assert [name for name in want if made[name].dtype != want[name].dtype] == []
        assert [name for name in want if not np.array_equal(made[name], want[name])] == []
        seen += sum(y.dtype == np.int16 for y in want.values())
    assert seen > 30


def test_raw_outputs_are_the_integers_inside() -> None:
    for seed in range(20):
        _, graph = single_wide(registry()["Conv2D"], seed)
        given = feeds(graph, np.random.default_rng(seed), 2)
        made = Model.from_bytes(model_bytes(graph)).run(only(given), raw=True)
        want = run.reference(graph, given, raw=True)[graph.outputs[0].name]
        assert made.dtype == want.dtype == graph.types[graph.nodes[0].output].dtype.numpy
        assert np.array_equal(made, want)


def test_a_file_keeps_its_int16_tensors(tmp_path: Path) -> None:
    """Written, read, saved, loaded: the same types, a known answer that is checked, and one that is wrong refused."""
    graph = random_graph(3)
    assert any(t.wide for t in graph.types.values())
    answer = KnownAnswer.random(graph)
    data = write(Artifact(graph, known_answer=answer))
    assert write(Artifact(graph, known_answer=answer)) == data
    edgekern.Model.from_bytes(data).save(tmp_path / "wide.ekm")
    for cap in caps():
        model = edgekern.load(tmp_path / "wide.ekm", isa=cap)
    read = model._artifact.graph
    assert read.types == dict(graph.types)
    assert [node.op.lower() for node in read.nodes] == [node.op.lower() for node in graph.nodes]
    given = feeds(graph, np.random.default_rng(1), 2)
    want, made = run.reference(graph, given), model.reference(only(given))
    made = made if isinstance(made, dict) else {graph.outputs[0].name: made}
    assert all(np.array_equal(y, made[name]) for name, y in want.items())
    first = next(iter(answer.outputs))
    changed = answer.outputs[first].copy()
    changed.view(np.uint8).flat[0] ^= 1
    wrong = replace(answer, outputs={**answer.outputs, first: changed})
    with pytest.raises(SelfTestError):
        edgekern.Model.from_bytes(write(Artifact(graph, known_answer=wrong)))


def convolution(wide: bool) -> Graph:
    """24x24x16 to 24x24x16 by 3x3, the tensor between as int16 or int8."""
    draw = np.random.default_rng(5)
    kind = registry()["Conv2D"](kernel=(3, 3), pads=(1, 1, 1, 1))
    q = {False: Quant(0.03125, 3), True: Quant(float(np.float32(1 / 8192)), 0)}
    types = {n: TensorType((1, 24, 24, 16), DType.INT8, q[False]) for n in "xyz"}
    if wide:
        types["y"] = TensorType((1, 24, 24, 16), DType.INT16, q[True])
    constants, nodes = {}, []
    for source, made in ("xy", "yz"):
        weights = draw.normal(0, 0.1, (16, 3, 3, 16)).astype(np.float32)
        op, values = kind.quantise([types[source]], types[made], [weights, np.zeros(16, np.float32)])
        names = tuple(f"{made}{i}" for i in range(3))
        constants.update(zip(names, values, strict=True))
        nodes.append(Node(op, (source,), names, made, made))
    ports = [Port(name, name, DType.FLOAT32, (0, 1, 2, 3)) for name in "xz"]
    return Graph((ports[0],), (ports[1],), tuple(nodes), types, constants)


def test_the_memory_plan_counts_two_bytes() -> None:
    """The tensor between has a halo of one: 26 x 26 x 16 elements, one byte more for each."""
    narrow, wide = (Model.from_bytes(model_bytes(convolution(kind))) for kind in (False, True))
    more = wide.memory_plan().arena - narrow.memory_plan().arena
    assert more == 26 * 26 * 16
    plan = wide.memory_plan()
    assert plan.weights + plan.arena + plan.scratch <= plan.total
    limit = str(plan.total)
    Model.from_bytes(model_bytes(convolution(True)), memory_limit=limit)
    with pytest.raises(MemoryLimitError):
        Model.from_bytes(model_bytes(convolution(True)), memory_limit=str(plan.total - 1))


def test_a_profile_names_the_rows() -> None:
    model = Model.from_bytes(model_bytes(convolution(True)))
    for fused in (True, False):
        steps = model.profile(rounds=1, fused=fused)
        assert [step.kernel.split("_")[0] for step in steps] == ["wide", "wide"]
        assert [step.macs for step in steps] == [24 * 24 * 16 * 9 * 16] * 2
        assert all(step.nanoseconds > 0 for step in steps)


def test_frames_of_a_batch_are_alone() -> None:
    """A batch gives what its frames give one by one: no halo or plane keeps anything of the frame before."""
    graph = convolution(True)
    model, x = Model.from_bytes(model_bytes(graph)), np.random.default_rng(1).normal(0, 2, (5, 24, 24, 16))
    given = x.astype(np.float32)
    whole = model.run(given)
    assert np.array_equal(whole, np.concatenate([model.run(given[i : i + 1]) for i in range(5)]))
    assert np.array_equal(whole, run.reference(graph, {"x": given})["z"])
    assert len(np.unique(whole)) > 100


# ---- what is refused ------------------------------------------------------------------------------


def test_a_zero_point_is_refused() -> None:
    with pytest.raises(ValueError, match="zero point 0, not 5"):
        TensorType((1, 4), DType.INT16, Quant(0.5, 5))


def test_other_operators_are_refused_by_name() -> None:
    for name, kind in registry().items():
        if kind.takes_wide():
            continue
        graph = single(kind, 1).graph()
        held = {
            name: TensorType(t.shape, DType.INT16, Quant(0.5, 0))
            for name, t in graph.types.items()
            if t.quant is not None
        }
        ports = [tuple(replace(p, dtype=DType.FLOAT32) for p in side) for side in (graph.inputs, graph.outputs)]
        wrong = replace(graph, types={**graph.types, **held}, inputs=ports[0], outputs=ports[1])
        with pytest.raises(CompileError, match=rf"\({name}\): it works on int8"):
            verify(wrong)
        with pytest.raises(CorruptModelError, match=f"{name} .*INT8") as refusal:
            Model.from_bytes(model_bytes(wrong))
        assert refusal.value.field == "tensor.dtype"


def test_integer_ports_of_int16_are_refused() -> None:
    _, graph = single_wide(registry()["Conv2D"], 0)
    wide = next(p for p in (*graph.inputs, *graph.outputs) if graph.types[p.tensor].wide)
    for dtype in (DType.INT8, DType.UINT8, DType.INT16):
        ports = {side: tuple(replace(p, dtype=dtype) if p == wide else p for p in getattr(graph, side)) for side in
                 ("inputs", "outputs")}  # fmt: skip
        wrong = replace(graph, **ports)
        with pytest.raises(CompileError, match="outside of an int16 tensor"):
            verify(wrong)
        with pytest.raises(CorruptModelError) as refusal:
            Model.from_bytes(model_bytes(wrong))
        assert refusal.value.field == "port.dtype"


def test_int16_outside_is_no_input() -> None:
    model = Model.from_bytes(model_bytes(convolution(True)))
    with pytest.raises(InputError, match="int16"):
        model.run(np.zeros((1, 24, 24, 16), np.int16))


# ---- what it is for -------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", WIDE)
def test_the_reference_computes_the_float_function(opcode: str) -> None:
    """Off by less than half an int8 step on average: what int8 weights cost, not what a fault would."""
    means = []
    for seed in range(25):
        growth, graph = single_wide(registry()[opcode], seed, 0.0)
        given = feeds(graph, np.random.default_rng(seed), 4)
        (node,) = graph.nodes
        out = graph.types[node.output]
        values = run.reference(graph, given, trace=True)
        floats = [quant.dequantise(values[n], graph.types[n].quant) for n in node.inputs]  # type: ignore[arg-type]
        real = growth.floats[node.output].op.evaluate(floats, growth.floats[node.output].constants)
        assert out.quant
        ends = np.iinfo(out.dtype.numpy)
        lo, hi = getattr(node.op, "clamp", (ends.min, ends.max))
        exact = np.clip(real.astype(np.float64) / out.quant.scale + out.quant.zero_point, lo, hi)
        means.append(float(np.abs(exact - values[node.output]).mean()) / (256 if out.wide else 1))
    assert np.median(means) < 0.5, means
    assert max(means) < 2, means
