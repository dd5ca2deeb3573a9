"""From an ONNX model to a model file: ports, determinism, known answer, report, and failures that leave nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

import edgekern  # noqa: E402
from edgekern.artifact import read, write  # noqa: E402
from edgekern.compiler import build  # noqa: E402
from edgekern.errors import (  # noqa: E402
    CompileError,
    CorruptModelError,
    EdgekernError,
    InputError,
    QuantizationError,
    ShapeError,
)
from edgekern.preprocess import Preprocess  # noqa: E402
from edgekern.settings import Settings  # noqa: E402
from edgekern.types import DType  # noqa: E402
from small_onnx import model, node, normal, wanted  # noqa: E402

LABELS = [f"class {i}" for i in range(5)]


def classifier(opset: int = 17, softmax: bool = True) -> Any:
    """conv, norm, relu6, depthwise, residual, pool, dense, softmax: NCHW, any batch."""
    nodes = [
        node("Conv", "image w -", "a", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", "a scale shift mean var", "b"),
        node("Clip", "b zero six", "c"),
        node("Conv", "c dw", "d", group=8, pads=[1, 1, 1, 1]),
        node("Relu", "d", "e"),
        node("Add", "c e", "f"),
        node("GlobalAveragePool", "f", "g"),
        node("Flatten", "g", "h"),
        node("Gemm", "h dense bias", "logits", transB=1),
        *([node("Softmax", "logits", "y", axis=1)] if softmax else []),
    ]
    constants = {
        "w": normal(8, 3, 3, 3, scale=0.4),
        "scale": np.abs(normal(8, seed=1)) + 0.5,
        "shift": normal(8, seed=2),
        "mean": normal(8, seed=3, scale=0.1),
        "var": np.abs(normal(8, seed=4)) + 0.5,
        "zero": np.float32(0),
        "six": np.float32(6),
        "dw": normal(8, 1, 3, 3, seed=5, scale=0.3),
        "dense": normal(5, 8, seed=6),
        "bias": normal(5, seed=7),
    }
    return model(nodes, {"image": ["n", 3, 16, 12]}, "y" if softmax else "logits", constants, opset)


def pictures(count: int = 40, seed: int = 0) -> Any:
    """Blurred noise, so that pictures differ from each other."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 256, (count, 4, 3, 3))
    fine = draw.integers(-20, 20, (count, 16, 12, 3))
    return np.clip(coarse.repeat(4, 1).repeat(4, 2) + fine, 0, 255).astype(np.uint8)


PRE = Preprocess((16, 12))


@pytest.fixture(scope="module")
def compiled() -> edgekern.Model:
    return edgekern.compile(classifier(), preprocess=PRE, calibration=pictures(), labels=LABELS, abstain_threshold=0.3)


# ---- what comes out -----------------------------------------------------------------------------


def test_pictures_in_probabilities_out(compiled: edgekern.Model) -> None:
    images = pictures(20, seed=1)
    floats = np.ascontiguousarray(PRE.normalise(images).transpose(0, 3, 1, 2))
    expected = wanted(classifier(), {"image": floats})["y"]
    y = compiled.run(images)
    assert y.dtype == np.float32
    assert np.abs(y - expected).max() < 0.05
    assert (y.argmax(1) == expected.argmax(1)).mean() >= 0.95
    assert np.array_equal(y, compiled.reference(images))
    assert np.array_equal(y, np.concatenate([compiled.run_image(image) for image in images]))
    assert compiled.inputs[0].shape == (1, 16, 12, 3)
    assert compiled.labels == tuple(LABELS)
    assert compiled.abstain_threshold == pytest.approx(0.3)


def test_tensors_in_tensors_out() -> None:
    x = normal(30, 3, 16, 12)
    compiled = edgekern.compile(classifier(softmax=False), calibration=x)
    expected = wanted(classifier(softmax=False), {"image": x})["logits"]
    y = compiled.run(x)
    assert compiled.inputs[0].shape == (1, 3, 16, 12)
    assert np.abs(y - expected).max() < 0.04 * np.ptp(expected)
    assert np.abs(y - np.roll(expected, 1, axis=1)).max() > 0.2 * np.ptp(expected)
    assert compiled.run(x, raw=True).dtype == np.int8
    with pytest.raises(InputError):
        compiled.run_image(pictures(1)[0])


