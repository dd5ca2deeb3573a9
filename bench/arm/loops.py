# SPDX-License-Identifier: Apache-2.0
"""The hot loop of every row of an arm_*.cc object, found in its disassembly, and what llvm-mca says of it.

A hot loop is the innermost loop with most multiply-accumulates that a row's function, or what it calls in its object,
holds; where none multiplies integers, the one that stores most bytes; then the shortest. One with other jumps than to
its start takes one of several ways a turn, edges and tails mostly, and counts half. `[sp` inside a loop is a spill.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

OBJDUMP, NM, CXX = "aarch64-linux-gnu-objdump", "aarch64-linux-gnu-nm", "aarch64-linux-gnu-g++"
MCA, MCA_VERSION = "llvm-mca-22", "22.1"
ITERATIONS = 1000
# Products that one instruction adds up, by mnemonic: (of 16 bytes of operands, of 8), or by the elements of its result.
FOURS = ("sdot", "udot", "usdot", "sudot")
MATRICES = ("smmla", "ummla", "usmmla")
LANES = re.compile(r"[su]?ml[as]l?2?|[su]mull2?|mul|sqdmull2?|sqrdmulh|sqdmulh")
STORED = {"q": 16, "d": 8, "s": 4, "h": 2, "b": 1}
LEVELS = ("neon", "neondot", "neoni8mm")


@dataclass(frozen=True)
class Core:
    """A core that llvm-mca knows: the level of its instructions, and its int8 peak at that level."""

    name: str
    level: str
    peak: float  # MAC per cycle
    by: str


CORES = (
    Core("cortex-a53", "neon", 16 / 3, "smull + smlal + sadalp, one a cycle, 16 products"),
    Core("cortex-a55", "neondot", 16, "one sdot a cycle"),
    Core("cortex-a72", "neon", 8, "one integer multiply a cycle"),
    Core("neoverse-n1", "neondot", 32, "two sdot a cycle"),
    Core("neoverse-n2", "neoni8mm", 64, "two usmmla a cycle"),
    Core("neoverse-v1", "neoni8mm", 128, "four usmmla a cycle"),
)


@dataclass(frozen=True)
class Loop:
    """The hot loop of a row.

    Attributes:
        row: Its kernel, "" where only the function is known.
        level: What it needs, one of LEVELS.
        body: Its instructions, jumps to a label of its own.
    """

    row: str
    level: str
    body: tuple[str, ...]

    @property
    def macs(self) -> int:
        return sum(map(products, self.body))

    @property
    def spills(self) -> int:
        return sum("[sp" in line for line in self.body)

    @property
    def stores(self) -> int:
        return sum(map(stored, self.body))


def products(line: str) -> int:
    """Integer products of one instruction, each added to a sum sooner or later; 0 where it has none."""
    name, _, operands = line.partition(" ")
    first = re.match(r"\s*v\d+\.(\d*)([bhsd])", operands)
    if first is None:  # scalar registers: addresses, not the work
        return 0
    lanes = int(first.group(1) or 1)
    if name in FOURS:
        return 4 * lanes
    if name in MATRICES:
        return 8 * lanes
    return lanes if LANES.fullmatch(name) else 0


def stored(line: str) -> int:
    """Bytes that one instruction stores; the stack is no output."""
    name, _, operands = line.partition(" ")
    if "[sp" in line:
        return 0
    if re.fullmatch(r"st[1-4]", name):
        lanes = re.findall(r"v\d+\.(\d*)([bhsd])", operands.split("[x")[0])
        if span := re.match(r"\{v(\d+)\.\S+-v(\d+)\.", operands.replace(" ", "")):
            lanes = lanes[:1] * ((int(span.group(2)) - int(span.group(1))) % 32 + 1)
        width = {"b": 1, "h": 2, "s": 4, "d": 8}
        return sum(int(n or 1) * width[unit] for n, unit in lanes)
    if not re.fullmatch(r"st(r|p|ur|rb|rh|urb|urh)", name):
        return 0
    unit = operands.strip()[0]
    wide = {"x": 8, "w": {"b": 1, "h": 2}.get(name[-1], 4), **STORED}.get(unit, 0)
    return wide * (2 if name == "stp" else 1)


Line = tuple[int, str]  # address, instruction


def functions(disassembly: str) -> dict[str, list[Line]]:
    """The instructions of each function of `objdump -d --no-show-raw-insn`."""
    found: dict[str, list[Line]] = {}
    lines: list[Line] = []
    for text in disassembly.splitlines():
        if start := re.match(r"[0-9a-f]+ <(\S+)>:$", text):
            lines = found.setdefault(start.group(1), [])
        elif line := re.match(r"\s*([0-9a-f]+):\t(.*)$", text):
            lines.append((int(line.group(1), 16), line.group(2).split("//")[0].replace("\t", " ").strip()))
    return found


def jump(instruction: str) -> int | None:
    """Where a jump goes, None for what is no jump; calls are none."""
    to = re.match(r"(?:b|b\.\w+|cbn?z|tbn?z) (?:.*, )?([0-9a-f]+) <", instruction)
    return int(to.group(1), 16) if to else None


def innermost(lines: list[Line]) -> list[tuple[str, ...]]:
    """The bodies of a function's loops that hold no other loop."""
    place = {address: i for i, (address, _) in enumerate(lines)}
    loops = set()
    for i, (_, text) in enumerate(lines):
        to = jump(text)
        if to in place and place[to] <= i:
            loops.add((place[to], i))
    inner = [a for a in loops if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    label = re.compile(r"[0-9a-f]+ <.*>$")
    return [tuple(label.sub(".Lhead", text) for _, text in lines[start : end + 1]) for start, end in sorted(inner)]


def named(lines: list[Line]) -> set[str]:
    """The functions that these instructions call or jump to by name."""
    matches = (re.search(r"<([^+>]+)(\+0x[0-9a-f]+)?>$", text) for _, text in lines)
    return {match.group(1) for match in matches if match}


def reached(start: str, found: dict[str, list[Line]], exported: Collection[str] = ()) -> list[str]:
    """A function and what it calls or jumps to in its object.

    Where something jumps to what a register holds, a table of pointers may lead to whatever nobody calls by name.
    """
    called = {other for name, lines in found.items() for other in named(lines) - {name}}
    by_table = [name for name in found if name not in called and name not in exported]
    names, queue = [start], [start]
    while queue:
        lines = found[queue.pop()]
        through_register = any(re.match(r"(br|blr) x", text) for _, text in lines)
        for name in [*sorted(named(lines)), *(by_table if through_register else ())]:
            if name in found and name not in names and name not in exported:
                names.append(name)
                queue.append(name)
    return names


def hottest(name: str, found: dict[str, list[Line]], exported: Collection[str] = ()) -> tuple[str, ...]:
    """The hot loop of a function, () where it has no loop."""
    bodies = [body for part in reached(name, found, exported) for body in innermost(found[part])]

    def weight(body: tuple[str, ...]) -> tuple[int, int, int]:
        halves = 1 if sum(".Lhead" in line for line in body) > 1 else 2
        return halves * sum(map(products, body)), halves * sum(map(stored, body)), -len(body)

    return max(bodies, key=weight, default=())


def in_object(path: Path) -> list[Loop]:
    """The hot loop of every row that an object exports."""
    dump = [OBJDUMP, "-d", "--no-show-raw-insn", str(path)]
    found = functions(subprocess.run(dump, capture_output=True, text=True, check=True).stdout)
    nm = subprocess.run([NM, "-g", "--defined-only", str(path)], capture_output=True, text=True, check=True)
    exported = re.findall(r" T (\S+)$", nm.stdout, re.M)
    level = re.sub(r"^arm_([a-z0-9]+).*", r"\1", path.name.split(".")[0])
    loops = []
    for symbol in exported:
        if (mangled := re.match(r"_ZN2ek\d+(\w+?)E", symbol)) and (body := hottest(symbol, found, exported)):
            loops.append(Loop(mangled.group(1), level, body))
    return loops


def in_build(build: Path) -> list[Loop]:
    """The hot loops of all arm_*.cc objects of a build folder, by the name of their row."""
    objects = sorted(build.rglob("kernels/*/arm_*.cc.o"))
    return [loop for path in objects for loop in in_object(path)]


def epilogue(cpp: Path, build: Path) -> list[Loop]:
    """The loop of epilogue.cc, compiled as the kernels are."""
    build.mkdir(parents=True, exist_ok=True)
    made = build / "arm_neon.epilogue.o"
    flags = ["-std=c++17", "-O3", "-march=armv8-a", "-ffp-contract=off", "-DEK_ARCH_ARM=1", f"-I{cpp}"]
    subprocess.run([CXX, *flags, "-c", str(Path(__file__).parent / "epilogue.cc"), "-o", str(made)], check=True)
    return in_object(made)


def runs_on(loop: Loop, core: Core) -> bool:
    return LEVELS.index(loop.level) <= LEVELS.index(core.level)


def cycles(loop: Loop, core: Core) -> tuple[float, float]:
    """(cycles per turn of the loop as simulated, cycles that its instructions need where nothing waits).

    Raises:
        RuntimeError: llvm-mca does not understand the loop.
    """
    command = [MCA, "-mtriple=aarch64", f"-mcpu={core.name}", "-mattr=+dotprod,+i8mm", f"-iterations={ITERATIONS}", "-"]
    text = ".Lhead:\n" + "\n".join(loop.body) + "\n"
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    total = re.search(r"^Total Cycles:\s+(\d+)", done.stdout, re.M)
    bound = re.search(r"^Block RThroughput:\s+([\d.]+)", done.stdout, re.M)
    if done.returncode or total is None or bound is None:
        raise RuntimeError(f"{MCA} on {loop.row}: {done.stderr[:500]}")
    return int(total.group(1)) / ITERATIONS, float(bound.group(1))
