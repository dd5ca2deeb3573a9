# SPDX-License-Identifier: Apache-2.0
"""The compilers and binary tools the house tests use, and the ISA table as CMake reads it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
CPP = REPO / "cpp"
BASE_FLAGS = ["-std=c++17", "-fPIC", "-ffp-contract=off", "-fno-exceptions", "-fno-rtti"]
BASE_FLAGS += ["-fvisibility=hidden", "-fno-threadsafe-statics", "-fno-math-errno", "-w"]


@dataclass(frozen=True)
class Toolchain:
    """One architecture's tools: `tool("nm")` is a path, or the test skips with the reason."""

    arch: str  # x86 or arm, the first word of a file stem

    def tool(self, name: str) -> str:
        native = {"x86_64": "x86", "aarch64": "arm"}.get(platform.machine()) == self.arch
        prefix = {"x86": "x86_64-linux-gnu-", "arm": "aarch64-linux-gnu-"}[self.arch]
        found = shutil.which(prefix + name) or (shutil.which(name) if native else None)
        if found is None:
            pytest.skip(f"needs {name} for {self.arch}: apt-get install g++-aarch64-linux-gnu")
        return found

    def compile(self, source: Path, target: Path, *flags: str) -> Path:
        """Compile one source as cpp/CMakeLists.txt would, with flags after it."""
        command = [self.tool("g++"), *BASE_FLAGS, f"-DEK_ARCH_{self.arch.upper()}=1"]
        command += [f"-I{CPP}", f"-I{CPP / 'include'}", '-DEK_VERSION_TEXT="house"']
        command += [*isa_flags(source), *flags, "-c", str(source), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
        return target

    def compile_all(self, sources: Iterable[Path], folder: Path, *flags: str) -> dict[Path, Path]:
        """Compile sources side by side; returns source -> object."""
        self.tool("g++")  # skip here, not in a thread
        names = {s: folder / (str(s.relative_to(REPO)).replace("/", "-") + ".o") for s in sources}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda pair: self.compile(*pair, *flags), names.items()))
        return names

    def output(self, name: str, *arguments: str) -> str:
        command = [self.tool(name), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def isa_table() -> dict[str, list[str]]:
    """Read the rows of isa.cmake: file stem (two words) -> flags."""
    text = (CPP / "cmake" / "isa.cmake").read_text()
    rows = re.findall(r"^set\(EK_ISA_((?:x86|arm)_\w+)\s+(.*?)\)", text, re.M)
    return {stem: flags.split() for stem, flags in rows}


def isa_stem(source: Path) -> str | None:
    """Return the table key of an ISA file: x86_avx512vnni_m1.cc -> x86_avx512vnni."""
    match = re.match(r"((?:x86|arm)_[a-z0-9]+)", source.stem)
    return match.group(1) if match else None


def isa_flags(source: Path) -> list[str]:
    stem = isa_stem(source)
    return isa_table()[stem] if stem else []


def isa_files(arch: str) -> list[Path]:
    """Return every ISA file of one architecture."""
    return sorted(CPP.rglob(f"{arch}_*.cc"))


def all_files(arch: str) -> list[Path]:
    """Return every file of cpp/ that is built for one architecture."""
    other = {"x86": "arm_", "arm": "x86_"}[arch]
    return sorted(p for p in CPP.rglob("*.cc") if not p.name.startswith(other))
