# SPDX-License-Identifier: Apache-2.0
"""Sessions: batches, threads, the caller's float mode, the known answer, trace and profile."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekern import _core
from edgekern.artifact import Artifact, write
from edgekern.errors import CorruptModelError, EdgekernError, InputError, IsaError, SelfTestError
from edgekern.model import Model, load
from sample_models import Builder, classifier, every_op

CAPS = ["scalar", *(name for name in _core.isa_available() if name != "scalar")]


@pytest.fixture(scope="module")
def data() -> bytes:
    return write(classifier())


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 24, 24, 3)).astype(np.uint8)


@pytest.mark.parametrize("cap", CAPS)
def test_run_trace_and_reference_agree(cap: str) -> None:
    model = Model.from_bytes(write(every_op()), isa=cap)
    x = np.random.default_rng(2).integers(0, 256, (3, 12, 14, 3)).astype(np.uint8)
    y, expected = model.run(x), model.reference(x)
    assert set(y) == {"scores", "mean"}
    for name in y:
        np.testing.assert_array_equal(y[name], expected[name])
    raw, expected = model.run(x, raw=True), model.reference(x, raw=True)
    assert raw["mean"].dtype == np.int8
    assert raw["scores"].dtype == np.float32
    for name in raw:
        np.testing.assert_array_equal(raw[name], expected[name])
    traced, expected = model.trace(x), model.reference(x, trace=True)
    assert set(traced) == set(expected)
    for name in traced:
        np.testing.assert_array_equal(traced[name], expected[name], err_msg=name)


def test_a_batch_is_its_frames(data: bytes) -> None:
    model, x = Model.from_bytes(data), images(9)
    single = np.concatenate([model.run(x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_array_equal(model.run(x), single)
    assert len(np.unique(single, axis=0)) > 1


def test_out_is_written_in_place(data: bytes) -> None:
    model, x = Model.from_bytes(data), images(2)
    out = np.zeros((2, 5), np.float32)
    assert model.run(x, out=out) is out
    np.testing.assert_array_equal(out, model.run(x))
    for bad in (
        np.zeros((2, 4), np.float32),
        np.zeros((3, 5), np.float32),
        np.zeros((2, 5)),
        np.zeros((5, 2), np.float32).T,
    ):
        with pytest.raises(InputError):
            model.run(x, out=bad)
    out.flags.writeable = False
    with pytest.raises(InputError):
        model.run(x, out=out)


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((1, 24, 24, 3), np.float32),
        np.zeros((1, 3, 24, 24), np.uint8),
        np.zeros((24, 24, 3), np.uint8),
        np.zeros((0, 24, 24, 3), np.uint8),
        {"picture": np.zeros((1, 24, 24, 3), np.uint8)},
        [[0]],
    ],
)
def test_wrong_inputs_are_named(data: bytes, x: object) -> None:
    with pytest.raises(InputError):
        Model.from_bytes(data).run(x)


def codes_while(work: Callable[[], object], call: Callable[[], object]) -> set[str]:
    """Codes of the refusals of `call` while another thread repeats `work`, until there is one (or a minute is over)."""
    met = threading.Event()

    def repeat() -> None:
        while not met.is_set():
            with contextlib.suppress(EdgekernError):  # where `call` was first, this one is told
                work()

    worker = threading.Thread(target=repeat)
    worker.start()
    codes: set[str] = set()
    deadline = time.monotonic() + 60
    while not codes and time.monotonic() < deadline:
        try:
            call()
        except EdgekernError as busy:
            codes.add(busy.code)
    met.set()
    worker.join()
    return codes


def test_a_second_thread_is_told_and_not_served(data: bytes) -> None:
    model, one = Model.from_bytes(data), images(1)
    many = np.repeat(one, 2_000, axis=0)
    assert codes_while(lambda: model.run(many), lambda: model.run(one)) == {"EK7000"}
    model.run(one)


def test_the_times_of_a_running_session_are_not_read(data: bytes) -> None:
    """profile() writes what plan() reads."""
    model, one = Model.from_bytes(data), images(1)
    assert codes_while(lambda: model.profile(one, rounds=2_000), model.plan) == {"EK7000"}
    assert model.profile(one, rounds=1)[0].nanoseconds > 0


def test_two_sessions_run_side_by_side(data: bytes) -> None:
    models, x = [Model.from_bytes(data) for _ in range(2)], images(500)
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda m=m: results.append(m.run(x))) for m in models]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    np.testing.assert_array_equal(*results)


def test_no_thread_at_all_is_refused(data: bytes) -> None:
    for none in (0, -1):
        with pytest.raises(InputError, match=f"threads is {none}"):
            Model.from_bytes(data, threads=none)


def test_boxes_of_different_lengths_are_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=r"differ in length.*width, height"):
        Model.from_bytes(data).run_image(np.zeros((30, 30, 3), np.uint8), boxes=[(1, 2, 3, 4), (1, 2, 3)])


@pytest.mark.parametrize("isa", ["sse9", "avx2,nope", "neon" if platform.machine() == "x86_64" else "avx2"])
def test_an_absent_isa_is_refused(data: bytes, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IsaError, match="this CPU has"):
        Model.from_bytes(data, isa=isa)
    monkeypatch.setenv("EDGEKERN_ISA", isa)
    with pytest.raises(IsaError, match="EDGEKERN_ISA"):
        Model.from_bytes(data)


# ---- the caller's float mode -----------------------------------------------------------------------------------

LIBM = ctypes.CDLL(ctypes.util.find_library("m") or "libm.so.6")
X86 = platform.machine() == "x86_64"
DOWNWARD, UPWARD, TOWARD_ZERO = (0x400, 0x800, 0xC00) if X86 else (0x800000, 0x400000, 0xC00000)


@contextmanager
def float_mode(rounding: int, flush: bool) -> Iterator[ctypes.Array[ctypes.c_uint32]]:
    """Sets this thread's rounding and, by glibc's fenv_t, flush-to-zero; gives the environment as set."""
    saved, env = (ctypes.c_uint32 * 8)(), (ctypes.c_uint32 * 8)()
    LIBM.fegetenv(saved)
    try:
        LIBM.fesetround(rounding)
        LIBM.fegetenv(env)
        if flush:
            env[7 if X86 else 0] |= 0x8040 if X86 else 1 << 24
        LIBM.fesetenv(env)
        LIBM.fegetenv(env)
        yield env
    finally:
        LIBM.fesetenv(saved)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the fenv_t of glibc on x86-64 and aarch64")
@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("rounding", [DOWNWARD, UPWARD, TOWARD_ZERO])
@pytest.mark.parametrize("cap", CAPS)
def test_results_do_not_depend_on_the_callers_float_mode(cap: str, rounding: int, flush: bool) -> None:
    data, x = write(every_op()), np.random.default_rng(4).integers(0, 256, (4, 12, 14, 3)).astype(np.uint8)
    expected = Model.from_bytes(data, isa=cap).run(x)
    frame = np.random.default_rng(5).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    boxes = [(0, 0, 50, 40), (3, 5, 20, 30)]
    expected_boxes = Model.from_bytes(data, isa=cap).run_image(frame, boxes)
    parts = np.arange(3, 40, dtype=np.float32)
    quotients = np.float32(1) / parts
    with float_mode(rounding, flush) as env:
        model = Model.from_bytes(data, isa=cap)  # tables made at load, and the self-test
        got, got_boxes = model.run(x), model.run_image(frame, boxes)
        after = (ctypes.c_uint32 * 8)()
        LIBM.fegetenv(after)
        other = np.float32(1) / parts
        tiny = np.float32(2e-38) * np.full(4, 0.25, np.float32)
    assert bytes(after) == bytes(env) or (after[7 if X86 else 0] & ~0x3F) == (env[7 if X86 else 0] & ~0x3F)
    assert (other != quotients).any(), "the mode was never set: the test shows nothing"
    assert (tiny == 0).all() == flush
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name])
        np.testing.assert_array_equal(got_boxes[name], expected_boxes[name])


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the fenv_t of glibc on x86-64 and aarch64")
def test_verification_does_not_depend_on_the_callers_float_mode() -> None:
    """Where subnormal numbers count as 0, a subnormal multiplier would pass as a dead channel's."""
    b = Builder((1, 2, 2, 3))
    b.conv("t0", 4, 1)
    b.constants["t1.2"][1] = 1e-40
    data = write(Artifact(b.graph({"y": "t1"})))
    with float_mode(DOWNWARD, True), pytest.raises(CorruptModelError, match="normal and below"):
        _core.Model(data)


