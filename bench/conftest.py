# SPDX-License-Identifier: Apache-2.0
"""Benches record which instruction sets ran."""

from __future__ import annotations

from typing import Any

import edgekern


def pytest_benchmark_update_machine_info(config: object, machine_info: dict[str, Any]) -> None:
    """Adds the CPU's instruction sets to the JSON."""
    machine_info["edgekern_isa"] = ",".join(edgekern.isa_available())
