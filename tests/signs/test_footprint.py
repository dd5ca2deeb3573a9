# SPDX-License-Identifier: Apache-2.0
"""What a vehicle pays: bytes on disk, memory, imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

MOST = 16_000_000  # bytes

LOOP = """
import sys
import numpy as np
from peak_memory import peak
frame = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
if sys.argv[1] == "edgekern":
    import edgekern
    classifier = edgekern.SignClassifier()
    for _ in range(200):
        classifier.classify_regions(frame, [(100, 100, 60, 60), (800, 400, 300, 300)])
print(peak())
"""


def peak_of(what: str) -> int:
    """Bytes that a process of its own holds at most."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    command = [sys.executable, "-c", LOOP, what]
    return int(subprocess.check_output(command, text=True, env=environment).split()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer has memory of its own")
def test_classify_loop_needs_at_most_16_mb_more_than_numpy() -> None:
    more = min(peak_of("edgekern") for _ in range(3)) - min(peak_of("numpy") for _ in range(3))
    assert more <= MOST, f"{more} bytes above NumPy"


def test_bundled_model_is_at_most_250_kb() -> None:
    size = len(resources.files("edgekern.signs").joinpath("signs.ekm").read_bytes())
    assert 20_000 < size <= 250_000


def test_bundled_model_is_at_most_two_sevenths_of_its_float_network(repo: Path) -> None:
    size = len(resources.files("edgekern.signs").joinpath("signs.ekm").read_bytes())
    float_size = json.loads((repo / "docs" / "model-card.json").read_text())["onnx_bytes"]
    assert size * 3.5 <= float_size


def test_base_install_needs_numpy_alone() -> None:
    try:
        declared = metadata.requires("edgekern") or []
    except metadata.PackageNotFoundError:
        pytest.skip("this edgekern was put on the path without being installed")
    needs = [r for r in declared if "extra ==" not in r]
    assert len(needs) == 1
    assert needs[0].startswith("numpy")
