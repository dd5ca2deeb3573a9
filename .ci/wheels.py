# SPDX-License-Identifier: Apache-2.0
"""Build, check and try out the manylinux wheels without a container: what `nox -s wheel` runs.

    python .ci/wheels.py [--all] [--python 3.13]... [--cpus '{"cortex-a53": "neon"}']
    python .ci/wheels.py --check WHEEL...

The wheels are built from the source distribution by .ci/zig-cxx, go through auditwheel, and are installed offline into
an empty environment, where the demo and the golden bytes run: x86-64 natively, aarch64 under qemu-user as each CPU.
Without options: for the Python that runs this. --python: for that one; --all: for all of PYTHONS. One that is asked for
and that this machine lacks is unpacked from another Debian release that has it. What is left out is told at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
import zipfile
from pathlib import Path

from pythons import emulated, headers, interpreter

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "wheel"
DIST = ROOT / "dist"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
LIMIT = 3_000_000  # bytes
TAG = re.compile(r"manylinux_(\d+)_(\d+)_(x86_64|aarch64)(?=\.|$)")
GLIBC = (2, 28)  # the newest that a wheel may ask for
OLD_GLIBC = "2.17"  # what zig links to
ARCHES = ("x86_64", "aarch64")
NEEDED = ("pyproject.toml", "LICENSE", "NOTICE", "cpp/CMakeLists.txt", "src/core/module.cc", "tests/conftest.py")
DEMO = "edgekern[cli]"
CHECK = ["edgekern[cli,compile]", "pytest", "cffi"]
TESTS = ["tests/golden"]
BUILD = """
import json, sys
from scikit_build_core.build import build_wheel
build_wheel(sys.argv[1], json.loads(sys.argv[2]))
"""
BEGUN = time.monotonic()
told: list[str] = []  # what was left out, for the end


def say(text: str) -> None:
    """Print a line with the seconds since the beginning."""
    print(f"[{time.monotonic() - BEGUN:5.0f} s] {text}", flush=True)


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None, quiet: bool = False) -> str:
    """Run a command to its end; a failure ends this program with what the command said."""
    clean = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "CXX", "CC", "PYTHONPATH"}}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**clean, **(env or {})}, text=True, check=False,
        stdout=subprocess.PIPE if quiet else None, stderr=subprocess.STDOUT if quiet else None,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nexit status {done.returncode}\n{done.stdout or ''}")
    return done.stdout or ""


def pip(*arguments: str | Path, python: Path | None = None) -> None:
    """Run this environment's pip, for another interpreter where one is given."""
    other = ["--python", str(python)] if python else []
    run(sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *other, *arguments)


# ---- from the source distribution to a checked wheel --------------------------------------------------------------


