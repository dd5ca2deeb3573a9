# SPDX-License-Identifier: Apache-2.0
"""Each command does what it says: output, files, exit status."""

from __future__ import annotations

import csv
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from edgekern.__main__ import main
from edgekern.artifact import Artifact, write
from edgekern.preprocess import Preprocess
from edgekern.signs.stream import frames
from sample_models import Builder

pytest.importorskip("typer", reason="the command line needs the extra `cli`")
Image = pytest.importorskip("PIL.Image", reason="the command line needs the extra `cli`")


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 22 crops of the demo's stream, their CSV, and the same as a tar."""
    folder = tmp_path_factory.mktemp("crops")
    frame, boxes, labels = next(frames(seed=1, count=1))
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "roi_x1", "roi_y1", "roi_x2", "roi_y2"])
        for number, ((x, y, w, h), label) in enumerate(zip(boxes, labels, strict=True)):
            left, top = max(0, x - 6), max(0, y - 6)
            Image.fromarray(frame[top : y + h + 6, left : x + w + 6]).save(folder / f"{number}.png")
            corner = (x - left, y - top)
            writer.writerow([f"{number}.png", label, *corner, corner[0] + w - 1, corner[1] + h - 1])
    with tarfile.open(folder / "crops.tar", "w") as tar:
        for path in folder.glob("*.png"):
            tar.add(path, path.name)
    return folder


def output(capsys: pytest.CaptureFixture[str], *arguments: str | Path, status: int = 0) -> str:
    """Runs a command in this process and gives what it printed."""
    assert main([str(a) for a in arguments]) == status
    return capsys.readouterr().out


def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "sheet.png"
    text = output(capsys, "demo", "--frames", "2", "--out", sheet)
    assert "of 43 right" in text
    assert "p50" in text
    assert "kernels: " in text
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]
    with Image.open(sheet) as image:
        assert image.width > 1000


@pytest.mark.slow
def test_demo_json_gets_nine_of_ten_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(output(capsys, "demo", "--out", tmp_path / "a.png", "--json"))
    assert data["total"] == 172
    assert data["right"] >= 0.9 * data["total"]
    assert data["right"] == sum(sign["right"] for sign in data["signs"])
    assert {sign["index"] for sign in data["signs"]} == set(range(43))
    assert data["frame_p50_us"] <= data["frame_p99_us"] <= data["frame_max_us"]
    assert data["kernels"]


