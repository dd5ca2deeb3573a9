# SPDX-License-Identifier: Apache-2.0
"""Writes the figures of docs/arm.md: what can be told of aarch64 without a board.

    nox -s armspeed
    nox -s armspeed -- --only loops
    nox -s armspeed -- --only nets --nets kws --cpus cortex-a76 --times 1 --print

Takes minutes: whole nets run emulated. Nothing here is a time.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from arm import executed, loops, page

REPO = Path(__file__).resolve().parents[2]
PAGE = REPO / "docs" / "arm.md"
BUILD = REPO / "build" / "arm"
TOOLS = {  # what a part needs, and the Debian package that brings it
    "loops": {
        loops.OBJDUMP: "binutils-aarch64-linux-gnu",
        loops.NM: "binutils-aarch64-linux-gnu",
        loops.MCA: "llvm-22",
    },
    "nets": {executed.QEMU: "qemu-user (7.2; qemu-user-static has no plugins)", "cc": "gcc"},
}


def version(command: str, pattern: str) -> str:
    """The first match of a pattern in what `command --version` says, "" where it says nothing of the kind."""
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(pattern, said)
    return found.group(1) if found else ""


def missing(parts: list[str]) -> list[str]:
    """What to install or set before the parts can run."""
    needs = {tool: package for part in parts for tool, package in TOOLS[part].items()}
    found = [f"{tool}: install {package}" for tool, package in needs.items() if not shutil.which(tool)]
    if found:
        return found
    if "loops" in parts and not version(loops.MCA, r"version ([\d.]+)").startswith(loops.MCA_VERSION + "."):
        found.append(f"{loops.MCA}: its figures are those of LLVM {loops.MCA_VERSION}.x, install that one")
    if "nets" in parts and not version(executed.QEMU, r"version (7\.2[\d.]*)"):
        found.append(f"{executed.QEMU}: version 7.2 has the plugin interface that icount.c is written for")
    return found


def write_loops(build: Path, cache: Path) -> str:
    found = loops.in_build(build)
    if not found:
        raise SystemExit(f"no arm_*.cc objects below {build}: run nox -s arm or nox -s armspeed first")
    found += loops.epilogue(REPO / "cpp", cache)
    figures = [(loop, {c.name: loops.cycles(loop, c) for c in loops.CORES if loops.runs_on(loop, c)}) for loop in found]
    return page.loops(figures, "llvm-mca " + version(loops.MCA, r"version ([\d.]+)"))


def write_nets(asked: argparse.Namespace) -> str:
    data = Path(asked.data or os.environ.get("EDGEKERN_DATA", ""))
    nets = {name: data / path for name, path in executed.NETS.items() if not asked.nets or name in asked.nets}
    if not (asked.data or os.environ.get("EDGEKERN_DATA")) or not all(path.is_file() for path in nets.values()):
        raise SystemExit(
            f"name the folder of the data sets by EDGEKERN_DATA or --data: it must hold {list(nets.values())}"
        )
    minor = (asked.root / "python-version").read_text().strip().removeprefix("python")
    sites = (asked.site, executed.litert_site(asked.cache, minor))
    guest = executed.Guest(asked.root, sites, executed.plugin(asked.cache))
    counted = {}
    for name, source in nets.items():
        ours = executed.compiled(source, asked.cache)
        for cpu in asked.cpus or executed.CPUS:
            sides = [executed.per_inference(guest, cpu, model, asked.times) for model in (ours, source)]
            counted[name, cpu] = (sides[0], sides[1])
            print(f"{name} {cpu}: {sides[0].median:.3f} / {sides[1].median:.3f} M", file=sys.stderr)
    told = "qemu-aarch64 " + version(executed.QEMU, r"version ([\d.]+)")
    return page.nets(counted, f"{told} and {executed.LITERT.replace('==', ' ')}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="arm", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=list(TOOLS), help="write this part alone")
    parser.add_argument("--print", action="store_true", help="print the parts, leave the page as it is")
    parser.add_argument("--data", help="the folder of the real data sets (default: $EDGEKERN_DATA)")
    parser.add_argument("--nets", action="append", choices=list(executed.NETS), help="these nets only")
    parser.add_argument("--cpus", action="append", help="these emulated CPUs only")
    parser.add_argument("--times", type=int, default=3, help="how often each net is counted")
    parser.add_argument("--build", type=Path, default=BUILD / "cmake", help="the cross-build's folder of objects")
    parser.add_argument("--root", type=Path, default=REPO / "build" / "arm-root", help="the arm64 Python's root")
    parser.add_argument("--site", type=Path, default=BUILD / "site", help="edgekern and NumPy for it")
    parser.add_argument("--cache", type=Path, default=REPO / "build" / "armspeed", help="what is made once")
    asked = parser.parse_args()
    parts = [asked.only] if asked.only else list(TOOLS)
    if needs := missing(parts):
        print("\n".join(needs), file=sys.stderr)
        return 2
    text = PAGE.read_text(encoding="utf-8")
    for part in parts:
        made = write_loops(asked.build, asked.cache) if part == "loops" else write_nets(asked)
        text = page.put(text, part, made)
        if asked.print:
            print(made)
    if not asked.print:
        PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