def source() -> Path:
    """Make the source distribution, look at it, and unpack it: the wheels are built from nothing else."""
    run(sys.executable, "-m", "build", "--sdist", "--outdir", DIST, ROOT, quiet=True)
    (archive,) = DIST.glob("edgekern-*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
        tar.extractall(WORK / "source")
    if lacking := [name for name in NEEDED if name not in names]:
        sys.exit(f"{archive.name} lacks {lacking}")
    if foreign := sorted(n for n in names if n.startswith((".ci", ".github", "build/", "dist/")) or n.endswith(".so")):
        sys.exit(f"{archive.name} carries {foreign[:5]}")
    say(f"{archive.name}: {archive.stat().st_size:,} bytes")
    (folder,) = (WORK / "source").iterdir()
    return folder


def build(python: Path, include: Path, version: str, arch: str, folder: Path) -> Path:
    """Build one wheel and give it its manylinux tag."""
    raw, cmake = WORK / "raw" / f"{version}-{arch}", WORK / f"cmake-{arch}"
    shutil.rmtree(raw, ignore_errors=True)
    # One folder of objects per architecture: cpp/ is compiled once, and CMake forgets the Python before.
    (cmake / "CMakeCache.txt").unlink(missing_ok=True)
    wrapper = ROOT / ".ci" / "zig-cxx"
    env = {
        "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(WORK / "backend"),
        "SKBUILD_CMAKE_PYTHON_HINTS": "OFF",
        "ZIG_GLOBAL_CACHE_DIR": str(ROOT / "build" / "zig-cache"),
        "EK_ZIG": str(Path(sysconfig.get_path("purelib")) / "ziglang" / "zig"),
        "EK_ZIG_TARGET": f"{arch}-linux-gnu.{OLD_GLIBC}",
        "EK_KERNEL_CXX": "g++" if arch == platform.machine() else f"{arch}-linux-gnu-g++",
        "EK_CXX": str(wrapper),
        "CXX": str(wrapper),
    }
    suffix = f".cpython-{version.replace('.', '')}-{arch}-linux-gnu.so"
    if arch != platform.machine():
        env |= {
            "SKBUILD_CMAKE_TOOLCHAIN_FILE": str(folder / "cpp/cmake/aarch64-linux-gnu.cmake"),
            "SETUPTOOLS_EXT_SUFFIX": suffix,
            "_PYTHON_HOST_PLATFORM": f"linux-{arch}",
        }
    settings = {
        "build-dir": str(cmake),
        "cmake.define.EK_WERROR": "ON",
        "cmake.define.Python_EXECUTABLE": str(python),
        "cmake.define.Python_INCLUDE_DIR": str(headers(version, arch, include)),
        "cmake.define.CMAKE_INTERPROCEDURAL_OPTIMIZATION": "OFF",  # or pybind11 tries what would cost zig a minute
    }
    run(python, "-c", BUILD, raw, json.dumps(settings), cwd=folder, env=env, quiet=True)
    (made,) = raw.glob("*.whl")
    repair = ["repair", "--wheel-dir", str(raw / "repaired"), str(made)]
    run(sys.executable, "-m", "auditwheel", *repair, env={"PATH": env["PATH"]}, quiet=True)
    (wheel,) = (raw / "repaired").glob("*.whl")
    checked(wheel)
    if f"-cp{version.replace('.', '')}-" not in wheel.name or not wheel.name.endswith(f"_{arch}.whl"):
        sys.exit(f"{wheel.name} was to be one for Python {version} on {arch}")
    return Path(shutil.copy(wheel, DIST))


def checked(wheel: Path) -> None:
    """End the program where a wheel is not what its name says or the project promises."""
    size = wheel.stat().st_size
    say(f"{wheel.name}: {size:,} bytes")
    _, _, python, abi, platforms = wheel.name.removesuffix(".whl").split("-")
    tags = [(int(major), int(minor), arch) for major, minor, arch in TAG.findall(platforms)]
    arch = tags[0][2] if tags else "unknown"
    suffix = f".cpython-{python.removeprefix('cp')}-{arch}-linux-gnu.so"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    libraries = [name for name in names if ".so" in name]
    faults = {
        f"made for {python}-{abi}": python != abi,
        f"asks for more than glibc {GLIBC}: {platforms}": not tags or min(tags)[:2] > GLIBC,
        f"more than {LIMIT:,} bytes": size > LIMIT,
        f"carries {libraries}": libraries != [f"edgekern/_core{suffix}"],
        "carries files outside the package": any(not n.startswith(("edgekern/", "edgekern-")) for n in names),
        "carries C++ sources": any(n.endswith((".cc", ".h", ".def", ".cmake", ".o")) for n in names),
        "lacks py.typed": "edgekern/py.typed" not in names,
        "lacks a licence": not any(n.endswith("/LICENSE") for n in names),
    }
    if found := [fault for fault, there in faults.items() if there]:
        sys.exit(f"{wheel.name}: {'; '.join(found)}")


# ---- from the wheel to a running demo -----------------------------------------------------------------------------


def demo(*edgekern: str | Path, env: dict[str, str]) -> None:
    """Run the demo; every sign must be right. Its times are not shown: an emulator's mean nothing."""
    said = run(*edgekern, "demo", cwd=WORK, env=env, quiet=True)
    right = re.search(r"^(\d+) of (\d+) right.*$", said, re.M)
    if right is None or right[1] != right[2]:
        sys.exit(f"{said}\nedgekern demo: not every sign is right")
    say(f"edgekern demo: {right[0]}")


def try_here(wheel: Path, python: Path, version: str) -> None:
    """Install offline into an empty environment of this machine and run the demo and the golden bytes there."""
    venv, house = WORK / f"venv-{version}", WORK / f"house-{version}"
    shutil.rmtree(venv, ignore_errors=True)
    run(python, "-m", "venv", "--without-pip", venv)
    inside = venv / "bin/python"
    pip("download", "--only-binary=:all:", "-d", house, f"{CHECK[0]} @ {wheel.as_uri()}", *CHECK[1:], python=inside)
    for old in house.glob("edgekern-*"):
        old.unlink()
    offline = ["install", "--no-index", f"--find-links={house}", f"--find-links={DIST}"]
    pip(*offline, DEMO, python=inside)
    say(f"{wheel.name} is installed offline:")
    run(venv / "bin/edgekern", "doctor", cwd=WORK)
    demo(venv / "bin/edgekern", env={})
    pip(*offline, *CHECK, python=inside)
    run(inside, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS)


def try_emulated(wheel: Path, python: Path, version: str, root: Path, cpus: dict[str, str]) -> None:
    """The same under qemu-user: the demo as each CPU, the golden bytes as the last."""
    house, site = WORK / f"house-{version}-aarch64", WORK / f"site-{version}"
    platforms = [f"--platform=manylinux{glibc}_aarch64" for glibc in ("_2_28", "_2_27", "_2_17", "2014")]
    chosen = [*platforms, "--only-binary=:all:", f"--python-version={version}", "--implementation=cp"]
    pip("download", *chosen, "-d", house, f"{CHECK[0]} @ {wheel.as_uri()}", *CHECK[1:], python=python)
    for old in house.glob("edgekern-*"):
        old.unlink()
    offline = ["install", "--no-index", f"--find-links={house}", f"--find-links={DIST}", *chosen, "--no-compile"]
    command: list[str | Path] = [ROOT / ".ci" / "arm-run", root]
    env = {"PYTHONPATH": str(site), "OPENBLAS_NUM_THREADS": "1"}
    shutil.rmtree(site, ignore_errors=True)
    pip(*offline, "--target", site, DEMO, python=python)
    for cpu, levels in cpus.items():
        say(f"{wheel.name} under qemu-user as {cpu}: {levels}")
        run(*command, cpu, "-m", "edgekern", "doctor", env=env)
        demo(*command, cpu, "-m", "edgekern", env=env)
    shutil.rmtree(site, ignore_errors=True)
    pip(*offline, "--target", site, *CHECK, python=python)
    cpu, levels = list(cpus.items())[-1]  # it has the levels of those before, and the tests cap it to each
    env["EDGEKERN_EXPECT_ISA"] = levels
    run(*command, cpu, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, env=env)


def main() -> None:
    """Read the options, then build, check and try out what they ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--all", action="store_true", help="every CPython of the project, fetched where it can be")
    parser.add_argument("--python", action="append", choices=PYTHONS, help="this CPython; may be repeated")
    parser.add_argument("--cpus", type=json.loads, default={"cortex-a53": "neon"}, help="JSON: emulated CPU -> levels")
    parser.add_argument("--check", nargs="+", type=Path, metavar="WHEEL", help="look at these wheels, build none")
    asked = parser.parse_args()
    if asked.check:
        for wheel in asked.check:
            checked(wheel)
        return
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ARCHES:
        sys.exit("manylinux wheels are built on x86-64 or aarch64 Linux")
    arches = ARCHES if machine == "x86_64" else (machine,)
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    versions = PYTHONS if asked.all else asked.python or [running]
    fetch = bool(asked.all or asked.python)

    for folder in (DIST, *WORK.glob("cmake-*"), *(WORK / name for name in ("source", "raw", "backend"))):
        shutil.rmtree(folder, ignore_errors=True)
    pip("install", "--target", WORK / "backend", "scikit-build-core", "pybind11>=3", "tomli", "exceptiongroup")
    folder = source()
    wheels = 0
    for version in versions:
        found = interpreter(version, fetch)
        if found is None:
            told.append(f"Python {version}: no interpreter with headers here; not built")
            continue
        for arch in arches:
            root = emulated(version, fetch) if arch != machine else None
            wheel = build(*found, version, arch, folder)
            wheels += 1
            if arch == machine:
                try_here(wheel, found[0], version)
            elif root is not None:
                try_emulated(wheel, found[0], version, root, asked.cpus)
            else:
                told.append(f"{wheel.name}: built and audited, not run: no arm64 Python {version} here")
    if skipped := [version for version in PYTHONS if version not in versions]:
        told.append(f"Python {', '.join(skipped)}: not asked for; --all builds for every one")
    say(f"{wheels} wheels in {DIST.relative_to(ROOT)}/")
    print("\n".join(f"left out: {line}" for line in told))
    if wheels == 0:
        sys.exit("no wheel was built")


if __name__ == "__main__":
    main()
