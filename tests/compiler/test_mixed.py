# SPDX-License-Identifier: Apache-2.0
"""mixed="auto": 16 bits for the activations that need them, no more than are needed, and none where none are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

import edgekern
from edgekern.artifact import write
from edgekern.compiler import build
from edgekern.errors import AccuracyError, InputError
from edgekern.settings import Settings
from edgekern.types import DType
from small_onnx import model, node, normal, wanted

SHAPE = (4, 8, 10)
X = normal(48, *SHAPE)
GAINS = np.exp2(-np.arange(16) * 7 / 15).astype(np.float32)


def net(spread: bool = True) -> Any:
    """Convolutions of which the second gives channels of ranges up to 2^7 apart; ReLU6 leaves no factor free."""
    gains = GAINS if spread else np.ones_like(GAINS)
    w = {
        "a": normal(8, 4, 3, 3, scale=0.3),
        "b": normal(16, 8, 3, 3, seed=1, scale=0.3) * gains[:, None, None, None],
        "c": normal(12, 16, 1, 1, seed=2, scale=0.5) / gains[:, None, None],
        "d": normal(6, 12, 1, 1, seed=3, scale=0.5),
        "lo": np.float32(-6),
        "hi": np.float32(6),
    }
    nodes = [
        node("Conv", "x a", "u", pads=[1, 1, 1, 1]),
        node("Relu", "u", "v"),
        node("Conv", "v b", "p", pads=[1, 1, 1, 1]),
        node("Clip", "p lo hi", "q"),
        node("Conv", "q c", "r"),
        node("GlobalAveragePool", "r", "m"),
        node("Conv", "m d", "s"),
        node("Flatten", "s", "y"),
    ]
    return model(nodes, {"x": ["n", *SHAPE]}, "y", w)


def int16_of(artifact: Any) -> set[str]:
    return {name for name, kind in artifact.graph.types.items() if kind.dtype is DType.INT16}


def sqnr(proto: Any, compiled: edgekern.Model) -> float:
    fresh = normal(40, *SHAPE, seed=9)
    y = wanted(proto, {"x": fresh})["y"].astype(np.float64)
    found = compiled.run(fresh)
    assert np.array_equal(found, compiled.reference(fresh))
    return float(10 * np.log10((y**2).sum() / ((y - found) ** 2).sum()))


def test_the_worst_activations_become_int16_and_the_noise_falls() -> None:
    proto = net()
    plain = edgekern.compile(proto, calibration=X)
    artifact, report = build(proto, X, settings=Settings(mixed="auto"))
    (told,) = [change for change in report.changes if change.startswith("int16: ")]
    assert set(told.removeprefix("int16: ").split(", ")) == int16_of(artifact)
    assert "Conv_p" in int16_of(artifact)
    gain = sqnr(proto, edgekern.Model.from_bytes(write(artifact))) - sqnr(proto, plain)
    assert gain > 5, gain
    assert 1 <= len(int16_of(artifact)) <= 3


def test_as_many_as_the_accuracy_needs() -> None:
    """Accuracy here is how near the outputs come; each demand is met with the least of 0, 1, 2, 4, ... tensors."""
    proto = net()
    y = wanted(proto, {"x": X})["y"]

    def near(outputs: Any) -> float:
        return float(1 - np.sqrt(((outputs(X) - y) ** 2).sum() / (y**2).sum()))

    def lost(settings: Settings) -> tuple[float, int]:
        artifact, report = build(proto, X, settings=settings, accuracy=near)
        assert report.accuracy is not None
        return report.accuracy.drop, len(int16_of(artifact))

    plain, none = lost(Settings())
    least, all_of_them = lost(Settings(mixed="auto", max_drop=plain / 3))
    assert none == 0
    assert least <= plain / 3
    assert all_of_them >= 1
    assert lost(Settings(mixed="auto", max_drop=plain + 0.01)) == (plain, 0)
    with pytest.raises(AccuracyError, match="Try mixed='auto'"):
        lost(Settings(max_drop=plain / 3))
    with pytest.raises(AccuracyError) as caught:
        lost(Settings(mixed="auto", max_drop=0))
    assert "mixed" not in str(caught.value)
    assert caught.value.report.accuracy.drop < plain / 3  # type: ignore[attr-defined]


def test_a_refusal_costs_int16_tensors_as_int16() -> None:
    """With the activations in 16 bits the noise that is left is that of weights, and no layer alone costs more."""
    proto = net()
    y = wanted(proto, {"x": X})["y"]

    def near(outputs: Any) -> float:
        return float(1 - np.sqrt(((outputs(X) - y) ** 2).sum() / (y**2).sum()))

    def costs(mixed: str | None) -> dict[str, Any]:
        with pytest.raises(AccuracyError) as caught:
            build(proto, X, settings=Settings(mixed=mixed, max_drop=0), accuracy=near)
        return {cost.layer: cost for cost in caught.value.report.costs}  # type: ignore[attr-defined]

    narrow, wide = costs(None), costs("auto")
    assert narrow["Conv_p"].share > 0.3
    assert wide["Conv_p"].share < 0.01
    assert 0 <= wide["Conv_p"].drop < narrow["Conv_p"].drop / 10
    assert wide["Conv_r"].weights > 0.9


@pytest.mark.parametrize("again", [True, False], ids=["list", "generator"])
def test_more_labelled_samples_than_are_kept(again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is judged whole every time; of a generator later forms see what was kept, and the report says so."""
    monkeypatch.setattr("edgekern.calibrate.accuracy._KEPT", 32 * X[0].size)
    proto = net()
    truth = wanted(proto, {"x": X})["y"].argmax(1)
    truth[-10:] = (truth[-10:] + 1) % 6
    pairs: Any = list(zip(X, truth, strict=True))
    plain = build(proto, X, settings=Settings(), accuracy=pairs)[1].accuracy
    assert plain is not None
    assert (plain.samples, plain.float32) == (48, pytest.approx(38 / 48))
    settings = Settings(mixed="auto")
    found = build(proto, X, settings=settings, accuracy=pairs if again else iter(pairs))[1].accuracy
    assert found is not None
    assert (found.samples, found.float32) == ((48, plain.float32) if again else (32, 1.0))