def test_a_preprocess_that_is_no_byte_keeps_the_source_tensor() -> None:
    pre = Preprocess((16, 12), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    compiled = edgekern.compile(classifier(), preprocess=pre, calibration=pictures())
    images = pictures(10, seed=2)
    floats = np.ascontiguousarray(pre.normalise(images).transpose(0, 3, 1, 2))
    y = compiled.run(floats)
    assert np.array_equal(y, np.concatenate([compiled.run_image(image) for image in images]))
    assert np.abs(y - wanted(classifier(), {"image": floats})["y"]).max() < 0.06


def test_a_channels_last_model_takes_pictures_too(tmp_path: Path) -> None:
    """NHWC outside with an open size; calibration from image files; gray from colour."""
    image = pytest.importorskip("PIL.Image", reason="reading pictures needs the extra `cli`")
    nodes = [
        node("Transpose", "image", "a", perm=[0, 3, 1, 2]),
        node("Conv", "a w", "b"),
        node("Relu", "b", "c"),
        node("ReduceMean", "c", "d", axes=[2, 3], keepdims=0),
        node("Softmax", "d", "y"),
    ]
    proto = model(nodes, {"image": ["n", "h", "w", 1]}, "y", {"w": normal(5, 1, 3, 3)})
    paths = []
    for number, pixels in enumerate(pictures(12)):
        paths.append(tmp_path / f"{number}.png")
        image.fromarray(pixels).save(paths[-1])
    pre = Preprocess((16, 12), channels="gray")
    compiled = edgekern.compile(proto, preprocess=pre, calibration=paths)
    assert compiled.inputs[0].shape == (1, 16, 12, 1)
    frame = pictures(1, seed=5)[0]
    gray = pre.crop(frame)
    expected = wanted(proto, {"image": pre.normalise(gray)[None]})["y"]
    assert np.abs(compiled.run_image(frame) - expected).max() < 0.03
    assert np.array_equal(compiled.run(gray[None]), compiled.run_image(frame))


def test_a_model_with_several_ports() -> None:
    nodes = [node("Concat", "a b", "c", axis=1), node("Conv", "c w", "d"), node("Tanh", "d", "e")]
    proto = model(nodes, {"a": ["n", 2, 6, 6], "b": ["n", 3, 6, 6]}, "d e", {"w": normal(4, 5, 3, 3, scale=0.2)})
    frames = [{"a": normal(2, 6, 6, seed=i), "b": normal(3, 6, 6, seed=50 + i)} for i in range(20)]
    compiled = edgekern.compile(proto, calibration=frames)
    feeds = {name: np.stack([f[name] for f in frames]) for name in ("a", "b")}
    expected = wanted(proto, feeds)
    for name, y in compiled.run(feeds).items():
        assert np.abs(y - expected[name]).max() < 0.03 * np.ptp(expected[name])


def test_a_temperature_flattens() -> None:
    hot = edgekern.compile(classifier(), preprocess=PRE, calibration=pictures(), temperature=4.0)
    cold = edgekern.compile(classifier(), preprocess=PRE, calibration=pictures())
    images = pictures(20, seed=1)
    assert (hot.run(images).max(1) < cold.run(images).max(1)).all()
    assert np.array_equal(hot.run(images).argmax(1), cold.run(images).argmax(1))
    with pytest.raises(InputError, match="ends in a Softmax"):
        edgekern.compile(classifier(softmax=False), calibration=[normal(3, 16, 12)], temperature=2.0)


# ---- the same bytes -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["mse", "minmax", "percentile"])
def test_the_same_bytes_every_time(method: str, tmp_path: Path) -> None:
    """From a path, a ModelProto or bytes; from an array, a list or a generator."""
    path = tmp_path / "net.onnx"
    onnx.save(classifier(), path)
    x = normal(70, 3, 16, 12)
    settings = Settings(method=method)
    sources = (path, str(path), path.read_bytes(), onnx.load(path))
    batches = (x, list(x), (x[i : i + 11] for i in range(0, 70, 11)), iter([x]))
    files = {write(build(s, b, settings=settings)[0]) for s, b in zip(sources, batches, strict=True)}
    assert len(files) == 1
    other = x.copy()
    other[-1] = other[-2]
    digests = {build(path, given, settings=settings)[0].provenance["calibration"]["sha256"] for given in (x, other)}
    assert len(digests) == 2


@pytest.mark.parametrize("count", [20, 300])  # fewer and more than bias correction takes
def test_the_order_of_samples_is_nothing(count: int) -> None:
    x = normal(count, 3, 16, 12)
    turned = np.random.default_rng(0).permutation(x)
    files = {write(build(classifier(), given)[0]) for given in (x, x[::-1], turned)}
    assert len(files) == 1
    assert write(build(classifier(), x[: count - 1])[0]) not in files


def test_the_order_is_nothing_to_dense_layers() -> None:
    """BLAS sums products of 32 and of 13 rows in different orders: which frames come last must not show."""
    w = {"a": normal(96, 64, scale=0.1), "b": normal(64, 10, seed=1), "c": normal(10, 96, seed=2)}
    nodes = [node("MatMul", "x a", "u"), node("Relu", "u", "v"), node("MatMul", "v b", "m"), node("MatMul", "m c", "y")]
    proto = model(nodes, {"x": ["n", 96]}, "y", w)
    for count in (7, 45):
        x = normal(count, 96)
        turned = [np.random.default_rng(seed).permutation(x) for seed in range(4)]
        assert len({write(build(proto, given)[0]) for given in (x, x[::-1], *turned)}) == 1


def test_the_file_says_where_it_comes_from(compiled: edgekern.Model) -> None:
    provenance = compiled.provenance
    assert len(provenance["source_sha256"]) == 64
    assert provenance["calibration"]["samples"] == 40
    assert provenance["numpy"] == np.__version__
    assert provenance["report"]["method"] == "mse"


def test_the_known_answer_is_the_reference() -> None:
    artifact, _ = build(classifier(), pictures(), PRE)
    again = read(write(artifact))
    assert again.known_answer is not None
    golden, samples = again.known_answer.inputs["image"][0], pictures()
    apart = samples[0].size // 251
    assert apart > 1
    made = [np.resize(sample.ravel()[::apart][:251], sample.shape) for sample in samples]
    assert sum(np.array_equal(golden, one) for one in made) == 1
    assert again.graph.inputs[0].dtype is DType.UINT8


# ---- the report ---------------------------------------------------------------------------------


def test_the_report() -> None:
    images = pictures(30, seed=4)
    floats = np.ascontiguousarray(PRE.normalise(images).transpose(0, 3, 1, 2))
    truth = wanted(classifier(), {"image": floats})["y"].argmax(1)
    artifact, report = build(classifier(), pictures(), PRE, LABELS, accuracy=zip(images, truth.tolist(), strict=True))
    assert report.bytes == len(write(artifact))
    assert report.macs == 8 * 6 * 8 * 27 + 8 * 6 * 8 * 9 + 8 * 5
    assert [n.op for n in report.layers][:3] == ["Conv2D", "DepthwiseConv2D", "Add"]
    assert all(n.sqnr > 20 for n in report.layers)
    assert report.accuracy is not None
    assert report.accuracy.float32 == 1.0
    assert report.accuracy.int8 >= 0.9
    assert report.outputs[0].same_class >= 0.9
    assert any("batch norm" in change for change in report.changes)
    assert report.unsupported == ()
    assert "SQNR" in str(report)
    assert report.worst(2)[0].sqnr <= report.worst(2)[1].sqnr


def test_of_the_names_that_a_converter_joined_the_report_prints_the_first() -> None:
    _, report = build(classifier(), pictures(), PRE, LABELS)
    fused = replace(report.layers[0], name="net/Relu;net/batch_norm;net/conv")
    told = str(replace(report, layers=(fused, *report.layers[1:])))
    assert f" Conv2D net/Relu;… {list(fused.shape)}" in told
    assert f" {report.layers[1].name} " in told


def test_a_model_tells_its_report(compiled: edgekern.Model, tmp_path: Path) -> None:
    """From the file alone, all that the compiler said, decibels to a tenth."""
    artifact, report = build(classifier(), pictures(), PRE, LABELS, Settings(abstain_threshold=0.3))
    compiled.save(tmp_path / "net.ekm")
    loaded = edgekern.load(tmp_path / "net.ekm")
    for told in (compiled.report, loaded.report):
        assert str(told) == str(report)
        assert told is not None
        assert [n.name for n in told.worst(3)] == [n.name for n in report.worst(3)]
        assert told.layers == tuple(replace(n, sqnr=round(n.sqnr, 1)) for n in report.layers)
        assert told.to_json() == report.to_json()
    for word in ("SQNR", "Conv2D Conv_a [8, 6, 8]", "same class", "changed: ", "biases corrected", "times as many"):
        assert word in str(report)
    assert edgekern.Model.from_bytes(write(replace(artifact, provenance={}))).report is None
    odd = {**report.to_json(), "made_of": {"kinds": [], "layers": [7] * len(report.layers)}}
    for wrong in ({}, [], {**report.to_json(), "sqnr": [1.0]}, {**report.to_json(), "colour": 1}, odd):
        lying = edgekern.Model.from_bytes(write(replace(artifact, provenance={"report": wrong})))
        with pytest.raises(CorruptModelError, match="report"):
            _ = lying.report


def test_rounding_is_chosen_and_told() -> None:
    told = []
    for choice in ("compensated", "nearest"):
        artifact, report = build(classifier(), pictures(), PRE, settings=Settings(rounding=choice))
        assert report.rounding == artifact.provenance["rounding"] == choice
        told.append(("weights rounded to make up for each other" in str(report), artifact.graph.constants))
    assert [said for said, _ in told] == [True, False]
    moved = [
        n for n, value in told[0][1].items() if value.dtype == np.int8 and not np.array_equal(value, told[1][1][n])
    ]
    assert len(moved) == 3  # two convolutions and the dense layer
    with pytest.raises(InputError, match="nearest, compensated"):
        edgekern.compile(classifier(), calibration=pictures(), preprocess=PRE, rounding="up")


def test_the_bundled_model_tells_its_report() -> None:
    bundled = edgekern.SignClassifier().model
    assert bundled.report is not None
    assert len(bundled.report.layers) == len(bundled.report.to_json()["sqnr"]) > 10
    assert sum(n.macs for n in bundled.report.layers) == bundled.report.macs == sum(s.macs for s in bundled.plan())


def test_a_wrong_layer_shows_in_the_report() -> None:
    """Ranges from pictures a tenth as bright saturate: the report must say so."""
    good = build(classifier(), pictures(), PRE)[1]
    bright = normal(40, 3, 16, 12, scale=4)
    dark = edgekern.compile(classifier(softmax=False), calibration=bright * 0.05)
    y, expected = dark.run(bright), wanted(classifier(softmax=False), {"image": bright})["logits"]
    ratio = 10 * np.log10((expected**2).sum() / ((y - expected) ** 2).sum())
    assert ratio < 15 < min(n.sqnr for n in good.layers)


# ---- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "entropy"}, "mse, minmax, percentile"),
        ({"temperature": 0.0}, "temperature"),
        ({"abstain_threshold": 2.0}, "abstain_threshold"),
        ({"labels": ["one"]}, "1 labels for 5 classes"),
        ({"calibration": []}, "no calibration sample"),
        ({"calibration": [normal(4, 4, 3)]}, "sample 0"),
        ({"calibration": [pictures(1)[0], normal(16, 12, 3)]}, "sample 1"),
        ({"calibration": ["no/such/picture.png"]}, "picture.png"),
        ({"calibration": 5}, "calibration samples: a int cannot be iterated over"),
        ({"accuracy": 5}, "accuracy samples: a int cannot be iterated over"),
        ({"accuracy": lambda outputs: outputs(5)}, "accuracy samples: a int"),
        ({"labels": 5}, "labels: a int"),
        ({"method": ["mse"]}, "mse, minmax, percentile"),
        ({"temperature": None}, "temperature None is not a number"),
        ({"abstain_threshold": "1"}, "abstain_threshold '1' is not a number"),
        ({"max_drop": "0.3", "accuracy": []}, "max_drop '0.3' is not a number"),
        ({"equalise": "no"}, "equalise 'no' is not True or False"),
        ({"bias_correction": None}, "bias_correction None is not True or False"),
        ({"preprocess": (12, 16)}, "preprocess is a tuple"),
        ({"progress": None}, "progress None is not a function"),
    ],
)
def test_a_wrong_argument_is_named(settings: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"preprocess": PRE, "calibration": pictures(), **settings}
    with pytest.raises(InputError, match=words):
        edgekern.compile(classifier(), **given)


