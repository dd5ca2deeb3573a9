# SPDX-License-Identifier: Apache-2.0
"""`edgekern compile`: a small network end to end, and every way to fail without leaving a file."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekern.__main__ import main
from edgekern.model import load

pytest.importorskip("typer", reason="the command line needs the extra `cli`")
onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")
pytest.importorskip("flatbuffers", reason="compiling needs the extra `compile`")
Image = pytest.importorskip("PIL.Image", reason="the command line needs the extra `cli`")

from edgekern.cli.pictures import Folder  # noqa: E402


def network(path: Path, op: str = "Relu", height: int | str = 12, layout: str = "nchw", softmax: bool = False) -> Path:
    """Writes conv 3x3 -> op -> global average -> 4 classes, 3 x height x 16."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)
    nodes = [
        *([helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])] if layout == "nhwc" else []),
        helper.make_node("Conv", ["t" if layout == "nhwc" else "x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node(op, ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f" if softmax else "y"]),
        *([helper.make_node("Softmax", ["f"], ["y"])] if softmax else []),
    ]
    shape = [1, height, 16, 3] if layout == "nhwc" else [1, 3, height, 16]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of a few random pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


def test_pictures_give_a_model_that_takes_pictures(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, out = tmp_path / "labels.txt", tmp_path / "net.ekm"
    labels.write_text("a\nb\nc\nd\n")
    command = ["compile", str(network(tmp_path / "net.onnx")), "--calibration", str(pictures)]
    command += ["--mean", "0.485,0.456,0.406", "--std", "0.25", "--labels", str(labels)]
    assert main([*command, "-o", str(out)]) == 0
    text = capsys.readouterr().out
    for word in ("SQNR dB", "Conv2D", "Float against int8 on 6 samples", "changed: ", "net.ekm: "):
        assert word in text
    model = load(out)
    assert model.labels == ("a", "b", "c", "d")
    assert model.preprocess is not None
    assert model.preprocess.size == (12, 16)
    assert model.preprocess.mean == (0.485, 0.456, 0.406)
    picture = np.asarray(Image.open(pictures / "0.png"))
    assert model.run_image(picture).shape == (1, 4)

    again = tmp_path / "again.ekm"
    assert main([*command, "-o", str(again), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["bytes"] == out.stat().st_size
    assert report["layers"][0]["op"] == "Conv2D"
    assert again.read_bytes() == out.read_bytes()

    assert main(["inspect", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["known_answer"] == "passed"
    assert facts["preprocess"]["size"] == [12, 16]
    assert all(step["kernel"] for step in facts["steps"])
    assert main(["inspect", str(out), "--no-selftest", "--isa", "scalar"]) == 0
    text = capsys.readouterr().out
    assert "known answer: not checked" in text
    assert "avx" not in text
    assert main(["bench", str(out), "--seconds", "0.02", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert 0 < measured["min_us"] <= measured["p50_us"] <= measured["max_us"]
    assert main(["bench", str(out), "--seconds", "0.02"]) == 0
    assert "p50" in capsys.readouterr().out


def test_tensors_give_a_model_of_tensors(tmp_path: Path) -> None:
    folder, out = tmp_path / "tensors", tmp_path / "net.ekm"
    folder.mkdir()
    rng = np.random.default_rng(2)
    for number in range(4):
        np.save(folder / f"{number}.npy", rng.normal(0, 1, (3, 12, 16)).astype(np.float32))
    source = network(tmp_path / "net.onnx")
    assert main(["compile", str(source), "--calibration", str(folder), "-o", str(out)]) == 0
    model = load(out)
    assert model.preprocess is None
    assert model.run(np.zeros((2, 3, 12, 16), np.float32)).shape == (2, 4)


def test_accuracy_is_measured_and_demanded(tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels are what the compiled model says, then what it does not say; pictures or tensors lie beside the CSV."""
    labels, out, source = tmp_path / "labels.txt", tmp_path / "net.ekm", network(tmp_path / "net.onnx")
    labels.write_text("a\nb\nc\nd\n")
    command = ["compile", str(source), "--calibration", str(pictures), "--labels", str(labels)]
    assert main([*command, "-o", str(out)]) == 0
    model = load(out)
    said = {path.name: int(model.run_image(np.asarray(Image.open(path))).argmax()) for path in pictures.iterdir()}

    def judged(shift: int, *options: str, files: str = "{}") -> int:
        rows = [f"{files.format(name)},{'abcd'[(number + shift) % 4]}" for name, number in sorted(said.items())]
        (pictures / "truth.csv").write_text("\n".join(["file,label", *rows]) + "\n")
        (tmp_path / "judged.ekm").unlink(missing_ok=True)
        given = ["--accuracy", str(pictures / "truth.csv"), *options, "-o", str(tmp_path / "judged.ekm"), "--json"]
        capsys.readouterr()
        return main([*command, *given])

    assert judged(0, "--max-drop", "20") == 0
    assert json.loads(capsys.readouterr().out)["accuracy"]["int8"] == 1
    assert load(tmp_path / "judged.ekm").report.accuracy.samples == 6  # type: ignore[union-attr]
    assert judged(1) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"]["int8"] == 0
    assert judged(0, files="nowhere/{}") == 1
    assert "nowhere/0.png" in capsys.readouterr().err
    assert not (tmp_path / "judged.ekm").exists()
    (pictures / "truth.csv").write_text("file,label\n0.png,e\n")
    given = ["--accuracy", str(pictures / "truth.csv"), "-o", str(tmp_path / "judged.ekm")]
    assert main([*command, *given]) == 1
    assert "truth.csv:2: 0.png has the label 'e'" in capsys.readouterr().err
    assert main([*command, "--max-drop", "1", "-o", str(tmp_path / "judged.ekm")]) == 1
    assert "max_drop needs accuracy" in capsys.readouterr().err


def test_labelled_pictures_are_found_by_name(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of a CSV may hold far more than its pictures: it is not searched."""
    monkeypatch.setattr(Path, "rglob", lambda *_: pytest.fail("the folder was searched"))
    with Folder(pictures) as folder:
        assert folder.read("0.png").shape[2] == 3


def test_an_open_size_is_asked_for(tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = network(tmp_path / "net.onnx", height="h"), tmp_path / "net.ekm"
    command = ["compile", str(source), "--calibration", str(pictures), "-o", str(out)]
    assert main(command) == 1
    assert "--size HEIGHTxWIDTH" in capsys.readouterr().err
    assert main([*command, "--size", "12x16"]) == 0
    assert load(out).preprocess.size == (12, 16)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("op", "options", "status", "words"),
    [
        ("Det", [], 1, "Det"),
        ("Relu", ["--mean", "1,2"], 1, "mean"),
        ("Relu", ["--mean", "one"], 2, "--mean"),
        ("Relu", ["--scale", "1/0"], 2, "--scale"),
        ("Relu", ["--size", "12by16"], 2, "--size"),
        ("Relu", ["--layout", "chwn"], 1, "chwn"),
        ("Relu", ["--method", "guess"], 1, "guess"),
        ("Relu", ["--labels", "nowhere.txt"], 1, "nowhere.txt"),
        ("Relu", ["--labels", "latin1.txt"], 1, "latin1.txt is not UTF-8 at byte 1"),
        ("Relu", ["--labels", "two.txt"], 1, "2 labels for 4 classes"),
        ("Relu", ["--scale", "1e400"], 2, "--scale"),
        ("Relu", ["--scale", "1,2,3"], 2, "--scale"),
        ("Relu", ["--layout", "nhwc"], 1, "Give --layout nchw"),
        ("Relu", ["--abstain-threshold", "2"], 1, "abstain_threshold"),
        ("Relu", ["--temperature", "2"], 1, "Softmax"),
        ("Relu", ["--accuracy", "nowhere.csv", "--calibration", "broken"], 1, "nowhere.csv"),
        ("Relu", ["--accuracy", "named.csv"], 1, "A label is a number from 0 or a class name"),
    ],
)
def test_a_failing_compile_leaves_no_file(
    op: str,
    options: list[str],
    status: int,
    words: str,
    tmp_path: Path,
    pictures: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, folder = network(tmp_path / "net.onnx", op), tmp_path / "out"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    Path("latin1.txt").write_bytes("Wär\n".encode("latin-1"))
    Path("two.txt").write_text("a\nb\n")
    Path("named.csv").write_text("file,label\n0.png,cat\n")
    Path("broken").mkdir()
    Path("broken/0.png").write_bytes(b"broken")  # refused if it is read
    out = ["-o", str(folder / "net.ekm")]
    command = ["compile", str(source), "--calibration", str(pictures), *options, *out]
    assert main(command) == status
    told = capsys.readouterr()
    assert words in told.err
    assert "Traceback" not in told.err
    assert list(folder.iterdir()) == []


def test_options_reach_the_model(tmp_path: Path, pictures: Path) -> None:
    """The layout follows the network where it is not given; a byte order mark is no part of a label."""
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\nd\n", encoding="utf-8-sig")
    models = {}
    for number, (layout, options) in enumerate(
        [("nchw", []), ("nhwc", []), ("nhwc", ["--layout", "nhwc"]), ("nhwc", ["--temperature", "4"])]
    ):
        source, out = network(tmp_path / f"{layout}.onnx", layout=layout, softmax=True), tmp_path / f"{number}.ekm"
        command = ["compile", str(source), "--calibration", str(pictures), "-o", str(out), "--labels", str(labels)]
        assert main([*command, "--abstain-threshold", "0.25", *options]) == 0
        model = models[number] = load(out)
        assert model.labels == ("a", "b", "c", "d")
        assert model.abstain_threshold == 0.25
        assert model.preprocess is not None
        assert (model.preprocess.layout, model.preprocess.size) == (layout, (12, 16))
    picture = np.asarray(Image.open(pictures / "0.png"))
    cold, also_cold, same, hot = (models[i].run_image(picture) for i in range(4))
    assert np.array_equal(cold, also_cold)
    assert np.array_equal(cold, same)
    assert hot.max() < cold.max()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--size", "12x16"), ("--scale", "1"), ("--mean", "0"), ("--std", "1"), ("--channels", "rgb"), ("--margin", "0")],
)
def test_options_of_pictures_are_refused_with_tensors(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "0.npy", np.zeros((3, 12, 16), np.float32))
    source, out = network(tmp_path / "net.onnx"), tmp_path / "net.ekm"
    command = ["compile", str(source), "--calibration", str(tmp_path), "-o", str(out)]
    assert main([*command, option, value]) == 2
    assert option in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no zip", b"no array"])
def test_a_broken_tensor_is_named(data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "0.npy").write_bytes(data)
    command = ["compile", str(network(tmp_path / "net.onnx")), "--calibration", str(tmp_path)]
    assert main([*command, "-o", str(tmp_path / "net.ekm")]) == 1
    assert "0.npy is no NumPy array" in capsys.readouterr().err


@pytest.mark.parametrize("out", [".", "", "folder", "nowhere/net.ekm", "/dev/full/net.ekm"])
def test_an_impossible_target_is_refused_before_the_work(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the network is looked at: there is none."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    assert main(["compile", "none.onnx", "--calibration", "none", "-o", out]) == 1
    told = capsys.readouterr().err
    assert "is a folder" in told or "is no folder" in told
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_broken_network_leaves_no_file(tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "net.onnx", tmp_path / "net.ekm"
    source.write_bytes(network(tmp_path / "whole.onnx").read_bytes()[:-40])
    assert main(["compile", str(source), "--calibration", str(pictures), "-o", str(out)]) == 1
    assert "EK2" in capsys.readouterr().err
    assert not out.exists()


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path, pictures: Path) -> None:
    """A limit on the size of files stands in for the full disk: the write fails half-way."""
    source, folder = network(tmp_path / "net.onnx"), tmp_path / "out"
    folder.mkdir()
    out = folder / "net.ekm"
    out.write_bytes(b"old")
    arguments = ["compile", str(source), "--calibration", str(pictures), "-o", str(out)]

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))

    command = [sys.executable, "-m", "edgekern", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=full)
    assert done.returncode == 1
    assert done.stderr.startswith("edgekern: ")
    assert "Traceback" not in done.stderr
    assert [p.name for p in folder.iterdir()] == ["net.ekm"]
    assert out.read_bytes() == b"old"
