# SPDX-License-Identifier: Apache-2.0
"""A source that is quantised already gives one file on every architecture, byte for byte.

The digests below are what x86-64 and aarch64 both give; lanes of both run this. Where the compiler is meant to write
another file, run it on both and replace them. Provenance (NumPy, BLAS, the report) is left out: it says where it ran.

A float source gives the same file only with the same NumPy and BLAS. Measured once between the two, two small
networks of `float_nets` with 16 frames: all weights equal, of biases 99.5 % (the others one apart), of scales 89 %,
of multipliers 89 % (the others differ in the last bits).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx", reason="compiling needs the extra `compile`")
pytest.importorskip("tflite", reason="compiling needs the extra `compile`")

from edgekern.artifact import write
from edgekern.compiler import build
from recorded_nets import SOURCES

DIGESTS = {
    "tflite int8": "d7a84246bb2a1648ff4b8f57058f9413d14ddee231208560a5d1ffd653c41a57",
    "tflite uint8": "1020c0889802f84a2e26fcfbb2f60079bde7cc817941116440ec46461646aac5",
    "onnx pairs": "a3875fe20a0c667629d9f698737ee17eb154e2fbebe438d4d1d08de77c42101c",
}


@pytest.mark.parametrize("name", SOURCES)
def test_the_file_is_the_recorded_one(name: str) -> None:
    artifact, _ = build(SOURCES[name]())
    data = write(replace(artifact, provenance={}))
    assert hashlib.sha256(data).hexdigest() == DIGESTS[name]


def test_another_scale_makes_another_file() -> None:
    """The digest sees one constant that differs in its last bit."""
    artifact, _ = build(SOURCES["onnx pairs"]())
    graph = artifact.graph
    name = next(k for k, v in graph.constants.items() if v.dtype == np.float32)
    moved = np.nextafter(graph.constants[name], np.float32(1))
    other = replace(graph, constants={**graph.constants, name: moved})
    files = [write(replace(artifact, graph=g, provenance={}, known_answer=None)) for g in (graph, other)]
    assert files[0] != files[1]
