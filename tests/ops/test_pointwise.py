# SPDX-License-Identifier: Apache-2.0
"""Functions of one variable: the 50-digit form against the float form, known values, and ends of the range."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest

from edgekern import quant
from edgekern.errors import UnsupportedOpError
from edgekern.ops import Table
from edgekern.ops.pointwise import FUNCTIONS, exact, fast
from edgekern.types import DType, Quant, TensorType

PARAMETERS: dict[int, tuple[float, ...]] = {0: (), 1: (0.5,), 2: (-0.75, 1.5)}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@pytest.mark.parametrize("reach", [1.0, 8.0, 40.0])
def test_both_forms_agree(name: str, reach: float) -> None:
    x = np.linspace(-reach, reach, 161).astype(np.float32)
    parameters = PARAMETERS[FUNCTIONS[name]]
    real = np.array([float(v) for v in exact(name, parameters, [Decimal(float(v)) for v in x])])
    made = fast(name, parameters, x).astype(np.float64)
    assert (np.isnan(real) == np.isnan(made)).all()
    finite = np.isfinite(real)
    assert (np.isfinite(made) == finite).all()
    # tan beside its poles, sin far out: float64 itself is only this good
    np.testing.assert_allclose(made[finite], real[finite], rtol=2e-6, atol=2e-7)


def test_fifty_digits() -> None:
    """Values known to more digits than float64 holds."""
    known = {
        ("erf", Decimal(1)): "0.84270079294971486934122063508260925929606699796630",
        ("sin", Decimal(1)): "0.84147098480789650665250232163029899962256306079837",
        ("atan", Decimal(1)): "0.78539816339744830961566084581987572104929234984377",
        ("tanh", Decimal(1)): "0.76159415595576488811945828260479359041276859725793",
        ("asinh", Decimal(1)): "0.88137358701954302523260932497979230902816032826163",
        ("gelu", Decimal(1)): "0.8413447460685429485852325456320379224779129667",
    }
    for (name, x), digits in known.items():
        (value,) = exact(name, (), [x])
        assert abs(value - Decimal(digits)) < Decimal(10) ** -(len(digits) - 4), name


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@pytest.mark.parametrize("scale", [2.0**-20, 0.03125, 256.0])
def test_every_input_range_has_a_table(name: str, scale: float) -> None:
    op = Table(name, PARAMETERS[FUNCTIONS[name]])
    for zero in (-128, 0, 127):
        x, y = (TensorType((1, 4), DType.INT8, Quant(s, zero)) for s in (scale, 0.25))
        integer, (table,) = op.quantise([x], y, [])
        assert (integer, table.shape, table.dtype) == (Table(), (256,), np.int8)


def test_a_table_is_rounded_once() -> None:
    """Ties of the exact real value go to even; NaN gives the least byte, infinities the ends."""
    q = Quant(1.0, 0)
    values = [Decimal("0.5"), Decimal("1.5"), Decimal("-0.5"), Decimal("0.4999999999999999999999999999")]
    assert quant.byte_table(values, q).tolist() == [0, 2, 0, 0]
    assert quant.byte_table([Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity")], q).tolist() == [
        -128,
        127,
        -128,
    ]


def test_sigmoid_table_is_the_formula() -> None:
    x, y = TensorType((1,), DType.INT8, Quant(0.0625, 5)), TensorType((1,), DType.INT8, Quant(1 / 256, -128))
    _, (table,) = Table("sigmoid").quantise([x], y, [])
    real = [256 / (1 + math.exp(-(q - 5) * 0.0625)) - 128 for q in range(-128, 128)]
    assert table.tolist() == [min(round(v), 127) for v in real]


@pytest.mark.parametrize(("name", "parameters"), [("swoosh", ()), ("clip", ()), ("relu", (1.0,))])
def test_an_unknown_function_is_refused(name: str, parameters: tuple[float, ...]) -> None:
    with pytest.raises(UnsupportedOpError, match=name):
        Table(name, parameters)
