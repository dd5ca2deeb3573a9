# SPDX-License-Identifier: Apache-2.0
"""Benches record which instruction sets ran, and leave out single rounds."""

from __future__ import annotations

from typing import Any

import edgekern


def pytest_benchmark_update_machine_info(config: object, machine_info: dict[str, Any]) -> None:
    """Adds the CPU's instruction sets to the JSON."""
    machine_info["edgekern_isa"] = ",".join(edgekern.isa_available())


def pytest_benchmark_update_json(config: object, benchmarks: object, output_json: dict[str, Any]) -> None:
    """Drops the rounds behind each median: a run is kept for the trend, and they are megabytes."""
    for entry in output_json["benchmarks"]:
        entry["stats"].pop("data", None)
