# SPDX-License-Identifier: Apache-2.0
"""Accuracy that the caller demands: measured on both forms; a refusal names the layers to blame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

import edgekern
from edgekern.calibrate.sensitivity import alone, scan
from edgekern.compiler import build, optimise
from edgekern.errors import AccuracyError, InputError
from edgekern.graph.run import evaluate
from edgekern.importers.source import read
from edgekern.preprocess import Preprocess
from edgekern.settings import Settings
from small_onnx import model, node, normal, wanted

X = normal(60, 8)
SPIKE = 300.0


def three_layers(spike: float = 1.0) -> Any:
    """Dense layers a, b, c; one unit of b is `spike` times as large as the others and not read by c."""
    w = {"a": normal(8, 16, seed=1), "b": normal(16, 16, seed=2), "c": normal(16, 6, seed=3)}
    w["b"][:, 3] *= spike
    w["c"][3] = 0
    nodes = [node("MatMul", "x wa", "a"), node("MatMul", "a wb", "b"), node("MatMul", "b wc", "y")]
    return model(nodes, {"x": ["n", 8]}, "y", {f"w{n}": value for n, value in w.items()})


def labels(proto: Any) -> Any:
    return wanted(proto, {"x": X})["y"].argmax(1)


def test_labelled_samples_and_a_function_agree() -> None:
    proto = three_layers()
    truth = labels(proto)
    truth[::5] = (truth[::5] + 1) % 6
    seen = []

    def measure(outputs: Any) -> float:
        y = outputs(iter(X))
        seen.append(y)
        return float((y.argmax(1) == truth).mean())

    given = build(proto, X, accuracy=zip(X, truth, strict=True))[1].accuracy
    asked = build(proto, X, accuracy=measure)[1].accuracy
    assert given == asked
    assert given is not None
    assert given.samples == 60
    assert given.float32 == pytest.approx(0.8)
    assert np.allclose(seen[0], wanted(proto, {"x": X})["y"], atol=1e-5)
    assert np.array_equal(seen[1], edgekern.compile(proto, calibration=X).run(X))


def test_a_function_sees_pictures_and_all_outputs() -> None:
    nodes = [node("GlobalAveragePool", "x", "y"), node("Relu", "y", "z")]
    proto = model(nodes, {"x": ["n", 3, 8, 8]}, "y z")
    frames = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3)).astype(np.uint8)
    shapes = []

    def measure(outputs: Any) -> float:
        shapes.append({name: y.shape for name, y in outputs(frames).items()})
        return 1.0

    build(proto, frames, Preprocess((8, 8)), accuracy=measure)
    assert shapes == [{"y": (5, 3, 1, 1), "z": (5, 3, 1, 1)}] * 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [(98.6, "98.6, not a share"), (None, "None, not a number"), (float("nan"), "nan, not a share")],
)
def test_an_answer_that_is_no_share_is_refused(answer: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        build(three_layers(), X, accuracy=lambda outputs: answer)


def test_a_function_that_runs_nothing_on_no_sample_is_refused() -> None:
    for measure in (lambda outputs: outputs([]), lambda outputs: 0.5):
        with pytest.raises(InputError, match="no sample"):
            build(three_layers(), X, accuracy=measure)


@pytest.mark.parametrize(
    ("settings", "words"), [({"max_drop": -1}, "max_drop -1 is outside"), ({"max_drop": 1}, "max_drop needs accuracy")]
)
def test_a_wrong_max_drop_is_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        edgekern.compile(three_layers(), calibration=X, **settings)  # type: ignore[arg-type]


def test_a_good_model_passes_its_demand() -> None:
    proto = three_layers()
    compiled = edgekern.compile(proto, calibration=X, accuracy=zip(X, labels(proto), strict=True), max_drop=5.0)
    assert compiled.report is not None
    assert compiled.report.accuracy is not None
    assert compiled.report.accuracy.drop <= 5
    assert compiled.report.costs == ()


@pytest.mark.parametrize("function", [False, True], ids=["labelled", "function"])
def test_a_bad_model_is_refused_and_the_layer_to_blame_is_named(function: bool) -> None:
    proto = three_layers(SPIKE)
    truth = labels(proto)

    def measure(outputs: Any) -> float:
        return float((outputs(X).argmax(1) == truth).mean())

    judge: Any = measure if function else zip(X, truth, strict=True)
    with pytest.raises(AccuracyError, match=r"points lost, max_drop is 0\.3\. Worst layers: MatMul_b: ") as caught:
        edgekern.compile(proto, calibration=X, method="minmax", equalise=False, accuracy=judge, max_drop=0.3)
    report: Any = caught.value.report
    worst = report.costs[0]
    assert worst.layer == "MatMul_b"
    assert worst.share > 0.9
    assert worst.weights < 0.1
    assert worst.drop > 5
    assert report.accuracy.drop > 5
    judge = measure if function else zip(X, truth, strict=True)
    assert report.bytes == build(proto, X, settings=Settings("minmax", equalise=False), accuracy=judge)[1].bytes
    assert sum(cost.share for cost in report.costs) == pytest.approx(1, abs=1e-4)
    shares = [cost.share for cost in report.costs]
    assert shares == sorted(shares, reverse=True)
    told = [cost for cost in report.costs if str(cost) in str(caught.value)]
    assert told == [cost for cost in report.costs if cost.share >= 0.005 or cost.drop > 0]
    assert told != list(report.costs)


def test_a_share_of_noise_is_what_a_layer_would_save() -> None:
    """Energies of layers add up to that of all of them together."""
    proto = three_layers(4.0)
    imported, _ = read(proto.SerializeToString(), None, None, None)
    graph, _ = optimise(imported)
    artifact, _ = build(proto, X, settings=Settings("minmax", bias_correction=False, equalise=False))
    integer, name = artifact.graph, graph.outputs[0].name
    exact = evaluate(graph, {"x": X})[name].astype(np.float64)
    noise = scan(graph, integer, {"x": X})
    assert [n.tensor for n in noise] == ["x", "MatMul_a", "MatMul_b", "MatMul_y"]
    assert all(n.weights > 0 for n in noise[1:])

    def energy(tensors: set[str]) -> float:
        found = alone(graph, integer, tensors)({"x": X})[name]
        return float(((found - exact) ** 2).sum() / (exact**2).sum())

    for n in noise:
        assert energy({n.tensor}) == pytest.approx(n.both, rel=0.3)
    together = energy({n.tensor for n in noise})
    assert together == pytest.approx(sum(n.both for n in noise), rel=0.3)
    assert energy(set()) == 0


def test_a_refusal_without_noise_says_so() -> None:
    """Zeros are exact in every layer; the measure finds another fault."""
    answers = iter([0.9, 0.8])
    with pytest.raises(AccuracyError, match=r"Worst layers: none that adds noise on the calibration samples\."):
        edgekern.compile(
            three_layers(), calibration=X * 0, accuracy=lambda o: next(answers) + 0 * o(X).size, max_drop=1
        )


def test_every_long_step_tells_how_far_it_is() -> None:
    proto, told = three_layers(), []
    truth = labels(proto)
    truth[:3] = (truth[:3] + 1) % 6

    def progress(what: str, done: int, total: int) -> None:
        told.append((what, done, total))

    with pytest.raises(AccuracyError):
        edgekern.compile(
            three_layers(SPIKE),
            calibration=X,
            equalise=False,
            accuracy=zip(X, truth, strict=True),
            max_drop=0,
            progress=progress,
        )
    steps = list(dict.fromkeys(what for what, *_ in told))
    assert steps == ["calibrate", "weights", "rounding", "biases", "judge", "compare", "sensitivity"]
    for step in steps:
        rows = [(done, total) for what, done, total in told if what == step]
        assert [done for done, _ in rows] == sorted(done for done, _ in rows)
        assert all(done <= total for done, total in rows if total)
    assert ("calibrate", 60, 0) in told
    assert ("judge", 60, 0) in told
