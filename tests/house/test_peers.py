# SPDX-License-Identifier: Apache-2.0
"""The comparison with other runtimes judges and builds as it says: on planted figures, nothing is timed here."""

from __future__ import annotations

import json
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


# ---- figures ----------------------------------------------------------------------------------------------------


def rows(**more: float) -> list[Any]:
    """edgekern at 100 µs and contenders of given medians, on one core of 4 GHz and 256 GMAC/s."""
    from peers import figures

    setting = figures.Setting(clock_ghz=4.0, peak_gmacs=256.0)
    ours = figures.Row("net.onnx", "edgekern", setting, 12_800_000, 100.0, 110.0, exact=True)
    others = [
        figures.Row("net.onnx", name, setting, ours.macs, us, 2 * us, within=1.0, correlation=1.0)
        for name, us in more.items()
    ]
    return [ours, *others]


def test_agreement_counts_steps_and_tells_a_constant_from_a_copy() -> None:
    from peers import figures

    ours = np.array([0, 50, -50, 100], np.int8)
    assert figures.agreement(ours, ours.copy(), 0.5) == (1.0, pytest.approx(1.0))
    assert figures.agreement(ours, np.int8([1, 49, -52, 100]), 0.5)[0] == 0.75  # integers: the scale is no matter
    real = ours.astype(np.float32) * np.float32(0.5)
    assert figures.agreement(real, real + np.float32([0.5, -0.5, 1, 0]), 0.5)[0] == 0.75
    assert figures.agreement(real, real + 1, 0.0)[0] is None  # never quantised: no steps
    assert figures.agreement(ours, np.zeros(4, np.int8), 0.5) == (0.25, 0.0)
    assert figures.agreement(np.zeros(4, np.int8), np.zeros(4, np.int8), 0.5) == (1.0, 1.0)
    assert figures.agreement(real, np.float32([0, np.nan, 0, 0]), 0.5)[1] == 0.0
    assert figures.agreement(ours, -ours, 0.5)[1] == pytest.approx(-1.0)
    with pytest.raises(ValueError, match="3"):
        figures.agreement(ours, ours[:3], 0.5)


def test_the_ratio_is_to_the_fastest_int8_peer_that_ran() -> None:
    from dataclasses import replace

    from peers import figures

    slow, refused = rows(onnxruntime=200.0, openvino=160.0, litert=50.0, torch=10.0), rows(litert=50.0)[1]
    refused = replace(refused, refused="no file")
    given = [r for r in slow if r.contender != "litert"] + [refused]
    (line,) = figures.summaries(given)
    assert (line.peer.contender, line.ratio, line.torch) == ("openvino", 100 / 160, 0.1)
    (line,) = figures.summaries(slow)
    assert (line.peer.contender, line.ratio) == ("litert", 2.0)
    assert figures.summaries(rows())[0].ratio is None
    assert figures.summaries(given[1:]) == []  # without edgekern there is nothing to compare


def test_settings_are_not_mixed_and_threads_are_compared_with_one() -> None:
    from dataclasses import replace

    from peers import figures

    one = rows(openvino=150.0)
    two = [replace(r, setting=figures.Setting(2), median_us=r.median_us / 2) for r in one[:1]]
    capped = [replace(r, setting=figures.Setting(1, "avx2"), median_us=r.median_us * 3) for r in one]
    found = figures.summaries([*one, *two, *capped])
    assert [(s.gain, s.ratio) for s in found] == [(None, 100 / 150), (2.0, None), (None, 100 / 150)]
    assert [s.ours.setting.name for s in found] == ["1 thread", "2 threads", "1 thread, capped to avx2"]


def test_work_per_cycle_and_the_share_of_the_peak() -> None:
    from dataclasses import replace

    from peers import figures

    ours = rows()[0]
    assert ours.macs_per_cycle == pytest.approx(32.0)  # 12.8 MMAC in 100 µs at 4 GHz
    assert ours.share == pytest.approx(0.5)
    bare = replace(ours, setting=figures.Setting())
    assert (bare.macs_per_cycle, bare.share) == (None, None)


