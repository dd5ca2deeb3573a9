# SPDX-License-Identifier: Apache-2.0
"""The AVX-VNNI rows on a CPU that has AVX512-VNNI instead: the walk, by the same instruction in another coding.

`{vex} vpdpbusd ymm` and its EVEX form compute the same; only the prefix bytes differ. Here the x86_avxvnni.cc files
are compiled with the flags and the intrinsic of the EVEX form, into a `_core` whose detection counts AVX512-VNNI as
AVX-VNNI too, and the rows go through the walk and the single-op graphs. What stays unproved is how a CPU runs the VEX
coding; the first test sees that the files released with it hold it and no other.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import edgekern
import native
from native import all_files, host

pytestmark = pytest.mark.slow

TESTS = native.TESTS
CPP = TESTS.parent / "cpp"
#: Put before each of the files: the EVEX form under the name of the VEX form, which the flags leave out.
NAMES = "#include <immintrin.h>\n#undef _mm256_dpbusd_avx_epi32\n#define _mm256_dpbusd_avx_epi32 _mm256_dpbusd_epi32\n"
FLAGS = ("-mno-avxvnni", "-mavx2", "-mavx512f", "-mavx512vnni", "-mavx512vl")
DETECTION = "set |= kAvx512Vnni;"


def vnni_sources() -> list[Path]:
    return [path for path in all_files("x86") if path.name.startswith("x86_avxvnni")]


def prefixes(binary: Path) -> set[str]:
    """First bytes of the dots of an object: c4 of the VEX coding, 62 of the EVEX coding."""
    listing = host().output("objdump", "-d", str(binary))
    return set(re.findall(r"^ +\w+:\t(\w\w) .*\tvpdpbusd ", listing.replace("{vex} ", ""), re.M))


def as_stand_in(source: Path, folder: Path) -> Path:
    names = folder / "names.h"
    names.write_text(NAMES)
    target = folder / f"{source.parent.name}-{source.stem}.o"
    return host().compile(source, target, "-O1", *FLAGS, "-include", str(names))


def stand_in_objects(folder: Path) -> list[Path]:
    """The objects of cpp/, with the AVX-VNNI rows in the EVEX coding and a detection that offers them."""
    parts = dict(native.objects())
    parts.update({source: as_stand_in(source, folder) for source in vnni_sources()})
    detect = CPP / "base" / "isa.cc"
    text = detect.read_text()
    assert text.count(DETECTION) == 1
    changed = folder / "isa.cc"
    changed.write_text(text.replace(DETECTION, "set |= kAvx512Vnni | kAvxVnni;"))
    parts[detect] = host().compile(changed, folder / "isa.o")
    return list(parts.values())


def build_core(folder: Path, package: Path) -> None:
    """A package of the tree's Python files and a _core of the stand-in objects."""
    pybind11 = pytest.importorskip("pybind11", reason="needs pybind11 to build _core")
    python_h = sysconfig.get_path("include")
    includes = [f"-I{pybind11.get_include()}", f"-I{python_h}", "-O0", "-fexceptions", "-frtti"]

    def compile_one(source: Path) -> Path:
        return host().compile(source, folder / f"{source.stem}.o", *includes)

    sources = sorted((TESTS.parent / "src" / "core").glob("*.cc"))
    host().tool("g++")  # skip here, not in a thread
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        bindings = list(pool.map(compile_one, sources))
    package.mkdir(parents=True)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    native.link(package / f"_core{suffix}", [*bindings, *stand_in_objects(folder)])
    for item in Path(edgekern.__file__).parent.iterdir():
        if not item.name.startswith(("_core.", "__pycache__")):
            (package / item.name).symlink_to(item)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH."""
    isa = edgekern.isa_available()
    if "avxvnni" in isa:
        pytest.skip("this CPU has AVX-VNNI: the walk itself runs its rows")
    if "avx512vnni" not in isa:
        pytest.skip("needs AVX512-VNNI, which this CPU has not")
    if os.environ.get("EDGEKERN_ISA", "") not in ("", "avx512vnni"):
        pytest.skip("runs without a cap, and once in a walk over the caps: under avx512vnni")
    folder = tmp_path_factory.mktemp("stand-in")
    build_core(folder, folder / "site" / "edgekern")
    return folder / "site"


def pytest_there(site: Path, cap: str, *arguments: str) -> str:
    """The summary of a run that uses the stand-in; fails with its output."""
    env = {**os.environ, "PYTHONPATH": str(site), "EDGEKERN_ISA": cap}
    env["EDGEKERN_EXPECT_ISA"] = ",".join([*edgekern.isa_available(), "avxvnni"])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    return done.stdout


def rows(site: Path) -> list[str]:
    """The AVX-VNNI rows that the stand-in says it can run."""
    ask = "from edgekern import _core; print(*(r['name'] for r in _core.kernels() if r['runs_here']))"
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, env=env)
    return [name for name in done.stdout.split() if name.endswith("_avxvnni")]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="needs an x86-64 compiler")
@pytest.mark.parametrize("source", vnni_sources(), ids=lambda path: path.parent.name)
def test_the_codings_are_what_they_are_called(source: Path, tmp_path: Path) -> None:
    assert prefixes(host().compile(source, tmp_path / "released.o", "-O3")) == {"c4"}
    assert prefixes(as_stand_in(source, tmp_path)) == {"62"}


def test_the_walk(stand_in: Path) -> None:
    names = rows(stand_in)
    families = {name.split("_")[0] for name in names}
    assert {"qgemm", "dwconv", "firstconv"} <= families
    summary = pytest_there(stand_in, "", "tests/kernels", "-k", " or ".join(names), "-rs", "-m", "not slow")
    assert "skipped" not in summary, summary
    match = re.search(r"(\d+) passed", summary)
    assert match
    assert int(match.group(1)) > 10 * len(names), summary


def test_single_operators(stand_in: Path) -> None:
    path = "tests/ops/test_registry.py::test_kernels_equal_the_reference"
    assert "passed" in pytest_there(stand_in, "", path, "-k", "Conv2D or DepthwiseConv2D")