def test_tensors_of_the_wrong_kind_are_named() -> None:
    with pytest.raises(InputError, match=r"sample 0: it is uint8.*need a Preprocess"):
        edgekern.compile(classifier(), calibration=pictures())
    with pytest.raises(InputError, match="'image'"):
        edgekern.compile(classifier(), calibration=[{"picture": normal(3, 16, 12)}])
    with pytest.raises(QuantizationError, match="not finite"):
        edgekern.compile(classifier(), calibration=[np.full((3, 16, 12), np.inf, np.float32)])


def test_a_preprocess_of_another_size() -> None:
    with pytest.raises(ShapeError, match="20x20"):
        edgekern.compile(classifier(), preprocess=Preprocess((20, 20)), calibration=pictures())


def test_an_interrupted_stream_is_passed_on() -> None:
    def broken() -> Iterator[Any]:
        yield pictures(1)[0]
        raise OSError("the camera is gone")

    with pytest.raises(OSError, match="camera"):
        edgekern.compile(classifier(), preprocess=PRE, calibration=broken())


def test_a_failing_compile_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(classifier(), path)
    for wrong in (path.read_bytes()[:300], classifier()):
        with pytest.raises(EdgekernError):
            edgekern.compile(wrong, calibration=[normal(1, 1)]).save(tmp_path / "net.ekm")
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def test_a_save_that_fails_leaves_the_old_file(
    compiled: edgekern.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "net.ekm"
    target.write_bytes(b"the old one")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        compiled.save(target)
    assert target.read_bytes() == b"the old one"
    assert [p.name for p in tmp_path.iterdir()] == ["net.ekm"]
    monkeypatch.undo()
    compiled.save(target)
    assert np.array_equal(edgekern.load(target).run(pictures(2)), compiled.run(pictures(2)))


def test_compile_errors_are_one_family() -> None:
    for kind in (ShapeError, QuantizationError):
        assert issubclass(kind, CompileError)
