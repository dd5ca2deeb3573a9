# SPDX-License-Identifier: Apache-2.0
"""Boxes of a camera frame: equal to the NumPy preprocess byte for byte, and nothing outside the frame is read."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from edgekern import _core
from edgekern.artifact import Artifact, write
from edgekern.errors import InputError
from edgekern.model import Model
from edgekern.ops import registry
from edgekern.preprocess import CHANNELS, Preprocess
from sample_models import Builder, classifier

CAPS = ["scalar", *(name for name in _core.isa_available() if name != "scalar")]
FRAME = np.random.default_rng(7).integers(0, 256, (61, 83, 4)).astype(np.uint8)
BOXES = [
    (0, 0, 83, 61),
    (10, 20, 24, 24),
    (-5, -7, 20, 20),
    (70, 50, 100, 100),
    (40, 30, 1, 1),
    (82, 60, 1, 1),
    (0, 59, 83, 2),
    (3, 3, 2, 50),
    (-(2**31), 0, 2**31 - 1, 61),  # ends one pixel left of the frame
    (-(2**30), -(2**30), 2**31 - 1, 2**31 - 1),
    (13, 17, 48, 31),
]


def frame_of(channels: str) -> np.ndarray:
    return np.ascontiguousarray(FRAME[..., : CHANNELS[channels]])


@pytest.fixture(scope="module", params=["rgb", "bgr", "gray"])
def artifact(request: pytest.FixtureRequest) -> Artifact:
    """A model that hands its input through: every byte of the preprocess is seen."""
    pre = Preprocess((9, 11), mean=0.2, std=0.5, channels=request.param, margin=40)
    b = Builder((1, 9, 11, pre.depth))
    q = b.types["t0"].quant
    b.add(registry()["MaxPool2D"]((1, 1)), ("t0",), b.shape("t0"), q=q)
    return Artifact(b.graph({"y": "t1"}), pre)


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("channels", CHANNELS)
def test_equal_to_the_numpy_preprocess(artifact: Artifact, channels: str, cap: str) -> None:
    model, pre = Model.from_bytes(write(artifact), isa=cap), artifact.preprocess
    q = artifact.graph.types["t0"].quant
    assert pre
    assert q
    frame = frame_of(channels)
    boxes = [box for box in BOXES if box[0] + box[2] > 0]
    got = model.run_image(frame, boxes, channels, raw=True)
    for y, box in zip(got, boxes, strict=True):
        np.testing.assert_array_equal(y, pre.apply(pre.crop(frame, box, channels), q), err_msg=f"{box}")
    whole = model.run_image(frame, channels=channels, raw=True)
    np.testing.assert_array_equal(whole[0], pre.apply(pre.crop(frame, None, channels), q))


def test_views_of_a_frame(artifact: Artifact) -> None:
    """Rows apart, upside down, a window: read in place; pixels that are not dense: copied."""
    model = Model.from_bytes(write(artifact))
    big = np.random.default_rng(8).integers(0, 256, (90, 100, 3)).astype(np.uint8)
    views = [big[5:66, 7:90], big[::-1], big[::2], big[:, ::-1], big[:, :, ::-1], big.transpose(1, 0, 2)]
    for view in views:
        boxes = [(1, 2, 30, 20), (-3, 5, 50, 40)]
        copy = np.ascontiguousarray(view)
        np.testing.assert_array_equal(model.run_image(view, boxes), model.run_image(copy, boxes))
    gray = big[..., 0]
    np.testing.assert_array_equal(
        model.run_image(gray, channels="gray"), model.run_image(gray[..., None], channels="gray")
    )


def test_orders_differ() -> None:
    """A swapped channel order is seen, so the tests above can fail."""
    model = Model.from_bytes(write(classifier()))
    results = {c: model.run_image(frame_of(c), channels=c).tobytes() for c in ("rgb", "bgr", "gray")}
    assert len(set(results.values())) == 3


@pytest.mark.parametrize(
    ("box", "inside"),
    [((83, 0, 5, 5), False), ((0, 61, 5, 5), False), ((-5, 0, 5, 5), False), ((0, -5, 5, 5), False),
     ((0, 0, 0, 5), False), ((0, 0, 5, -1), False), ((82, 60, 9, 9), True), ((-4, -4, 5, 5), True)],
)  # fmt: skip
def test_an_empty_box_is_named(box: tuple[int, int, int, int], inside: bool) -> None:
    model, frame = Model.from_bytes(write(classifier())), frame_of("rgb")
    boxes = [(0, 0, 9, 9), box]
    if inside:
        assert model.run_image(frame, boxes).shape == (2, 5)
    else:
        with pytest.raises(InputError, match="box 1 "):
            model.run_image(frame, boxes)


def test_no_boxes_give_no_rows() -> None:
    assert Model.from_bytes(write(classifier())).run_image(frame_of("rgb"), []).shape == (0, 5)


def test_wrong_frames_are_refused() -> None:
    model = Model.from_bytes(write(classifier()))
    rgb = frame_of("rgb")
    frames = itertools.chain(
        [(rgb.astype(np.float32), "rgb"), (rgb[..., :2], "rgb"), (rgb, "rgba"), (rgb[0], "rgb"), (rgb, "yuv")],
        [(rgb[:0], "rgb"), (rgb.tolist(), "rgb")],
    )
    for frame, channels in frames:
        with pytest.raises(InputError):
            model.run_image(frame, channels=channels)
    for boxes in ([(0, 0, 5)], [(0.0, 0.0, 5.0, 5.0)], [(0, 0, 2**40, 5)], 7):
        with pytest.raises(InputError):
            model.run_image(rgb, boxes)


def test_a_model_without_preprocess_says_the_way_out() -> None:
    data = write(replace(classifier(), preprocess=None, labels=()))
    with pytest.raises(InputError, match="compile it with a Preprocess"):
        Model.from_bytes(data).run_image(frame_of("rgb"))