def test_the_camera_is_no_peer_and_stands_beside_those_that_classify_alone() -> None:
    pytest.importorskip("rich", reason="needs the extra `cli`")
    from dataclasses import replace

    from peers import figures, tables

    given = rows(litert=200.0, openvino=250.0, torch=10.0, camera=120.0)
    assert figures.summaries(given)[0].peer.contender == "litert"  # which the camera would beat
    elsewhere = [replace(r, setting=figures.Setting(2)) for r in given if r.contender != "camera"]
    given += [replace(r, case="other.onnx") for r in given[:2]] + elsewhere
    assert [(c.contender, p.contender) for c, p in figures.from_camera(given)] == [
        ("camera", "litert"),
        ("camera", "openvino"),
    ]
    result = tables.Result("a CPU", {}, {}, given, [])
    page = tables.markdown(result)
    assert "| net.onnx | 120.0 | 107 | 42% | litert | 200.0 | 0.60 |" in page  # 12.8 MMAC in 120 µs, of 256 GMAC/s
    assert page.count("beside peers' classifying alone") == 1
    assert [line["ratio"] for line in tables.record(result)["from_camera"]] == [0.6, 120 / 250]
    refused = [replace(r, refused="no") if r.contender == "camera" else r for r in given]
    assert figures.from_camera(refused) == []


def test_a_difference_from_the_reference_is_named() -> None:
    from dataclasses import replace

    from peers import figures

    good = rows(openvino=150.0)
    assert figures.inexact(good) == []
    assert figures.inexact([replace(good[0], exact=False), good[1]]) == ["net.onnx (1 thread)"]


def test_the_tables_say_who_saturates_and_who_was_refused(capsys: pytest.CaptureFixture[str]) -> None:
    console = pytest.importorskip("rich.console", reason="needs the extra `cli`")
    from dataclasses import replace

    from peers import tables

    given = rows(openvino=150.0, litert=300.0, torch=1000.0)
    given[0] = replace(given[0], exact=False)
    given[1] = replace(given[1], correlation=0.9799, within=0.5)
    given[2] = replace(given[2], refused="[/no] such | file")
    given[3] = replace(given[3], correlation=0.5)  # float32 is another arithmetic, not a fault
    peaks = {1: {"clock_ghz": 4.0, "gmacs": {"avx2": 100.0}}, 2: {"clock_ghz": 4.0, "gmacs": {"avx2": 170.0}}}
    result = tables.Result("a CPU", {"edgekern": "1"}, peaks, given, ["a note"])
    page = tables.markdown(result)
    assert "| net.onnx | 100.0 | openvino (saturates) | 150.0 | 0.67 | 32.0 | 50% | 10.0 |" in page
    assert "| net.onnx | edgekern | 100.0 | 110.0 |  | 32.0 | 50% |  |  | DIFFERS FROM ITS REFERENCE |" in page
    assert "| net.onnx | openvino | 150.0 | 300.0 | 0.67 | 21.3 | 33% | 50.0% | 0.9799 | saturates |" in page
    assert "| net.onnx | litert |  |  |  |  |  |  |  | [/no] such / file |" in page
    assert "1000 | 2000 | 0.10 | 3.2 | 5% | 100.0% | 0.5000 | float32 |" in page
    assert "peak of 2 threads / of one: 1.70" in page
    assert "- a note" in page
    told = json.loads(json.dumps(tables.record(result)))
    assert [r["saturates"] for r in told["rows"]] == [False, True, False, False]
    assert told["rows"][0]["share"] == pytest.approx(0.5)
    wanted = {"exact": False, "peer": "openvino", "ratio": 100 / 150, "torch_over_edgekern": 10.0}
    assert {key: told["summaries"][0][key] for key in wanted} == wanted
    tables.show(result, console.Console(width=160))
    assert "[/no] such | file" in capsys.readouterr().out


def test_the_peak_is_that_of_the_sets_allowed() -> None:
    from peers import machine

    gmacs = {"avx2": 100.0, "avxvnni": 240.0, "avx512vnni": 470.0}
    assert machine.widest(gmacs, "") == 470
    assert machine.widest(gmacs, "avx2,avxvnni") == 240
    assert machine.widest(gmacs, "avx2") == 100
    assert machine.widest({}, "avx2") == 0
    first, second = ({"clock_ghz": c, "gmacs": {"avx2": r}} for c, r in ((4.0, 90.0), (3.0, 95.0)))
    assert machine.better(first, second) == {"clock_ghz": 4.0, "gmacs": {"avx2": 95.0}}


