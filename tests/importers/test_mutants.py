# SPDX-License-Identifier: Apache-2.0
"""Broken ONNX and TFLite models: a typed error each, or a model; no crash, no hang, no file, bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")
pytest.importorskip("tflite", reason="compiling needs the extra `compile`")

from onnx import helper  # noqa: E402
from onnx_mutants import onnx_mutants  # noqa: E402
from test_onnx_quantised import quantised_net  # noqa: E402
from test_tflite import conv_net, float_net  # noqa: E402
from tflite_mutants import tflite_mutants  # noqa: E402

import edgekern  # noqa: E402
from edgekern.errors import CompileError, ShapeError, UnsupportedOpError  # noqa: E402
from small_onnx import model, node, normal  # noqa: E402

HERE = Path(__file__).parent
COUNT = 40  # mutants of each model
PEAK = 500 << 20  # bytes of the whole program, Python and onnx included; floods ask for 4 GiB and more
REAL = ("mlperf_tiny/kws_ref_model.tflite", "mlperf_tiny/vww_96_int8.tflite", "gtsrb_dtc/gtsrb_model.onnx")


def outcomes(folder: Path, count: int) -> Counter[str]:
    """What became of the mutants of the models of a folder, by kind; everything but a typed error or a model fails."""
    program = [sys.executable, str(HERE / "compile_mutants.py"), str(folder), str(count)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=900)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, (done.returncode, lines[-1:], done.stderr[-2000:])
    found: list[Any] = [[json.loads(part) for part in line.split("\t")] for line in lines]
    bad = [(what, end) for what, end in found if "ESCAPED" in end["outcome"] or "without" in end["outcome"]]
    assert bad == []
    peak = max(end["peak"] for _, end in found)
    assert peak < PEAK, next(what for what, end in found if end["peak"] == peak)
    result = Counter(end["outcome"] for _, end in found)
    print(f"\n{len(found)} mutants: {dict(result)}, {peak >> 20} MiB at most")
    return result


@pytest.mark.slow
def test_mutants_of_onnx_models(tmp_path: Path) -> None:
    (tmp_path / "quantised.onnx").write_bytes(quantised_net()[0].SerializeToString())
    for name in ("pytorch_new_residual", "pytorch_old_shuffle_opset11"):
        (tmp_path / f"{name}.onnx").write_bytes((HERE / "exported" / f"{name}.onnx").read_bytes())
    found = outcomes(tmp_path, COUNT)
    assert found.total() >= 100
    assert 5 < found["compiled"] < found.total() / 2  # neither all refused at the door nor all harmless


@pytest.mark.slow
def test_mutants_of_tflite_models(tmp_path: Path) -> None:
    for name, data in (("int8", conv_net()), ("uint8", conv_net("uint8", 9)), ("float", float_net())):
        (tmp_path / f"{name}.tflite").write_bytes(data)
    found = outcomes(tmp_path, COUNT)
    assert found.total() >= 100
    assert 5 < found["compiled"] < found.total() / 2


@pytest.mark.data
@pytest.mark.slow
def test_mutants_of_published_models(tmp_path: Path, data_dir: Path) -> None:
    for name in REAL:
        (tmp_path / Path(name).name).write_bytes((data_dir / "models" / name).read_bytes())
    assert outcomes(tmp_path, COUNT)["compiled"] > 0


@pytest.mark.slow
def test_a_refused_file_leaves_nothing_behind(tmp_path: Path) -> None:
    """By the command: exit code 1, words instead of a traceback, and only the source is there."""
    pytest.importorskip("typer", reason="needs the extra `cli`")
    draw = np.random.default_rng(8)
    sources = [("onnx", data) for _, data in onnx_mutants(quantised_net()[0].SerializeToString(), draw, 4)]
    sources += [("tflite", data) for _, data in tflite_mutants(conv_net(), draw, 4)]
    refused = 0
    for number, (kind, data) in enumerate(sources):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / f"net.{kind}").write_bytes(data)
        command = [sys.executable, "-m", "edgekern", "compile", f"net.{kind}", "-o", "net.ekm"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200)
        assert "Traceback" not in done.stderr + done.stdout
        left = {path.name for path in folder.iterdir()}
        assert left == ({f"net.{kind}"} if done.returncode else {f"net.{kind}", "net.ekm"}), done.returncode
        refused += done.returncode == 1
    assert refused >= 4


# ---- what the mutants found ---------------------------------------------------------------------


def functions(*calls: tuple[str, ...]) -> Any:
    """A model whose function number k calls the named ones, one after the other."""
    proto = model([node("Relu", "x", "y")], {"x": [1, 4]}, "y")
    proto.graph.node[0].op_type, proto.graph.node[0].domain = "Own0", "own"
    uses = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for number, names in enumerate(calls):
        steps = ["a", *(f"t{k}" for k in range(len(names) - 1)), "b"]
        inner = [
            helper.make_node(name, [steps[k]], [steps[k + 1]], domain="own" if name.startswith("Own") else "")
            for k, name in enumerate(names)
        ]
        proto.functions.append(helper.make_function("own", f"Own{number}", ["a"], ["b"], inner, uses))
    proto.opset_import.append(uses[1])
    return proto


def test_functions_that_call_themselves_or_never_end() -> None:
    samples = [normal(4, seed=k) for k in range(2)]
    assert edgekern.compile(functions(("Own1", "Own1"), ("Relu",)), calibration=samples).run(samples[0][None]).shape
    with pytest.raises(CompileError, match="'Own0' calls itself"):
        edgekern.compile(functions(("Own1",), ("Own0",)), calibration=samples)
    doubling = [(f"Own{k}", f"Own{k}") for k in range(1, 60)]
    with pytest.raises(CompileError, match="unfold to more than"):
        edgekern.compile(functions(*doubling, ("Relu",)), calibration=samples)


def test_a_constant_that_unfolds_to_gigabytes_is_not_made() -> None:
    nodes = [node("ConstantOfShape", "n", "big"), node("Add", "x big", "y")]
    with pytest.raises(ShapeError, match="1099511627776"):
        edgekern.compile(model(nodes, {"x": [1, 4]}, "y", {"n": np.array([1 << 40])}), calibration=[normal(4)])


def test_an_input_too_large_for_any_network() -> None:
    proto, _ = quantised_net()
    proto.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 1 << 40
    with pytest.raises(ShapeError, match="elements at most"):
        edgekern.compile(proto)


def test_a_scale_below_every_normal_number() -> None:
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")]
    proto = model(nodes, {"x": [1, 3, 4, 4]}, "y", {"s": np.float32(1e-42), "z": np.int8(0)})
    with pytest.raises(UnsupportedOpError, match="no normal float32"):
        edgekern.compile(proto)


def test_a_large_frame_is_written_in_linear_time() -> None:
    """8 million random elements of a known answer: tenths of a second, where looking for a period took minutes."""
    code = (
        "import resource; import numpy as np; from edgekern.artifact.writer import _pattern\n"
        "x = np.random.default_rng(0).integers(-128, 128, 1 << 23).astype(np.float32)\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (15, 15))\n"
        "assert len(_pattern(x)) == 4 + x.nbytes\n"
        "assert _pattern(np.resize(x[:1000], 1 << 20)) == (4000).to_bytes(4, 'little') + x[:1000].tobytes()\n"
        "tail = np.append(x[:100], x[:3])\n"
        "assert _pattern(tail) == (400).to_bytes(4, 'little') + x[:100].tobytes()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr[-500:])


def test_a_constant_for_each_channel_is_not_spread_over_the_image() -> None:
    import tracemalloc

    from edgekern.importers.onnx import import_onnx

    nodes = [node("Mul", "x f", "m"), node("Add", "m o", "y")]
    held = {"f": normal(3, 1, 1), "o": np.float32(0.5)}
    proto = model(nodes, {"x": [1, 3, 2048, 2048]}, "y", held)
    import_onnx(proto)
    tracemalloc.start()
    graph = import_onnx(proto)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (graph.constants["m/c0"] == held["f"].ravel()).all()
    assert peak < 1 << 20
