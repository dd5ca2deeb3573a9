# SPDX-License-Identifier: Apache-2.0
"""What the compiler made of cpp/: no weak symbols in ISA files, no fused floats, no stray exports."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest
from toolchain import CPP, Toolchain, all_files, isa_files, isa_stem, isa_table

import edgekern._core

NATIVE = {"x86_64": "x86", "aarch64": "arm"}.get(platform.machine(), "x86")
ARCHES = ("x86", "arm")
RELEASE = ("-O3", "-DNDEBUG")
# x86: vfmadd132ps, vfnmsub231sd …   aarch64: fmadd, fnmsub, fmla, fmls, fmlal (floats only; mla is integer)
FUSED = re.compile(r"\t(vfn?m(?:add|sub)\w+|fn?m(?:add|sub)|fml[as]l?2?)\s")


def weak_symbols(tools: Toolchain, objects: list[Path]) -> list[str]:
    """Return `object: symbol` for every symbol another object could replace or be replaced by."""
    listing = tools.output("nm", "-C", "-A", *map(str, objects))
    return [line for line in listing.splitlines() if re.search(r" [WVuwv] ", line) and " w __" not in line]


def fused(tools: Toolchain, binary: Path) -> list[str]:
    """Return the fused multiply-adds on floats in one object or library."""
    listing = tools.output("objdump", "-d", "--no-show-raw-insn", str(binary))
    return [line for line in listing.splitlines() if FUSED.search(line)]


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("flags", [("-O0",), RELEASE], ids=["O0", "release"])
def test_isa_files_have_no_weak_symbols(arch: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    # A shared inline compiled for AVX-512 is a weak symbol the linker may hand to an older CPU.
    tools = Toolchain(arch)
    files = isa_files(arch)
    assert files, f"no {arch}_*.cc under cpp/"
    objects = tools.compile_all(files, tmp_path, *flags)
    assert weak_symbols(tools, list(objects.values())) == []


@pytest.mark.parametrize("arch", ARCHES)
def test_a_weak_symbol_is_caught(arch: str, tmp_path: Path) -> None:
    tools = Toolchain(arch)
    source = tmp_path / "planted.cc"
    source.write_text("inline int shared(int x) { return x + 1; }\nint kernel(int x) { return shared(x); }\n")
    assert weak_symbols(tools, [tools.compile(source, tmp_path / "planted.o", "-O0")])


def test_the_module_fuses_no_floats() -> None:
    assert fused(Toolchain(NATIVE), Path(edgekern._core.__file__)) == []


@pytest.mark.slow
@pytest.mark.skipif(NATIVE == "arm", reason="the module of this machine is the one above")
def test_the_arm_objects_fuse_no_floats(tmp_path: Path) -> None:
    tools = Toolchain("arm")
    objects = tools.compile_all(all_files("arm"), tmp_path, *RELEASE)
    assert [line for target in objects.values() for line in fused(tools, target)] == []


@pytest.mark.parametrize(
    ("arch", "flags"),
    [("x86", ["-mavx2", "-mfma"]), ("x86", ["-mavx512f"]), ("arm", ["-march=armv8-a"])],
    ids=["avx2", "avx512", "neon"],
)
def test_a_fused_float_is_caught(arch: str, flags: list[str], tmp_path: Path) -> None:
    tools = Toolchain(arch)
    source = tmp_path / "planted.cc"
    source.write_text(
        "void f(float* y, const float* a, const float* b) {\n  for (int i = 0; i < 64; i++) y[i] += a[i] * b[i];\n}\n"
    )
    target = tools.compile(source, tmp_path / "planted.o", *flags, "-O3", "-ffp-contract=fast")
    assert fused(tools, target)


def exported(tools: Toolchain, library: Path) -> set[str]:
    listing = tools.output("nm", "-D", "--defined-only", str(library))
    return {line.split()[-1] for line in listing.splitlines()}


def declared() -> set[str]:
    header = (CPP / "include" / "edgekern" / "edgekern.h").read_text()
    return set(re.findall(r"EK_API[^;(]*?(ek_\w+)\s*\(", header))


def test_the_module_exports_its_two_doors_and_nothing_else() -> None:
    found = exported(Toolchain(NATIVE), Path(edgekern._core.__file__))
    assert found == {"PyInit__core"} | declared()


def test_a_stray_export_is_caught(tmp_path: Path) -> None:
    tools = Toolchain(NATIVE)
    source, library = tmp_path / "planted.cc", tmp_path / "planted.so"
    source.write_text('extern "C" __attribute__((visibility("default"))) void stray() {}\n')
    tools.output("g++", "-shared", "-fPIC", str(source), "-o", str(library))
    assert "stray" in exported(tools, library) - declared()


def outside(tools: Toolchain, library: Path) -> set[str]:
    """Functions a library imports to talk to other machines or start programs: Python's audit does not see those."""
    listing = tools.output("nm", "-D", "--undefined-only", str(library))
    calls = {"socket", "socketpair", "connect", "bind", "listen", "sendto", "sendmsg", "getaddrinfo", "gethostbyname"}
    calls |= {"system", "popen", "fork", "vfork", "posix_spawn", "posix_spawnp", "execv", "execve", "execvp", "syscall"}
    return {line.split()[-1].split("@")[0] for line in listing.splitlines()} & calls