def test_cores_go_round_and_never_serve_two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    from peers import machine

    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {2, 3, 7}, raising=False)
    assert machine.cores_from(7, 2) == [7, 2]
    with pytest.raises(ValueError, match="4 threads"):
        machine.cores_from(2, 4)
    with pytest.raises(ValueError, match="core 5"):
        machine.cores_from(5, 1)


def test_a_turn_has_enough_samples() -> None:
    from peers import worker

    assert worker.pace(8e6, 1) == (2, worker.LEAST)  # a slow net
    warm, samples = worker.pace(5e3, worker.BLOCK)
    assert samples * worker.BLOCK * 5e3 == worker.TURN
    assert warm == 200


def test_contenders_take_turns_to_and_fro() -> None:
    from peers import contenders, worker

    calls: list[str] = []
    runners = {n: contenders.Contender(lambda n=n: calls.append(n), lambda: None) for n in ("a", "b", "c")}
    found = worker.timed(runners, 2, 0.0)
    assert {block for _, block in found.values()} == {worker.BLOCK}
    turns = [n for i, n in enumerate(calls) if i == 0 or calls[i - 1] != n]
    assert turns == ["a", "b", "c", "a", "b", "c", "b", "a"]  # five to guess the time, then to, then fro


def test_a_call_of_many_frames_counts_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    from peers import contenders, worker

    monkeypatch.setattr(worker, "spent", lambda call, count: 1000 * count)  # every call takes 1 µs
    one, many = (contenders.Contender(lambda: None, lambda: None, items) for items in (1, 4))
    found = worker.timed({"one": one, "many": many}, 1, 0.0)
    assert {name: (set(times), block) for name, (times, block) in found.items()} == {
        "one": ({1000.0}, worker.BLOCK),
        "many": ({250.0}, 1),
    }


def test_the_chart_has_a_bar_for_each_peer(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs pip install matplotlib")
    pytest.importorskip("rich", reason="needs the extra `cli`")
    from matplotlib import pyplot as plt

    from peers import chart, figures, tables

    given = rows(openvino=150.0, onnxruntime=300.0, torch=1000.0)
    chart.draw(tables.Result("a CPU", {}, {}, given, []), tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes()[:4] == b"\x89PNG"
    (line,) = figures.summaries(given)
    _, axis = plt.subplots()
    chart.panel(axis, "1 thread", [(line, [r for r in given if chart.is_peer(r, line)])])
    assert [bar.get_width() for bar in axis.patches] == [1.5, 3.0]
    plt.close("all")


# ---- nets -------------------------------------------------------------------------------------------------------

MACS = {  # torchvision's of the first two, MLPerf Tiny's of the last
    "mobilenet_v2": 300_774_272,
    "resnet18": 1_814_073_344,
    "sign_dw64": 7_353_088,
    "sign_vgg48": 87_520_640,
    "vww_shaped": 7_489_664,
}
OUTPUTS = {"mobilenet_v2": 1000, "resnet18": 1000, "sign_dw64": 43, "sign_vgg48": 43, "vww_shaped": 2}
LARGE = pytest.mark.slow


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[LARGE] if n in ("mobilenet_v2", "resnet18") else []) for n in MACS]
)
def test_a_net_is_what_its_name_says(name: str) -> None:
    """Work, shapes, and that the graph computes what its builder saw, with living activations."""
    pytest.importorskip("onnx", reason="compiling needs the extra `compile`")
    from edgekern.compiler import optimise
    from edgekern.graph.run import evaluate
    from edgekern.importers.source import read
    from peers import nets

    net = nets.Net(name)
    last = nets.MAKERS[name](net)
    graph, _ = optimise(read(net.model(last).SerializeToString())[0])
    pictures = nets.pictures(4, nets.SHAPES[name], 0)
    (made,) = evaluate(graph, {"x": pictures}).values()
    assert (net.macs, made.shape) == (MACS[name], (4, OUTPUTS[name]))
    assert np.allclose(made, net.values[last], atol=1e-3)
    assert made.std(0).max() > 1e-3, "the answer is the same for every picture"
    alive = [np.abs(v).max() for v in net.values.values()]
    assert min(alive) > 1e-2
    assert max(alive) < 100


def test_an_unknown_net_is_refused() -> None:
    pytest.importorskip("onnx", reason="compiling needs the extra `compile`")
    from peers import forms

    assert [c.id for c in forms.chosen("kws,sign_dw64.onnx")] == ["kws.tflite", "sign_dw64.onnx"]
    assert [c.id for c in forms.chosen("sign_dw64")] == ["sign_dw64.onnx", "sign_dw64.tflite"]
    assert forms.chosen("") == forms.CASES
    with pytest.raises(ValueError, match="no net kwz"):
        forms.chosen("kws,kwz")


