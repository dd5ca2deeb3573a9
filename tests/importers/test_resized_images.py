# SPDX-License-Identifier: Apache-2.0
"""Resize and Upsample: positions as ONNX's reference and ONNX Runtime have them, and the integers of TFLite's."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

import edgekern  # noqa: E402
from edgekern.errors import CompileError, ShapeError, UnsupportedOpError  # noqa: E402
from edgekern.graph.run import evaluate  # noqa: E402
from edgekern.importers._positions import PLACES, ROUNDINGS, places, positions, ratio_of  # noqa: E402
from edgekern.importers.onnx import import_onnx  # noqa: E402
from small_onnx import model, node, normal, wanted  # noqa: E402
from small_tflite import Operator, Tensor  # noqa: E402
from small_tflite import model as tflite_model  # noqa: E402

ROW = [1, 1, 1, 5]


def resize(scale: float | None, size: int | None, opset: int = 19, **attributes: Any) -> Any:
    """A row of five pixels, resized along its last dimension."""
    constants = {} if scale is None else {"scales": np.float32([1, 1, 1, scale])}
    constants |= {} if size is None else {"sizes": np.int64([1, 1, 1, size])}
    names = f"x - {'scales' if scale else '-'} {'sizes' if size else ''}"
    return model([node("Resize", names, "y", **attributes)], {"x": ROW}, "y", constants, opset)


def made(proto: Any, x: Any) -> Any:
    return evaluate(import_onnx(proto), {"x": x})["y"]


NOISE = Fraction(1, 10**6)
SCALES = (0.4, 0.6, 0.7, 1.0, 1.3, 1.7, 2.0, 2.3, 3.0)


@pytest.mark.parametrize("place", sorted(PLACES))
@pytest.mark.parametrize("rounding", [None, *sorted(ROUNDINGS)])
def test_positions_are_those_of_onnx(place: str, rounding: str | None) -> None:
    """Nearest takes the very pixel; linear differs by half of 1/2048 pixel at most (the pixels are a ramp)."""
    attributes = {"mode": "nearest", "nearest_mode": rounding} if rounding else {"mode": "linear"}
    opset = 11 if place == "tf_half_pixel_for_nn" else 19
    x = np.float32([[[[0, 1, 2, 3, 4]]]])
    for scale, size in [*((s, None) for s in SCALES), *((None, n) for n in range(1, 14))]:
        if place == "tf_half_pixel_for_nn":  # ONNX's reference has it no more
            f = ratio_of(float(np.float32(scale))) if scale else Fraction(size or 0, 5)
            count = size or int(f * 5)
            exact = [min(max((d + Fraction(1, 2)) / f, Fraction(0)), Fraction(4)) for d in range(count)]
            want = np.float32([ROUNDINGS[rounding](p) if rounding else p for p in exact])
        else:
            want = wanted(resize(scale, size, coordinate_transformation_mode=place, **attributes), {"x": x})["y"]
        y = made(resize(scale, size, opset, coordinate_transformation_mode=place, **attributes), x)
        assert y.shape[-1] == want.size
        gap = np.abs(y.ravel() - want.ravel())
        if rounding:  # where float noise of a scale decides between two pixels, both are right
            f = ratio_of(float(np.float32(scale))) if scale else Fraction(size or 0, 5)
            at = places(5, want.size, f, place)
            least, most = (np.array([ROUNDINGS[rounding](p + e) for p in at]) for e in (-NOISE, NOISE))
            gap[least != most] = 0 if scale else gap[least != most]
        assert gap.max() <= (0 if rounding else 1 / 4096 + 1e-6), (scale, size, y, want)


def test_a_scale_stands_for_the_simplest_fraction() -> None:
    """A third in float32 is more than one third: the second pixel of three would lie before pixel 1, not on it."""
    third = float(np.float32(1 / 3))
    assert ratio_of(third) == Fraction(1, 3) != Fraction(third)
    for scale, n, floor in ((ratio_of(third), 3, [1, 4, 7]), (Fraction(third), 3, [0, 3, 6])):
        exact = places(9, n, scale, "half_pixel")
        got = positions(exact, 9, "floor") // 2048
        assert got.tolist() == floor if scale == Fraction(1, 3) else got.tolist() != [1, 4, 7]
    assert ratio_of(float(np.float32(np.pi))) == Fraction(float(np.float32(np.pi)))  # no simple one


@pytest.mark.parametrize("opset", [7, 9])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample(opset: int, mode: str) -> None:
    scales = [1.0, 1.0, 2.0, 3.0]
    given = {"scales": scales} if opset == 7 else {}
    names = "x" if opset == 7 else "x scales"
    constants = {} if opset == 7 else {"scales": np.float32(scales)}
    proto = model([node("Upsample", names, "y", mode=mode, **given)], {"x": [1, 3, 4, 5]}, "y", constants, opset)
    x = normal(1, 3, 4, 5)
    if mode == "nearest":
        assert (made(proto, x) == x.repeat(2, 2).repeat(3, 3)).all()
        return
    attributes = {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}
    same = model([node("Resize", "x - s", "y", **attributes)], {"x": [1, 3, 4, 5]}, "y", {"s": np.float32(scales)}, 13)
    assert np.abs(made(proto, x) - wanted(same, {"x": x})["y"]).max() < 1e-3


@pytest.mark.peer
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scale", [0.6, 0.4, 2.0, 2.6])
def test_opset_10_is_that_of_onnx_runtime(mode: str, scale: float) -> None:
    ort = pytest.importorskip("onnxruntime")
    constants = {"s": np.float32([1, 1, scale, scale])}
    proto = model([node("Resize", "x s", "y", mode=mode)], {"x": [1, 2, 5, 5]}, "y", constants, 10)
    x = normal(1, 2, 5, 5)
    (want,) = ort.InferenceSession(proto.SerializeToString()).run(None, {"x": x})
    assert np.abs(made(proto, x) - want).max() <= (0 if mode == "nearest" else 2e-3)


@pytest.mark.peer
def test_a_whole_number_of_pixels_is_reached_as_in_onnx_runtime() -> None:
    """1.8 in float32 is a little less than 1.8, and five times that a little less than nine."""
    ort = pytest.importorskip("onnxruntime")
    proto, x = resize(1.8, None), np.float32([[[[0, 1, 2, 3, 4]]]])
    (want,) = ort.InferenceSession(proto.SerializeToString()).run(None, {"x": x})
    assert made(proto, x).shape == want.shape == (1, 1, 1, 9)
    assert (made(proto, x) == want).all()


@pytest.mark.parametrize("shape", [(1, 6, 5, 3), (1, 3, 6, 5), (1, 3, 10), (1, 12)])
def test_any_two_dimensions_but_the_batch(shape: tuple[int, ...]) -> None:
    """Pixels first, channels first, rows and vectors."""
    rank = len(shape)
    for moved in {2: [(1,)], 3: [(1,), (2,), (1, 2)], 4: [(1,), (2, 3), (1, 2), (3,), (1, 3)]}[rank]:
        scales = np.float32([2 if i in moved else 1 for i in range(rank)])
        attributes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        proto = model([node("Resize", "x - s", "y", **attributes)], {"x": shape}, "y", {"s": scales}, 19)
        x = normal(*shape)
        y, want = made(proto, x), wanted(proto, {"x": x})["y"]
        assert y.shape == want.shape
        assert np.abs(y - want).max() < 1e-4


@pytest.mark.parametrize(
    ("attributes", "error", "words"),
    [
        ({"mode": "area"}, UnsupportedOpError, "mode 'area'"),
        ({"coordinate_transformation_mode": "middle"}, UnsupportedOpError, "coordinate_transformation_mode 'middle'"),
        ({"nearest_mode": "odd"}, UnsupportedOpError, "nearest_mode 'odd'"),
        ({"keep_aspect_ratio_policy": "both"}, UnsupportedOpError, "keep_aspect_ratio_policy 'both'"),
        ({"axes": [3]}, ShapeError, "4 sizes for 1 dimensions"),
        ({"axes": [0, 1, 2, 7]}, ShapeError, "axis 7"),
    ],
)
def test_what_does_not_run_is_named(attributes: dict[str, Any], error: type[CompileError], words: str) -> None:
    with pytest.raises(error, match=words):
        import_onnx(resize(None, 7, **attributes))


@pytest.mark.parametrize(
    ("scales", "error", "words"),
    [
        ([1, 1, 2], ShapeError, "3 scales"),
        ([2, 1, 1, 1], UnsupportedOpError, "along the batch"),
        ([1, 2, 2, 2], UnsupportedOpError, r"along dimensions \[1, 2, 3\]"),
        ([1, 1, 0, 1], CompileError, "not positive"),
        ([1, 1, np.nan, 1], CompileError, "not positive"),
        ([1, 1, 0.1, 1], UnsupportedOpError, "without elements"),
        ([1, 1, 1, 1e9], ShapeError, "2\\^20 pixels"),
    ],
)
def test_scales_that_do_not_run_are_named(scales: list[float], error: type[CompileError], words: str) -> None:
    constants = {"s": np.float32(scales)}
    with pytest.raises(error, match=words):
        import_onnx(model([node("Resize", "x - s", "y")], {"x": [1, 3, 4, 4]}, "y", constants, 13))


def test_a_crop_outside_the_image_is_refused() -> None:
    constants = {"roi": np.float32([0, 0, 0, 0.2, 1, 1, 1, 1.2]), "sizes": np.int64([1, 1, 1, 3])}
    attributes = {"coordinate_transformation_mode": "tf_crop_and_resize", "mode": "linear"}
    proto = model([node("Resize", "x roi - sizes", "y", **attributes)], {"x": ROW}, "y", constants, 19)
    with pytest.raises(UnsupportedOpError, match="outside the image"):
        import_onnx(proto)


@pytest.mark.parametrize("other", [False, True])
def test_a_quantised_resize_keeps_its_integers(other: bool) -> None:
    """In the input's quantisation; a result held in another one is copied into it."""
    scales = {"sx": np.float32(0.05), "sy": np.float32(0.07 if other else 0.05)}
    zeros = {"zx": np.int8(-9), "zy": np.int8(4 if other else -9)}
    nodes = [
        node("QuantizeLinear", "x sx zx", "q"),
        node("DequantizeLinear", "q sx zx", "d"),
        node("Resize", "d - scales", "r", mode="linear"),
        node("QuantizeLinear", "r sy zy", "p"),
        node("DequantizeLinear", "p sy zy", "y"),
    ]
    held = {**scales, **zeros, "scales": np.float32([1, 1, 2, 3])}
    compiled = edgekern.compile(model(nodes, {"x": [1, 2, 3, 4]}, "y", held))
    x = np.random.default_rng(5).integers(-128, 128, (1, 2, 3, 4)).astype(np.int8)
    rows, columns = (np.clip(np.rint(((np.arange(n * s) + 0.5) / s - 0.5) * 2048), 0, (n - 1) * 2048).astype(int)
                     for n, s in ((3, 2), (4, 3)))  # fmt: skip
    top, left, g, f = rows // 2048, columns // 2048, rows % 2048, columns % 2048
    below, right = np.minimum(top + 1, 2), np.minimum(left + 1, 3)
    h = x[..., left].astype(int) * (2048 - f) + x[..., right].astype(int) * f
    want = (h[:, :, top] * (2048 - g)[:, None] + h[:, :, below] * g[:, None] + (1 << 21)) >> 22
    if other:
        t = (want + 9).astype(np.float32) * (scales["sx"] / scales["sy"])
        want = np.clip(np.rint(np.clip(t, -132, 123)) + 4, -128, 127)
    y = compiled.run((x.astype(np.float32) + 9) * scales["sx"], raw=True)
    assert len(np.unique(want)) > 40
    assert (y == want).all()


