# SPDX-License-Identifier: Apache-2.0
"""Sessions whose threads share the steps of a frame or the frames of a batch: the bytes of one thread, quiet between
frames, gone at the end.

`share_all` shares even what is too short to pay, so that small models prove as much as large ones.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from test_fusion import separable

from edgekern import _core
from edgekern.artifact import Artifact, write
from edgekern.errors import InputError, MemoryLimitError
from edgekern.graph import run as graph_run
from edgekern.model import Model
from native import inner_program, run
from sample_models import Builder, classifier, every_op, mixed_elements

sys.path.append(str(Path(__file__).resolve().parents[1] / "ops"))

from random_graphs import feeds, grow, model_bytes

CAPS = ["scalar", *(name for name in _core.isa_available() if name != "scalar")]
THREADS = [1, 2, 3, 4]
TASKS = Path("/proc/self/task")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers need a futex")


def sharing(data: bytes, threads: int, isa: str | None = None) -> Model:
    """A model whose threads share every step and every batch they can."""
    core = _core.Model(data)
    session = _core.Session(core, isa, 0, threads, max_batch=2**31 - 1, selftest=False, share_all=True)
    return Model(data, core, session, isa)


def signs() -> bytes:
    return resources.files("edgekern.signs").joinpath("signs.ekm").read_bytes()


def heavy() -> bytes:
    """A model that threads share by the plan's own judgement: a few milliseconds of convolution."""
    b = Builder((1, 64, 64, 3))
    x = b.conv("t0", 64, 3, pad=1)
    for _ in range(4):
        x = b.conv(x, 64, 3, pad=1)
    return write(Artifact(b.graph({"y": x})))


def deep() -> bytes:
    """Convolutions whose A contributes terms of its own under AVX2: a long row, rows apart, and one behind a group."""
    b = Builder((1, 15, 14, 128))
    x = b.conv("t0", 160, 1)
    x = b.conv(x, 128, 3, stride=2)
    x = b.conv(b.depthwise(b.conv(x, 192, 1)), 96, 1)
    return write(Artifact(b.graph({"y": x})))


def images(data: bytes, count: int, seed: int = 0) -> np.ndarray:
    shape = _core.Model(data).inputs()[0]["shape"][1:]
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)


def assert_equal(got: object, want: object, where: object) -> None:
    if isinstance(want, dict):
        assert isinstance(got, dict)
        for name, values in want.items():
            np.testing.assert_array_equal(got[name], values, err_msg=f"{where} {name}")
    else:
        np.testing.assert_array_equal(got, want, err_msg=str(where))


# ---- the same bytes ----------------------------------------------------------------------------------------------

NETS: dict[str, Callable[[], bytes]] = {
    "every op": lambda: write(every_op()),
    "int16": lambda: write(mixed_elements()),
    "classifier": lambda: write(classifier()),
    "signs": signs,
    "deep": deep,
    "heavy": heavy,
}


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("net", NETS)
def test_any_number_of_threads_gives_the_reference(net: str, cap: str) -> None:
    data = NETS[net]()
    x = images(data, 2 if net == "heavy" else 3)
    x = x.astype(np.float32) / 200 if _core.Model(data).inputs()[0]["dtype"] == 1 else x
    models = [sharing(data, threads, cap) for threads in THREADS]
    want = models[0].run(x) if net == "heavy" else models[0].reference(x)
    for threads, model in zip(THREADS, models, strict=True):
        for _ in range(3):
            assert_equal(model.run(x), want, (threads, cap))


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("seed", range(12))
def test_groups_give_the_reference(seed: int, cap: str) -> None:
    """A thread begins a group at any strip: the rows above it are made again."""
    data = write(Artifact(separable(seed)[0]))
    x = images(data, 2, seed)
    for threads in THREADS[1:]:
        model = sharing(data, threads, cap)
        assert_equal(model.run(x, raw=True), model.reference(x, raw=True), (threads, cap))


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("first", range(0, 60, 20))
def test_random_graphs_give_the_reference(first: int, cap: str) -> None:
    for seed in range(first, first + 20):
        graph = grow([77, seed])
        data, given = model_bytes(graph), feeds(graph, np.random.default_rng(seed), 2)
        want = graph_run.reference(graph, given)
        for threads in THREADS[1:]:
            got = sharing(data, threads, cap).run(given)
            assert_equal(got if isinstance(got, dict) else {graph.outputs[0].name: got}, want, (seed, threads))


