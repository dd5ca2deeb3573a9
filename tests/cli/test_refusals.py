# SPDX-License-Identifier: Apache-2.0
"""A command that lacks an extra says so in one line; doctor works on NumPy alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

RUN = """
import sys
for module in {absent!r}:
    sys.modules[module] = None
from edgekern.__main__ import main
sys.exit(main({arguments!r}))
"""
CLI = ("typer", "rich", "PIL")
COMPILE = ("onnx", "flatbuffers")


def run(arguments: list[str], absent: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a Python that cannot import some modules."""
    code = RUN.format(absent=absent, arguments=arguments)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("command", "absent"),
    [
        *((name, CLI) for name in ("demo", "classify", "inspect", "bench", "eval", "kernels")),
        *(("demo", (module,)) for module in CLI),
    ],
)
def test_a_missing_extra_is_one_line(command: str, absent: tuple[str, ...]) -> None:
    done = run([command, "--help"], absent)
    assert done.stderr == f"edgekern {command} needs pip install 'edgekern[cli]'\n"
    assert done.stdout == ""
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("absent", "extras"), [(CLI + COMPILE, "cli,compile"), (COMPILE, "compile"), (("onnx",), "compile")]
)
def test_compile_names_each_extra_it_lacks(absent: tuple[str, ...], extras: str) -> None:
    if extras == "compile":
        pytest.importorskip("typer", reason="the command line needs the extra `cli`")
    done = run(["compile", "net.onnx"], absent)
    assert done.stderr == f"edgekern compile needs pip install 'edgekern[{extras}]'\n"
    assert done.returncode == 2


@pytest.mark.parametrize("arguments", [[], ["--help"], ["fly"]])
def test_no_command_at_all(arguments: list[str]) -> None:
    done = run(arguments, CLI)
    assert done.stderr == "edgekern needs pip install 'edgekern[cli]'\n"
    assert done.returncode == 2


def test_doctor_works_on_the_base_install() -> None:
    everything = CLI + COMPILE + ("cffi",)
    done = run(["doctor"], everything)
    assert (done.stderr, done.returncode) == ("", 0)
    assert "bundled model  passed" in done.stdout
    assert "pip install 'edgekern[compile]'" in done.stdout
    facts = json.loads(run(["doctor", "--json"], everything).stdout)
    assert facts["extras"] == {"cli": False, "compile": False, "cffi": False}
    assert facts["self_test"]["passed"] is True
    assert facts["isa"]


def test_doctor_refuses_an_unknown_option_on_the_base_install() -> None:
    done = run(["doctor", "--fly"], CLI)
    assert done.stderr == "edgekern doctor knows only --json, not --fly\n"
    assert done.returncode == 2


def test_doctor_exits_1_when_the_model_cannot_be_loaded() -> None:
    code = """
import sys
import edgekern.signs.classifier as classifier
from edgekern.errors import SelfTestError
class Broken:
    @classmethod
    def from_bytes(cls, *arguments, **options):
        raise SelfTestError("planted")
classifier.Model = Broken
from edgekern.__main__ import main
sys.exit(main(["doctor"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "FAILED: planted" in done.stdout
