# SPDX-License-Identifier: Apache-2.0
"""The demo's camera stream: the same from the same seed, every class at every size, boxes that fit."""

from __future__ import annotations

import importlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from edgekern.signs.stream import CLASSES, DIAMETERS, frames, sign_names

pytest.importorskip("PIL", reason="the drawings need the extra `cli`")
pytestmark = pytest.mark.slow  # under an emulator

Stream = list[tuple[np.ndarray, list[tuple[int, int, int, int]], list[int]]]


@pytest.fixture(scope="module")
def stream() -> Stream:
    return list(frames(seed=3, count=8))


def test_frames_are_1080p_camera_bytes(stream: Stream) -> None:
    for frame, boxes, labels in stream:
        assert frame.shape == (1080, 1920, 3)
        assert frame.dtype == np.uint8
        assert len(boxes) == len(labels)
        assert 21 <= len(boxes) <= 22
        assert frame.std() > 20


def test_boxes_lie_inside_and_apart(stream: Stream) -> None:
    for frame, boxes, _ in stream:
        covered = np.zeros(frame.shape[:2], np.int32)
        for x, y, w, h in boxes:
            assert all(type(v) is int for v in (x, y, w, h))
            assert x >= 0
            assert y >= 0
            assert x + w <= 1920
            assert y + h <= 1080
            covered[y : y + h, x : x + w] += 1
        assert covered.max() == 1


def test_every_class_at_every_size(stream: Stream) -> None:
    sizes = defaultdict(list)
    for _, boxes, labels in stream:
        for (_, _, w, h), label in zip(boxes, labels, strict=True):
            sizes[label].append(max(w, h))
    assert sorted(sizes) == list(range(CLASSES))
    for label, found in sizes.items():
        for (low, high), size in zip(DIAMETERS, sorted(found), strict=True):
            assert 0.75 * low <= size <= 1.25 * high, (label, found)


def test_same_seed_same_pictures_and_a_short_stream_is_a_beginning(stream: Stream) -> None:
    for (frame, boxes, labels), (frame2, boxes2, labels2) in zip(stream, frames(seed=3, count=2), strict=False):
        assert (frame == frame2).all()
        assert boxes == boxes2
        assert labels == labels2
    other, _, _ = next(frames(seed=4, count=1))
    assert (other != stream[0][0]).any()


def test_a_box_is_tight(stream: Stream) -> None:
    """A red disc on grey: its box is where the red is."""
    frame, boxes, labels = next(
        item for item in stream if any(k == 17 and b[2] > 40 for b, k in zip(*item[1:], strict=True))
    )
    (x, y, w, h) = next(b for b, k in zip(boxes, labels, strict=True) if k == 17 and b[2] > 40)
    around = frame[y - 6 : y + h + 6, x - 6 : x + w + 6].astype(int)
    red = around[..., 0] - around[..., 1:].max(axis=2) > 40
    rows, columns = np.flatnonzero(red.sum(1) > 2), np.flatnonzero(red.sum(0) > 2)
    assert abs(rows[0] - 6) <= 3
    assert abs(rows[-1] - (h + 5)) <= 3
    assert abs(columns[0] - 6) <= 3
    assert abs(columns[-1] - (w + 5)) <= 3


def test_a_frame_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="256"):
        next(frames(size=(200, 200)))


def test_the_shipped_atlas_is_what_the_script_draws(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.syspath_prepend(str(repo))
    script = importlib.import_module("examples.draw_signs.__main__")
    assert [name for name, _ in script.SIGNS] == sign_names()
    folder = repo / "python/edgekern/signs/demo"
    assert (folder / "signs.png").stat().st_size < 250_000
    shipped = np.asarray(Image.open(folder / "signs.png").convert("RGBA")).astype(int)
    drawn = np.asarray(script.draw_atlas()).astype(int)
    # Another Pillow may rasterise an edge one supersample off.
    assert np.abs(shipped - drawn).mean() < 0.5
