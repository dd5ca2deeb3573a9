# SPDX-License-Identifier: Apache-2.0
"""The workflows call sessions that exist, and every list of Python versions is the same list."""

from __future__ import annotations

import ast
import re
from pathlib import Path


def sessions(noxfile: str) -> set[str]:
    """The functions of a noxfile that are sessions."""
    return {
        node.name
        for node in ast.parse(noxfile).body
        if isinstance(node, ast.FunctionDef) and any("nox.session" in ast.unparse(d) for d in node.decorator_list)
    }


def called(workflow: str) -> set[str]:
    """The sessions that a workflow runs."""
    runs = re.findall(r"\bnox -s ([\w ]+?)(?: --|$)", workflow, re.M)
    return {name for run in runs for name in run.split()}


def test_every_session_that_is_called_exists(repo: Path) -> None:
    known = sessions((repo / "noxfile.py").read_text())
    workflows = sorted((repo / ".github/workflows").iterdir())
    assert {path.name for path in workflows} == {"bench.yml", "ci.yml", "wheels.yml"}
    for path in workflows:
        names = called(path.read_text())
        assert names, path.name
        assert names <= known, path.name


def test_a_session_that_is_not_there_is_caught() -> None:
    known = sessions("@nox.session\ndef wheel(session): ...\n@nox.session(python=False)\ndef b(s): ...\ndef c(): ...\n")
    assert known == {"wheel", "b"}
    text = "      - run: nox -s wheel weel\n      - run: /opt/nox/bin/nox -s b -- --all\n"
    assert called(text) - known == {"weel"}


def versions(pattern: str, text: str) -> list[str]:
    """Python versions where a pattern finds them, "310" read as "3.10"."""
    found = [version for (part,) in [re.findall(pattern, text, re.M)] for version in re.findall(r"3\.?\d\d", part)]
    return [version if "." in version else f"{version[0]}.{version[1:]}" for version in found]


def test_python_versions_agree(repo: Path) -> None:
    project = (repo / "pyproject.toml").read_text()
    promised = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    assert versions(r"^build = (\[.*\])$", project) == promised  # cibuildwheel
    assert versions(r"^PYTHONS = (\(.*\))$", (repo / ".ci/wheels.py").read_text()) == promised
    tested = versions(r"^ +python: (\[.*\])$", (repo / ".github/workflows/ci.yml").read_text())
    assert set(tested) <= set(promised)
    assert {promised[0], promised[-1]} <= set(tested)
    assert f'requires-python = ">={promised[0]}"' in project


def test_a_version_that_is_left_out_is_seen() -> None:
    assert versions(r"^build = (\[.*\])$", 'build = ["cp310-*", "cp314-*"]') == ["3.10", "3.14"]
