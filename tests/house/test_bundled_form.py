# SPDX-License-Identifier: Apache-2.0
"""The bundled model that other runtimes are given is the bundled model, and the camera row does all that it says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekern


@pytest.fixture(autouse=True, scope="module")
def _bench_importable(repo: Path) -> Iterator[None]:
    sys.path.insert(0, str(repo / "bench"))
    yield
    sys.path.remove(str(repo / "bench"))


def same_answers(model: edgekern.Model, form: edgekern.Model, crops: Any, top: bool = True) -> bool:
    """Every tensor the same bytes but the probabilities, which are int8 in TFLite: those within half a step."""
    q = (crops.astype(np.int16) - 128).astype(np.int8)
    (*wanted, _, last, p), (*made, _, last8, p8) = model.trace(crops).values(), form.trace(q).values()
    pairs = zip([*wanted, last], [*made, last8], strict=True)  # one flattens before the linear layer, one after it
    equal = [a.size == b.size and a.tobytes() == b.tobytes() for a, b in pairs]
    near = np.abs((p8.astype(np.float64) + 128) / 256 - p) <= 0.5001 / 256
    same_top = not top or (form.run(q).argmax(1) == model.run(crops).argmax(1)).all()
    return all(equal) and bool(near[p < 255.5 / 256].all() and same_top)


@pytest.fixture(scope="module")
def bundled_form(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sign model of the package as TFLite."""
    for module in ("onnx", "tflite", "PIL"):
        pytest.importorskip(module, reason=f"needs pip install {module}")
    from peers import bundled

    path = tmp_path_factory.mktemp("form") / "signs.tflite"
    path.write_bytes(bundled.tflite())
    return path


