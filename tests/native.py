# SPDX-License-Identifier: Apache-2.0
"""libedgekern and C programs that use it, built once per test run with the flags of cpp/CMakeLists.txt."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
sys.path.append(str(TESTS / "house"))

from toolchain import CPP, Toolchain, all_files  # noqa: E402

_FOLDER = tempfile.TemporaryDirectory(prefix="edgekern-native-")


def host() -> Toolchain:
    import platform

    arch = {"x86_64": "x86", "aarch64": "arm"}.get(platform.machine())
    if arch is None:
        pytest.skip(f"the C programs are built for x86-64 and aarch64, this is {platform.machine()}")
    return Toolchain(arch)


@functools.cache
def objects() -> Mapping[Path, Path]:
    """Source -> object of the whole library."""
    tools = host()
    return tools.compile_all(all_files(tools.arch), Path(_FOLDER.name), "-O1")


def link(target: Path, parts: Iterable[Path]) -> Path:
    """A shared library of these objects."""
    command = [host().tool("g++"), "-shared", "-o", str(target), *map(str, parts), "-pthread"]
    subprocess.run(command, check=True)
    return target


@functools.cache
def library() -> Path:
    """A shared libedgekern."""
    return link(Path(_FOLDER.name) / "libedgekern.so", objects().values())


@functools.cache
def program(source: Path, *flags: str) -> Path:
    """A C99 program of a stranger: the header, the library, nothing else."""
    tools, built = host(), library()
    target = Path(_FOLDER.name) / "-".join([source.stem, *(f.strip("-") for f in flags)])
    strict = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O1"]
    command = [tools.tool("gcc"), *strict, *flags, f"-I{CPP / 'include'}"]
    command += [str(source), "-o", str(target), str(built), f"-Wl,-rpath,{built.parent}", "-ldl", "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@functools.cache
def inner_program(source: Path) -> Path:
    """A C++ program of the house: it sees what the library hides."""
    tools = host()
    target = Path(_FOLDER.name) / source.stem
    command = [tools.tool("g++"), "-std=c++17", "-O1", f"-I{CPP}", f"-I{CPP / 'include'}", str(source)]
    subprocess.run([*command, *map(str, objects().values()), "-o", str(target), "-pthread"], check=True)
    return target


def run(exe: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a program of `program`; skips where only an emulator could (a Python under qemu-user)."""
    try:
        return subprocess.run([exe, *map(str, arguments)], capture_output=True, text=True, check=False)
    except OSError as cannot:
        pytest.skip(f"a program built here does not run here: {cannot}")
