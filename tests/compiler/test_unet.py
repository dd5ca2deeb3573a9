# SPDX-License-Identifier: Apache-2.0
"""A U-Net from end to end: what it becomes, how near int8 is to float, and the same bytes on every instruction set."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

import edgekern  # noqa: E402
from edgekern.graph.run import evaluate  # noqa: E402
from edgekern.importers.onnx import import_onnx  # noqa: E402
from float_nets import unet  # noqa: E402

LEAST_SQNR = 25.0  # dB; 8 bits through ten layers


def frames(count: int, seed: int) -> Any:
    """Soft blobs, so that neighbours have to do with each other as in a picture."""
    draw = np.random.default_rng(seed)
    coarse = draw.normal(size=(count, 3, 6, 6)).astype(np.float32)
    return coarse.repeat(4, 2).repeat(4, 3) + draw.normal(size=(count, 3, 24, 24)).astype(np.float32) * np.float32(0.2)


@lru_cache(maxsize=1)
def compiled() -> edgekern.Model:
    return edgekern.compile(unet(), calibration=frames(64, 1))


def sqnr(y: Any, wanted: Any) -> float:
    return float(10 * np.log10((wanted.astype(np.float64) ** 2).sum() / ((y - wanted).astype(np.float64) ** 2).sum()))


def test_int8_is_near_the_float_net() -> None:
    x = frames(8, 2)
    (wanted,) = evaluate(import_onnx(unet()), {"x": x}).values()
    y = compiled().run(x)
    found = sqnr(y, wanted)
    shifted, flat = sqnr(np.roll(y, 1, axis=3), wanted), sqnr(np.zeros_like(y) + wanted.mean(), wanted)
    print(f"\nSQNR {found:.1f} dB; moved by one pixel {shifted:.1f} dB, a constant {flat:.1f} dB")
    assert y.shape == (8, 5, 48, 48)
    assert found >= LEAST_SQNR
    assert max(shifted, flat) < LEAST_SQNR - 5


def test_activations_and_norms_are_part_of_convolutions() -> None:
    made = [step.op for step in compiled().plan()]
    assert made.count("Conv2D") + 2 * made.count("Separable") >= 8
    assert not {"Affine", "Table"} & set(made)
    assert made.count("Resize2D") == 1


def test_every_instruction_set_gives_the_reference_s_bytes(tmp_path: Path) -> None:
    x = frames(2, 3)
    wanted = compiled().reference(x, raw=True)
    compiled().save(tmp_path / "unet.ekm")
    assert len(np.unique(wanted)) > 100
    names = [name for name in edgekern.isa_available() if name != "scalar"]
    for cap in [",".join(names) or "scalar", *names, "scalar"]:
        model = edgekern.load(tmp_path / "unet.ekm", isa=cap)
        assert (model.run(x, raw=True) == wanted).all(), cap
