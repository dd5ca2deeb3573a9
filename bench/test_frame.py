# SPDX-License-Identifier: Apache-2.0
"""Latency of one camera frame with the bundled model: crop + resize + classify. Run with `nox -s bench`."""

from __future__ import annotations

from typing import Any

import pytest

from cases import frame_cases

CASES = frame_cases()


@pytest.mark.parametrize("name", CASES)
def test_frame(benchmark: Any, name: str) -> None:
    benchmark(CASES[name])
