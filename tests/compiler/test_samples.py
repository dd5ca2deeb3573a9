# SPDX-License-Identifier: Apache-2.0
"""What the caller gives to a compile: samples, labelled samples, a preprocess. Wrong ones are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

from edgekern.calibrate.samples import Sampler, picture  # noqa: E402
from edgekern.compiler import build  # noqa: E402
from edgekern.errors import InputError  # noqa: E402
from edgekern.preprocess import Preprocess  # noqa: E402
from small_onnx import model, node, normal  # noqa: E402

X = normal(6, 4)


def dense(classes: int = 3) -> Any:
    return model([node("MatMul", "x w", "y")], {"x": ["n", 4]}, "y", {"w": normal(4, classes)})


# ---- calibration --------------------------------------------------------------------------------


def test_the_kept_frames_are_an_even_draw_whatever_the_order() -> None:
    kept = []
    for values in (np.arange(1000), np.arange(1000)[::-1]):
        sampler = Sampler(({"x": np.full((1, 1), i, np.float32)} for i in values), 100)
        assert len(list(sampler)) == sampler.count == 1000
        held = sampler.held()["x"].ravel()
        assert held.size == len(set(held)) == 100
        assert np.histogram(held, 4, (0, 1000))[0].min() > 15
        assert np.array_equal(sampler.held(5)["x"].ravel(), held[:5])
        assert sampler.held(200)["x"].size == 100
        kept.append((held.tolist(), sampler.digest))
    assert kept[0] == kept[1]


def test_a_kept_frame_keeps_no_batch() -> None:
    """Frames of a batch are views of it: to keep one of a thousand is not to keep the thousand."""
    batch = normal(1000, 4)
    sampler = Sampler(({"x": batch[i : i + 1]} for i in range(1000)), 10)
    assert len(list(sampler)) == 1000
    assert not any(np.shares_memory(frame["x"], batch) for *_, frame in sampler._held)
    assert set(sampler.held()["x"][:, 0]) < set(batch[:, 0])


def test_equal_frames_are_kept_as_often_as_they_come() -> None:
    sampler = Sampler(({"x": np.full((1, 1), i % 2, np.float32)} for i in range(10)), 6)
    assert len(list(sampler)) == 10
    assert sorted(sampler.held()["x"].ravel().tolist()) in ([0] * 5 + [1], [0] + [1] * 5)


def test_unequal_batches_in_one_sample_are_refused() -> None:
    proto = model([node("Add", "a b", "y")], {"a": ["n", 4], "b": ["n", 4]}, "y")
    good = {"a": normal(3, 4), "b": normal(3, 4, seed=1)}
    with pytest.raises(InputError, match="calibration sample 1: its batches differ: 3 of 'a', 2 of 'b'"):
        build(proto, [good, {"a": normal(3, 4), "b": normal(2, 4)}])


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_a_deep_picture_is_refused(dtype: Any, tmp_path: Path) -> None:
    """Pillow would cut everything above 255 to white."""
    image = pytest.importorskip("PIL.Image", reason="reading pictures needs the extra `cli`")
    from edgekern.cli.pictures import read_picture

    path = tmp_path / ("deep.png" if dtype == np.uint16 else "deep.tiff")
    image.fromarray(np.arange(64, dtype=dtype).reshape(8, 8) * dtype(900)).save(path)
    for read in (picture, read_picture):
        with pytest.raises(InputError, match=r"deep.*more than 8 bits"):
            read(path)


# ---- accuracy -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "no accuracy sample"),
        ([(X[0], 1), (X[1], "1")], r"accuracy sample 1 is no \(sample, class number\)"),
        ([(X[0], 1.0)], "accuracy sample 0 is no"),
        ([X[0]], "accuracy sample 0 is no"),
        ([(X[0], 99)], "sample 0 has class 99, not 0 to 2"),
        ([(X[0], -1)], "class -1"),
        ([(X[0], 0), (X[1], 0), (normal(5), 0)], "^accuracy sample 2: it is float32"),
    ],
    ids=["none", "text", "float", "no pair", "too great", "negative", "wrong sample"],
)
def test_a_wrong_accuracy_is_named(given: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        build(dense(), X, accuracy=given)


def test_labelled_samples_count() -> None:
    truth = (X @ normal(4, 3)).argmax(1)
    wrong = (truth + 1) % 3
    for labels, share in ((truth, 1.0), (wrong, 0.0), ([*truth[:3], *wrong[3:]], 0.5)):
        accuracy = build(dense(), X, accuracy=zip(X, labels, strict=True))[1].accuracy
        assert accuracy is not None
        assert (accuracy.samples, accuracy.float32) == (6, share)


def test_fewer_frames_are_compared_where_fewer_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of large frames only a few are kept, and the report says how many its figures come from."""
    assert build(dense(), normal(40, 4))[1].compared_samples == 40
    monkeypatch.setattr("edgekern.compiler.frames_at_once", lambda graph: 2)
    report = build(dense(), normal(40, 4))[1]
    assert (report.calibration_samples, report.compared_samples) == (40, 8)


# ---- labels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [range(3), ["a", "b", 3], ["a", "b", "c\0"]], ids=["range", "number", "NUL"])
def test_labels_are_texts(labels: Any) -> None:
    with pytest.raises(InputError, match=r"label \d is"):
        build(dense(), X, labels=labels)


def test_labels_may_be_an_array() -> None:
    assert build(dense(), X, labels=np.array(["a", "b", "c"]))[0].labels == ("a", "b", "c")


def test_labels_are_counted_before_the_calibration() -> None:
    def forbidden() -> Any:
        raise AssertionError("a sample was read")
        yield

    with pytest.raises(InputError, match="2 labels for 3 classes"):
        build(dense(), forbidden(), labels=["a", "b"])


# ---- the preprocess -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"margin": 0.08}, "margin.*1/256"),
        ({"margin": 20.0}, "margin"),
        ({"margin": 300}, r"outside 0\.\.256"),
        ({"size": (48.0, 48.0)}, r"two integers, \(height, width\)"),
        ({"size": 48}, "two integers"),
        ({"size": (48, 48, 3)}, "two integers"),
        ({"size": (0, 48)}, "outside"),
    ],
)
def test_a_wrong_preprocess_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Preprocess(**{"size": (48, 48), **given})


def test_any_integer_will_do() -> None:
    made = Preprocess(np.array([48, 32]), margin=np.int64(20))  # type: ignore[arg-type]
    assert made == Preprocess((48, 32), margin=20)
    assert (type(made.size), type(made.size[0]), type(made.margin)) == (tuple, int, int)
