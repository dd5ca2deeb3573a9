# SPDX-License-Identifier: Apache-2.0
"""Layer normalisation in TFLite files: chains as TensorFlow's converter writes them, each one operator of ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

for package in ("onnx", "tflite"):
    pytest.importorskip(package, reason="compiling needs the extra `compile`")

import edgekern  # noqa: E402
from edgekern.errors import ShapeError, UnsupportedOpError  # noqa: E402
from small_tflite import Operator, Tensor  # noqa: E402
from small_tflite import model as tflite_model  # noqa: E402

DRAW = np.random.default_rng(3)
C, EPS = 6, np.float32(0.3)  # so great an epsilon that the results show it
GAMMA, BETA = (DRAW.normal(size=C) + 2).astype(np.float32), DRAW.normal(size=C).astype(np.float32)
MEAN = ({"KeepDims": True}, "ReducerOptions")


def binary(kind: str, inputs: str, result: str, act: int = 0) -> Operator:
    return Operator(kind, inputs.split(), [result], {"FusedActivationFunction": act}, f"{kind.title()}Options")


def file(
    form: str, square: str, half: bool = False, act: int = 0, axis: int = 2, other: str = "x", seen: str = ""
) -> bytes:
    """x [1, 5, C] normalised.

    Args:
        form: Of the last steps.
        square: Operators that square the centred values.
        half: Constants in half precision.
        act: Activation fused into a link.
        axis: Of the mean.
        other: Whose variance it is.
        seen: A tensor inside that is a second result.
    """
    wide, narrow = (1, 5, C), (1, 5, 1) if axis == 2 else (1, 1, C)
    kept = {"eps": EPS, "g": GAMMA, "b": BETA}
    dtype = "float16" if half else "float32"
    held = {f"{name}16" if half else name: Tensor(np.shape(v), dtype, data=v) for name, v in kept.items()}
    operators = [Operator("DEQUANTIZE", [f"{name}16"], [name]) for name in kept] if half else []
    tensors = {"x": Tensor(wide), **held, "axis": Tensor((1,), "int32", data=[axis])}
    if half:
        tensors |= {name: Tensor(np.shape(v)) for name, v in kept.items()}
    inside = {"mean": narrow, "s": wide, "v": narrow, "e": narrow, "r": narrow, "i": narrow, "d": wide, "d2": wide}
    inside |= {"m": wide, "p": wide, "q": wide, "o": wide, "n": wide, "z": wide}
    tensors |= {name: Tensor(shape) for name, shape in inside.items()} | {"y": Tensor(wide)}
    operators += [Operator("RELU", ["x"], ["z"]), Operator("MEAN", ["x", "axis"], ["mean"], *MEAN)]
    if square == "SQUARED_DIFFERENCE":
        operators.append(Operator("SQUARED_DIFFERENCE", [other, "mean"], ["s"]))
    else:
        operators.append(binary("SUB", f"{other} mean", "d2"))
        operators.append(Operator("SQUARE", ["d2"], ["s"]) if square == "SQUARE" else binary("MUL", "d2 d2", "s"))
    operators += [Operator("MEAN", ["s", "axis"], ["v"], *MEAN), binary("ADD", "v eps", "e", act)]
    if form == "batch norm":
        operators += [Operator("RSQRT", ["e"], ["i"]), binary("MUL", "i g", "m")]
        operators += [binary("MUL", "x m", "p"), binary("MUL", "mean m", "q"), binary("SUB", "b q", "o")]
        operators += [binary("ADD", "p o", "y")]
    else:
        operators.append(binary("SUB", "x mean", "d"))
        if form == "quotient":
            operators += [Operator("SQRT", ["e"], ["r"]), binary("DIV", "d r", "n")]
        else:
            operators += [Operator("RSQRT", ["e"], ["i"]), binary("MUL", "d i", "n")]
        operators += [binary("MUL", "n g", "m"), binary("ADD", "m b", "y")]
    return tflite_model(tensors, operators, ["x"], ["y", seen] if seen else ["y", "z"])


def wanted(x: Any, half: bool = False) -> Any:
    eps, gamma, beta = ((np.float16(v) if half else v) for v in (EPS, GAMMA, BETA))
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + eps) * gamma + beta


def frames(count: int) -> Any:
    scale = DRAW.uniform(0.2, 3, (count, 1, 1))
    return (DRAW.normal(size=(count, 5, C)) * scale).astype(np.float32)


FORMS = pytest.mark.parametrize("form", ["batch norm", "quotient", "product"])
SQUARES = pytest.mark.parametrize("square", ["SQUARED_DIFFERENCE", "SQUARE", "MUL"])


@FORMS
@SQUARES
@pytest.mark.parametrize("half", [False, True])
def test_a_chain_is_one_operator(form: str, square: str, half: bool) -> None:
    x = frames(64)
    model = edgekern.compile(file(form, square, half), calibration=x, method="minmax")
    assert sorted(step.op for step in model.plan()) == ["LayerNorm", "Table"]
    found = model.run(x)
    assert all(np.array_equal(found[name], y) for name, y in model.reference(x).items())
    port = next(p for p in model.outputs if p.name == "y")
    error = np.abs(found["y"] - wanted(x, half))
    assert error.mean() < port.scale
    assert error.max() < 1.5 * port.scale + model.inputs[0].scale / np.sqrt(float(EPS)) * 1.5 * GAMMA.max()


@pytest.mark.parametrize("change", [{"act": 1}, {"axis": 1}, {"other": "z"}, {"seen": "s"}], ids=str)
def test_what_is_no_chain_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((ShapeError, UnsupportedOpError)):
        edgekern.compile(file("product", "SQUARED_DIFFERENCE", **change), calibration=frames(4))


@pytest.mark.peer
@FORMS
@SQUARES
def test_litert_computes_the_same(form: str, square: str) -> None:
    """That the files here mean what this page says."""
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="needs pip install ai-edge-litert")
    interpreter = litert.Interpreter(model_content=file(form, square))
    interpreter.allocate_tensors()
    x = frames(1)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert np.allclose(found, wanted(x), rtol=1e-4, atol=1e-5)