def wide_layers(side: int, channels: int, columns: int, kernel: int, groups: int) -> bytes:
    b = Builder((1, side, side, 3))
    x = b.conv("t0", channels, 3, pad=1)
    return write(Artifact(b.graph({"y": b.conv(x, columns, kernel, pad=kernel // 2, groups=groups)})))


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize(
    ("side", "channels", "columns", "kernel", "groups"),
    [(7, 16, 300, 1, 1), (20, 16, 24, 1, 1), (3, 12, 200, 3, 1), (1, 40, 333, 1, 1), (5, 24, 96, 3, 3)],
)
def test_convolutions_are_shared_by_pixels_and_by_panels(
    side: int, channels: int, columns: int, kernel: int, groups: int, cap: str
) -> None:
    data = wide_layers(side, channels, columns, kernel, groups)
    x = images(data, 2)
    for threads in THREADS[1:]:
        model = sharing(data, threads, cap)
        assert_equal(model.run(x, raw=True), model.reference(x, raw=True), (threads, cap))


@pytest.mark.slow
def test_boxes_and_batches_of_many_frames() -> None:
    one, two = Model.from_bytes(signs()), sharing(signs(), 2)
    x = images(signs(), 2000)
    np.testing.assert_array_equal(two.run(x), one.run(x))
    frame = np.random.default_rng(1).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    boxes = [(i % 300, i % 250, 20 + i % 70, 20 + i % 40) for i in range(400)]
    np.testing.assert_array_equal(two.run_image(frame, boxes), one.run_image(frame, boxes))


def test_models_with_workers_in_several_threads() -> None:
    data = heavy()
    x, results = images(data, 2), list[np.ndarray]()
    want = Model.from_bytes(data).run(x)

    def work() -> None:
        model = Model.from_bytes(data, threads=2)
        results.extend(model.run(x) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 60
    for got in results:
        np.testing.assert_array_equal(got, want)


# ---- who is there ------------------------------------------------------------------------------------------------


def workers() -> list[str]:
    """The threads that sessions made, by the name they give themselves."""
    found: list[str] = []
    for task in TASKS.iterdir():
        try:
            if (task / "comm").read_text().strip() == "edgekern":
                found.append(task.name)
        except OSError:  # it has just ended
            continue
    return found


def begun(count: int) -> list[str]:
    """Waits until `count` workers have said their names."""
    deadline = time.monotonic() + 60
    while len(workers()) < count and time.monotonic() < deadline:
        time.sleep(0.001)
    return workers()


def test_workers_are_there_from_load_to_the_end() -> None:
    before = len(list(TASKS.iterdir()))
    one = Model.from_bytes(heavy())
    one.run(images(heavy(), 1))
    assert workers() == []
    assert len(list(TASKS.iterdir())) == before
    model = Model.from_bytes(heavy(), threads=3)
    assert len(begun(2)) == 2
    model.run(images(heavy(), 1))
    assert len(workers()) == 2
    del model
    assert workers() == []


def test_a_small_model_has_no_workers() -> None:
    """What two threads would only make slower runs on the caller, in the memory of one thread."""
    core = _core.Model(write(classifier()))
    one, four = (_core.Session(core, threads=n, max_batch=1, selftest=False) for n in (1, 4))
    assert workers() == []
    assert one.memory() == four.memory()


def ticks(worker: str) -> int:
    """Nanoseconds that a thread has had a processor."""
    return int((TASKS / worker / "schedstat").read_text().split()[0])


NO_TICKS = not (TASKS / str(os.getpid()) / "schedstat").exists()


@pytest.mark.skipif(NO_TICKS, reason="no schedstat here")
def test_threads_take_frames_of_a_batch_and_boxes_where_it_pays() -> None:
    """A sign is too short to share and long enough to give away; two frames of a small model are neither."""
    model = Model.from_bytes(signs(), threads=2)
    (worker,) = begun(1)
    x, frame = images(signs(), 64), np.zeros((90, 90, 3), np.uint8)

    def busy(call: Callable[[], object]) -> bool:
        time.sleep(0.01)
        before = ticks(worker)
        for _ in range(5):
            call()
        time.sleep(0.01)
        return ticks(worker) > before

    assert not busy(lambda: model.run(x[:1]))
    assert busy(lambda: model.run(x))
    assert not busy(lambda: model.run_image(frame, [(0, 0, 50, 50)]))
    assert busy(lambda: model.run_image(frame, [(i, i, 50, 50) for i in range(40)]))
    del model
    small = write(classifier())
    model = Model.from_bytes(small, threads=2)
    (worker,) = begun(1)
    assert not busy(lambda: model.run(images(small, 2)))


@pytest.mark.parametrize("cap", CAPS)
def test_a_batch_of_any_length_is_the_same_on_lanes(cap: str) -> None:
    data = signs()
    one, x = Model.from_bytes(data, isa=cap), images(data, 9)
    frame = np.random.default_rng(2).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    boxes = [(7 * i, 5 * i, 30 + i, 40 - i) for i in range(9)]
    want, signs_there = one.run(x), one.run_image(frame, boxes)
    for threads in THREADS[1:]:
        model = sharing(data, threads, cap)
        for count in range(1, 10):
            np.testing.assert_array_equal(model.run(x[:count]), want[:count])
            np.testing.assert_array_equal(model.run_image(frame, boxes[:count]), signs_there[:count])


@pytest.mark.skipif(NO_TICKS, reason="no schedstat here")
def test_a_loaded_model_takes_no_time_while_idle() -> None:
    model = Model.from_bytes(heavy(), threads=2)
    (worker,) = begun(1)
    x = images(heavy(), 1)
    for _ in range(50):
        model.run(x)
    worked = ticks(worker)
    assert worked > 0
    time.sleep(0.05)
    before, began = ticks(worker), time.process_time_ns()
    time.sleep(10 if os.environ.get("EDGEKERN_MINUTES") else 1)
    assert ticks(worker) == before
    assert time.process_time_ns() - began < 20_000_000


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork in a process with threads
def test_the_child_of_a_fork_runs_alone() -> None:
    """It has no workers; its caller does all parts, and no call waits for what is not there."""
    if (child := os.fork()) == 0:
        os._exit(len(list(TASKS.iterdir())))
    threads = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])  # one, and those of an emulator
    data = heavy()
    model, x = Model.from_bytes(data, threads=2), images(data, 1)
    want = model.run(x)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        right = all(np.array_equal(model.run(x), want) for _ in range(5))
        alone = len(list(TASKS.iterdir())) == threads
        del model
        os._exit(0 if right and alone else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(model.run(x), want)


# ---- memory and refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2])
def test_every_thread_has_its_own_memory_in_the_plan(batch: int) -> None:
    """Scratch, and of a batch an arena."""
    core = _core.Model(heavy())
    one, two, four = (_core.Session(core, threads=n, max_batch=batch, selftest=False).memory() for n in (1, 2, 4))
    assert one["weights"] == two["weights"] == four["weights"]
    assert (two["arena"], four["arena"]) == tuple(n * one["arena"] for n in ((1, 1) if batch == 1 else (2, 4)))
    assert one["scratch"] < two["scratch"] < four["scratch"]
    assert four["scratch"] - two["scratch"] == 2 * (two["scratch"] - one["scratch"])
    fits = two["total"]
    _core.Session(core, memory_limit=fits, threads=2, max_batch=batch, selftest=False)
    with pytest.raises(MemoryLimitError, match=f"needs {fits} bytes"):
        _core.Session(core, memory_limit=fits - 1, threads=2, max_batch=batch, selftest=False)


def test_too_many_threads_are_refused() -> None:
    with pytest.raises(InputError, match="65 threads; a session takes at most 64"):
        Model.from_bytes(heavy(), threads=65)
    assert len(sharing(heavy(), 64).run(images(heavy(), 1))) == 1


@pytest.mark.parametrize(("plant", "code"), [({}, 0), ({"PLANT": "1"}, 1)], ids=["none", "one part done twice is seen"])
def test_the_pool_does_every_part_once(plant: dict[str, str], code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in plant.items():
        monkeypatch.setenv(name, value)
    done = run(inner_program(Path(__file__).with_name("pool.cc")), 300)
    assert done.returncode == code, done.stderr
    assert ("every part once" in done.stdout) == (code == 0)
