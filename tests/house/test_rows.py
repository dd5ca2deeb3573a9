# SPDX-License-Identifier: Apache-2.0
"""Every row of every kernels.def is in the build, is walked by a test, and has a lane or a stand-in that runs it."""

from __future__ import annotations

import ast
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import edgekern._core as core

KERNELS = Path(__file__).resolve().parents[2] / "cpp" / "kernels"
ARCH = {"x86_64": "X86", "aarch64": "ARM"}.get(platform.machine(), "NONE")
# The levels a lane of continuous integration is sure to have: x86-64 natively, aarch64 under qemu-user and natively.
LANES = {"scalar", "avx2", "neon", "neondot", "neoni8mm"}
# The levels that depend on the runner a lane happens to get. A machine with avx512vnni but without avxvnni runs the
# rows of the latter in another coding (tests/kernels/test_stand_in.py); one with neither proves nothing about both.
BY_CHANCE = {"avxvnni", "avx512vnni"}


def rows(text: str, arch: str) -> list[str]:
    """Return the kernel names of a kernels.def as one architecture's preprocessor sees them."""
    names, kept = [], [True]
    for line in text.splitlines():
        if match := re.match(r"#\s*if(?:def|\s+defined)\s*\(?\s*EK_ARCH_(\w+?)\s*\)?\s*$", line):
            kept.append(match.group(1) == arch)
        elif re.match(r"#\s*if", line):
            raise ValueError(f"a kernels.def asks for EK_ARCH_X86 or EK_ARCH_ARM only: {line}")
        elif re.match(r"#\s*endif", line):
            kept.pop()
        elif all(kept) and (match := re.match(r"EK_\w+\(\s*(\w+)", line)):
            names.append(match.group(1))
    return names


def test_a_list_is_read_as_the_preprocessor_reads_it() -> None:
    text = (
        "#if defined(EK_ARCH_X86)\nEK_A_KERNEL(a, kAvx2)\n#endif\n#ifdef EK_ARCH_ARM\nEK_A_KERNEL(b, kNeon)\n#endif\n"
    )
    assert rows(text + "EK_A_KERNEL(c, kScalar)", "X86") == ["a", "c"]


def test_every_row_is_in_the_build() -> None:
    listed = [name for path in sorted(KERNELS.glob("*/kernels.def")) for name in rows(path.read_text(), ARCH)]
    built = [row["name"] for row in core.kernels()]
    assert sorted(built) == sorted(listed)
    assert len(set(built)) == len(built)


def test_every_family_ends_with_a_scalar_row() -> None:
    last = {row["family"]: row["isa"] for row in core.kernels()}
    assert set(last.values()) == {"scalar"}, last


def unwalked(names: list[str], collected: str) -> list[str]:
    """Return the kernels that no collected test id names."""
    ids = set(re.findall(r"\w+", " ".join(re.findall(r"\[.*\]", collected))))
    return [name for name in names if not any(name == i for i in ids)]


def test_every_row_is_walked(repo: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/kernels"]
    env = {k: v for k, v in os.environ.items() if k != "EDGEKERN_ISA"}
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert unwalked([row["name"] for row in core.kernels()], done.stdout) == []


def test_an_unwalked_row_is_caught() -> None:
    collected = "tests/kernels/test_a.py::test_x[qgemm_a-3]\ntests/kernels/test_a.py::test_x[qgemm_bb-3]\n"
    assert unwalked(["qgemm_a", "qgemm_b", "qgemm_bb"], collected) == ["qgemm_b"]


def test_every_row_has_a_lane_or_may_meet_one() -> None:
    assert {isa for row in core.kernels() for isa in row["isa"].split(",")} <= LANES | BY_CHANCE


def test_every_lane_of_aarch64_states_its_levels(repo: Path) -> None:
    """The CPUs of noxfile.py bring one level more each, and the workflow runs all of them."""
    source = ast.parse((repo / "noxfile.py").read_text(encoding="utf-8"))
    (cpus,) = (
        ast.literal_eval(part.value)
        for part in source.body
        if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name) and part.targets[0].id == "CPUS"
    )
    levels = ["neon", "neondot", "neoni8mm"]
    assert list(cpus.values()) == [",".join(levels[: n + 1]) for n in range(3)]
    assert set(levels) <= LANES
    workflow = (repo / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    (matrix,) = re.findall(r"^ +cpu: \[(.*)\]$", workflow, re.M)
    assert re.findall(r'"[^"]+"|[^", ]+', matrix) == [f'"{cpu}"' if "," in cpu else cpu for cpu in cpus]
