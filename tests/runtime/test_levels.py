# SPDX-License-Identifier: Apache-2.0
"""No step runs a row beyond what the CPU has: a dotprod row would die on a Cortex-A53, an i8mm row on a Cortex-A76.

What the CPU has is what its lane says (EDGEKERN_EXPECT_ISA), not what the library finds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest

import edgekern
from edgekern import _core
from edgekern.artifact import write
from edgekern.errors import IsaError
from edgekern.model import Model
from sample_models import classifier, every_op

ROWS = {row["name"]: set(row["isa"].split(",")) for row in _core.kernels()}
ARM = ("neon", "neondot", "neoni8mm")


def promised() -> set[str]:
    """The levels of the lane, or of this CPU where none is stated."""
    stated = os.environ.get("EDGEKERN_EXPECT_ISA")
    return {*(stated.split(",") if stated else edgekern.isa_available()), "scalar"}


def beyond(kernels: Iterable[str], rows: Mapping[str, set[str]], levels: set[str]) -> list[str]:
    """The rows of steps (`a+b` are two) that need more than the levels."""
    names = {name for kernel in kernels for name in kernel.split("+")}
    return sorted(name for name in names if not rows[name] <= levels)


def models() -> dict[str, Model]:
    made = {"signs": edgekern.SignClassifier().model}
    return made | {f.__name__: Model.from_bytes(write(f())) for f in (classifier, every_op)}


@pytest.mark.parametrize("name", ["signs", "classifier", "every_op"])
def test_no_step_needs_more_than_the_levels_of_the_lane(name: str) -> None:
    model = models()[name]
    (port,) = model.inputs
    x = np.zeros((1, *port.shape[1:]), port.dtype)
    for steps in (model.plan(), model.profile(x)):
        kernels = [step.kernel for step in steps if step.kernel]
        assert kernels
        assert beyond(kernels, ROWS, promised()) == []


def test_a_row_beyond_the_levels_is_seen() -> None:
    rows = {"a_neon": {"neon"}, "b_neondot": {"neon", "neondot"}, "c_scalar": {"scalar"}}
    kernels = ["a_neon+b_neondot", "c_scalar"]
    assert beyond(kernels, rows, {"neon", "scalar"}) == ["b_neondot"]
    assert beyond(kernels, rows, {"neon", "neondot", "scalar"}) == []


def test_levels_that_are_absent_are_refused_by_name() -> None:
    absent = [level for level in (*ARM, "avx2") if level not in promised()]
    assert absent  # no machine has both architectures
    for level in absent:
        with pytest.raises(IsaError, match=level):
            edgekern.SignClassifier(isa=level)


@pytest.mark.arm
def test_the_widest_of_the_levels_is_used() -> None:
    """Where a table has rows of it: else a lane would test less than it says."""
    widest = max(promised() - {"scalar"}, key=ARM.index)
    if not any(widest in isa for name, isa in ROWS.items() if name.startswith("qgemm")):
        pytest.skip(f"no qgemm row needs {widest}")
    names = {n for model in models().values() for step in model.plan() for n in step.kernel.split("+") if n}
    assert any(widest in ROWS[name] for name in names), names


@pytest.mark.slow
def test_a_lane_with_other_levels_than_it_says_fails(repo: Path) -> None:
    other = "neon,neondot" if promised() == {"neon", "scalar"} else "neon"
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", __file__]
    env = {**os.environ, "EDGEKERN_EXPECT_ISA": other}
    done = subprocess.run(command, cwd=repo, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "would not cover what its lane promises" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_time_box_tells_what_it_leaves_out(repo: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "is_seen", __file__]
    env = {**os.environ, "EDGEKERN_BOX": "0"}
    done = subprocess.run(command, cwd=repo, env=env, capture_output=True, text=True, check=False)
    assert "beyond the time box of 0 s" in done.stdout
