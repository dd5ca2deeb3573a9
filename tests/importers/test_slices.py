# SPDX-License-Identifier: Apache-2.0
"""Slices and splits: the elements the source's own rules take, whatever layout the tensor has inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")
pytest.importorskip("tflite", reason="compiling needs the extra `compile`")

import edgekern  # noqa: E402
from edgekern.errors import CompileError, ShapeError, UnsupportedOpError  # noqa: E402
from edgekern.graph.graph import Graph  # noqa: E402
from edgekern.graph.run import evaluate  # noqa: E402
from edgekern.graph.verify import verify  # noqa: E402
from edgekern.importers.onnx import import_onnx  # noqa: E402
from edgekern.importers.tflite import import_tflite  # noqa: E402
from float_nets import Net  # noqa: E402
from small_onnx import model, node, normal, wanted  # noqa: E402
from small_tflite import Operator, Tensor  # noqa: E402
from small_tflite import model as tflite_model  # noqa: E402

IMAGE = {"x": [1, 6, 5, 8]}
LAST = np.iinfo(np.int64).max
LEAST_SQNR = 25.0


def imported(proto: Any, x: Any) -> Graph:
    """The verified graph; its results are those of ONNX's reference, to the bit."""
    graph = verify(import_onnx(proto))
    found = evaluate(graph, {"x": x})
    for name, y in wanted(proto, {"x": x}).items():
        assert np.array_equal(found[name], y), name
    return graph


def slices(graph: Graph) -> list[Any]:
    return [n.op for n in graph.nodes if type(n.op).__name__ == "Slice"]


def bounds(*numbers: Sequence[int]) -> dict[str, Any]:
    """Starts, ends, axes and steps as constants s, e, a and t."""
    return {name: np.array(values, np.int64) for name, values in zip("seat", numbers, strict=False)}


# ---- ONNX -----------------------------------------------------------------------------------------

TAKEN = {
    "channels": (([2], [5], [1], [1]), 1),
    "rows": (([1], [LAST], [2], [1]), 1),
    "every third column": (([1], [8], [3], [3]), 1),
    "from the end": (([-4], [-1], [-1], [2]), 1),
    "beyond both ends": (([-100], [100], [1], [2]), 1),
    "three axes": (([1, 0, 2], [4, 3, 7], [1, 2, 3], [1, 2, 3]), 3),
    "all of it": (([0, 0], [LAST, LAST], [0, 2], [1, 1]), 0),
}


@pytest.mark.parametrize("case", TAKEN)
def test_what_a_slice_takes(case: str) -> None:
    numbers, count = TAKEN[case]
    graph = imported(model([node("Slice", "x s e a t", "y")], IMAGE, "y", bounds(*numbers)), normal(1, 6, 5, 8))
    assert len(slices(graph)) == count


def test_axes_and_steps_may_be_left_out() -> None:
    x = normal(1, 6, 5, 8)
    imported(model([node("Slice", "x s e", "y")], IMAGE, "y", bounds([0, 1, 2], [1, 4, 5])), x)
    old = node("Slice", "x", "y", starts=[0, -3], ends=[2, LAST], axes=[3, 1])
    imported(model([old], IMAGE, "y", opset=9), x)


def test_a_slice_of_a_view() -> None:
    """Turned, flattened, and cut into groups: where a dimension of the source runs over several of ours, they join."""
    x = normal(1, 6, 5, 8)
    turned = [node("Transpose", "x", "v", perm=[0, 2, 3, 1]), node("Slice", "v s e a", "y")]
    assert len(imported(model(turned, IMAGE, "y", bounds([1], [4], [3])), x).nodes) == 1
    flat = [node("Flatten", "x", "v"), node("Slice", "v s e a t", "y")]
    imported(model(flat, IMAGE, "y", bounds([7], [200], [1], [3])), x)
    cut = [node("Reshape", "x shape", "v"), node("Slice", "v s e a", "w"), node("Reshape", "w back", "y")]
    shapes = {"shape": np.array([1, 2, 3, 5, 8]), "back": np.array([1, 4, 5, 8])}
    imported(model(cut, IMAGE, "y", bounds([1], [3], [2]) | shapes), x)
    row = [node("Slice", "x s e a", "v"), node("Squeeze", "v a", "y")]
    imported(model(row, IMAGE, "y", bounds([2], [3], [2])), x)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_slice_of_the_batch_takes_all_of_it_or_is_refused(batch: int) -> None:
    shape = {"x": [batch, 6, 5, 8]}
    assert not slices(import_onnx(model([node("Slice", "x s e", "y")], shape, "y", bounds([0], [batch]))))
    with pytest.raises(UnsupportedOpError, match=r"Slice_y .*slice of the batch"):
        import_onnx(model([node("Slice", "x s e", "y")], shape, "y", bounds([0], [batch - 1])))


