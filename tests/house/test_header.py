# SPDX-License-Identifier: Apache-2.0
"""edgekern.h is plain C: it compiles alone as C99 and as C++17, without a warning."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

WARNINGS = ["-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
LANGUAGES = [("gcc", "c", "c99"), ("g++", "c++", "c++17")]


def compiles(header: Path, compiler: str, language: str, standard: str) -> str:
    """Return the compiler's complaint about a header on its own; empty when it has none."""
    if not shutil.which(compiler):
        pytest.skip(f"needs {compiler}")
    command = [compiler, f"-std={standard}", *WARNINGS, "-x", language, "-"]
    text = f'#include "{header}"\n#include "{header}"\n'
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize(("compiler", "language", "standard"), LANGUAGES)
def test_the_header_compiles_alone(repo: Path, compiler: str, language: str, standard: str) -> None:
    header = repo / "cpp" / "include" / "edgekern" / "edgekern.h"
    assert compiles(header, compiler, language, standard) == ""


@pytest.mark.parametrize(("compiler", "language", "standard"), LANGUAGES)
def test_a_careless_header_is_caught(tmp_path: Path, compiler: str, language: str, standard: str) -> None:
    header = tmp_path / "careless.h"
    header.write_text("uint32_t ek_size(void); struct ek_empty {};\n")  # no <stdint.h>, no guard
    assert compiles(header, compiler, language, standard) != ""
