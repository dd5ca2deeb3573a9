# SPDX-License-Identifier: Apache-2.0
"""Files that quantisation tools and Keras 3 wrote, and what is special in them; each against ONNX's own reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

from onnx import numpy_helper  # noqa: E402

import edgekern  # noqa: E402
from edgekern.errors import QuantizationError, ShapeError, UnsupportedOpError  # noqa: E402
from edgekern.graph.run import evaluate  # noqa: E402
from edgekern.graph.verify import verify  # noqa: E402
from edgekern.importers.onnx import import_onnx  # noqa: E402
from small_onnx import model, node, normal, wanted  # noqa: E402

FOLDER = Path(__file__).parent / "exported"
QUANTISED = sorted((FOLDER / "quantised").glob("*.onnx"))
FRAMES = 24


def scales(proto: Any) -> set[float]:
    """Scales of the QuantizeLinear nodes, which may pass through an Identity."""
    held = {i.name: numpy_helper.to_array(i) for i in proto.graph.initializer}
    for n in proto.graph.node:
        if n.op_type == "Constant" and n.attribute[0].name == "value":
            held[n.output[0]] = numpy_helper.to_array(n.attribute[0].t)
    return {float(held[n.input[1]].reshape(-1)[0]) for n in proto.graph.node if n.op_type == "QuantizeLinear"}


@pytest.mark.parametrize("path", QUANTISED, ids=lambda p: p.stem)
def test_a_quantised_file_gives_the_references_steps(path: Path) -> None:
    """Its integers are taken over; samples are for what the tool left in float, here the last layer's result."""
    proto = onnx.load(path)
    port = proto.graph.input[0]
    x = normal(FRAMES, *(d.dim_value for d in port.type.tensor_type.shape.dim[1:]), seed=5)
    made = edgekern.compile(path, calibration=x)
    exact = np.concatenate([wanted(proto, {port.name: f[None]})[proto.graph.output[0].name] for f in x])
    found = made.run(x)
    steps = np.abs(found - exact) / made.outputs[0].scale
    assert steps.max() <= 2
    assert (steps <= 1).mean() > 0.95
    assert len(np.unique(found)) > 20
    assert any(np.isclose(made.inputs[0].scale, own, rtol=1e-6) for own in scales(proto))
    assert (found == made.reference(x)).all()


def test_only_what_the_tool_left_open_needs_samples() -> None:
    assert edgekern.compile(FOLDER / "quantised" / "pytorch_fx.onnx").inputs[0].scale > 0
    for name in ("nncf_3", "torchao_pt2e"):
        with pytest.raises(QuantizationError, match="has no range") as refusal:
            edgekern.compile(FOLDER / "quantised" / f"{name}.onnx")
        assert "calibration sample" in str(refusal.value.hint)


def cast_net(made: str, to: int, zero: bool = True) -> Any:
    """A quantised tensor, cast, read again; an `Identity` between, as exporters leave it."""
    held = {"s": np.float32(0.05), "z": np.zeros((), made)}
    pairs = [node("QuantizeLinear", "x s z" if zero else "x s", "q"), node("Identity", "q", "i")]
    pairs += [node("Cast", "i", "c", to=to), node("DequantizeLinear", "c s z", "d"), node("Relu", "d", "r")]
    last = [node("QuantizeLinear", "r s z", "p"), node("DequantizeLinear", "p s z", "y")]
    return model([*pairs, *last], {"x": [1, 30]}, "y", held, opset=21)


@pytest.mark.parametrize(("made", "to", "zero"), [("uint8", 2, True), ("int8", 3, True), ("uint8", 2, False)])
def test_a_cast_of_integers_to_their_own_type_is_nothing(made: str, to: int, zero: bool) -> None:
    proto = cast_net(made, to, zero)
    x = (np.arange(-15, 15) * np.float32(0.7))[None].astype(np.float32)
    found = edgekern.compile(proto).run(x)
    assert (found == wanted(proto, {"x": x})["y"]).all()
    assert len(np.unique(found)) > 10


