# SPDX-License-Identifier: Apache-2.0
"""The bundled sign classifier: its answers, its bytes on every instruction set, its refusals."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest

import edgekern as ek
from edgekern.artifact import Artifact, write
from edgekern.errors import InputError
from edgekern.preprocess import Preprocess, reorder
from sample_models import Builder


def frame(seed: int = 0, height: int = 120, width: int = 160) -> np.ndarray:
    """Blocks of colour with noise: every byte value occurs, nothing is flat."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    blocks = coarse.repeat(8, 0).repeat(8, 1)[:height, :width]
    return (blocks // 2 + rng.integers(0, 128, blocks.shape)).astype(np.uint8)


BOXES = [(10, 20, 48, 48), (0, 0, 160, 120), (100, 60, 21, 23), (150, 110, 30, 30), (-9, -9, 33, 40)]


def caps() -> list[str]:
    """Every non-empty subset of this CPU's instruction sets by name, and scalar."""
    names = [name for name in ek.isa_available() if name != "scalar"]
    return ["scalar"] + [",".join(s) for n in range(len(names)) for s in itertools.combinations(names, n + 1)]


@pytest.fixture(scope="module")
def classifier() -> ek.SignClassifier:
    return ek.SignClassifier()


def test_has_43_distinct_labels(classifier: ek.SignClassifier) -> None:
    assert len(set(classifier.labels)) == len(classifier.labels) == 43


@pytest.mark.parametrize("cap", caps())
def test_every_instruction_set_gives_the_bytes_of_the_reference(cap: str) -> None:
    model = ek.SignClassifier(isa=cap).model
    assert model.preprocess is not None
    crops = np.stack([model.preprocess.crop(frame(), box) for box in BOXES])
    expected = model.reference(crops)
    assert model.run_image(frame(), boxes=BOXES).tobytes() == expected.tobytes()
    assert model.run(crops).tobytes() == expected.tobytes()
    assert len({row.tobytes() for row in expected}) == len(BOXES)  # the frames do tell classes apart


def test_every_tensor_equals_the_reference(classifier: ek.SignClassifier) -> None:
    model = classifier.model
    assert model.preprocess is not None
    crop = model.preprocess.crop(frame(), BOXES[0])[None]
    expected, got = model.reference(crop, trace=True), model.trace(crop)
    assert expected.keys() == got.keys()
    assert len(got) > 10
    for name in expected:
        assert got[name].tobytes() == expected[name].tobytes(), name


@pytest.mark.skipif(sys.platform != "linux", reason="workers need a futex")
def test_threads_name_the_same_signs(classifier: ek.SignClassifier) -> None:
    boxes = [(x, y, 32, 32) for x in range(0, 120, 10) for y in range(0, 80, 10)]
    two = ek.SignClassifier(threads=2)
    assert two.model.memory_plan().arena == 2 * classifier.model.memory_plan().arena
    assert two.classify_regions(frame(), boxes) == classifier.classify_regions(frame(), boxes)
    with pytest.raises(InputError, match="threads, isa and memory_limit belong to the model"):
        ek.SignClassifier(classifier.model, threads=2)


def test_channel_orders_agree(classifier: ek.SignClassifier) -> None:
    rgb = frame()
    expected = classifier.classify_regions(rgb, BOXES)
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    rgba = np.concatenate([rgb, np.zeros_like(rgb[..., :1])], axis=-1)
    assert classifier.classify_regions(bgr, BOXES, channels="bgr") == expected
    assert classifier.classify_regions(rgba, BOXES, channels="rgba") == expected
    gray = reorder(rgb, "rgb", "gray")
    as_rgb = np.repeat(gray, 3, axis=-1)
    assert classifier.classify_regions(gray, BOXES, "gray") == classifier.classify_regions(as_rgb, BOXES)


def test_row_stride_is_respected(classifier: ek.SignClassifier) -> None:
    wide = frame(width=200)
    view = wide[:, 20:180]
    assert not view.flags.c_contiguous
    expected = classifier.classify_regions(np.ascontiguousarray(view), BOXES)
    assert classifier.classify_regions(view, BOXES) == expected


def test_prediction_is_consistent(classifier: ek.SignClassifier) -> None:
    strict = ek.SignClassifier(threshold=1.0)
    for p, q in zip(classifier.classify_regions(frame(), BOXES), strict.classify_regions(frame(), BOXES), strict=True):
        assert classifier.labels[p.index] == p.label
        assert 0 <= p.margin <= p.confidence <= 1
        assert p.abstained == (p.confidence < classifier.threshold)
        assert q.abstained == (q.confidence < 1.0)
        assert (q.index, q.confidence) == (p.index, p.confidence)


def test_no_boxes_give_no_predictions(classifier: ek.SignClassifier) -> None:
    assert classifier.classify_regions(frame(), []) == []


@pytest.mark.parametrize(
    ("box", "index"), [([(10, 10, 20, 20), (5, 5, 0, 9)], 1), ([(160, 0, 20, 20)], 0), ([(0, -50, 20, 50)], 0)]
)
def test_empty_box_is_refused_by_its_index(
    classifier: ek.SignClassifier, box: list[tuple[int, int, int, int]], index: int
) -> None:
    with pytest.raises(ek.EdgekernError, match=rf"box {index}\b"):
        classifier.classify_regions(frame(), box)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((32, 32, 3), np.float32),
        np.zeros((32, 32), np.uint8),
        np.zeros((32, 32, 4), np.uint8),
        np.zeros((0, 32, 3), np.uint8),
        "sign.png",
    ],
    ids=["float", "rank 2", "4 channels", "empty", "path"],
)
def test_wrong_image_is_refused(classifier: ek.SignClassifier, image: object) -> None:
    with pytest.raises(ek.EdgekernError):
        classifier.classify(image)  # type: ignore[arg-type]