@pytest.mark.parametrize("out", ["/dev/full/sheet.png", ".", ""])
def test_a_picture_that_cannot_be_written_is_refused_before_the_work(
    out: str, crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delattr("edgekern.signs.SignClassifier.classify_regions")
    for command in (["demo", "--out", out], ["eval", str(crops), "--labels", "labels.csv", "--confusion", out]):
        assert main(command) == 1
        told = capsys.readouterr()
        assert told.err.startswith("edgekern: ")
        assert "folder" in told.err
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_costs_the_picture_alone(
    crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for module in ("demo", "eval"):
        monkeypatch.setattr(f"edgekern.cli.{module}.save_png", full)
    sheet = str(tmp_path / "a.png")
    for command in (
        ["demo", "--frames", "1", "--out", sheet],
        ["eval", str(crops), "--labels", str(crops / "labels.csv"), "--confusion", sheet],
    ):
        for options, figures in (([], r"\d+ of 21 right"), (["--json"], r'"right": \d+')):
            assert main([*command, *options]) == 1
            told = capsys.readouterr()
            assert re.search(figures, told.out)
            assert "No space left" in told.err
    assert list(tmp_path.iterdir()) == []


def test_classify_names_files(crops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(output(capsys, "classify", crops / "0.png", crops / "1.png", "--json"))
    assert [Path(f["file"]).name for f in found] == ["0.png", "1.png"]
    assert all(0 <= f["index"] < 43 and 0 < f["confidence"] <= 1 for f in found)
    text = output(capsys, "classify", crops / "0.png")
    assert found[0]["label"] in text


def test_classify_takes_box_and_channels(crops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = np.asarray(Image.open(crops / "0.png"))
    swapped = crops / "swapped.ppm"
    Image.fromarray(picture[..., ::-1].copy()).save(swapped)
    box = f"6,6,{picture.shape[1] - 12},{picture.shape[0] - 12}"
    rgb, bgr = (
        json.loads(output(capsys, "classify", file, "--box", box, "--channels", order, "--json"))[0]
        for file, order in ((crops / "0.png", "rgb"), (swapped, "bgr"))
    )
    swapped.unlink()
    assert (rgb["index"], rgb["confidence"]) == (bgr["index"], bgr["confidence"])
    output(capsys, "classify", crops / "0.png", "--channels", "gray")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["classify", "nowhere.png"], 1, "nowhere.png"),
        (["classify", __file__], 1, "not a picture"),
        (["classify", "a.png", "--box", "1,2,3"], 2, "x,y,width,height"),
        (["classify", "a.png", "--channels", "cmyk"], 2, "cmyk"),
        (["eval", "nowhere", "--labels", __file__], 1, "columns"),
        (["eval", __file__, "--labels", "nowhere.csv"], 1, "nowhere.csv"),
        (["inspect", __file__], 1, "EK3"),
        (["inspect", "nowhere.ekm"], 1, "nowhere.ekm"),
        (["bench", __file__], 1, "EK3"),
        (["demo", "--frames", "0"], 2, "--frames"),
        (["demo", "--fly"], 2, "--fly"),
        (["fly"], 2, "fly"),
    ],
)
def test_refusals_are_plain(
    arguments: list[str],
    status: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == status
    told = capsys.readouterr()
    assert words in told.err
    assert "Traceback" not in told.err
    assert list(tmp_path.iterdir()) == []


def test_a_box_outside_is_refused(crops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", str(crops / "0.png"), "--box", "5000,5000,4,4"]) == 1
    assert "EK5000" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["", "crops.tar"])
def test_eval_measures(crops: Path, source: str, capsys: pytest.CaptureFixture[str]) -> None:
    chart = crops / "confusion.png"
    arguments = ["eval", crops / source, "--labels", crops / "labels.csv", "--confusion", chart]
    result = json.loads(output(capsys, *arguments, "--json"))
    chart.unlink()
    assert result["total"] == 21
    assert result["right"] >= 18
    assert result["right"] == sum(c["right"] for c in result["classes"])
    assert "of 21 right" in output(capsys, *arguments[:-2])


def test_eval_refuses_labels_that_no_class_has(crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\n0.png,43\n")
    assert main(["eval", str(crops), "--labels", str(labels)]) == 1
    assert "'43'" in capsys.readouterr().err
    labels.write_text("file,label\nnone.png,1\n")
    assert main(["eval", str(crops), "--labels", str(labels)]) == 1
    assert "none.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (b"file,label\n0.png\n", "labels.csv:2: there is no label"),
        (b"file,label\n0.png,14\n,14\n", "labels.csv:3: there is no file"),
        (b"file,label\n0.png,W\xe4rme\n", "labels.csv is not UTF-8 at byte 18"),
        (b"file,label\n0.png,999\n", "labels.csv:2: 0.png"),
        (b"file,label,roi_x1,roi_y1,roi_x2,roi_y2\n0.png,14,0,0,9,9\n1.png,14,900,900,950,950\n", "csv:3: 1.png: box"),
        (b"file,label,roi_x1,roi_y1,roi_x2,roi_y2\n0.png,14,0,0,9\n", "labels.csv:2: roi_"),
    ],
    ids=["no label", "no file", "Latin-1", "no class", "box outside", "short box"],
)
def test_eval_names_the_line(
    rows: bytes, words: str, crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_bytes(rows)
    assert main(["eval", str(crops), "--labels", str(labels)]) == 1
    assert words in capsys.readouterr().err


def test_a_cut_archive_is_named(crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, cut = tmp_path / "whole.tar.gz", tmp_path / "cut.tar.gz"
    with tarfile.open(whole, "w:gz") as tar:
        for path in crops.glob("*.png"):
            tar.add(path, path.name)
    data = whole.read_bytes()
    for end in (0, 5, 100, len(data) // 2, len(data) * 3 // 4):
        cut.write_bytes(data[:end])
        assert main(["eval", str(cut), "--labels", str(crops / "labels.csv")]) == 1
        assert "cut.tar.gz" in capsys.readouterr().err
    cut.write_bytes(data[: len(data) // 2] + b"\xff" * 40 + data[len(data) // 2 + 40 :])
    assert main(["eval", str(cut), "--labels", str(crops / "labels.csv")]) == 1
    assert "cut.tar.gz" in capsys.readouterr().err


def test_a_model_that_is_no_classifier_is_refused(
    crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    b = Builder((1, 12, 12, 3))
    graph = b.graph({"logits": b.reshape(b.linear("t0", 43), (1, 43))})
    path = tmp_path / "logits.ekm"
    path.write_bytes(write(Artifact(graph, Preprocess((12, 12)), tuple(f"class {i}" for i in range(43)))))
    for command in (["classify", str(crops / "0.png")], ["eval", str(crops), "--labels", str(crops / "labels.csv")]):
        assert main([*command, "--model", str(path)]) == 1
        assert "ends in a Softmax" in capsys.readouterr().err


def test_kernels_lists_the_build(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(output(capsys, "kernels", "--json"))
    assert any(row["runs_here"] for row in rows)
    markdown = output(capsys, "kernels", "--markdown")
    assert all(f"| {row['name']} |" in markdown for row in rows)
    assert rows[0]["name"] in output(capsys, "kernels")


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    from edgekern import __version__

    assert output(capsys, "--version") == f"edgekern {__version__}\n"
    assert "classify" in output(capsys, "--help")


def test_summary_counts() -> None:
    from edgekern.cli.eval import summary
    from edgekern.signs import Prediction

    def said(index: int, confidence: float, abstained: bool = False) -> Prediction:
        return Prediction(str(index), index, confidence, 0.5, abstained)

    result = summary([said(0, 0.9), said(1, 0.9), said(2, 0.3, True)], np.array([0, 0, 2]))
    assert (result["right"], result["total"], result["abstained"]) == (2, 3, 1)
    assert result["errors_abstained"] == 0
    assert result["accuracy_when_answering"] == 0.5
    assert result["calibration_error"] == pytest.approx((abs(1 - 1.8) + 0.7) / 3, abs=1e-6)