def logits(model: edgekern.Model, x: Any) -> Any:
    """What the softmax at the end reads."""
    return list(model.trace(x).values())[-2]


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("name", ["sign_dw64", "sign_vgg48", "vww_shaped"])
def test_the_tflite_form_has_the_integers_of_the_onnx_form(name: str, tmp_path: Path) -> None:
    """The same bytes before the softmax, whose output scale alone is TFLite's own."""
    for module in ("onnx", "onnxruntime"):
        pytest.importorskip(module, reason=f"needs pip install {module}")
    from peers import forms, nets

    onnx_form, tflite_form = (
        edgekern.compile(forms.source(forms.Case(name, form), tmp_path, None)) for form in ("onnx", "tflite")
    )
    x = nets.pictures(2, nets.SHAPES[name], 5)
    (port,) = tflite_form.inputs
    q = np.clip(np.rint(x.transpose(0, 2, 3, 1) / np.float32(port.scale)) + port.zero_point, -128, 127)
    assert port.shape == q[:1].shape
    wanted, made = logits(onnx_form, x), logits(tflite_form, q.astype(np.int8))
    assert made.tobytes() == wanted.tobytes()
    assert made.std() > 1
    assert logits(tflite_form, q.astype(np.int8)[::-1].copy()).tobytes() != wanted.tobytes()


def test_padding_that_tflite_cannot_say_is_refused() -> None:
    pytest.importorskip("onnx", reason="compiling needs the extra `compile`")
    from peers import lite

    def word(size: int, k: int, s: int, pads: list[int]) -> tuple[int, tuple[int, int]]:
        return lite.padding((1, size, size, 8), {"kernel_shape": [k, k], "strides": [s, s], "pads": pads})

    assert word(64, 3, 2, [0, 0, 1, 1]) == (lite.SAME, (32, 32))
    assert word(7, 3, 1, [1, 1, 1, 1]) == (lite.SAME, (7, 7))
    assert word(7, 3, 1, [0, 0, 0, 0]) == (lite.VALID, (5, 5))
    with pytest.raises(ValueError, match="no word"):
        word(64, 3, 2, [1, 1, 1, 1])


@pytest.mark.slow
def test_torch_runs_the_same_network(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs pip install torch")
    onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")
    from peers import nets
    from peers.eager import eager

    net = nets.Net("vww_shaped")
    last = nets.MAKERS["vww_shaped"](net)
    onnx.save(net.model(last), tmp_path / "net.onnx")
    x = nets.pictures(4, nets.SHAPES["vww_shaped"], 0)
    held = x[:1].copy()
    contender = eager(tmp_path / "net.onnx", tmp_path / "net.onnx", held, 1)
    for picture, wanted in zip(x, net.values[last], strict=True):
        held[:] = picture
        assert np.allclose(contender.output()[0], wanted, atol=1e-4)


# ---- a worker ---------------------------------------------------------------------------------------------------


def test_a_worker_tells_a_wrong_byte_and_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peers import worker

    model = edgekern.SignClassifier().model
    model.save(tmp_path / "net.ekm")
    frames = np.random.default_rng(0).integers(0, 256, (3, *model.inputs[0].shape[1:]), np.uint8)
    right = model.reference(frames[:1])
    wrong = right.copy()
    wrong[0, 0] += 1
    names = ("source", "float32", "compiled")
    case = {name: str(tmp_path / "net.ekm") for name in names} | {"scale": 0.0, "contenders": ["edgekern", "nobody"]}
    monkeypatch.setattr(worker, "JOB", {"threads": 1, "rounds": 1, "rest": 0.0})
    for reference, exact in ((right, True), (wrong, False)):
        np.savez(tmp_path / "frames.npz", frames=frames, reference=reference)
        refused, ours = worker.compare({**case, "frames": str(tmp_path / "frames.npz")})
        assert (refused["contender"], refused["refused"]) == ("nobody", "KeyError: 'nobody'")
        assert (ours["contender"], ours["refused"], ours["exact"]) == ("edgekern", "", exact)
        assert ours["samples"] >= worker.LEAST
        assert 0 < ours["median_us"] <= ours["p99_us"]