# ---- known answer, files, profile ------------------------------------------------------------------------------


def test_a_wrong_known_answer_is_refused() -> None:
    artifact = classifier()
    answer = artifact.known_answer
    assert answer
    y = answer.outputs["probabilities"].copy()
    y.view(np.uint8)[0, -1] ^= 1
    data = write(replace(artifact, known_answer=replace(answer, outputs={"probabilities": y})))
    with pytest.raises(SelfTestError, match="known answer") as refusal:
        Model.from_bytes(data)
    assert refusal.value.field == "known_answer"
    Model.from_bytes(data, selftest=False)


def test_save_and_load(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.ekm"
    Model.from_bytes(data).save(path)
    assert path.read_bytes() == data
    model = load(path)
    assert model.labels[1] == "class 1"
    assert model.abstain_threshold == 0.5
    assert model.provenance["source"] == "tests"
    assert model.preprocess is not None
    assert model.preprocess.size == (24, 24)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.ekm")
    with pytest.raises(OSError, match="absent"):
        Model.from_bytes(data).save(tmp_path / "absent" / "net.ekm")
    assert [p.name for p in tmp_path.iterdir()] == ["net.ekm"]


def test_profile_names_the_kernel_of_every_op(data: bytes) -> None:
    known = {row["name"] for row in _core.kernels()}
    model = Model.from_bytes(data)
    assert all(step.nanoseconds == 0 for step in model.plan())
    for step in model.profile(rounds=3):
        assert set(step.kernel.split("+")) <= known, step
        assert step.nanoseconds > 0
        assert step.predicted_cycles > 0
    assert (
        sum(step.macs for step in model.plan())
        == 12 * 12 * 16 * (27 + 9 + 24) + 12 * 12 * 32 * 24 + 6 * 6 * 32 * (9 + 40) + 6 * 6 * 40 * 5
    )


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("m", [0.0, 2.0**-126, 1.0, 2.0**23, 2.0**30.9])
def test_legal_multipliers_however_large(cap: str, m: float) -> None:
    """Products far beyond int32 are clipped, not wrapped: the verifier lets multipliers below 2^31 through."""
    b = Builder((1, 9, 9, 16))
    b.weighted = lambda shape, channels: (  # type: ignore[method-assign]
        b.draw.integers(-128, 128, shape).astype(np.int8),
        b.draw.integers(-3000, 3000, channels).astype(np.int32),
        np.full(channels, m, np.float32),
    )
    graph = b.graph({"conv": b.conv("t0", 24, 3, pad=1), "one": b.conv("t0", 24, 1), "dw": b.depthwise("t0")})
    model = Model.from_bytes(write(Artifact(graph)), isa=cap)
    x = b.draw.integers(0, 256, (2, 9, 9, 16)).astype(np.uint8)
    for name, y in model.reference(x).items():
        np.testing.assert_array_equal(model.run(x)[name], y, err_msg=name)


def test_the_direct_call_does_what_the_general_one_does(data: bytes) -> None:
    """It takes plain arrays that fit, alone; run() leaves the rest to the way that names what is wrong."""
    model = Model.from_bytes(data)
    assert model._direct is not None
    for batch in (1, 2, 7):
        x, out = images(batch, batch), np.full((batch, 5), 9, np.float32)
        want = model.reference(x)
        assert len(np.unique(want)) > 2
        assert model._direct(x, out) is out
        np.testing.assert_array_equal(out, want)
        made = model._direct(x, None)
        assert (type(made), made.dtype, made.shape) == (np.ndarray, np.float32, (batch, 5))
        np.testing.assert_array_equal(made, want)


class Wrapped(np.ndarray):
    pass


def test_the_direct_call_leaves_all_else_alone(data: bytes) -> None:
    model, x, out = Model.from_bytes(data), images(2), np.full((2, 5), 9, np.float32)
    frozen = out.copy()
    frozen.flags.writeable = False
    assert model._direct is not None
    inputs = [
        x.astype(np.int8), x.astype(bool), x.astype(np.float32), x[..., :2], x[0], x[:0], x[None], x[:, ::-1],
        np.asfortranarray(x), x.view(Wrapped), x.tobytes(), memoryview(x), {"picture": x}, [[0]], None,
    ]  # fmt: skip
    outputs = [
        np.zeros((2, 5), np.int32), np.zeros((2, 5), ">f4"), np.zeros((2, 5)), np.zeros((2, 4), np.float32),
        np.zeros((3, 5), np.float32), np.zeros((1, 5), np.float32), np.zeros((5, 2), np.float32).T, frozen,
        out.view(Wrapped), memoryview(out), bytearray(40), {"scores": out}, 0,
    ]  # fmt: skip
    for bad in inputs:
        assert model._direct(bad, out) is None
    for bad in outputs:
        assert model._direct(x, bad) is None
    assert (out == 9).all()
    assert (frozen == 9).all()
    np.testing.assert_array_equal(model.run(x.view(Wrapped)), model.reference(x))
    np.testing.assert_array_equal(model.run(x[:, ::-1]), model.reference(x[:, ::-1].copy()))
    with pytest.raises(TypeError):
        model._direct(x)  # type: ignore[call-arg]


def test_several_ports_have_no_direct_call() -> None:
    assert Model.from_bytes(write(every_op()))._direct is None
