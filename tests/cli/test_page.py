# SPDX-License-Identifier: Apache-2.0
"""The report page: complete, right, self-contained, harmless, and whole or not there."""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekern
from edgekern.__main__ import main
from edgekern.artifact import Artifact, read, write
from edgekern.report import Removed

pytest.importorskip("typer", reason="the command line needs the extra `cli`")
onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")
pytest.importorskip("tflite", reason="compiling needs the extra `compile`")

from edgekern.cli.figures import clean  # noqa: E402
from edgekern.cli.page import live_bytes, step_of  # noqa: E402
from edgekern.plan import OpProfile  # noqa: E402
from small_onnx import model, node, normal  # noqa: E402

OUTWARD = ("http", "src=", "href", "url(", "@import", "<script", "<link", "<iframe")
HOSTILE = '<script>alert("1")</script>&amp;\x1b[31m\u202e\x00]]>\'/'


def network(tag: str = "") -> Any:
    """Identity, convolution, batch norm, ReLU, dropout, depthwise convolution, sum, mean, classes."""
    held = {"w": normal(8, 3, 3, 3, scale=0.3), "d": normal(8, 1, 3, 3, seed=1, scale=0.3)}
    held |= {"f": normal(8, 5, seed=2), "one": np.ones(8, np.float32) * 1.5, "zero": normal(8, seed=3)}
    nodes = [
        node("Identity", "x", "i"),
        node("Conv", "i w", "c", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c one zero zero one", "b"),
        node("Relu", "b", "r"),
        node("Dropout", "r", "o"),
        node("Conv", "o d", "e", group=8, pads=[1, 1, 1, 1]),
        node("Add", "e r", "s"),
        node("GlobalAveragePool", "s", "g"),
        node("Flatten", "g", "v"),
        node("MatMul", "v f", "l"),
        node("Softmax", "l", "y", axis=1),
    ]
    for n in nodes:
        n.name += tag
    return model(nodes, {"x": [1, 3, 10, 12]}, "y", held)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.onnx, tensors, and net.ekm with page.html as `compile --report` writes them."""
    folder = tmp_path_factory.mktemp("made")
    onnx.save(network(), folder / "net.onnx")
    (folder / "tensors").mkdir()
    for i in range(6):
        np.save(folder / "tensors" / f"{i}.npy", normal(1, 3, 10, 12, seed=i))
    assert main(command(folder, folder / "net.ekm", folder / "page.html")) == 0
    return folder


def command(folder: Path, out: Path, page: Path) -> list[str]:
    given = ["compile", str(folder / "net.onnx"), "--calibration", str(folder / "tensors")]
    return [*given, "-o", str(out), "--report", str(page)]


def text(element: ET.Element) -> str:
    return "".join(element.itertext())


def layer_rows(page: str) -> list[list[str]]:
    """Cells of the table of layers."""
    table = ET.fromstring(page).find(".//table[@id='layers']/tbody")
    assert table is not None
    return [[text(cell) for cell in row] for row in table]


def test_the_page_has_every_layer_with_the_reports_figures(made: Path) -> None:
    loaded = edgekern.load(made / "net.ekm")
    report = loaded.report
    assert report is not None
    page = (made / "page.html").read_text(encoding="utf-8")
    rows = layer_rows(page)
    kernels = {s.name: s.kernel for s in loaded.plan()}
    assert len(rows) == len(report.layers) == len(read((made / "net.ekm").read_bytes()).graph.nodes) > 4
    for k, (row, layer) in enumerate(zip(rows, report.layers, strict=True), 1):
        db = f"{layer.sqnr:.1f}" if math.isfinite(layer.sqnr) else "exact"
        assert row[:5] == [str(k), layer.name, " + ".join(layer.made_of), layer.op, "×".join(map(str, layer.shape))]
        assert row[6:9] == [f"{layer.macs:,}", f"{layer.bytes:,}", db]
        assert kernels.get(layer.name, "") in row[9]
        assert row[9]
    assert {row[1] for row in rows} >= set(kernels)
    memory = loaded.memory_plan()
    tiles = {text(d[0]): text(d[1]) for d in ET.fromstring(page).iterfind(".//dl/div")}
    assert tiles["file"] == f"{report.bytes:,} bytes" == f"{(made / 'net.ekm').stat().st_size:,} bytes"
    assert tiles["multiply-accumulates a frame"] == f"{report.macs:,}"
    assert tiles["memory while loaded"] == f"{memory.total:,} bytes"
    assert tiles["calibration"] == "6 samples"
    assert tiles["SQNR of y"] == f"{report.outputs[0].sqnr:.1f} dB"
    for figure in (f"arena {memory.arena:,}", f"{report.parameters:,} parameters", f"{report.source_bytes:,} bytes"):
        assert figure in page
    assert loaded.provenance["source_sha256"] in page
    assert "mse ranges, weights rounded to make up for each other, biases corrected; compared on 6" in page


def test_plots_show_the_values(made: Path) -> None:
    """Bars stand in proportion to what they show, the worst layers are marked and named."""
    report = edgekern.load(made / "net.ekm").report
    assert report is not None
    root = ET.parse(made / "page.html").getroot()
    noise, macs, held, live = root.iterfind(".//svg")
    for plot, values in (
        (macs, [n.macs for n in report.layers]),
        (held, [n.bytes for n in report.layers]),
        (live, live_bytes(read((made / "net.ekm").read_bytes()).graph)),
    ):
        heights = [float(bar.attrib["height"]) for bar in plot.iterfind("rect")]
        assert len(heights) == len(values)
        top = max(range(len(values)), key=values.__getitem__)
        assert heights[top] > 70
        assert heights == pytest.approx([heights[top] * v / values[top] for v in values], abs=0.11)
    finite = [n for n in report.worst() if math.isfinite(n.sqnr)]
    assert len(noise.findall("circle[@class='worst']")) == len(finite)
    named = root.find(".//ul[@class='worst-layers']")
    assert named is not None
    assert all(n.name in text(named) for n in finite)


def test_the_page_needs_nothing_beside_it(made: Path) -> None:
    page = (made / "page.html").read_text(encoding="utf-8")
    assert [word for word in OUTWARD if word in page.lower()] == []


def test_both_commands_write_the_same_page(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = tmp_path / "again.html"
    assert main(["inspect", str(made / "net.ekm"), "--html", str(again)]) == 0
    assert again.read_text(encoding="utf-8") == (made / "page.html").read_text(encoding="utf-8")
    told = capsys.readouterr().out
    for words in ("SQNR dB", "of Conv + BatchNormalization + Relu", "nothing left of: 1 Dropout"):
        assert words in told
    assert main(["inspect", str(made / "net.ekm"), "--html", str(again), "--time", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert all(step["nanoseconds"] > 0 for step in facts["steps"])
    assert ["Conv", "BatchNormalization", "Relu"] in [n["made_of"] for n in facts["layers"]]
    assert float(layer_rows(again.read_text(encoding="utf-8"))[-1][10]) > 0


def test_layers_tell_what_they_are_made_of(made: Path) -> None:
    report = edgekern.load(made / "net.ekm").report
    assert report is not None
    assert [n.made_of for n in report.layers if n.macs or n.op in ("Add", "Mean", "Softmax")] == [
        ("Conv", "BatchNormalization", "Relu"),
        ("Conv",),
        ("Add",),
        ("GlobalAveragePool",),
        ("MatMul",),
        ("Softmax",),
    ]
    gone = {r.op: r for r in report.removed}
    assert gone["Dropout"] == Removed("Dropout", 1, "nothing to compute")
    assert {"Dropout", "Identity", "Flatten"} == set(gone)


@pytest.mark.parametrize("where", ["nodes", "labels", "provenance"])
def test_text_of_the_file_is_harmless(where: str, made: Path, tmp_path: Path) -> None:
    artifact = read((made / "net.ekm").read_bytes())
    if where == "nodes":
        name = HOSTILE.replace("\0", "")
        nodes = tuple(replace(n, name=name + n.name) for n in artifact.graph.nodes)
        artifact = replace(artifact, graph=replace(artifact.graph, nodes=nodes))
    elif where == "labels":
        artifact = replace(artifact, labels=(HOSTILE.replace("\0", ""), "b", "c", "d", "e"))
    else:
        report: Any = artifact.provenance["report"]
        report = {**report, "changes": [HOSTILE], "removed": [{"op": HOSTILE, "count": 1, "why": HOSTILE}]}
        report["outputs"] = [{**report["outputs"][0], "name": HOSTILE}]
        report["made_of"] = {"kinds": [[HOSTILE]], "layers": [0] * len(artifact.graph.nodes)}
        artifact = replace(artifact, provenance={HOSTILE: {HOSTILE: HOSTILE}, "edgekern": HOSTILE, "report": report})
    (tmp_path / "net.ekm").write_bytes(write(artifact))
    assert main(["inspect", str(tmp_path / "net.ekm"), "--html", str(tmp_path / "p.html"), "--json"]) == 0
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    ET.fromstring(page)  # nothing broke out
    assert [word for word in OUTWARD if word in page.lower()] == []
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/" in page.replace("<wbr/>", "")
    assert not [c for c in page if not c.isprintable() and c != "\n"]


def test_half_a_character_is_no_text() -> None:
    """JSON can hold one, UTF-8 cannot."""
    assert clean("a\ud800<").encode() == "a\ufffd&lt;".encode()


def test_int16_tensors_have_their_bytes_and_their_name(made: Path, tmp_path: Path) -> None:
    """Sixteen bits take two bytes: with both tensors of a layer in int16 the page shows twice as many alive."""
    out, page = tmp_path / "wide.ekm", tmp_path / "wide.html"
    assert main([*command(made, out, page), "--mixed", "auto"]) == 0
    graph = read(out.read_bytes()).graph
    alive = live_bytes(graph)
    both = [k for k, n in enumerate(graph.nodes) if all(graph.types[t].wide for t in (n.inputs[0], n.output))]
    assert both
    for k in both:
        node_ = graph.nodes[k]
        assert alive[k] >= 2 * sum(graph.types[name].size for name in {*node_.inputs, node_.output})
    rows = layer_rows(page.read_text(encoding="utf-8"))
    wide = {row[5].startswith("int16 ") for row, n in zip(rows, graph.nodes, strict=True) if graph.types[n.output].wide}
    rest = {"int16" in row[5] for row, n in zip(rows, graph.nodes, strict=True) if not graph.types[n.output].wide}
    assert (wide, rest) == ({True}, {False})


def test_a_file_without_report_has_a_page_too(made: Path, tmp_path: Path) -> None:
    artifact: Artifact = replace(read((made / "net.ekm").read_bytes()), provenance={})
    (tmp_path / "net.ekm").write_bytes(write(artifact))
    assert main(["inspect", str(tmp_path / "net.ekm"), "--html", str(tmp_path / "p.html")]) == 0
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    whole = layer_rows((made / "page.html").read_text(encoding="utf-8"))
    assert [r[6:8] for r in layer_rows(page)] == [r[6:8] for r in whole]
    assert all(r[8] == "" for r in layer_rows(page))
    assert "holds no report" in page


def test_of_joined_names_the_page_shows_the_first_and_holds_all(tmp_path: Path) -> None:
    onnx.save(network(";net/batch_norm;net/conv"), tmp_path / "net.onnx")
    (tmp_path / "tensors").mkdir()
    np.save(tmp_path / "tensors" / "0.npy", normal(1, 3, 10, 12))
    assert main(command(tmp_path, tmp_path / "net.ekm", tmp_path / "page.html")) == 0
    report = edgekern.load(tmp_path / "net.ekm").report
    assert report is not None
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for row, layer in zip(layer_rows(page), report.layers, strict=True):
        assert ";net/batch_norm;" in layer.name
        assert row[1] == layer.name.partition(";")[0] + ";…"
        assert f'title="{layer.name}"' in page


def test_a_fused_step_is_shown_at_each_of_its_layers(made: Path) -> None:
    report = edgekern.load(made / "net.ekm").report
    assert report is not None
    layers = report.layers[:4]
    steps = [OpProfile(layers[k].name, "Any", f"row {k}", 0, 0.0, 0.0, 0.0) for k in (1, 2, 3)]
    strange = OpProfile("of no layer", "Any", "none", 0, 0.0, 0.0, 0.0)
    found = [s.kernel if s else "" for s in step_of(layers, [strange, *steps])]
    assert found == ["row 1", "row 1", "row 2", "row 3"]


def test_an_impossible_page_is_refused_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "nowhere" / "p.html")
    assert main(["inspect", "none.ekm", "--html", missing]) == 1
    assert "is no folder" in capsys.readouterr().err
    assert main(["compile", "none.onnx", "-o", str(tmp_path / "n.ekm"), "--report", missing]) == 1
    assert "is no folder" in capsys.readouterr().err
    one = str(tmp_path / "n.ekm")
    assert main(["compile", "none.onnx", "-o", one, "--report", one]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("which", ["compile", "inspect"])
def test_a_full_disk_leaves_the_old_files_and_no_other(which: str, made: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk: the write fails half-way."""
    out, page = tmp_path / "net.ekm", tmp_path / "page.html"
    for path in (out, page):
        path.write_bytes(b"old")
    arguments = command(made, out, page)
    if which == "inspect":
        arguments = ["inspect", str(made / "net.ekm"), "--html", str(page)]

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))

    run = [sys.executable, "-m", "edgekern", *arguments]
    done = subprocess.run(run, capture_output=True, text=True, check=False, preexec_fn=full)
    assert done.returncode == 1
    assert done.stderr.startswith("edgekern: ")
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.ekm", "page.html"]
    assert out.read_bytes() == page.read_bytes() == b"old"


def test_a_model_that_cannot_be_saved_leaves_no_page_and_an_old_one(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: edgekern.Model, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(edgekern.Model, "save", fail)
    page = tmp_path / "page.html"
    assert main(command(made, tmp_path / "net.ekm", page)) == 1
    assert list(tmp_path.iterdir()) == []
    page.write_bytes(b"old")
    assert main(command(made, tmp_path / "net.ekm", page)) == 1
    assert list(tmp_path.iterdir()) == [page]
    assert page.read_bytes() == b"old"
