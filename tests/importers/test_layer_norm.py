# SPDX-License-Identifier: Apache-2.0
"""Layer normalisation from ONNX: the operator over any trailing dimensions, and every spelling of the chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

import edgekern  # noqa: E402
from edgekern.errors import ShapeError, UnsupportedOpError  # noqa: E402
from edgekern.ops.layer_norm import LayerNorm  # noqa: E402
from small_onnx import model, node, normal, wanted  # noqa: E402

EPS = np.float32(0.3)  # so great that the results show it


def kinds(compiled: edgekern.Model) -> list[str]:
    return [step.op for step in compiled.plan()]


def compared(proto: Any, shape: Sequence[int], steps: float = 1.5) -> edgekern.Model:
    """The compiled model, after its results were held to ONNX's reference and to NumPy."""
    draw = np.random.default_rng(3)
    scale = draw.uniform(0.2, 3, (32, *(1,) * len(shape)))  # rows of many variances
    x = (draw.normal(size=(32, *shape)) * scale + draw.normal(size=scale.shape)).astype(np.float32)
    compiled = edgekern.compile(proto, calibration=x, method="minmax")
    made = compiled.run(x)
    assert np.array_equal(made, compiled.reference(x))
    want = np.concatenate([wanted(proto, {"x": frame[None]})["y"] for frame in x])
    assert made.shape == want.shape
    step = compiled.outputs[0].scale
    error = np.abs(made - want)
    # The centred values carry the input's own rounding, magnified by 1 / deviation.
    magnified = 0.5 * compiled.inputs[0].scale / np.sqrt(float(EPS)) * 3
    assert error.max() <= steps * step + magnified
    assert error.mean() <= step
    assert np.abs(np.roll(made, 1, axis=-1) - want).mean() > 4 * step  # another channel's result is seen
    return compiled


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((7,), -1), ((5, 6), -1), ((5, 6), 1), ((4, 3, 5), -1), ((4, 3, 5), 2), ((4, 3, 5), 1), ((2, 3, 4, 5), -2)],
)
@pytest.mark.parametrize("bias", [True, False])
def test_the_operator(shape: tuple[int, ...], axis: int, bias: bool) -> None:
    normal_shape = (1, *shape)[axis:]
    constants = {"g": normal(*normal_shape, seed=1) + 2}
    if bias:
        constants["b"] = normal(*normal_shape, seed=2)
    names = "x g b" if bias else "x g"
    nodes = [node("LayerNormalization", names, "y", axis=axis, epsilon=float(EPS))]
    assert "LayerNorm" in kinds(compared(model(nodes, {"x": [1, *shape]}, "y", constants), shape))


def test_over_the_channels_of_an_image_nothing_moves() -> None:
    """Convolution, permute, LayerNorm, permute, convolution, as ConvNeXt in PyTorch has it."""
    constants = {"w": normal(6, 3, 1, 1), "g": normal(6, seed=1) + 2, "b": normal(6, seed=2), "v": normal(6, 6, 1, 1)}
    nodes = [
        node("Conv", "x w", "c"),
        node("Transpose", "c", "t", perm=[0, 2, 3, 1]),
        node("LayerNormalization", "t g b", "n", epsilon=float(EPS)),
        node("Transpose", "n", "u", perm=[0, 3, 1, 2]),
        node("Conv", "u v", "y"),
    ]
    compiled = edgekern.compile(model(nodes, {"x": [1, 3, 5, 7]}, "y", constants), calibration=[normal(3, 5, 7)])
    assert kinds(compiled) == ["Conv2D", "LayerNorm", "Conv2D"]


