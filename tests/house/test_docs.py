# SPDX-License-Identifier: Apache-2.0
"""What the documents say is true: examples run, commands and their options exist, links lead somewhere."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from inspect import getdoc
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import edgekern

REPO = Path(__file__).resolve().parents[2]
PACKAGE = Path(edgekern.__file__).parent
PUBLIC = [name for name in edgekern.__all__ if not name.startswith("__")]
EXTRAS = r"^\s*(?:>>> )?(?:from|import) (onnx|PIL|rich|typer)\b"  # what an extra of the package brings
DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "bench/README.md"]
DOCUMENTS += ["docs/arm.md", "docs/model-card.md", "docs/models.md", "cpp/model/FORMAT.md"]
DOCUMENTS += [f"cpp/kernels/{path.parent.name}/README.md" for path in sorted(REPO.glob("cpp/kernels/*/README.md"))]


def prompts(text: str) -> int:
    """Count the examples that a text shows."""
    return len(re.findall(r"^\s*>>> ", text, re.M))


MODULES = sorted(
    ".".join(("edgekern", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if prompts(path.read_text("utf-8"))
)


def docstrings(source: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the docstring of whatever has one in a Python source, however it is decorated."""
    for part in ast.walk(ast.parse(source)):
        if isinstance(part, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(part)):
            yield getattr(part, "name", "module"), text


def run_examples(texts: Iterable[tuple[str, str]], names: Mapping[str, Any]) -> tuple[int, int]:
    """Run the examples of some docstrings, each in a namespace of its own; returns (failed, tried)."""
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    globs = {**names, "edgekern": edgekern, "ek": edgekern}
    for name, text in texts:
        runner.run(parser.get_doctest(text, dict(globs), name, None, 0))
    return runner.failures, runner.tries


@pytest.mark.parametrize("name", MODULES)
def test_every_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = PACKAGE.joinpath(*name.split(".")[1:])
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8")
    for extra in [*re.findall(EXTRAS, source, re.M), *(["rich", "typer"] if ".cli" in name else [])]:
        pytest.importorskip(extra)
    monkeypatch.chdir(tmp_path)
    assert run_examples(docstrings(source), vars(importlib.import_module(name))) == (0, prompts(source))


def members(thing: object) -> dict[str, object]:
    """Return a public name's own public methods and properties, and itself, by name."""
    kinds = (FunctionType, classmethod, staticmethod, property, cached_property)
    own = vars(thing) if isinstance(thing, type) else {}
    return {"": thing} | {n: m for n, m in own.items() if isinstance(m, kinds) and not n.startswith("_")}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_have_examples(name: str) -> None:
    found = members(getattr(edgekern, name))
    assert [member for member, thing in found.items() if not prompts(thing.__doc__ or "")] == []
    if not hasattr(found[""], "__code__") and not isinstance(found[""], type):  # in C++: no source to read
        assert run_examples([(name, getdoc(found[""]) or "")], {}) == (0, prompts(found[""].__doc__ or ""))


def test_an_example_left_out_is_caught() -> None:
    class Half:
        """Says nothing by itself.

        >>> 1
        1
        """

        @cached_property
        def told(self) -> int:
            """No example."""
            return 1

        @classmethod
        def untold(cls) -> None:
            pass

        def _own(self) -> None:
            pass

    assert [name for name, thing in members(Half).items() if not prompts(thing.__doc__ or "")] == ["told", "untold"]


def test_a_wrong_example_is_caught() -> None:
    source = '''class Adder:
    @cached_property
    def sum(self):
        """Adds badly.

        >>> 1 + 1
        3
        """

    def right(self):
        """Adds well.

        >>> one + one
        2
        """
'''
    assert run_examples(docstrings(source), {"one": 1}) == (1, 2)


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


def dead_paths(document: Path, roots: Sequence[Path]) -> list[str]:
    """Return the `folder/file.ending` of a Markdown file that lie below none of the roots."""
    paths = re.findall(r"`([\w.-]+/[\w./-]*\.\w+)`", document.read_text("utf-8"))
    return [path for path in paths if not any((root / path).exists() for root in (document.parent, *roots))]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_and_paths_lead_somewhere(repo: Path, name: str) -> None:
    assert dead_links(repo / name) == []
    assert dead_paths(repo / name, (repo, repo / "cpp", repo / "python" / "edgekern")) == []


def test_a_dead_link_is_caught(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text("[here](a.md), [web](https://example.org), [nowhere](docs/none.md#part)\n")
    assert dead_links(document) == ["docs/none.md"]


def test_a_dead_path_is_caught(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "here.cc").touch()
    document = tmp_path / "a.md"
    document.write_text("`src/here.cc`, `src/<isa>.cc`, `src/`, `here.cc`, `src/gone.cc`, `x/y --z`\n")
    assert dead_paths(document, ()) == ["src/gone.cc"]
