# SPDX-License-Identifier: Apache-2.0
"""Memory is known before it is taken, and no frame takes any."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from edgekern.artifact import Artifact, write
from edgekern.errors import InputError, MemoryLimitError
from edgekern.model import Model
from edgekern.ops import registry
from native import program, run
from sample_models import Builder, classifier, every_op, mixed_elements


def signs() -> bytes:
    return resources.files("edgekern.signs").joinpath("signs.ekm").read_bytes()


MODELS = {
    "classifier": lambda: write(classifier()),
    "every op": lambda: write(every_op()),
    "int16": lambda: write(mixed_elements()),
    "signs": signs,
}
FRAMES = {"classifier": 10_000, "every op": 4000, "int16": 2000, "signs": 2000}


@pytest.mark.parametrize(("flags", "code"), [((), 0), (("-DPLANT",), 1)], ids=["none", "one planted malloc is seen"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("net", MODELS)
def test_no_frame_allocates(tmp_path: Path, net: str, threads: int, flags: tuple[str, ...], code: int) -> None:
    path, frames = tmp_path / "net.ekm", FRAMES[net] // (1 if threads == 1 else 10)  # emulated threads meet slowly
    path.write_bytes(MODELS[net]())
    exe = program(Path(__file__).with_name("count_allocations.c"), *flags)
    done = run(exe, path, frames, threads)
    assert (done.returncode, done.stdout) == (code, f"{code} allocations in {frames} frames\n"), done.stderr


def test_the_sample_net_has_every_operator_and_several_outputs() -> None:
    graph = every_op().graph
    assert {type(node.op) for node in graph.nodes} == set(registry().values())
    assert len(graph.outputs) > 1


def test_the_int16_net_has_every_operator_that_takes_it() -> None:
    graph = mixed_elements().graph
    wide = {type(n.op) for n in graph.nodes if any(graph.types[t].wide for t in (*n.inputs, n.output))}
    assert wide == {kind for kind in registry().values() if kind.takes_wide()}


def test_the_limit_is_exact() -> None:
    data = write(classifier())
    total = Model.from_bytes(data).memory_plan().total
    Model.from_bytes(data, memory_limit=total, selftest=False)
    with pytest.raises(MemoryLimitError, match=f"needs {total} bytes, the limit is {total - 1}"):
        Model.from_bytes(data, memory_limit=total - 1, selftest=False)


def test_a_plan_beyond_the_machine_is_refused_before_it_is_taken() -> None:
    b = Builder((1, 4096, 4096, 3))
    b.conv("t0", 15, 1)
    data = write(Artifact(b.graph({"y": "t1"})))
    with pytest.raises(MemoryLimitError):
        Model.from_bytes(data, memory_limit="64 MiB", selftest=False)


@pytest.mark.parametrize("text", ["8 MiB", "8MiB", "8388608", "8 mib"])
def test_limits_in_words(text: str) -> None:
    Model.from_bytes(write(classifier()), memory_limit=text)


@pytest.mark.parametrize("limit", ["8 MB?", "lots", "", "-1", 0, -5])
def test_a_limit_that_is_no_limit(limit: int | str) -> None:
    with pytest.raises(InputError, match="memory limit"):
        Model.from_bytes(write(classifier()), memory_limit=limit)


def test_tensors_share_memory_by_lifetime() -> None:
    """A chain needs the memory of its two largest neighbours, not of all its tensors."""
    b = Builder((1, 32, 32, 3))
    x = b.conv("t0", 32, 1)
    for _ in range(10):
        x = b.conv(x, 32, 1)
    arena = Model.from_bytes(write(Artifact(b.graph({"y": x}))), selftest=False).memory_plan().arena
    assert arena <= 2 * 32 * 32 * 32 + 1024


def test_the_result_does_not_depend_on_what_was_there_before() -> None:
    """Bytes of other frames left in the arena never reach a result."""
    model, fresh = (Model.from_bytes(write(classifier())) for _ in range(2))
    draw = np.random.default_rng(1)
    x = draw.integers(0, 256, (1, 24, 24, 3)).astype(np.uint8)
    for value in (0, 255):
        model.run(np.full((1, 24, 24, 3), value, np.uint8))
        np.testing.assert_array_equal(model.run(x), fresh.run(x))