@pytest.mark.parametrize(
    ("numbers", "words"),
    [(([4], [1], [1], [-1]), r"steps \[-1\].*forwards"), (([3], [3], [1], [1]), "without elements")],
)
def test_slices_that_are_refused(numbers: Any, words: str) -> None:
    with pytest.raises(UnsupportedOpError, match=rf"Slice_y .*{words}"):
        import_onnx(model([node("Slice", "x s e a t", "y")], IMAGE, "y", bounds(*numbers)))


SPLITS = [  # opset, attributes, sizes at input 1, outputs
    (11, {"axis": 1, "split": [1, 3, 2]}, None, 3),
    (11, {"axis": -1}, None, 4),
    (17, {"axis": 2}, [4, 1], 2),
    (17, {"axis": 1}, None, 2),
    (18, {"axis": 1, "num_outputs": 3}, None, 3),
    (18, {"axis": 2, "num_outputs": 3}, None, 3),
    (18, {"axis": 3}, [8], 1),
]


@pytest.mark.parametrize(("opset", "attributes", "sizes", "count"), SPLITS)
def test_what_a_split_gives(opset: int, attributes: dict[str, Any], sizes: list[int] | None, count: int) -> None:
    names = " ".join(f"y{k}" for k in range(count))
    inputs, constants = ("x", {}) if sizes is None else ("x sizes", {"sizes": np.array(sizes)})
    proto = model([node("Split", inputs, names, **attributes)], IMAGE, names, constants, opset)
    graph = imported(proto, normal(1, 6, 5, 8))
    assert len(slices(graph)) == (count if count > 1 else 0)
    assert {port.name: port.tensor for port in graph.outputs} == {n: n for n in names.split()}


def test_a_later_output_alone_may_be_used() -> None:
    nodes = [node("Split", "x", "a b", axis=1), node("Relu", "b", "y")]
    imported(model(nodes, IMAGE, "y"), normal(1, 6, 5, 8))


def test_constants_are_split_too() -> None:
    nodes = [node("Split", "c", "a b", axis=0), node("Add", "x a", "u"), node("Sub", "u b", "y")]
    x, c = normal(1, 6, 5, 8), normal(2, 6, 1, 1, seed=1)
    found = evaluate(import_onnx(model(nodes, IMAGE, "y", {"c": c})), {"x": x})["y"]
    assert np.allclose(found, x + c[0] - c[1], atol=1e-6)


def test_splits_that_are_refused() -> None:
    with pytest.raises(UnsupportedOpError, match=r"Split_a .*split of the batch"):
        import_onnx(model([node("Split", "x", "a b", axis=0)], {"x": [2, 6, 5, 8]}, "a"))
    with pytest.raises(ShapeError, match=r"Split_a .*5 elements do not make 2"):
        import_onnx(model([node("Split", "x", "a b", axis=2)], IMAGE, "a"))
    with pytest.raises(ShapeError, match=r"Split_a .*parts of \[2, 2\]"):
        import_onnx(model([node("Split", "x n", "a b", axis=1)], IMAGE, "a", {"n": np.array([2, 2])}))


# ---- a ShuffleNet V2 unit -------------------------------------------------------------------------


def unit(with_slices: bool, shuffled: bool = True) -> Any:
    net = Net(3)
    x = net.conv("x", 3, 16)
    left, right = net.halves(x, 16, with_slices)
    x = net.add("Concat", left, net.branch(right, 8), axis=1)
    if shuffled:
        x = net.shuffled(x, 16, 12)
    left, right = net.halves(x, 16, with_slices)
    return net.model(net.full(net.pooled(net.add("Concat", net.branch(left, 8), right, axis=1)), 16, 10), 12)