def test_unknown_channels_and_isa_are_refused(classifier: ek.SignClassifier) -> None:
    with pytest.raises(ek.EdgekernError, match="yuv"):
        classifier.classify(frame(), channels="yuv")
    with pytest.raises(ek.errors.IsaError, match="avx9"):
        ek.SignClassifier(isa="avx9")


def labelled(outputs: int, classes: int, softmax: bool = True, named: bool = True) -> ek.Model:
    """A model with a preprocess and labels, and as many equal outputs as asked for."""
    b = Builder((1, 12, 12, 3))
    x = b.reshape(b.linear("t0", classes), (1, classes))
    ports = {f"y{i}": b.softmax(x) if softmax else x for i in range(outputs)}
    labels = tuple(f"class {i}" for i in range(classes if named else 0))
    return ek.Model.from_bytes(write(Artifact(b.graph(ports), Preprocess((12, 12)), labels)))


def test_any_classifier_will_do() -> None:
    found = ek.SignClassifier(labelled(1, 2)).classify(frame())
    assert found.label == f"class {found.index}"
    assert 0.5 <= found.confidence <= 1


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: labelled(1, 5, softmax=False), r"ends in Conv2D.*Add a Softmax"),
        (lambda: labelled(2, 5), r"\[\[1, 5\], \[1, 5\]\]"),
        (lambda: labelled(1, 1), "two or more classes"),
        (lambda: labelled(1, 5, named=False), "this one has no labels"),
        (lambda: "signs.ekm", r"str, not a Model.*edgekern\.load"),
    ],
    ids=["logits", "two outputs", "one class", "no labels", "path"],
)
def test_a_model_that_is_no_classifier_is_refused(model: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ek.SignClassifier(model())  # type: ignore[operator]


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_a_quantised_network_gives_probabilities_too(dtype: str) -> None:
    """Its output is integers; confidence and margin are what they stand for."""
    pytest.importorskip("tflite", reason="needs the extra `compile`")
    from small_tflite import Operator, Tensor
    from small_tflite import model as tflite_model

    zero = 0 if dtype == "uint8" else -128
    tensors = {
        "x": Tensor((1, 6, 5, 3), dtype, 1 / 255, zero),
        "axes": Tensor((2,), "int32", data=[1, 2]),
        "m": Tensor((1, 3), dtype, 1 / 32, zero),
        "p": Tensor((1, 3), dtype, 1 / 256, zero),
    }
    operators = [
        Operator("MEAN", ["x", "axes"], ["m"], {"KeepDims": False}, "ReducerOptions"),
        Operator("SOFTMAX", ["m"], ["p"], {"Beta": 4.0}, "SoftmaxOptions"),
    ]
    pre = ek.Preprocess(size=(6, 5), layout="nhwc")
    source = tflite_model(tensors, operators, ["x"], ["p"])
    clf = ek.SignClassifier(ek.compile(source, preprocess=pre, labels=["red", "green", "blue"]), threshold=0.9)
    found = clf.classify(np.broadcast_to(np.array([0, 255, 128], np.uint8), (12, 10, 3)))
    exact = np.exp([0, 4, 2]) / np.exp([0, 4, 2]).sum()
    assert found.label == "green"
    assert found.abstained
    assert found.confidence == pytest.approx(exact[1], abs=0.01)
    assert found.margin == pytest.approx(exact[1] - exact[2], abs=0.02)
