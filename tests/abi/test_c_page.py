# SPDX-License-Identifier: Apache-2.0
"""docs/c.md: its program is C99 without a warning and gives Python's answer; its commands name what CMake makes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from edgekern.artifact import write
from edgekern.model import Model
from native import program, run
from sample_models import classifier

REPO = Path(__file__).resolve().parents[2]
PAGE = (REPO / "docs" / "c.md").read_text(encoding="utf-8")
(PROGRAM,) = re.findall(r"```c\n(.*?)```", PAGE, re.S)
(COMMANDS,) = re.findall(r"```sh\n(.*?)```", PAGE, re.S)


@pytest.fixture(scope="module")
def exe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("page") / "top.c"
    source.write_text(PROGRAM, encoding="utf-8")
    return program(source)


def test_the_program_names_the_greatest_element(exe: Path, tmp_path: Path) -> None:
    data = write(classifier())
    (tmp_path / "net.ekm").write_bytes(data)
    model = Model.from_bytes(data)
    seen = set()
    for seed in range(12):
        x = np.random.default_rng(seed).integers(0, 256, model.inputs[0].shape).astype(model.inputs[0].dtype)
        x.tofile(tmp_path / "input.bin")
        y = model.run(x)[0]
        done = run(exe, tmp_path / "net.ekm", tmp_path / "input.bin")
        assert done.returncode == 0, done.stderr
        label = model.labels[y.argmax()] if model.labels else ""
        assert done.stdout == f"{y.argmax()} {y.max():g} {label}\n"
        seen.add(done.stdout)
    assert len(seen) > 3


def test_the_program_tells_what_is_wrong(exe: Path, tmp_path: Path) -> None:
    (tmp_path / "net.ekm").write_bytes(b"no model")
    for path in (tmp_path / "nothing.ekm", tmp_path / "net.ekm"):
        done = run(exe, path, path)
        assert done.returncode == 1
        assert done.stderr.startswith(f"{path}: ")
        assert len(done.stderr) > len(f"{path}: \n")
    (tmp_path / "net.ekm").write_bytes(write(classifier()))
    (tmp_path / "input.bin").write_bytes(b"short")
    assert run(exe, tmp_path / "net.ekm", tmp_path / "input.bin").returncode == 1


def test_the_commands_name_what_there_is() -> None:
    """They are run by hand and in the session `cpp`; here: the folder, the target and the installed names."""
    made = (REPO / "cpp" / "CMakeLists.txt").read_text(encoding="utf-8")
    for word in ("cmake -S cpp ", "--target install", "libedgekern.so", "-Ibuild/install/include"):
        assert word in COMMANDS
    for word in (
        "OUTPUT_NAME edgekern",
        "install(TARGETS edgekern edgekern_static)",
        "install(FILES include/edgekern/edgekern.h",
    ):
        assert word in made