def chain(root: str, square: str, axis: int, opset: int, twice: bool = False) -> tuple[list[Any], dict[str, Any]]:
    """(x - mean) / sqrt(variance + eps), scaled and moved, in the words of an exporter."""
    old = {"axes": [axis]} if opset < 18 else {}
    over = "" if opset < 18 else " axis"
    nodes = [node("ReduceMean", f"x{over}", "mean", keepdims=1, **old), node("Sub", "x mean", "d")]
    if twice:
        nodes.append(node("Sub", "x mean", "d2"))
    d = "d2" if twice else "d"
    nodes.append(node("Pow", f"{d} two", "s") if square == "Pow" else node("Mul", f"{d} {d}", "s"))
    nodes += [node("ReduceMean", f"s{over}", "v", keepdims=1, **old), node("Add", "v eps", "e")]
    if root == "Div":
        nodes += [node("Sqrt", "e", "r"), node("Div", "d r", "n")]
    elif root == "Reciprocal":
        nodes += [node("Sqrt", "e", "r"), node("Reciprocal", "r", "i"), node("Mul", "i d", "n")]
    elif root == "one over":
        nodes += [node("Sqrt", "e", "r"), node("Div", "one r", "i"), node("Mul", "d i", "n")]
    else:
        nodes += [node("Pow", "e less", "i"), node("Mul", "d i", "n")]
    nodes += [node("Mul", "g n", "m"), node("Add", "m b", "y")]
    numbers = {"two": 2, "one": 1, "less": -0.5}
    constants = {name: np.float32(v) for name, v in numbers.items()} | {"eps": EPS}
    return nodes, constants | ({} if opset < 18 else {"axis": np.array([axis])})


@pytest.mark.parametrize("root", ["Div", "Reciprocal", "one over", "Pow"])
@pytest.mark.parametrize("square", ["Pow", "Mul"])
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("opset", [13, 18])
def test_a_chain_is_one_operator(root: str, square: str, twice: bool, opset: int) -> None:
    nodes, constants = chain(root, square, -1, opset, twice)
    constants |= {"g": normal(6, seed=1) + 2, "b": normal(6, seed=2)}
    compiled = compared(model(nodes, {"x": [1, 4, 5, 6]}, "y", constants, opset), (4, 5, 6))
    assert [name for name in kinds(compiled) if name != "Transpose"] == ["LayerNorm"]


def test_a_chain_over_the_channels_in_front() -> None:
    """As PyTorch's LayerNorm2d writes it: channels first, scale and bias [C, 1, 1]."""
    nodes, constants = chain("Div", "Pow", 1, 13)
    constants |= {"g": normal(6, 1, 1, seed=1) + 2, "b": normal(6, 1, 1, seed=2)}
    conv = [node("Conv", "x w", "c"), *nodes]
    for part in conv[1:]:
        part.input[:] = ["c" if name == "x" else name for name in part.input]
    proto = model(conv, {"x": [1, 3, 5, 7]}, "y", constants | {"w": normal(6, 3, 1, 1)}, 13)
    compiled = edgekern.compile(proto, calibration=[normal(3, 5, 7, seed=k) for k in range(8)])
    assert kinds(compiled) == ["Conv2D", "LayerNorm"]
    x = normal(1, 3, 5, 7, seed=1)
    assert np.abs(compiled.run(x) - wanted(proto, {"x": x})["y"]).mean() < 2 * compiled.outputs[0].scale


def moved(factor_first: bool, scaled: bool) -> tuple[list[Any], dict[str, Any]]:
    """x * m + (b - mean * m) with m = g / root, as tf2onnx writes a Keras layer."""
    nodes, constants = chain("Reciprocal", "Mul", -1, 13)
    nodes = [n for n in nodes if n.output[0] not in "nmy"]
    factor = "m" if scaled else "i"
    nodes += [node("Mul", "i g", "m")] * scaled
    nodes += [
        node("Mul", f"{factor} x" if factor_first else f"x {factor}", "p"),
        node("Mul", f"{factor} mean" if factor_first else f"mean {factor}", "q"),
        node("Sub", "b q", "o"),
        node("Add", "o p" if factor_first else "p o", "y"),
    ]
    return nodes, constants | {"g": normal(6, seed=1) + 2, "b": normal(6, seed=2)}


