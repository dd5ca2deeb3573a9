# SPDX-License-Identifier: Apache-2.0
"""What is timed: camera frames with the bundled model, and every kernel row this CPU can run on shapes of real layers.

Rows are found by `edgekern._core.kernels()`, so a new kernel is benched without an edit here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

import edgekern
from edgekern import _core

Case = Callable[[], object]

# (kernel rows, contiguous bytes per kernel row, output pixels, output channels): one strip of a convolution
QGEMM = [(1, 16, 576, 32), (1, 32, 6, 10), (1, 32, 24, 64), (1, 96, 12, 96), (1, 160, 6, 160), (1, 512, 1, 64)]
QGEMM += [(3, 144, 12, 48)]
DWCONV = [(3, 1, 64, 24), (3, 1, 96, 12), (3, 2, 96, 6), (5, 1, 64, 12)]  # kernel, stride, channels, pixels
FIRSTCONV = [(3, 9, 6, 24, 32), (3, 9, 3, 48, 16)]  # kernel rows, bytes per row, pixel step, pixels, channels
RESIZE = [20, 33, 68, 300]  # box sides, pixels, to 48 x 48 x 3
SLACK = 64
CALL_MACS = 10_000_000  # a call from Python repeats a kernel until it has done about this much


def rows_of(family: str) -> list[str]:
    """Names of a family's rows that this CPU can run."""
    return [k["name"] for k in _core.kernels() if k["family"] == family and k["runs_here"]]


class Memory:
    """64-aligned random bytes with readable slack at both ends; `at` is their address."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self._bytes = rng.integers(0, 256, size + 4 * SLACK, dtype=np.uint8)
        start = self._bytes.ctypes.data + SLACK
        self.at = start + (-start) % 64
        self._offset = self.at - self._bytes.ctypes.data
        self._size = size

    def put(self, data: bytes) -> Memory:
        self._bytes[self._offset : self._offset + len(data)] = np.frombuffer(data, np.uint8)
        return self


def repeats(macs: int) -> int:
    """Rounds of a kernel per call, so that the way into C++ does not count."""
    return max(1, CALL_MACS // macs)


def constants(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Bias and scale of n channels that spread results over the bytes."""
    return rng.integers(-999, 999, n, dtype=np.int32), np.full(n, 2e-3, np.float32)


def qgemm(name: str, kh: int, kc: int, m: int, n: int) -> Case:
    """All panels of one strip."""
    rng = np.random.default_rng(0)
    tile = _core.qgemm_row(name)
    element = 2 if tile["elem"] == "s16" else 1
    a = [Memory(m * kc * element, rng) for _ in range(kh)]
    y = Memory(m * n, rng)
    w = rng.integers(-127, 128, (n, kh, kc), dtype=np.int8)
    bias, scale = constants(n, rng)
    panels = []
    for first in range(0, n, tile["nr"]):
        columns = min(tile["nr"], n - first)
        data = _core.qgemm_pack(
            name, w.ctypes.data, kh, 1, kc, False, bias.ctypes.data, scale.ctypes.data, first, columns, 128
        )
        panels.append((first, columns, [Memory(len(d), rng).put(d) for d in data]))
    rows = [part.at for part in a]

    def run() -> None:
        for first, columns, (panel, b, s) in panels:
            _core.qgemm_run(
                name, rows, kh, 1, kc, kc * element, 0, m, panel.at, b.at, s.at, columns, -128.0, 127.0, 128,
                y.at + first, n, repeats(m * n * kh * kc),
            )  # fmt: skip

    return run


def dwconv(name: str, k: int, stride: int, c: int, m: int) -> Case:
    """One output row."""
    rng = np.random.default_rng(0)
    rows = [Memory(((m - 1) * stride + k) * c, rng) for _ in range(k)]
    y = Memory(m * c, rng)
    w = rng.integers(-127, 128, (k, k, c), dtype=np.int8)
    bias, scale = constants(c, rng)
    size, lanes = _core.dwconv_packed_size(name, k, k, c)
    packed = Memory(size, rng), Memory(4 * lanes, rng), Memory(4 * lanes, rng)
    _core.dwconv_pack(
        name, k, k, stride, c, w.ctypes.data, bias.ctypes.data, scale.ctypes.data, 128, *(p.at for p in packed)
    )
    at = [row.at for row in rows]

    def run(keep: object = (rows, packed)) -> None:
        _core.dwconv_run(
            name,
            k,
            k,
            stride,
            1,
            m,
            c,
            at,
            c,
            *(p.at for p in packed),
            -128.0,
            127.0,
            128,
            y.at,
            c,
            repeats(m * c * k * k),
        )

    return run