@pytest.mark.parametrize(("made", "to"), [("uint8", 3), ("int8", 2), ("int8", 1), ("uint8", 7)])
def test_a_cast_to_another_type_is_refused(made: str, to: int) -> None:
    """Integers read as real numbers are not what they stand for."""
    with pytest.raises(UnsupportedOpError, match="a cast of an activation"):
        edgekern.compile(cast_net(made, to))


@pytest.mark.parametrize("to", [1, 2])
def test_what_is_read_again_is_real(to: int) -> None:
    """Behind DequantizeLinear a cast to float32 is nothing, and one to integers is refused."""
    held = {"s": np.float32(0.05), "z": np.uint8(0)}
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "d"),
        node("Cast", "d", "y", to=to),
    ]
    proto = model(nodes, {"x": [1, 30]}, "y", held, opset=21)
    if to == 1:
        assert (edgekern.compile(proto).run(np.full((1, 30), 0.52, np.float32)) == np.float32(0.5)).all()
    else:
        with pytest.raises(UnsupportedOpError, match="a cast of an activation"):
            edgekern.compile(proto)


@pytest.mark.parametrize("mode", ["edge", "reflect"])
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("pads", [(1, 2, 3, 0), (0, 0, 0, 1), (2, 0, 0, 2)], ids=str)
def test_padding_with_the_tensors_own_elements(mode: str, last: bool, pads: tuple[int, ...]) -> None:
    """By slices and a concatenation, which copy bytes."""
    top, left, bottom, right = pads
    before, after = (0, 0, top, left), (0, 0, bottom, right)
    nodes = [node("Pad", "t p", "u", mode=mode), node("MaxPool", "u", "y", kernel_shape=[2, 2])]
    if last:
        nodes.insert(0, node("Transpose", "x", "t", perm=[0, 3, 1, 2]))
    else:
        nodes.insert(0, node("Identity", "x", "t"))
    shape = (1, 5, 6, 4) if last else (1, 4, 5, 6)
    proto = model(nodes, {"x": shape}, "y", {"p": np.array([*before, *after])})
    x = normal(*shape)
    graph = verify(import_onnx(proto))
    exact = wanted(proto, {"x": x})["y"]
    assert (evaluate(graph, {"x": x})["y"] == exact).all()
    made = edgekern.compile(proto, calibration=x)
    found = made.run(x)
    assert found.shape == exact.shape
    assert (found == made.reference(x)).all()
    assert np.abs(found - exact).max() <= made.outputs[0].scale


def test_a_reflection_longer_than_the_tensor_is_refused() -> None:
    pads = {"p": np.array([0, 0, 5, 0, 0, 0, 0, 0])}
    with pytest.raises(ShapeError, match="a reflection of 5 places of 5"):
        import_onnx(model([node("Pad", "x p", "y", mode="reflect")], {"x": [1, 4, 5, 6]}, "y", pads))


@pytest.mark.parametrize("swapped", [False, True])
def test_a_gate_of_a_channels_last_image(swapped: bool) -> None:
    """Keras multiplies [N, H, W, C] by [N, 1, 1, C]."""
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t w", "c"),
        node("Transpose", "c", "i", perm=[0, 2, 3, 1]),
        node("ReduceMean", "i", "m", axes=[1, 2], keepdims=1),
        node("Sigmoid", "m", "g"),
        node("Mul", "g i" if swapped else "i g", "y"),
    ]
    proto = model(nodes, {"x": [1, 5, 6, 3]}, "y", {"w": normal(7, 3, 2, 2)})
    x = normal(4, 5, 6, 3)
    exact = np.concatenate([wanted(proto, {"x": f[None]})["y"] for f in x])
    found = evaluate(verify(import_onnx(proto)), {"x": x})["y"]
    assert found.shape == exact.shape
    assert np.allclose(found, exact, atol=1e-5)
    made = edgekern.compile(proto, calibration=x)
    assert not [n for n in made.report.layers if n.op == "Transpose"]  # type: ignore[union-attr]
    assert ((made.run(x) - exact) ** 2).sum() < 2e-3 * (exact**2).sum()