@pytest.mark.parametrize("factor_first", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("as_nodes", [False, True])
def test_a_chain_of_tensorflow_is_one_operator(factor_first: bool, scaled: bool, as_nodes: bool) -> None:
    nodes, constants = moved(factor_first, scaled)
    if as_nodes:
        held = {name: onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()}
        nodes = [*(onnx.helper.make_node("Constant", [], [name], value=held[name]) for name in held), *nodes]
        constants = {}
    compiled = compared(model(nodes, {"x": [1, 5, 6]}, "y", constants, 13), (5, 6))
    assert kinds(compiled) == ["LayerNorm"]


@pytest.mark.parametrize("places", ["p", "q", "pq"])
def test_another_tensor_or_mean_is_no_part_of_it(places: str) -> None:
    nodes, constants = moved(False, True)
    of, axis = ("x2", -1) if places == "pq" else ("x", -2)  # both of one other tensor, whose variance it is not
    nodes = [node("Relu", "x", "x2"), node("ReduceMean", of, "mean2", keepdims=1, axes=[axis]), *nodes]
    for place in places:
        next(n for n in nodes if n.output[0] == place).input[0] = "x2" if place == "p" else "mean2"
    with pytest.raises(UnsupportedOpError):
        edgekern.compile(model(nodes, {"x": [1, 5, 6]}, "y", constants, 13), calibration=[normal(5, 6)])


@pytest.mark.parametrize("wrong", ["variance of another", "other axis", "mean of another", "cube"])
def test_what_is_no_chain_is_not_taken_for_one(wrong: str) -> None:
    """Each is another function, of means that cannot be spread over a tensor: refused, not replaced."""
    nodes, constants = chain("Div", "Pow", -1, 13)
    by_name = {n.output[0]: n for n in nodes}
    if wrong == "variance of another":
        nodes.insert(0, node("Relu", "x", "other"))
        nodes.insert(1, node("ReduceMean", "other", "mean2", keepdims=1, axes=[-1]))
        nodes.insert(2, node("Sub", "other mean2", "d2"))
        by_name["s"].input[0] = "d2"
    elif wrong == "other axis":
        next(a for a in by_name["v"].attribute if a.name == "axes").ints[:] = [1]
    elif wrong == "mean of another":
        nodes.insert(0, node("Relu", "x", "other"))
        by_name["mean"].input[0] = "other"
    else:
        constants["two"] = np.float32(3)
    constants |= {"g": normal(6, seed=1), "b": normal(6, seed=2)}
    with pytest.raises(UnsupportedOpError):
        edgekern.compile(model(nodes, {"x": [1, 4, 5, 6]}, "y", constants, 13), calibration=[normal(4, 5, 6)])


@pytest.mark.parametrize("reader", ["mean", "z"])
def test_a_mean_that_somebody_else_reads_stays(reader: str) -> None:
    nodes, constants = chain("Div", "Pow", -1, 13)
    nodes += [node("Abs", "mean", "z")] * (reader == "z")
    constants |= {"g": normal(6, seed=1) + 2, "b": normal(6, seed=2)}
    proto = model(nodes, {"x": [1, 4, 5, 6]}, f"y {reader}", constants, 13)
    compiled = edgekern.compile(proto, calibration=[normal(4, 5, 6, seed=k) for k in range(8)])
    x = normal(1, 4, 5, 6)
    found, want = compiled.run(x), wanted(proto, {"x": x})
    for port in compiled.outputs:
        assert np.abs(found[port.name] - want[port.name]).mean() < 2 * port.scale


def test_a_row_of_equal_values_gives_the_bias_also_without_epsilon() -> None:
    constants = {"g": normal(6, seed=1) + 2, "b": normal(6, seed=2)}
    proto = model([node("LayerNormalization", "x g b", "y", epsilon=0.0)], {"x": [1, 4, 6]}, "y", constants)
    compiled = edgekern.compile(proto, calibration=[normal(4, 6, seed=k) for k in range(8)])
    made = compiled.run(np.full((1, 4, 6), 0.7, np.float32))
    assert np.abs(made - constants["b"]).max() <= compiled.outputs[0].scale


def test_quantised_around_it_keeps_the_scales() -> None:
    held = {"s": np.float32(0.03), "z": np.uint8(120), "t": np.float32(0.04), "k": np.uint8(131)}
    constants = {**held, "g": normal(6, seed=1) + 2, "b": normal(6, seed=2)}
    nodes = [node("QuantizeLinear", "x s z", "p"), node("DequantizeLinear", "p s z", "q")]
    nodes.append(node("LayerNormalization", "q g b", "n", epsilon=float(EPS)))
    nodes += [node("QuantizeLinear", "n t k", "o"), node("DequantizeLinear", "o t k", "y")]
    proto = model(nodes, {"x": [1, 4, 6]}, "y", constants, 21)
    compiled = edgekern.compile(proto)
    assert [port.scale for port in (*compiled.inputs, *compiled.outputs)] == [held["s"], held["t"]]
    x = normal(1, 4, 6, seed=4)
    steps = np.abs(compiled.run(x) - wanted(proto, {"x": x})["y"]) / held["t"]
    assert steps.max() < 1.01
    assert (steps < 0.01).mean() > 0.9


@pytest.mark.parametrize(("shape", "axis"), [((5,), 0), ((3, 4), -3)])
def test_over_the_batch_it_is_refused(shape: tuple[int, ...], axis: int) -> None:
    nodes = [node("LayerNormalization", "x g", "y", axis=axis)]
    with pytest.raises(UnsupportedOpError, match="over the batch"):
        edgekern.compile(model(nodes, {"x": [1, *shape]}, "y", {"g": np.ones((1, *shape), np.float32)}))


def test_a_scale_that_does_not_fit_is_refused() -> None:
    nodes = [node("LayerNormalization", "x g", "y")]
    with pytest.raises(ShapeError, match="scale or bias"):
        edgekern.compile(model(nodes, {"x": [1, 4, 6]}, "y", {"g": np.ones(4, np.float32)}))


def test_its_statistics_are_refused() -> None:
    nodes = [node("LayerNormalization", "x g", "y mean")]
    with pytest.raises(UnsupportedOpError, match="its output 1"):
        edgekern.compile(model(nodes, {"x": [1, 4, 6]}, "y mean", {"g": np.ones(6, np.float32)}))


@pytest.mark.parametrize("epsilon", [-1e-3, float("nan")])
def test_an_epsilon_that_is_none_is_refused(epsilon: float) -> None:
    nodes = [node("LayerNormalization", "x g", "y", epsilon=epsilon)]
    with pytest.raises(UnsupportedOpError, match="epsilon"):
        edgekern.compile(model(nodes, {"x": [1, 4, 6]}, "y", {"g": np.ones(6, np.float32)}))


def test_the_integer_form_of_extremes() -> None:
    """A scale at the ends of the format: refused where a float32 would overflow, exact at 0."""
    from edgekern.errors import QuantizationError
    from edgekern.types import DType, Quant, TensorType

    y, ones = TensorType((1, 8), DType.INT8, Quant(2.0**-20, 0)), [np.ones(8, np.float32)] * 2
    least = TensorType((1, 8), DType.INT8, Quant(2.0**-126, 0))
    with pytest.raises(QuantizationError, match="epsilon"):
        LayerNorm(1e-5).quantise([least], y, ones)
    op, _ = LayerNorm(0.0).quantise([least], y, ones)
    assert isinstance(op, LayerNorm)
    assert op.epsilon == float(np.finfo(np.float32).tiny)
    with pytest.raises(QuantizationError, match="constants"):
        LayerNorm().quantise([y], y, [np.full(8, 2.0**12, np.float32)] * 2)
