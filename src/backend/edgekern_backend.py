# SPDX-License-Identifier: Apache-2.0
"""The build backend: scikit-build-core, after one check that a compiler and Python.h are there.

A missing compiler would otherwise surface as two hundred lines of CMake; here it is one sentence.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from scikit_build_core import build as _build
from scikit_build_core.build import *  # noqa: F403  the remaining PEP 517 hooks are its own

APT = "sudo apt-get install -y g++ python3-dev python3-venv"


def missing() -> str | None:
    """Name what the build lacks on this machine, or return None when it can start."""
    cross = ("CMAKE_TOOLCHAIN_FILE", "SKBUILD_CMAKE_TOOLCHAIN_FILE")
    if any(os.environ.get(name) for name in cross):
        return None  # the toolchain file names its own compiler and headers
    asked = os.environ.get("CXX")
    if asked and not shutil.which(shlex.split(asked)[0]):
        return f"the C++ compiler that CXX names ({asked})"
    if not asked and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        return "a C++ compiler"
    include = Path(sysconfig.get_config_var("INCLUDEPY") or sysconfig.get_path("include"))
    if not (include / "Python.h").is_file():
        return f"Python.h of Python {sys.version_info.major}.{sys.version_info.minor}"
    return None


def check() -> None:
    """End the build with one plain sentence when something is missing."""
    lack = missing()
    if lack is not None:
        sys.exit(f"edgekern is built from source and {lack} is missing here; run: {APT}")


def get_requires_for_build_wheel(settings: dict[str, Any] | None = None) -> list[str]:
    """Check the machine, then ask scikit-build-core (the first hook pip calls)."""
    check()
    return _build.get_requires_for_build_wheel(settings)


def get_requires_for_build_editable(settings: dict[str, Any] | None = None) -> list[str]:
    """Check the machine, then ask scikit-build-core (the first hook pip calls for -e)."""
    check()
    return _build.get_requires_for_build_editable(settings)


def build_wheel(*args: Any, **kwargs: Any) -> str:
    """Check again, for front ends that skip the first hook (--no-build-isolation)."""
    check()
    return _build.build_wheel(*args, **kwargs)


def build_editable(*args: Any, **kwargs: Any) -> str:
    """Check again, for front ends that skip the first hook (--no-build-isolation)."""
    check()
    return _build.build_editable(*args, **kwargs)