def test_a_logarithm_of_0_by_rounding_hides_no_other_noise() -> None:
    """Small sigmoids round to 0, whose logarithm is infinite: in integers it ends, and so it does in the scan."""
    nodes = [node("MatMul", "x w", "a"), node("Sigmoid", "a", "s"), node("Log", "s", "l"), node("MatMul", "l v", "y")]
    proto = model(nodes, {"x": ["n", 4]}, "y", {"w": normal(4, 6), "v": normal(6, 3, seed=3)})
    x = normal(60, 4, scale=4)
    artifact, _ = build(proto, x, settings=Settings(mixed="auto"))
    assert int16_of(artifact)
    y = wanted(proto, {"x": x})["y"].argmax(1)
    with pytest.raises(AccuracyError) as caught:
        build(proto, x, settings=Settings(max_drop=0), accuracy=zip(x, y, strict=True))
    costs = caught.value.report.costs  # type: ignore[attr-defined]
    assert sum(cost.share for cost in costs) == pytest.approx(1, abs=1e-4)
    assert all(cost.drop < 50 for cost in costs)


def test_a_model_that_is_good_enough_is_the_same() -> None:
    proto = net(spread=False)
    truth = wanted(proto, {"x": X})["y"].argmax(1)

    def file(mixed: str | None) -> bytes:
        settings = Settings(max_drop=20, mixed=mixed)
        return write(build(proto, X, settings=settings, accuracy=zip(X, truth, strict=True))[0])

    assert file("auto") == file(None)


def test_camera_bytes_stay_bytes() -> None:
    proto = model([node("Conv", "x w", "y")], {"x": ["n", 3, 8, 8]}, "y", {"w": normal(4, 3, 1, 1)})
    frames = np.random.default_rng(0).integers(0, 256, (9, 12, 12, 3)).astype(np.uint8)
    artifact, _ = build(proto, frames, edgekern.Preprocess((8, 8)), settings=Settings(mixed="auto"))
    assert artifact.graph.types["x"].dtype is DType.INT8
    assert int16_of(artifact)


@pytest.mark.parametrize("mixed", ["all", "int16", ""])
def test_a_wrong_word_is_refused(mixed: str) -> None:
    with pytest.raises(InputError, match="is not 'auto'"):
        Settings(mixed=mixed)


def test_a_source_that_gives_integers_is_not_equalised() -> None:
    """Not where it leaves layers in float, either: what is done to a network stands in its provenance."""
    gains = np.exp2(-np.arange(8)).astype(np.float32)
    w = {"s": np.float32(0.03), "z": np.int8(0), "t": np.float32(0.01)}
    w["q"] = np.random.default_rng(0).integers(-100, 100, (8, 4, 1, 1)).astype(np.int8)
    w["b"] = normal(8, 8, 1, 1, seed=1) * gains[:, None, None, None]
    w["c"] = normal(6, 8, 1, 1, seed=2) / gains[None, :, None, None]
    given = [
        node("QuantizeLinear", "x s z", "i"),
        node("DequantizeLinear", "i s z", "j"),
        node("DequantizeLinear", "q t z", "a"),
        node("Conv", "j a", "u"),
    ]
    rest = [node("Conv", "u b", "v"), node("Relu", "v", "r"), node("Conv", "r c", "y")]
    x = normal(30, 4, 6, 6)
    for nodes, done in (([*given, *rest], False), ([node("Conv", "x e", "u"), *rest], True)):
        held = {**w, "e": normal(8, 4, 1, 1, seed=3)}
        artifact, report = build(model(nodes, {"x": ["n", 4, 6, 6]}, "y", held), x)
        assert any(change.startswith("equalised") for change in report.changes) is done
        assert artifact.provenance["equalise"] is done


def test_a_quantised_source_keeps_its_types() -> None:
    held = {"s": np.float32(0.05), "z": np.int8(3)}
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")]
    with pytest.raises(InputError, match="needs calibration samples"):
        edgekern.compile(model(nodes, {"x": [1, 4]}, "y", held), mixed="auto")

    answers = iter([1.0, 0.5])

    def measure(outputs: Any) -> float:
        outputs([np.ones((1, 4), np.float32)])
        return next(answers, 1.0)

    with pytest.raises(AccuracyError, match=r"50\.00 points lost") as caught:
        edgekern.compile(model(nodes, {"x": [1, 4]}, "y", held), accuracy=measure, max_drop=1)
    assert "mixed" not in str(caught.value)
