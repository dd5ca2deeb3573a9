# SPDX-License-Identifier: Apache-2.0
"""What docs/models.md says of formats: functions of one element run in float, int8 and uint8, from ONNX and TFLite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")
pytest.importorskip("tflite", reason="compiling needs the extra `compile`")

from onnx.defs import get_schema  # noqa: E402

import edgekern  # noqa: E402
from edgekern.importers import _pointwise, _tflite_ops  # noqa: E402
from edgekern.importers._source import HANDLERS as ONNX  # noqa: E402
from edgekern.importers.tflite import supported as tflite_operators  # noqa: E402
from small_onnx import model, node, wanted  # noqa: E402
from small_tflite import Operator, Tensor  # noqa: E402
from small_tflite import model as tflite_model  # noqa: E402

FORMATS = ("float32", "int8", "uint8")
SCALES = {"Acosh": np.float32(1 / 32)}  # from 1 on
SCALE = np.float32(1 / 128)
UNDEFINED = ("Acos", "Acosh", "Asin", "Atanh", "Log", "Reciprocal", "Sqrt")  # for some bytes
VALUES: dict[str, Callable[[Any], Any]] = {
    "ABS": np.abs,
    "CEIL": np.ceil,
    "COS": np.cos,
    "ELU": lambda x: np.where(x < 0, np.expm1(x), x),
    "EXP": np.exp,
    "FLOOR": np.floor,
    "HARD_SWISH": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "LOG": np.log,
    "LOGISTIC": lambda x: 1 / (1 + np.exp(-x)),
    "NEG": np.negative,
    "RELU": lambda x: np.maximum(x, 0),
    "RELU6": lambda x: np.clip(x, 0, 6),
    "RELU_0_TO_1": lambda x: np.clip(x, 0, 1),
    "RELU_N1_TO_1": lambda x: np.clip(x, -1, 1),
    "ROUND": np.rint,
    "RSQRT": lambda x: x**-0.5,
    "SIGN": np.sign,
    "SIN": np.sin,
    "SQRT": np.sqrt,
    "SQUARE": np.square,
    "TANH": np.tanh,
}


def unary() -> list[str]:
    """ONNX functions of one input, from the table of handlers."""
    found = [name for name, handler in ONNX.items() if handler.__module__ == _pointwise.__name__]
    return sorted(name for name in found if get_schema(name).min_input == get_schema(name).max_input == 1)


def grid(form: str, scale: Any = SCALE) -> Any:
    """0.25 to 0.98, where all functions are finite: integers of the quantised models, halves for the float ones."""
    return ((np.arange(32, 126, dtype=np.float32) + (0.5 if form == "float32" else 0)) * scale)[None]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", unary())
def test_a_function_of_onnx(name: str, form: str) -> None:
    """Float: calibrated; else the model's own scales and types, and its values within a step.

    A quantised model is compared on random bytes, where a logarithm or root of some is no number.
    """
    opset = max(18, get_schema(name).since_version)
    scale = SCALES.get(name, SCALE)
    x = grid(form, scale)
    alone = model([node(name, "x", "y")], {"x": [1, x.size]}, "y", opset=opset)
    exact = wanted(alone, {"x": x})["y"]
    if form == "float32":
        made = edgekern.compile(alone, calibration=x)
        step = 0.02 * float(max(np.abs(exact).max(), 0.5))
    else:
        zero, step = np.zeros((), form), float(max(np.abs(exact).max(), 0.5) / 100)
        shift = {"int8": -128 if exact.min() >= 0 else 0, "uint8": 0 if exact.min() >= 0 else 128}[form]
        held = {"s": scale, "z": zero, "t": np.float32(step), "u": np.array(shift, form)}
        pairs = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"), node(name, "d", "r")]
        last = [node("QuantizeLinear", "r t u", "p"), node("DequantizeLinear", "p t u", "y")]
        made = edgekern.compile(model([*pairs, *last], {"x": [1, x.size]}, "y", held, opset=opset))
        assert made.inputs[0].scale == scale
        assert made.outputs[0].scale == np.float32(step)
    found = made.run(x)
    assert made.report is not None
    assert np.isfinite(made.report.outputs[0].greatest)
    assert name not in UNDEFINED or np.isfinite(made.report.outputs[0].sqnr)
    assert found.dtype == np.float32
    assert (found == made.reference(x)).all()
    assert np.abs(found - exact).max() <= step * 1.01 + 1e-6


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", sorted(_tflite_ops._FUNCTIONS))
def test_a_function_of_tflite(name: str, form: str) -> None:
    """The model takes and gives the file's types, and the two integer types are one model."""
    assert name in tflite_operators()
    shift = 128 if form == "uint8" else 0
    kinds = {k: Tensor((1, 94), form, None if form == "float32" else s, shift) for k, s in (("x", SCALE), ("y", 0.04))}
    data = tflite_model(kinds, [Operator(name, ["x"], ["y"])], ["x"], ["y"])
    x = grid(form) if form == "float32" else (np.arange(32, 126) + shift).astype(form)[None]
    made = edgekern.compile(data, calibration=x if form == "float32" else None)
    found = made.run(x)
    assert found.dtype == np.dtype(form)
    assert (found == made.reference(x)).all()
    exact = VALUES[name](grid(form).astype(np.float64))
    held = found if form == "float32" else (found.astype(np.float64) - shift) * 0.04
    assert np.abs(held - exact).max() <= 0.021
    if form == "uint8":
        twin = tflite_model({k: Tensor((1, 94), "int8", t.scale, 0) for k, t in kinds.items()},
                            [Operator(name, ["x"], ["y"])], ["x"], ["y"])  # fmt: skip
        assert (edgekern.compile(twin).run((x - 128).astype(np.int8)) + 128.0 == found).all()
