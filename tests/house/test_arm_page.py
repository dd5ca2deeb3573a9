# SPDX-License-Identifier: Apache-2.0
"""What docs/arm.md is made from: hot loops found in disassembly, products counted, its parts put in place."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="module")
def _bench_importable(repo: Path) -> Iterator[None]:
    sys.path.insert(0, str(repo / "bench"))
    yield
    sys.path.remove(str(repo / "bench"))


# A row with a loop over tiles, in it a loop of sums that spills; a helper of its own with more products; another row.
DUMP = """
lib.o:     file format elf64-littleaarch64

0000000000000000 <row_a>:
   0:\tstp\tx29, x30, [sp, #-16]!
   4:\tmov\tw2, #0x0                   \t// #0
   8:\tldr\tq0, [x1], #16
   c:\tsdot\tv2.4s, v0.16b, v1.4b[2]
  10:\tldr\tq3, [sp, #32]
  14:\tsdot\tv4.4s, v0.16b, v3.16b
  18:\tsubs\tx3, x3, #0x1
  1c:\tb.ne\t8 <row_a+0x8>  // b.any
  20:\tst1\t{v2.16b-v5.16b}, [x0]
  24:\tadd\tw2, w2, #0x1
  28:\tcbz\tw2, 30 <row_a+0x30>
  2c:\ttbnz\tw2, #3, 4 <row_a+0x4>
  30:\tbl\t40 <part.0>
  34:\tret

0000000000000040 <part.0>:
  40:\tsmmla\tv0.4s, v1.16b, v2.16b
  44:\tsmull2\tv0.8h, v1.16b, v2.16b
  48:\tstp\tq0, q1, [x0]
  4c:\tstr\tq0, [sp, #16]
  50:\tcbnz\tx1, 40 <part.0>
  54:\tret

0000000000000060 <row_b>:
  60:\tmul\tx1, x2, x3
  64:\tfmul\tv0.4s, v1.4s, v2.4s
  68:\tstr\td0, [x0], #8
  6c:\tb.ne\t60 <row_b>
  70:\tstrb\tw1, [x0], #1
  74:\tb.ne\t70 <row_b+0x10>
  78:\tstr\tq0, [x0], #16
  7c:\tcbz\tw1, 84 <row_b+0x24>
  80:\tstr\td1, [x0]
  84:\tb.ne\t78 <row_b+0x18>
  88:\tret
"""


def test_the_hot_loop_is_the_innermost_with_most_products() -> None:
    from arm import loops

    found = loops.functions(DUMP)
    assert list(found) == ["row_a", "part.0", "row_b"]
    (inner,) = loops.innermost(found["row_a"])  # the loop over tiles holds another and is left out
    assert inner[0] == "ldr q0, [x1], #16"
    assert inner[-1] == "b.ne .Lhead"
    alone = loops.Loop("row_a", "neondot", inner)
    assert (alone.macs, alone.spills, alone.stores) == (32, 1, 0)
    with_part = loops.Loop("row_a", "neoni8mm", loops.hottest("row_a", found))
    assert (with_part.macs, with_part.spills, with_part.stores) == (40, 1, 32)  # the stack is no output
    other = loops.Loop("row_b", "neon", loops.hottest("row_b", found))
    # An address and a float are no products; 16 or 24 bytes in two ways count as 12.
    assert (other.macs, other.stores, len(other.body)) == (0, 24, 4)
    assert loops.hottest("row_a", {"row_a": found["row_a"][:4]}) == ()


def test_a_loop_behind_a_table_of_pointers_is_found() -> None:
    from arm import loops

    by_name = DUMP.replace("bl\t40 <part.0>", "bl\t40 <part.1>")
    assert loops.reached("row_a", loops.functions(by_name), ("row_a", "row_b")) == ["row_a"]
    found = loops.functions(DUMP.replace("bl\t40 <part.0>", "br\tx16"))
    assert loops.reached("row_a", found, ("row_a", "row_b")) == ["row_a", "part.0"]
    assert loops.reached("row_b", found, ("row_a", "row_b")) == ["row_b"]


@pytest.mark.parametrize(
    ("line", "macs", "stores"),
    [
        ("sdot v0.4s, v1.16b, v2.16b", 16, 0),
        ("udot v0.2s, v1.8b, v2.8b", 8, 0),
        ("usmmla v0.4s, v1.16b, v2.16b", 32, 0),
        ("smull v0.8h, v1.8b, v2.8b", 8, 0),
        ("smlal2 v0.8h, v1.16b, v2.16b", 8, 0),
        ("smlal v0.4s, v1.4h, v2.h[3]", 4, 0),
        ("mla v0.8h, v1.8h, v2.8h", 8, 0),
        ("sadalp v0.4s, v1.8h", 0, 0),
        ("fmla v0.4s, v1.4s, v2.4s", 0, 0),
        ("smull x0, w1, w2", 0, 0),
        ("str q0, [x0]", 0, 16),
        ("stp d0, d1, [x0]", 0, 16),
        ("stp x29, x30, [sp, #-16]!", 0, 0),
        ("strh w3, [x0]", 0, 2),
        ("st2 {v30.8b-v31.8b}, [x0]", 0, 16),
        ("st4 {v30.16b-v1.16b}, [x0]", 0, 64),
        ("st1 {v0.s}[1], [x0]", 0, 4),
        ("st1 {v0.8b, v1.8b}, [x0], #16", 0, 16),
    ],
)
def test_products_and_stored_bytes_of_an_instruction(line: str, macs: int, stores: int) -> None:
    from arm import loops

    assert (loops.products(line), loops.stored(line)) == (macs, stores)


def test_a_rate_is_told_as_a_share_at_the_cores_own_level_only() -> None:
    from arm import loops, page

    a53, n2 = loops.CORES[0], loops.CORES[4]
    loop = loops.Loop("qgemm_a", "neon", ("smull v0.8h, v1.8b, v2.8b",) * 4)
    timed = {"cortex-a53": (12.0, 6.0), "neoverse-n2": (2.0, 1.0)}
    assert page.rate(loop, a53, timed) == "2.7 / 5.3 (100%)"
    assert page.rate(loop, n2, timed) == "16.0"
    assert page.rate(replace(loop, level="neoni8mm"), n2, timed) == "16.0 (25%)"
    assert page.rate(loop, loops.CORES[1], timed) == ""
    assert not loops.runs_on(replace(loop, level="neondot"), a53)
    text = page.loops([(loop, {c.name: (12.0, 6.0) for c in loops.CORES})], "a tool")
    assert text.count("| `qgemm_a` |") == 1  # it stores nothing


def test_a_part_replaces_what_stood_there_and_no_other() -> None:
    from arm import page

    text = "a\n<!-- loops -->\nold\n<!-- end -->\nb\n<!-- nets -->\n<!-- end -->\n"
    made = page.put(page.put(text, "nets", "new"), "loops", r"\1")
    assert made == "a\n<!-- loops -->\n\n\\1\n\n<!-- end -->\nb\n<!-- nets -->\n\nnew\n\n<!-- end -->\n"
    with pytest.raises(ValueError, match="no part"):
        page.put(text, "other", "")


def test_counts_are_differences_and_a_peer_without_xnnpack_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from arm import executed

    said = "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
    executes = {2: 5_000_000, 102: 55_000_000}

    class Planted(executed.Guest):
        def count(self, cpu: str, model: Path, inferences: int) -> Any:
            kinds = (
                "sdot: 7000\nsmmla: 0\nsve: 0\nsme: 0\n"
                if inferences == 2
                else "sdot: 207000\nsmmla: 0\nsve: 0\nsme: 1\n"
            )
            return executed.parsed(f"{said}icount: {executes[inferences]}\n{kinds}")

    guest = Planted(Path(), (), Path())
    counted = executed.per_inference(guest, "cortex-a76", Path("net.tflite"), 3)
    assert counted.millions == (0.5, 0.5, 0.5)
    assert counted.kinds == (2.0, 0.0, 0.0, 0.00001)
    assert counted.delegate == said.strip()
    said = ""
    assert executed.per_inference(guest, "cortex-a76", Path("net.ekm"), 1).delegate == ""
    with pytest.raises(RuntimeError, match="XNNPACK"):
        executed.per_inference(guest, "cortex-a76", Path("net.tflite"), 1)
    with pytest.raises(RuntimeError, match="ended with 0"):
        executed.parsed("icount: 3\n")
    with pytest.raises(RuntimeError, match="ended with 132"):
        executed.parsed("icount: 3\nsdot: 0\nsmmla: 0\nsve: 0\nsme: 0\n", 132)


def test_the_command_names_the_package_of_a_missing_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    from arm import __main__ as command

    monkeypatch.setattr(shutil, "which", lambda tool: None if tool == "llvm-mca-22" else tool)
    assert command.missing(["loops"]) == ["llvm-mca-22: install llvm-22"]
    monkeypatch.setattr(shutil, "which", lambda tool: tool)
    monkeypatch.setattr(command, "version", lambda tool, pattern: "19.1.7")
    (told,) = command.missing(["loops"])
    assert "22.1" in told
    monkeypatch.setattr(command, "version", lambda tool, pattern: "22.1.8")
    assert command.missing(["loops"]) == []
