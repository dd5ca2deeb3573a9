# SPDX-License-Identifier: Apache-2.0
"""A multiplier that follows from two scales is a number: rows agree on every one that the loader lets through."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ekm_fields import File

from edgekern import _core
from edgekern.artifact import Artifact, write
from edgekern.errors import CorruptModelError
from edgekern.model import Model
from edgekern.ops import registry
from edgekern.types import Quant
from sample_models import INPUT, Builder, every_op

FILE = File.of(write(every_op()))
LEAST = float(np.finfo(np.float32).tiny)


@pytest.mark.parametrize("opcode", ["AveragePool2D", "Concat", "Pad", "Transpose", "Reshape", "Slice"])
@pytest.mark.parametrize("scale", [LEAST, 2.0**-100, 2.0**-36])
def test_a_ratio_of_scales_beyond_the_multipliers_is_refused(opcode: str, scale: float) -> None:
    op = FILE.op(opcode)
    at = int(FILE.get("op", op, "operand_begin")) + int(FILE.get("op", op, "input_count"))
    made = int(FILE.get("operand", at, ""))
    with pytest.raises(CorruptModelError, match=rf'op {op} \({opcode} ".*2\^31 times') as refusal:
        _core.Model(FILE.put("tensor", made, "scale", scale))
    assert refusal.value.field == "tensor.scale"
    assert refusal.value.offset == FILE.offset("tensor", made, "scale")[0]


def test_every_input_of_a_concat_is_looked_at() -> None:
    op = FILE.op("Concat")
    second = int(FILE.get("operand", int(FILE.get("op", op, "operand_begin")) + 1, ""))
    made = int(FILE.get("operand", int(FILE.get("op", op, "operand_begin")) + 2, ""))
    small = File.of(FILE.put("tensor", made, "scale", 2.0**-27))  # 2^23 and 2^22 times smaller than the two inputs
    _core.Model(small.data)
    with pytest.raises(CorruptModelError, match=r"Concat .*2\^31 times"):
        _core.Model(small.put("tensor", second, "scale", 16.0))


@pytest.mark.parametrize("cap", ["scalar", *(n for n in _core.isa_available() if n != "scalar")])
@pytest.mark.parametrize("ratio", [math.nextafter(2.0**31, 0), 2.0**30, 2.0**-10])
def test_rows_agree_at_the_largest_ratio(cap: str, ratio: float) -> None:
    """Saturated results, and exactly the zero point where the sum is 0."""
    b = Builder((1, 6, 6, 5))
    to = Quant(float(np.float32(INPUT.scale / ratio)), 7)
    make = registry()
    while np.float32(INPUT.scale) / np.float32(to.scale) >= np.float32(2**31):
        to = Quant(float(np.nextafter(np.float32(to.scale), np.float32(1))), 7)
    b.add(make["AveragePool2D"]((2, 2), (1, 1)), ("t0",), (1, 5, 5, 5), q=to)
    b.add(make["Pad"]((1, 1, 1, 1), (0, 0), fill=3), ("t0",), (1, 8, 8, 5), q=to)
    model = Model.from_bytes(write(Artifact(b.graph({"mean": "t1", "padded": "t2"}))), isa=cap)
    x = np.random.default_rng(2).integers(0, 2, (1, 6, 6, 5)).astype(np.uint8)
    x[0, :3] = 0
    got, expected = model.run(x), model.reference(x)
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name])