@pytest.mark.slow
def test_the_tflite_form_of_the_bundled_model_gives_its_answers(
    bundled_form: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layer by layer, on signs and on noise; and a scale that is only near is caught."""
    from peers import bundled

    model, form = edgekern.SignClassifier().model, edgekern.compile(bundled_form)
    crops = bundled.crops(43)
    assert len(set(model.run(crops).argmax(1))) > 35
    assert same_answers(model, form, crops)
    noise = np.random.default_rng(3).integers(0, 256, crops.shape, np.uint8)
    assert same_answers(model, form, noise, top=False)  # its probabilities may tie in TFLite's steps
    exact = bundled.weight_scales
    monkeypatch.setattr(bundled, "weight_scales", lambda m, *scales: exact(m, *scales) * np.float32(1.002))
    (tmp_path / "wrong.tflite").write_bytes(bundled.tflite())
    assert not same_answers(model, edgekern.compile(tmp_path / "wrong.tflite"), crops)


def test_the_scales_give_the_multipliers_back() -> None:
    for module in ("onnx", "tflite"):
        pytest.importorskip(module, reason=f"needs pip install {module}")
    from edgekern import quant
    from peers import bundled

    draw = np.random.default_rng(0)
    s_in, s_out = np.float32(0.0235), np.float32(0.0367)
    m = quant.fold_multiplier(s_in, draw.uniform(1e-4, 0.1, 1000).astype(np.float32), s_out)
    assert (quant.fold_multiplier(s_in, bundled.weight_scales(m, s_in, s_out), s_out) == m).all()
    dense = np.float32(0.99) + np.arange(64, dtype=np.float32) * np.float32(2**-24)
    with pytest.raises(ValueError, match="no float32"):  # products just above 1 lie twice as far apart
        bundled.weight_scales(dense, np.float32(0.7), np.float32(1.05))
    table = quant.exp_table(0.0397, 0.6239)
    assert bundled.beta(table, 0.0397) == pytest.approx(1 / 0.6239, rel=1e-6)


@pytest.mark.peer
@pytest.mark.slow
def test_litert_gives_the_bytes_of_the_bundled_form(bundled_form: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs pip install ai-edge-litert")
    from peers import bundled, contenders

    q = (bundled.crops(43).astype(np.int16) - 128).astype(np.int8)
    form, x = edgekern.compile(bundled_form), q[:1].copy()
    litert = contenders.litert(contenders.Files(bundled_form, bundled_form, bundled_form, 1), x)
    for picture in q:
        x[:] = picture
        litert.call()
        assert litert.output().tobytes() == form.run(x).tobytes()


def test_the_camera_crops_resizes_and_classifies_every_box(tmp_path: Path) -> None:
    from latency import scene
    from peers import contenders

    model, files = edgekern.SignClassifier().model, contenders.Files(tmp_path, tmp_path, tmp_path, 1)
    camera, (frames, boxes) = contenders.camera(files), scene()
    assert camera.items == len(boxes[0]) == 17
    wanted, made, swapped = [], [], []
    for frame, rows_ in zip(frames[:2], boxes, strict=False):
        camera.call()
        made.append(camera.output().tobytes())
        crops = np.stack([model.preprocess.crop(frame, tuple(box)) for box in rows_.tolist()])
        wanted.append(model.run(crops).tobytes())
        swapped.append(model.run(crops[::-1].copy()).tobytes())
    assert made == wanted
    assert made != wanted[::-1]
    assert wanted[0] != swapped[0]  # else neither an output of the other frame nor of other boxes would be seen


@pytest.mark.slow  # under emulation
def test_the_worker_checks_the_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first call against the reference of the crops; a wrong byte of any box is told."""
    for module in ("onnx", "tflite"):
        pytest.importorskip(module, reason=f"needs pip install {module}")
    from peers import bundled, worker

    names = ("source", "float32", "compiled", "frames")
    case = {name: str(tmp_path / "given.npz") for name in names} | {"scale": 0.0, "contenders": ["camera"]}
    monkeypatch.setattr(worker, "JOB", {"threads": 1, "rounds": 1, "rest": 0.0})
    right = bundled.camera_reference()
    assert right.shape == (17, 43)
    wrong = right.copy()
    wrong[16, 42] += 1
    for camera, exact in ((right, True), (wrong, False)):
        np.savez(tmp_path / "given.npz", frames=np.zeros((2, 1), np.int8), camera=camera)
        (row,) = worker.compare(case)
        assert (row["contender"], row["refused"], row["exact"]) == ("camera", "", exact)


# ---- what has no form -------------------------------------------------------------------------------------------


def convolution(kind: str = "Conv2D", parts: int = 1, shape: tuple[int, ...] = (9, 9), **more: Any) -> Any:
    """A graph of one integer convolution of 4 channels, 3x3."""
    from edgekern import ops
    from edgekern.graph import Graph, Node, Port
    from edgekern.types import DType, Quant, TensorType

    op = getattr(ops, kind)(kernel=(3, 3), **more)
    depthwise = kind == "DepthwiseConv2D"
    w_shape = (3 * parts, 3, 4) if depthwise else (4, 3 * parts, 3, 4 // getattr(op, "groups", 1))
    w = np.random.default_rng(0).integers(-3, 4, w_shape, np.int8)
    constants = {"w": w, "b": np.arange(4, dtype=np.int32) * 99, "m": np.full(4, 0.01, np.float32)}
    x = TensorType((1, *shape, 4), DType.INT8, Quant(0.0625, 3))
    y = TensorType(op.infer([x], [constants["w"], constants["b"]]).shape, DType.INT8, Quant(0.125, -2))
    node = Node(op, ("x",), tuple(constants), "y")
    ports = ((Port(name, name, DType.INT8),) for name in "xy")
    return Graph(*ports, (node,), {"x": x, "y": y}, constants)


@pytest.mark.parametrize("kind", ["Conv2D", "DepthwiseConv2D"])
@pytest.mark.parametrize(
    "more",
    [
        {"pads": (1, 1, 1, 1)},
        {"pads": (2, 2, 2, 2), "dilation": (2, 2)},
        {"pads": (1, 1, 1, 1), "stride": (2, 2)},
        {"pads": (3, 0, 1, 2)},
        {"dilation": (2, 3)},
        {"pads": (1, 1, 1, 1), "shape": (3, 3)},
    ],
)
def test_windows_of_every_padding_and_dilation_keep_their_integers(
    kind: str, more: dict[str, Any], tmp_path: Path
) -> None:
    for module in ("onnx", "tflite"):
        pytest.importorskip(module, reason=f"needs pip install {module}")
    from edgekern.graph.run import reference
    from peers import bundled

    graph = convolution(kind, **more)
    (tmp_path / "net.tflite").write_bytes(bundled.Conversion(graph).run())
    x = np.random.default_rng(1).integers(-128, 128, graph.types["x"].shape, np.int8)
    (wanted,) = reference(graph, {"x": x}).values()
    assert edgekern.compile(tmp_path / "net.tflite").reference(x).tobytes() == wanted.tobytes()
    assert wanted.std() > 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"groups": 2}, "groups"),
        ({"parts": 2}, "in parts"),
        ({"kind": "DepthwiseConv2D", "parts": 2}, "in parts"),
        ({"pads": (1, 0, 0, 0), "stride": (9, 1)}, "begin before"),  # reads no row beyond the image's end
        ({"pads": (0, 5, 0, 0), "stride": (1, 9)}, "begin before"),
        ({"clamp": (-3, 100)}, "clamps"),
    ],
)
def test_what_has_no_form_is_refused_by_name(more: dict[str, Any], said: str) -> None:
    for module in ("onnx", "tflite"):
        pytest.importorskip(module, reason=f"needs pip install {module}")
    from peers import bundled

    with pytest.raises(bundled.NoFormError, match=f"form of y: .*{said}.*; write its form in bench/peers/bundled.py"):
        bundled.Conversion(convolution(**more)).run()


def test_a_bundled_model_without_a_form_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("onnx", "tflite", "rich"):
        pytest.importorskip(module, reason=f"needs pip install {module}")
    from argparse import Namespace

    from rich.console import Console

    from peers import __main__ as run

    def refuse(*_: Any) -> None:
        raise run.bundled.NoFormError("no TFLite form of y")

    monkeypatch.setattr(run, "BUILD", tmp_path)
    monkeypatch.setattr(run.bundled, "tflite", refuse)
    monkeypatch.setattr(run.machine, "peak_program", lambda folder: (None, ""))
    options = Namespace(only="signs,kws", data=None, threads=[1], uncapped=True)
    rows, notes, _ = run.measure(options, Console(quiet=True), tmp_path)
    assert rows == []
    assert notes[0] == "signs.tflite: no TFLite form of y"
    assert notes[1].startswith("kws.tflite: needs")


def test_the_form_is_kept_and_made_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("onnx", "tflite"):
        pytest.importorskip(module, reason=f"needs pip install {module}")
    from peers import forms

    made = iter([b"one", b"two"])
    monkeypatch.setattr(forms.bundled, "tflite", lambda: next(made))
    paths = [forms.source(forms.SIGNS, tmp_path, None) for _ in range(2)]
    assert paths[0] == paths[1]
    assert paths[0].read_bytes() == b"one"
    assert [p.name for p in paths[0].parent.iterdir()] == ["signs.tflite"]  # no part
    monkeypatch.setattr(forms, "MODEL", tmp_path / "other")
    forms.MODEL.write_bytes(b"another model")
    assert forms.source(forms.SIGNS, tmp_path, None).read_bytes() == b"two"
