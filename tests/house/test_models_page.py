# SPDX-License-Identifier: Apache-2.0
"""docs/models.md: its commands and programs run, and its tables are what the importers read."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")
for module in ("tflite", "typer", "rich", "PIL"):
    pytest.importorskip(module, reason="the page needs the extras `cli` and `compile`")

from PIL import Image  # noqa: E402

from edgekern.__main__ import main  # noqa: E402
from edgekern.importers import tflite  # noqa: E402
from edgekern.importers._tflite_call import HANDLERS  # noqa: E402
from edgekern.importers.onnx import OPSETS, supported  # noqa: E402
from edgekern.preprocess import Preprocess  # noqa: E402
from small_onnx import model, node, normal  # noqa: E402
from small_tflite import Operator, Tensor  # noqa: E402
from small_tflite import model as tflite_model  # noqa: E402

REPO = Path(__file__).resolve().parents[2]
PAGE = (REPO / "docs" / "models.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the files that the page names."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    constants = {"w": normal(4, 3, 3, 3), "f": normal(4, 5, seed=1)}
    layers = [node("Conv", "x w", "c"), node("GlobalAveragePool", "c", "m"), node("Flatten", "m", "v")]
    head = [node("MatMul", "v f", "l"), node("Softmax", "l", "y", axis=1)]
    onnx.save(model([*layers, *head], {"x": ["batch", 3, 32, 32]}, "y", constants), "net.onnx")
    held = {"s": np.float32(0.05), "z": np.int8(3)}
    pairs = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"), node("Relu", "d", "r")]
    last = [node("QuantizeLinear", "r s z", "p"), node("DequantizeLinear", "p s z", "y")]
    onnx.save(model([*pairs, *last], {"x": [1, 4]}, "y", held), "quantised.onnx")
    for name, dtype, scale in (("net", "float32", None), ("quantised", "int8", 0.5)):
        tensors = {"x": Tensor((1, 4), dtype, scale), "y": Tensor((1, 4), dtype, scale)}
        Path(f"{name}.tflite").write_bytes(tflite_model(tensors, [Operator("RELU6", ["x"], ["y"])], ["x"], ["y"]))
    Path("labels.txt").write_text("one\ntwo\nthree\nfour\nfive\n")
    Path("pictures").mkdir()
    Path("tensors").mkdir()
    for i in range(3):
        Image.fromarray(draw.integers(0, 256, (40, 36, 3), np.uint8)).save(f"pictures/{i}.png")
        np.save(f"tensors/{i}.npy", draw.normal(size=(1, 4)).astype(np.float32))
    shutil.copytree("pictures", "judged")
    Path("judged/truth.csv").write_text("file,label\n0.png,1\n2.png,4\n")
    return tmp_path


def test_the_commands_run_in_order(folder: Path) -> None:
    assert len(COMMANDS) >= 5
    for line in COMMANDS:
        program, *arguments = shlex.split(line)
        assert program == "edgekern"
        assert main(arguments) == 0, line
    assert (folder / "net.ekm").exists()


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_the_programs_run(number: int, folder: Path) -> None:
    pictures = [np.asarray(Image.open(path)) for path in sorted(Path("pictures").iterdir())]
    pre = Preprocess((32, 32), layout="nchw")
    names: dict[str, Any] = {"Path": Path, "np": np, "pictures": pictures, "truth": np.array([1, 4, 1]), "pre": pre}
    exec(compile(PROGRAMS[number], f"docs/models.md, program {number}", "exec"), names)
    assert "model" in names
    assert "torch" not in sys.modules


def tables() -> Any:
    """docs/tables.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("tables", REPO / "docs" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_the_tables_are_what_the_importers_read() -> None:
    """If this fails: python docs/tables.py."""
    assert tables().page(PAGE) == PAGE
    table = PAGE.split("<!-- operators")[1].split("<!-- end")[0].splitlines()[3:]
    columns = list(zip(*([cell.split() for cell in line.split("|")[2:-1]] for line in table), strict=True))
    told = [sorted(name for cell in column for name in cell) for column in columns]
    onnx_told = sorted(name.removeprefix("com.microsoft.") for name in supported())
    assert sorted(told[0] + told[1]) == onnx_told
    assert told[2] == list(tflite.supported())
    assert f"opset {OPSETS[0]} to {OPSETS[1]}" in PAGE


def test_an_operator_that_no_row_names_gets_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tables()
    monkeypatch.setitem(HANDLERS, "NEW_THING_2D", HANDLERS["ABS"])
    assert "| newthing2d |  |  | NEW_THING_2D |" in made.page(PAGE)
    assert made.page(PAGE) != PAGE
    monkeypatch.delitem(HANDLERS, "ABS")
    assert " ABS " not in made.page(PAGE)


def test_the_frameworks_tests_exist() -> None:
    for *_, (test, _) in tables().FRAMEWORKS:
        assert (REPO / test).is_file(), test