def sqnr(y: Any, right: Any) -> float:
    return float(10 * np.log10((right**2).sum() / ((y - right) ** 2).sum()))


@pytest.mark.parametrize("with_slices", [False, True])
def test_a_shufflenet_unit(with_slices: bool) -> None:
    proto = unit(with_slices)
    draw = np.random.default_rng(0)
    x = (draw.normal(size=(24, 3, 1, 1)) * 2 + draw.normal(size=(24, 3, 12, 12))).astype(np.float32)
    right = expected(proto, x[:8])
    graph = verify(import_onnx(proto))
    assert len(slices(graph)) == 4
    (found,) = evaluate(graph, {"x": x[:8]}).values()
    assert np.allclose(found, right, atol=1e-4)
    compiled = edgekern.compile(proto, calibration=list(x[8:, None]))
    y = compiled.run(x[:8])
    assert np.array_equal(y, compiled.reference(x[:8]))
    assert sqnr(y, right) > LEAST_SQNR
    assert sqnr(expected(unit(with_slices, shuffled=False), x[:8]), right) < 15  # what unshuffled channels score


def expected(proto: Any, x: Any) -> Any:
    """ONNX's own results, frame by frame: the model's batch is 1."""
    return np.concatenate([next(iter(wanted(proto, {"x": frame[None]}).values())) for frame in x])


# ---- TFLite ---------------------------------------------------------------------------------------

X = np.random.default_rng(1).integers(-128, 128, (1, 6, 5, 8)).astype(np.int8)


def cut(
    name: str,
    inputs: Sequence[Any],
    shapes: Sequence[Sequence[int]],
    table: str = "",
    scales: Sequence[float] = (),
    **options: Any,
) -> bytes:
    """An int8 file of one operator; inputs are "x" or the numbers of a constant."""
    tensors = {"x": Tensor(X.shape, "int8", 0.5, 3)}
    names = []
    for k, given in enumerate(inputs):
        names.append(given if isinstance(given, str) else f"c{k}")
        if not isinstance(given, str):
            tensors[f"c{k}"] = Tensor(np.shape(given), "int32", data=given)
    results = [f"y{k}" for k in range(len(shapes))]
    held = scales or [0.5] * len(shapes)
    tensors |= {y: Tensor(shape, "int8", scale, 3) for y, shape, scale in zip(results, shapes, held, strict=True)}
    return tflite_model(tensors, [Operator(name, names, results, options, table)], ["x"], results)


def strided(begin: Sequence[int], end: Sequence[int], step: Sequence[int], shape: Sequence[int], **masks: int) -> bytes:
    return cut("STRIDED_SLICE", ["x", begin, end, step], [shape], "StridedSliceOptions", **masks)


