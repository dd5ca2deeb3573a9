# SPDX-License-Identifier: Apache-2.0
"""Find the CPythons that wheels are built with and tried out on: this machine's, or another Debian release's."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OWN = ROOT / "build" / "arm-root"  # the arm64 Python of this machine's release, shared with `nox -s arm`
ROOTS = ROOT / "build" / "wheel" / "roots"
SUITES = {"3.13": "trixie", "3.14": "forky"}  # Debian releases with a Python that older ones lack
FACTS = """
import struct, sys, sysconfig
print("%d.%d" % sys.version_info[:2], sys.implementation.name, struct.calcsize("P"))
print(sysconfig.get_config_var("Py_GIL_DISABLED") or 0, sysconfig.get_path("include"))
"""


def unpacked(version: str, arch: str) -> Path | None:
    """The root of a Python from another release's packages; None where there is none to be had."""
    suite = SUITES.get(version)
    if suite is None:
        return None
    root = ROOTS / f"{suite}-{arch}"
    if not (root / "python-version").exists():
        got = subprocess.run([ROOT / ".ci" / "python-root", root, arch, suite], capture_output=True, text=True)
        if got.returncode:
            shutil.rmtree(root, ignore_errors=True)
            return None
    return root if (root / "python-version").read_text().strip() == f"python{version}" else None


def runnable(root: Path, version: str) -> Path:
    """The interpreter of an unpacked x86-64 root, made to load its own C library instead of this machine's."""
    libraries = root / "usr/lib/x86_64-linux-gnu"
    python = root / "usr/bin" / f"python{version}"
    loader = libraries / "ld-linux-x86-64.so.2"
    command = [
        "patchelf",
        "--set-interpreter",
        str(loader),
        "--force-rpath",
        "--set-rpath",
        str(libraries),
        str(python),
    ]
    subprocess.run(command, check=True)
    return python


def candidates(version: str) -> Iterator[Path]:
    """Where a CPython may be: this one, the PATH, pyenv, uv."""
    yield Path(sys.executable)
    name = f"python{version}"
    yield from (Path(folder) / name for folder in os.environ.get("PATH", "").split(os.pathsep) if folder)
    yield from sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/{name}"), reverse=True)
    yield from sorted(Path.home().glob(f".local/share/uv/python/cpython-{version}.*/bin/{name}"), reverse=True)


def interpreter(version: str, fetch: bool) -> tuple[Path, Path] | None:
    """A CPython of one version and the folder of its headers."""
    for python in candidates(version):
        asked = subprocess.run([python, "-c", FACTS], capture_output=True, text=True) if python.exists() else None
        if asked is None or asked.returncode:  # a shim of pyenv without a version behind it
            continue
        found, kind, width, no_gil, include = asked.stdout.split(maxsplit=4)
        if (found, kind, width, no_gil) == (version, "cpython", "8", "0") and (
            folder := Path(include.strip())
        ).joinpath("Python.h").exists():
            return python, folder
    if fetch and platform.machine() == "x86_64" and (root := unpacked(version, "amd64")):
        return runnable(root, version), root / "include"
    return None


def emulated(version: str, fetch: bool) -> Path | None:
    """The root of an arm64 Python: this release's, or another's."""
    if not (OWN / "python-version").exists():
        subprocess.run([ROOT / ".ci" / "python-root", OWN], check=True)
    if (OWN / "python-version").read_text().strip() == f"python{version}":
        return OWN
    return unpacked(version, "arm64") if fetch else None


def headers(version: str, arch: str, include: Path) -> Path:
    """Headers of one architecture; upstream's serve all, Debian's pyconfig.h is a switch over those it has."""
    if arch == platform.machine():
        return include
    for root in (OWN, ROOTS / f"{SUITES.get(version)}-arm64"):
        if (root / "include").exists() and (root / "python-version").read_text().strip() == f"python{version}":
            return root / "include"
    if "linux-gnu" in (include / "pyconfig.h").read_text():
        sys.exit(f"no {arch} headers for Python {version}: {include} has this machine's alone")
    return include
