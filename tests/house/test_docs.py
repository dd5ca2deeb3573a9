# SPDX-License-Identifier: Apache-2.0
"""What the documents say is true: examples run, commands and their options exist, links lead somewhere."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import edgekern

PUBLIC = [name for name in edgekern.__all__ if not name.startswith("__")]
DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "bench/README.md"]


def failing_examples(name: str, thing: object) -> tuple[int, int]:
    """Run the docstring examples of a public name and its methods; returns (failed, tried)."""
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for case in finder.find(thing, name, extraglobs={"edgekern": edgekern, "ek": edgekern}):
        runner.run(case)
    return runner.failures, runner.tries


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_have_running_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = failing_examples(name, getattr(edgekern, name))
    assert failed == 0
    assert tried > 0, f"edgekern.{name} has no example in its docstring"


def test_a_wrong_example_is_caught() -> None:
    def wrong() -> None:
        """Adds badly.

        >>> 1 + 1
        3
        """

    assert failing_examples("wrong", wrong) == (1, 1)


def unknown_attributes(text: str) -> list[str]:
    """Return every `ek.name` and `edgekern.name` in Python code that edgekern does not have."""
    names = set(re.findall(r"\b(?:ek|edgekern)\.([A-Za-z_]\w*)", text))
    modules = {p.name.removesuffix(".py") for p in Path(edgekern.__file__).parent.iterdir()}
    return sorted(name for name in names if name not in modules and not hasattr(edgekern, name))


def blocks(text: str, *languages: str) -> str:
    """Return the fenced blocks of a Markdown text in one of the languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M)
    return "\n".join(body for language, body in found if language in languages)


def test_readme_python_names_exist(repo: Path) -> None:
    code = blocks((repo / "README.md").read_text(), "python")
    assert code, "README.md shows no Python"
    compile(code.replace(">>> ", ""), "README.md", "exec")
    assert unknown_attributes(code) == []


def test_an_unknown_name_is_caught() -> None:
    assert unknown_attributes("m = ek.load('x')\nedgekern.frobnicate()\nek.errors.IsaError") == ["frobnicate"]


def unknown_options(text: str) -> list[str]:
    """Return every `edgekern command --option` of a shell text that the command line does not know."""
    found = []
    for command, rest in re.findall(r"\bedgekern (\w+)([^\n|&#]*)", text.replace("\\\n", " ")):
        run = [sys.executable, "-m", "edgekern", command, "--help"]
        env = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
        done = subprocess.run(run, capture_output=True, text=True, check=False, env=env)
        options = set(re.findall(r"(?<!\w)--[\w-]+", rest))
        if done.returncode != 0:
            found.append(command)
        found += sorted(f"{command} {o}" for o in options if not re.search(rf"{o}\b", done.stdout))
    return found


def test_readme_commands_exist(repo: Path) -> None:
    pytest.importorskip("typer", reason="the command line needs the extra `cli`")
    text = blocks((repo / "README.md").read_text(), "sh", "bash", "console")
    assert "edgekern demo" in text
    assert unknown_options(text) == []


def test_an_unknown_command_is_caught() -> None:
    pytest.importorskip("typer", reason="the command line needs the extra `cli`")
    assert unknown_options("edgekern demo --no-such-thing\nedgekern fly\n") == ["demo --no-such-thing", "fly"]


def dead_links(document: Path) -> list[str]:
    """Return the relative links of a Markdown file that lead nowhere."""
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", document.read_text())
    return [link for link in links if not (document.parent / link).exists()]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(repo: Path, name: str) -> None:
    assert dead_links(repo / name) == []


def test_a_dead_link_is_caught(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text("[here](a.md), [web](https://example.org), [nowhere](docs/none.md#part)\n")
    assert dead_links(document) == ["docs/none.md"]
