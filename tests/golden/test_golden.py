# SPDX-License-Identifier: Apache-2.0
"""The same output bytes on every CPU: digests of the NumPy reference's, recorded once, under every cap of this machine.

Each lane runs this, x86-64 natively and aarch64 at each of its levels. Where a model is meant to give other bytes:
tests/golden_frames.py.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="compiling needs the extra `compile`")
pytest.importorskip("tflite", reason="compiling needs the extra `compile`")

import edgekern
from edgekern.artifact import Artifact, write
from edgekern.compiler import build
from edgekern.model import Model
from golden_frames import BOXES, EXPORTED, MADE, REAL, SIGNS, crops, digest, picture, recorded, source


def caps() -> list[str]:
    """Every set of this CPU's instruction sets by name, and scalar."""
    names = [name for name in edgekern.isa_available() if name != "scalar"]
    return ["scalar", *(",".join(s) for n in range(len(names)) for s in itertools.combinations(names, n + 1))]


@lru_cache(maxsize=1)
def artifact(name: str, data: Path | None = None) -> Artifact:
    return build(source(name, data))[0]


def test_every_model_is_recorded() -> None:
    assert list(recorded()) == [SIGNS, *MADE, EXPORTED, *REAL]
    assert len(set(recorded().values())) == len(recorded())


@pytest.mark.parametrize("cap", caps())
def test_the_bundled_model(cap: str) -> None:
    model = edgekern.SignClassifier(isa=cap).model
    for made in (model.run_image(picture(), boxes=BOXES), model.run(crops(model))):
        assert hashlib.sha256(made.tobytes()).hexdigest() == recorded()[SIGNS]


@pytest.mark.parametrize("name", [*MADE, EXPORTED])
def test_a_small_model(name: str) -> None:
    data = write(artifact(name))
    for cap in caps():
        model = Model.from_bytes(data, isa=cap)
        assert digest(name, model.run, model) == recorded()[name], cap


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_a_real_model(name: str, data_dir: Path) -> None:
    data = write(artifact(name, data_dir))
    for cap in caps():
        model = Model.from_bytes(data, isa=cap)
        assert digest(name, model.run, model) == recorded()[name], cap


def test_one_weight_of_a_model_shows() -> None:
    """A planted fault: the least step of one weight of the first layer gives other bytes."""
    name = MADE[0]
    right = artifact(name)
    weights = next(node for node in right.graph.nodes if node.constants).constants[0]
    moved = right.graph.constants[weights].copy()
    moved.flat[np.argmin(moved)] += 1
    graph = replace(right.graph, constants={**right.graph.constants, weights: moved})
    model = Model.from_bytes(write(replace(right, graph=graph, known_answer=None)))
    assert digest(name, model.run, model) != recorded()[name]


def test_a_constant_answer_is_refused() -> None:
    model = Model.from_bytes(write(artifact(MADE[0])))
    with pytest.raises(ValueError, match="one answer"):
        digest(MADE[0], lambda x: model.run(x[:1]).repeat(len(x), 0), model)