FILES = {
    "SLICE": (cut("SLICE", ["x", [0, 1, 0, 2], [1, 4, -1, 5]], [(1, 4, 5, 5)]), [X[:, 1:5, :, 2:7]]),
    "STRIDED_SLICE": (strided([0, 1, -4, 0], [1, 6, 5, 8], [1, 2, 3, 1], (1, 3, 2, 8)), [X[:, 1:6:2, -4:5:3]]),
    "masks": (
        strided([9, 9, 2, 1], [9, 4, 9, 9], [1, 1, 1, 2], (1, 4, 3, 4), BeginMask=3, EndMask=13),
        [X[:, :4, 2:, 1::2]],
    ),
    "shrink": (
        strided([0, -2, 0, 0], [0, 0, 0, 8], [1, 1, 1, 2], (1, 5, 4), EndMask=5, ShrinkAxisMask=2),
        [X[:, -2, :, ::2]],
    ),
    "fewer dimensions": (strided([0, 2], [1, 5], [1, 1], (1, 3, 5, 8)), [X[:, 2:5]]),
    "SPLIT": (
        cut("SPLIT", [3, "x"], [(1, 6, 5, 4)] * 2, "SplitOptions", NumSplits=2),
        [X[..., :4], X[..., 4:]],
    ),
    "SPLIT_V": (
        cut("SPLIT_V", ["x", [1, -1, 2], -3], [(1, 1, 5, 8), (1, 3, 5, 8), (1, 2, 5, 8)], "SplitVOptions", NumSplits=3),
        [X[:, :1], X[:, 1:4], X[:, 4:]],
    ),
    "UNPACK": (cut("UNPACK", ["x"], [(1, 6, 8)] * 5, "UnpackOptions", Num=5, Axis=2), [X[:, :, k] for k in range(5)]),
    "PACK": (
        cut("PACK", ["x", "x"], [(1, 6, 5, 8, 2)], "PackOptions", ValuesCount=2, Axis=-1),
        [np.stack([X, X], axis=-1)],
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_of_integers_keeps_them(case: str) -> None:
    data, parts = FILES[case]
    assert "SPLIT" not in case or all(port.name == port.tensor for port in import_tflite(data).outputs)
    compiled = edgekern.compile(data)
    found = compiled.run(X)
    made = found if isinstance(found, dict) else {"y0": found}
    assert list(made) == [f"y{k}" for k in range(len(parts))]
    for y, part in zip(made.values(), parts, strict=True):
        assert np.array_equal(y, part)


def test_parts_in_another_quantisation_are_rescaled() -> None:
    data = cut("SPLIT", [3, "x"], [(1, 6, 5, 4)] * 2, "SplitOptions", scales=(1.0, 2.0), NumSplits=2)
    for k, y in enumerate(edgekern.compile(data).run(X).values()):
        exact = np.clip(np.rint((X[..., 4 * k : 4 * k + 4].astype(np.float32) - 3) / 2 ** (k + 1)) + 3, -128, 127)
        assert np.array_equal(y, exact)


REFUSED = {
    "backwards": (strided([0, 5], [1, 0], [1, -1], (1, 5, 5, 8)), "forwards"),
    "a new axis": (strided([0, 0], [1, 0], [1, 1], (1, 1, 6, 5, 8), NewAxisMask=2), "new axis"),
    "nothing": (strided([0, 3], [1, 3], [1, 1], (1, 0, 5, 8)), "without elements"),
    "a frame": (strided([0, 0], [1, 6], [1, 1], (6, 5, 8), ShrinkAxisMask=1), "element 0 of dimension 0"),
    "too much": (cut("SLICE", ["x", [0, 3, 0, 0], [1, 4, 5, 8]], [(1, 4, 5, 8)]), "do not fit"),
    "uneven": (cut("SPLIT", [2, "x"], [(1, 6, 2, 8)] * 2, "SplitOptions", NumSplits=2), "equal parts"),
    "too few": (cut("SPLIT_V", ["x", [1, 3], 1], [(1, 1, 5, 8), (1, 3, 5, 8)], "SplitVOptions"), "parts of"),
    "no axis": (cut("SPLIT", [4, "x"], [(1, 6, 5, 4)] * 2, "SplitOptions", NumSplits=2), "axis 4"),
    "frames": (cut("UNPACK", ["x"], [(6, 5, 8)], "UnpackOptions", Num=1), "batch in parts"),
    "layers": (cut("UNPACK", ["x"], [(1, 6, 8)] * 4, "UnpackOptions", Num=4, Axis=2), "4 results of axis 2"),
    "a stack of frames": (cut("PACK", ["x", "x"], [(2, 1, 6, 5, 8)], "PackOptions", ValuesCount=2), "along axis 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_is_refused_by_name(case: str) -> None:
    data, words = REFUSED[case]
    with pytest.raises(CompileError, match=rf"y0 \(.*{words}"):
        import_tflite(data)


def test_a_batch_of_the_file_is_not_cut() -> None:
    def file(end: int) -> bytes:
        tensors = {
            "x": Tensor((4, 6), "int8", 0.5, 3),
            **{n: Tensor((2,), "int32", data=v) for n, v in (("b", [0, 1]), ("e", [end, 5]), ("s", [1, 1]))},
            "y": Tensor((end, 4), "int8", 0.5, 3),
        }
        call = Operator("STRIDED_SLICE", ["x", "b", "e", "s"], ["y"], {}, "StridedSliceOptions")
        return tflite_model(tensors, [call], ["x"], ["y"])

    assert len(slices(import_tflite(file(4)))) == 1
    with pytest.raises(UnsupportedOpError, match="slice of the batch"):
        import_tflite(file(1))
