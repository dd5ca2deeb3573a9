# SPDX-License-Identifier: Apache-2.0
"""resize: every row against the NumPy preprocess of the package, byte for byte."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from guarded import CANARY, Guarded, assert_same

from edgekern import _core

FAMILY = "resize"
LUMA = np.array([77, 150, 29], np.int64)


@dataclass(frozen=True)
class Crop:
    """One call: a box of a frame, what becomes of its channels, and how memory lies."""

    width: int
    height: int
    out_w: int = 48
    out_h: int = 48
    source: int = 3  # channels
    channels: int = 3
    order: tuple[int, ...] = (0, 1, 2, 3)
    gray: bool = False
    row_gap: int = 0  # bytes of the frame between two rows of the box
    y_px: int = 0  # 0: channels
    y_gap: int = 0  # bytes between output rows
    flush: str = "tail"

    @property
    def px(self) -> int:
        return self.y_px or self.channels

    @property
    def y_row(self) -> int:
        return self.out_w * self.px + self.y_gap


def tap(d: int, size: int, out: int) -> tuple[int, int, int]:
    """First pixel, second pixel and the weight of the second in 1/2048 (Python integers)."""
    p = min(max((2 * d + 1) * size * 1024 // out - 1024, 0), (size - 1) * 2048)
    return p >> 11, min((p >> 11) + 1, size - 1), p & 2047


def resized(crop: Crop, box: np.ndarray) -> np.ndarray:
    """(out_h, out_w, source) by the formula."""
    y = [tap(d, crop.height, crop.out_h) for d in range(crop.out_h)]
    x = [tap(d, crop.width, crop.out_w) for d in range(crop.out_w)]
    wide = box.astype(np.int64)
    out = np.empty((crop.out_h, crop.out_w, crop.source), np.uint8)
    for row, (j0, j1, g) in enumerate(y):
        for column, (i0, i1, f) in enumerate(x):
            h0 = wide[j0, i0] * (2048 - f) + wide[j0, i1] * f
            h1 = wide[j1, i0] * (2048 - f) + wide[j1, i1] * f
            out[row, column] = (h0 * (2048 - g) + h1 * g + (1 << 21)) >> 22
    return out


def expected(crop: Crop, box: np.ndarray, table: np.ndarray | None) -> np.ndarray:
    pixels = resized(crop, box)
    if crop.gray:
        rgb = pixels[..., list(crop.order[:3])].astype(np.int64)
        v = ((rgb @ LUMA + 128) >> 8).astype(np.uint8)[..., None]
    else:
        v = pixels[..., list(crop.order[: crop.channels])]
    if table is None:
        return v
    return np.stack([table[c][v[..., c]] for c in range(crop.channels)], axis=-1)


def run(kernel: str, crop: Crop, box: np.ndarray, table: np.ndarray | None = None) -> np.ndarray:
    """Runs one row on guarded memory: the box's first and last byte touch a page where `flush` says so."""
    stride = crop.width * crop.source + crop.row_gap
    frame = np.full((crop.height, stride), CANARY, np.uint8)
    frame[:, : crop.width * crop.source] = box.reshape(crop.height, -1)
    source = Guarded.holding(frame.ravel()[: frame.size - crop.row_gap], crop.flush)
    tables = Guarded.holding(table, crop.flush) if table is not None else None
    y = Guarded((crop.out_h - 1) * crop.y_row + (crop.out_w - 1) * crop.px + crop.channels, crop.flush)
    y.bytes[:] = CANARY
    scratch = Guarded(-(-_core.resize_scratch(crop.out_w) // 64) * 64)
    ran = _core.resize_run(
        kernel, box=source.address, row_stride=stride, width=crop.width, height=crop.height, src_channels=crop.source,
        channels=crop.channels, order=[*crop.order, 0, 0, 0][:4], gray=crop.gray, out_w=crop.out_w, out_h=crop.out_h,
        table=tables.address if tables else 0, y=y.address, y_px=crop.px, y_row=crop.y_row, scratch=scratch.address,
    )  # fmt: skip
    assert ran == kernel  # the one that ran is the one asked for
    assert y.intact(), f"{kernel} wrote outside y: {crop}"
    assert scratch.intact(), f"{kernel} wrote outside its scratch: {crop}"
    return y.bytes.copy()


def laid_out(crop: Crop, pixels: np.ndarray) -> np.ndarray:
    """What memory from y on must hold: pixels where they belong, canaries in every gap."""
    memory = np.full((crop.out_h, crop.y_row), CANARY, np.uint8)
    rows = memory[:, : crop.out_w * crop.px].reshape(crop.out_h, crop.out_w, crop.px)
    rows[:, :, : crop.channels] = pixels
    return memory.ravel()[: memory.size - crop.y_gap - (crop.px - crop.channels)]


def draw(crop: Crop, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (crop.height, crop.width, crop.source), np.uint8)


def check(kernel: str, crop: Crop, rng: np.random.Generator, table: np.ndarray | None = None) -> None:
    box = draw(crop, rng)
    assert_same(run(kernel, crop, box, table), laid_out(crop, expected(crop, box, table)), (kernel, crop))


# ---- shapes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [1, 3, 4])
def test_every_small_box(kernel: str, source: int, rng: np.random.Generator) -> None:
    """Width 1 has no second pixel, and the loads of narrow boxes cannot start inside them."""
    for width, height in itertools.product((1, 2, 3, 4, 5, 7, 8, 9), (1, 2, 3, 5)):
        for flush in ("tail", "head"):
            check(kernel, Crop(width, height, 11, 6, source, min(source, 3), flush=flush), rng)


@pytest.mark.parametrize("size", [20, 31, 47, 48, 49, 96, 121, 300])
@pytest.mark.parametrize("flush", ["tail", "head"])
def test_boxes_of_a_camera_frame(kernel: str, size: int, flush: str, rng: np.random.Generator) -> None:
    """Sides of traffic signs, exactly inside their pages: no byte beside the box's rows may be read."""
    check(kernel, Crop(size, size, row_gap=0, flush=flush), rng)
    check(kernel, Crop(size, size // 2, 17, 13, row_gap=1001, flush=flush), rng)


@pytest.mark.parametrize("out_w", range(1, 20))
def test_every_output_width(kernel: str, out_w: int, rng: np.random.Generator) -> None:
    for source, channels in [(1, 1), (1, 3), (3, 1), (3, 3), (4, 3), (4, 4)]:
        order = (0, 0, 0, 0) if source == 1 else (0, 1, 2, 3)
        check(kernel, Crop(23, 9, out_w, 4, source, channels, order), rng)


@pytest.mark.parametrize("y_px", [3, 4, 5, 32])
def test_output_gaps_stay_untouched(kernel: str, y_px: int, rng: np.random.Generator) -> None:
    for channels, out_w in itertools.product((1, 3), (8, 13, 16)):
        check(kernel, Crop(30, 30, out_w, 5, 3, channels, y_px=y_px, y_gap=7), rng)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_every_channel_order(kernel: str, order: tuple[int, ...], rng: np.random.Generator) -> None:
    for source in (3, 4):
        check(kernel, Crop(25, 14, 19, 11, source, 3, order), rng)
        check(kernel, Crop(25, 14, 19, 11, source, 1, order, gray=True), rng)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tables(kernel: str, channels: int, rng: np.random.Generator) -> None:
    """Each channel has its own table; one that is the identity changes nothing."""
    table = np.stack([rng.permutation(256).astype(np.uint8) for _ in range(channels)])
    source = 3 if channels == 1 else channels
    crop = Crop(40, 33, 21, 15, source, channels, gray=channels == 1)
    check(kernel, crop, rng, table)
    identity = np.tile(np.arange(256, dtype=np.uint8), (channels, 1))
    box = draw(crop, rng)
    assert_same(run(kernel, crop, box, identity), run(kernel, crop, box))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_only_identity_tables_are_left_out(channels: int) -> None:
    tables = np.tile(np.arange(256, dtype=np.uint8), (channels, 1))
    assert _core.resize_is_identity(tables.ctypes.data, channels)
    for place in (0, 255, 256 * channels - 1):
        other = tables.copy()
        other.ravel()[place] ^= 1
        assert not _core.resize_is_identity(other.ctypes.data, channels)


def test_a_grey_frame_to_three_tables(kernel: str, rng: np.random.Generator) -> None:
    table = np.stack([rng.permutation(256).astype(np.uint8) for _ in range(3)])
    check(kernel, Crop(31, 29, 20, 9, 1, 3, (0, 0, 0)), rng, table)


# ---- numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1, 127, 128, 254, 255])
def test_a_flat_box_stays_flat(kernel: str, value: int) -> None:
    for source in (1, 3, 4):
        crop = Crop(37, 53, 48, 48, source, min(source, 3))
        box = np.full((53, 37, source), value, np.uint8)
        assert (run(kernel, crop, box) == value).all()


def test_the_same_size_copies(kernel: str, rng: np.random.Generator) -> None:
    crop = Crop(48, 48)
    box = draw(crop, rng)
    assert_same(run(kernel, crop, box), box.ravel())


def test_extremes_side_by_side(kernel: str, rng: np.random.Generator) -> None:
    for size in (13, 48, 97):
        crop = Crop(size, size)
        box = rng.choice(np.array([0, 255], np.uint8), (size, size, 3))
        assert_same(run(kernel, crop, box), laid_out(crop, expected(crop, box, None)), size)


def test_is_the_preprocess_of_the_package(kernel: str, rng: np.random.Generator) -> None:
    """The calibration's resize, the reference and this kernel are one function."""
    preprocess = pytest.importorskip("edgekern.preprocess")
    for width, height in [(20, 25), (121, 97), (300, 299)]:
        crop = Crop(width, height)
        box = draw(crop, rng)
        assert_same(run(kernel, crop, box), preprocess.resize(box, 48, 48).ravel())


def test_rows_of_the_table_agree(rng: np.random.Generator) -> None:
    names = [row["name"] for row in _core.kernels() if row["family"] == FAMILY and row["runs_here"]]
    for source, channels, gray in [(3, 3, False), (4, 1, True), (1, 1, False)]:
        crop = Crop(77, 61, 45, 31, source, channels, gray=gray)
        box = draw(crop, rng)
        results = {name: run(name, crop, box).tobytes() for name in names}
        assert len(set(results.values())) == 1, list(results)


# ---- choice ---------------------------------------------------------------------------------------------------


def test_the_choice_is_the_first_row_within_the_cap() -> None:
    rows = [row for row in _core.kernels() if row["family"] == FAMILY and row["runs_here"]]
    assert _core.resize_select("scalar") == rows[-1]["name"]
    for row in rows:
        assert _core.resize_select(row["isa"]) == row["name"]
    assert _core.resize_select("") == rows[0]["name"]


# ---- can these tests fail? ------------------------------------------------------------------------------------


def test_one_wrong_byte_weight_or_rounding_is_caught(kernel: str, rng: np.random.Generator) -> None:
    crop = Crop(31, 27, 20, 18)
    box = draw(crop, rng)
    found = run(kernel, crop, box)
    assert_same(found, laid_out(crop, expected(crop, box, None)))
    wide, byte, shifted = resized(crop, box).astype(np.int64), found.copy(), box.copy()
    byte[100] ^= 1
    shifted[:, 1:] = box[:, :-1]
    faults = {
        "byte": byte,
        "order": laid_out(crop, expected(replace(crop, order=(2, 1, 0)), box, None)),
        "half a pixel": laid_out(crop, expected(crop, shifted, None)),
        "one step": laid_out(crop, np.minimum(wide + (np.arange(20)[:, None] == 7), 255).astype(np.uint8)),
    }
    for name, fault in faults.items():
        with pytest.raises(AssertionError, match="expected"):
            assert_same(found, fault, name)
