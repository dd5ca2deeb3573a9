# SPDX-License-Identifier: Apache-2.0
"""The walk: a test that takes `kernel` runs once for every row of its module's FAMILY in the kernel tables.

A module says `FAMILY = "qgemm"`; `kernel` is then the name of a row. Rows this CPU cannot run are skipped with
that reason, never silently left out. A new row needs no edit here.
"""

from __future__ import annotations

import pytest

from edgekern import _core


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kernel" in metafunc.fixturenames:
        family = metafunc.module.FAMILY
        rows = [row for row in _core.kernels() if row["family"] == family]
        assert rows, f"no kernel of family {family}"
        metafunc.parametrize("kernel", [_param(row) for row in rows])


def _param(row: dict) -> object:
    absent = pytest.mark.skip(reason=f"{row['name']} needs {row['isa']}, which this CPU has not")
    return pytest.param(row["name"], id=row["name"], marks=() if row["runs_here"] else (absent,))


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> object:
    """Random numbers that are the same in every run of a test."""
    import numpy as np

    return np.random.default_rng(list(request.node.name.encode()))