# ---- TFLite -------------------------------------------------------------------------------------


def tflite_resize(kind: str, shape: tuple[int, int], size: tuple[int, int], corners: bool, half: bool) -> bytes:
    tensors = {
        "x": Tensor((1, *shape, 3), "int8", 0.05, -7),
        "size": Tensor((2,), "int32", data=size),
        "y": Tensor((1, *size, 3), "int8", 0.05, -7),
    }
    table = "ResizeBilinearOptions" if kind == "RESIZE_BILINEAR" else "ResizeNearestNeighborOptions"
    options = {"AlignCorners": corners, "HalfPixelCenters": half}
    return tflite_model(tensors, [Operator(kind, ["x", "size"], ["y"], options, table)], ["x"], ["y"])


FORMS = [
    (kind, shape, size, corners, half)
    for kind in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
    for shape, size in (((4, 5), (8, 10)), ((4, 5), (7, 3)), ((6, 6), (3, 4)), ((1, 3), (5, 98)), ((2, 2), (98, 49)))
    for corners, half in ((False, False), (True, False), (False, True))
]


@pytest.mark.parametrize(("kind", "shape", "size", "corners", "half"), FORMS)
def test_tflite_positions(kind: str, shape: tuple[int, int], size: tuple[int, int], corners: bool, half: bool) -> None:
    """By the formula of TFLite, in float64, pixel by pixel."""
    compiled = edgekern.compile(tflite_resize(kind, shape, size, corners, half))
    x = np.random.default_rng(3).integers(-128, 128, (1, *shape, 3)).astype(np.int8)
    y = compiled.run(x)
    assert (y == compiled.reference(x)).all()
    at = []
    for n, m in zip(shape, size, strict=True):
        step = np.float32(n - 1) / np.float32(m - 1) if corners and m > 1 else np.float32(n) / np.float32(m)
        d = np.arange(m, dtype=np.float32)
        if kind == "RESIZE_BILINEAR":
            p = (d + 0.5) * float(step) - 0.5 if half else d * float(step)
        else:
            p = (d + np.float32(0.5 * half)) * step
            p = np.floor(p + 0.5) if corners else np.floor(p)
        at.append(np.clip(p, 0, n - 1))
    exact = np.zeros(y.shape[1:])
    for (i, r), (j, c) in product(enumerate(at[0]), enumerate(at[1])):
        i0, j0 = int(r), int(c)
        i1, j1 = min(i0 + 1, shape[0] - 1), min(j0 + 1, shape[1] - 1)
        f, g = c - j0, r - i0
        top, bottom = (x[0, k, j0] * (1 - f) + x[0, k, j1] * f for k in (i0, i1))
        exact[i, j] = top * (1 - g) + bottom * g
    assert np.abs(y[0] - exact).max() <= (0.5 + 256 / 2048 if kind == "RESIZE_BILINEAR" else 0)


def test_both_placements_at_once_are_refused() -> None:
    with pytest.raises(UnsupportedOpError, match="align_corners together"):
        edgekern.compile(tflite_resize("RESIZE_BILINEAR", (4, 5), (8, 10), True, True))


@pytest.mark.peer
@pytest.mark.parametrize(("kind", "shape", "size", "corners", "half"), FORMS)
def test_litert_s_bytes(kind: str, shape: tuple[int, int], size: tuple[int, int], corners: bool, half: bool) -> None:
    """Its bilinear kernel (XNNPACK's) counts in 1/2048 pixel too."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    data = tflite_resize(kind, shape, size, corners, half)
    net = litert.Interpreter(model_content=data, num_threads=1)
    net.allocate_tensors()
    x = np.random.default_rng(4).integers(-128, 128, (1, *shape, 3)).astype(np.int8)
    net.set_tensor(net.get_input_details()[0]["index"], x)
    net.invoke()
    want = net.get_tensor(net.get_output_details()[0]["index"])
    assert (edgekern.compile(data).run(x) == want).all()
    assert len(np.unique(want)) > 8