def firstconv(name: str, kh: int, row_taps: int, step: int, m: int, n: int) -> Case:
    """All panels of one output row."""
    rng = np.random.default_rng(0)
    rows = [Memory(m * step + row_taps, rng) for _ in range(kh)]
    y = Memory(m * n, rng)
    w = rng.integers(-127, 128, (n, kh, row_taps), dtype=np.int8)
    bias, scale = constants(n, rng)
    nr = _core.firstconv_row(name)["nr"]
    panels = []
    for first in range(0, n, nr):
        columns = min(nr, n - first)
        data = _core.firstconv_pack(
            name, w.ctypes.data, kh, row_taps, bias.ctypes.data, scale.ctypes.data, first, columns, 128
        )
        panels.append((first, columns, [Memory(len(d), rng).put(d) for d in data]))
    at = [row.at for row in rows]

    def run(keep: object = rows) -> None:
        for first, columns, (panel, b, s) in panels:
            _core.firstconv_run(
                name, at, row_taps, step, m, panel.at, b.at, s.at, columns, -128.0, 127.0, 128, y.at + first, n,
                repeats(m * n * kh * row_taps),
            )  # fmt: skip

    return run


def resize(name: str, side: int) -> Case:
    """One square box of a frame to the model's input."""
    rng = np.random.default_rng(0)
    frame, y = Memory(side * side * 3, rng), Memory(48 * 48 * 3, rng)
    scratch = Memory(_core.resize_scratch(48, 3), rng)

    def run() -> None:
        _core.resize_run(
            name, frame.at, side * 3, side, side, 3, 3, [0, 1, 2, 0], 0, 48, 48, 0, y.at, 3, 144, scratch.at, 64
        )

    return run


def kernel_cases() -> dict[str, Case]:
    """Every row of the families with hand-written kernels on every shape it takes."""

    def every() -> Iterator[tuple[str, Case]]:
        for name in rows_of("qgemm"):
            for kh, kc, m, n in QGEMM:
                if _core.qgemm_fits(name, m, n, kh * kc, False, kh):
                    yield f"{name}/{kh}x{kc}x{m}x{n}", qgemm(name, kh, kc, m, n)
        for name in rows_of("dwconv"):
            for k, stride, c, m in DWCONV:
                if _core.dwconv_fits(name, k, k, stride, 1, c, m):
                    yield f"{name}/{k}x{k}s{stride}_{m}x{c}", dwconv(name, k, stride, c, m)
        for name in rows_of("firstconv"):
            for kh, row_taps, step, m, n in FIRSTCONV:
                if _core.firstconv_fits(name, kh, row_taps, 1, n, m):
                    yield f"{name}/{kh}x{row_taps}x{step}x{m}x{n}", firstconv(name, kh, row_taps, step, m, n)
        for name in rows_of("resize"):
            for side in RESIZE:
                yield f"{name}/{side}", resize(name, side)

    return dict(every())


def frame_cases() -> dict[str, Case]:
    """The bundled model on crops and on boxes of a camera frame, under every single cap."""
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    boxes = [(40 + 110 * i, 30 + 40 * i, side, side) for i, side in enumerate((20, 24, 28, 33, 33, 40, 52, 68, 121))]
    cases: dict[str, Case] = {}
    for cap in edgekern.isa_available():
        classifier = edgekern.SignClassifier(isa=cap)
        height, width = classifier.model.preprocess.size  # type: ignore[union-attr]
        crop = rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8)
        cases[f"classify_crop/{cap}"] = lambda m=classifier.model, x=crop: m.run(x)
        cases[f"classify_9_boxes/{cap}"] = lambda c=classifier: c.classify_regions(frame, boxes)
    return cases


def cases() -> dict[str, Case]:
    """All of them."""
    return {**frame_cases(), **kernel_cases()}
