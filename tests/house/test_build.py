# SPDX-License-Identifier: Apache-2.0
"""A machine without a compiler or Python.h gets one plain sentence, the same from pip and from CMake."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

import edgekern
from edgekern import _core

APT = "sudo apt-get install -y g++ python3-dev python3-venv"


@pytest.fixture
def backend(repo: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The build backend, with a stand-in for scikit-build-core, which only pip's build environment has."""
    stand_in = ModuleType("scikit_build_core")
    stand_in.build = ModuleType("scikit_build_core.build")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "scikit_build_core", stand_in)
    monkeypatch.setitem(sys.modules, "scikit_build_core.build", stand_in.build)
    for name in ("CXX", "CMAKE_TOOLCHAIN_FILE", "SKBUILD_CMAKE_TOOLCHAIN_FILE"):
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location("backend", repo / "src" / "backend" / "edgekern_backend.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def refusal(backend: ModuleType) -> str:
    with pytest.raises(SystemExit) as stopped:
        backend.check()
    text = str(stopped.value)
    assert "\n" not in text
    assert text.endswith(f"run: {APT}")
    return text


def test_no_compiler(backend: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "a C++ compiler is missing" in refusal(backend)


def test_a_compiler_that_is_not_there(backend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "nonesuch-g++ -O2")
    assert "that CXX names (nonesuch-g++ -O2) is missing" in refusal(backend)


def test_no_python_headers(backend: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", sys.executable)  # any program: the compiler is not the question here
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: str(tmp_path))
    assert "Python.h of Python" in refusal(backend)


def test_a_complete_machine(backend: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("CXX", sys.executable)
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: str(tmp_path))
    backend.check()


def test_cmake_says_the_same(repo: Path, tmp_path: Path) -> None:
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("needs cmake")
    command = [cmake, "-S", str(repo / "cpp"), "-B", str(tmp_path / "build")]
    env = {"PATH": "/usr/bin:/bin", "CXX": "nonesuch-g++"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    assert "edgekern is built from source and the C++ compiler that CXX names (nonesuch-g++) is missing" in said
    assert APT in said


def unformatted(files: list[str], config: str) -> list[str]:
    """Return the C and C++ files that the clang-format hook of a pre-commit configuration passes over."""
    (pattern,) = re.findall(r"id: clang-format,.*? files: '([^']*)'", config)
    return [name for name in files if not re.search(pattern, name)]


def test_the_hook_formats_every_c_file(repo: Path) -> None:
    """Those `nox -s lint` checks: what one lets pass, the other must not refuse."""
    (folders,) = re.findall(r"^    folders = \((.*)\)$", (repo / "noxfile.py").read_text(), re.M)
    paths = [p for folder in folders.replace('"', "").split(", ") for p in (repo / folder).rglob("*")]
    files = [p.relative_to(repo).as_posix() for p in paths if p.suffix in {".cc", ".h", ".c"}]
    assert "bench/latency.c" in files
    assert unformatted(files, (repo / ".pre-commit-config.yaml").read_text()) == []


def test_a_file_the_hook_passes_over_is_caught() -> None:
    config = "{ id: clang-format, files: '^(cpp|src)/.*\\.(cc|h)$', entry: clang-format -i }"
    assert unformatted(["cpp/a.cc", "cpp/a.c", "bench/a.cc"], config) == ["cpp/a.c", "bench/a.cc"]


def test_the_readme_has_the_line(repo: Path) -> None:
    assert APT in (repo / "README.md").read_text()


@pytest.mark.parametrize("name", ["py.typed", "_core.pyi", "edgekern.cdef"])
def test_the_package_ships_its_types(name: str) -> None:
    # In an editable install the module lies beside its cdef, the Python files in the checkout.
    assert any(Path(part.__file__).with_name(name).is_file() for part in (edgekern, _core))