def raw_calls(text: str) -> set[str]:
    """What C++ asks the kernel for past the C library."""
    return set(re.findall(r"\bsyscall\s*\(\s*(\w*)", text))


def test_the_module_talks_to_nobody() -> None:
    """Its only raw call is the futex that workers sleep on."""
    assert outside(Toolchain(NATIVE), Path(edgekern._core.__file__)) <= {"syscall"}
    sources = [p for folder in (CPP, CPP.parent / "src") for p in folder.rglob("*") if p.suffix in {".cc", ".h"}]
    assert {call for path in sources for call in raw_calls(path.read_text())} == {"SYS_futex"}
    assert raw_calls("syscall(SYS_futex, a); x = syscall( SYS_socket, 1)") == {"SYS_futex", "SYS_socket"}


def test_a_planted_connection_is_caught(tmp_path: Path) -> None:
    tools = Toolchain(NATIVE)
    source, library = tmp_path / "planted.cc", tmp_path / "planted.so"
    source.write_text("#include <sys/socket.h>\nint f() { return socket(AF_INET, SOCK_STREAM, 0); }\n")
    tools.output("g++", "-shared", "-fPIC", str(source), "-o", str(library))
    assert outside(tools, library) == {"socket"}


def mathematics(tools: Toolchain, objects: list[Path]) -> set[str]:
    """Functions of libm that objects ask for: a static library would make its users name that library."""
    roots = "sqrt|nearbyint|l?l?rint|l?l?round|floor|ceil|trunc|fma|fmod|exp2?|log2?|log10|pow|frexp|ldexp"
    listing = tools.output("nm", "-u", *map(str, objects))
    return {line.split()[-1] for line in listing.splitlines() if re.search(rf" U (?:{roots})f?$", line)}


@pytest.mark.parametrize("arch", ARCHES)
def test_the_library_asks_for_no_libm(arch: str, tmp_path: Path) -> None:
    tools = Toolchain(arch)
    sources = [path for path in all_files(arch) if "<cmath>" in path.read_text()]
    assert sources
    assert mathematics(tools, list(tools.compile_all(sources, tmp_path, *RELEASE).values())) == set()


def test_a_planted_root_is_caught(tmp_path: Path) -> None:
    tools = Toolchain(NATIVE)
    source = tmp_path / "planted.cc"
    source.write_text(
        "#include <cmath>\nfloat f(float x) { return std::sqrt(x); }\ndouble g(double x) { return std::exp(x); }\n"
    )
    assert mathematics(tools, [tools.compile(source, tmp_path / "planted.o", "-O2", "-fmath-errno")]) == {
        "sqrtf",
        "exp",
    }


def test_every_isa_file_has_its_row() -> None:
    stems = {isa_stem(p) for arch in ARCHES for p in isa_files(arch)}
    assert stems <= set(isa_table())
    assert "-mfma" not in {flag for flags in isa_table().values() for flag in flags}
