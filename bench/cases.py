# SPDX-License-Identifier: Apache-2.0
"""What is timed: camera frames with the bundled model, and every kernel row this CPU can run on shapes of real layers.

Rows are found by `edgekern._core.kernels()`, no kernel is named here; a test asks that every row has a case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

import edgekern
from edgekern import _core, quant

T = TypeVar("T")
Case = Callable[[], object]

# (kernel rows, contiguous bytes per kernel row, output pixels, output channels): one strip of a convolution
QGEMM = [(1, 16, 576, 32), (1, 32, 6, 10), (1, 32, 24, 64), (1, 96, 12, 96), (1, 160, 6, 160), (1, 512, 1, 64)]
QGEMM += [(3, 144, 12, 48), (1, 128, 1, 128), (1, 64, 1, 10)]
DWCONV = [
    (3, 1, 64, 24),
    (3, 1, 8, 48),
    (3, 2, 16, 24),
    (3, 1, 96, 12),
    (3, 2, 96, 6),
    (5, 1, 64, 12),
]  # kernel, stride, channels, pixels
WINOGRAD = [(24, 32, 64), (56, 64, 64), (7, 512, 128)]  # side of the picture, channels in and out
FIRSTCONV = [
    (3, 9, 6, 24, 32),
    (3, 9, 6, 48, 8),
    (3, 9, 3, 48, 16),
]  # kernel rows, bytes per row, pixel step, pixels, channels
RESIZE = [20, 33, 68, 300]  # box sides, pixels, to 48 x 48 x 3
PIXELS, CHANNELS, CLASSES = 144, 96, 43  # a 12 x 12 picture inside the network, and its end
SLACK = 64
CALL_MACS = 10_000_000  # a call from Python repeats a kernel until it has done about this much
BYTE_MACS = 16  # what a byte of an operator without products counts for


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
            name, w.ctypes.data, kh, 1, kc, bias.ctypes.data, scale.ctypes.data, first, columns, 128
        )
        panels.append((first, columns, [Memory(len(d), rng).put(d) for d in data]))
    rows = [part.at for part in a]

    def run() -> None:
        for first, columns, (panel, b, s) in panels:
            _core.qgemm_run(
                name, rows, kh, 1, kc, kc * element, 0, m, panel.at, b.at, s.at, columns, -128.0, 127.0, 128,
                y.at + first, n, repeats(m * n * kh * kc), first == 0,
            )  # fmt: skip

    return run


def dwconv(name: str, k: int, stride: int, c: int, m: int) -> Case:
    """One output row."""
    rng = np.random.default_rng(0)
    rows = [Memory(((m - 1) * stride + k) * c, rng) for _ in range(k)]
    y = Memory(m * c, rng)
    w = rng.integers(-127, 128, (k, k, c), dtype=np.int8)
    bias, scale = constants(c, rng)
    size, lanes = _core.dwconv_packed_size(name, k, k, stride, c)
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
    panels = [
        _core.firstconv_pack(
            name, w.ctypes.data, kh, row_taps, bias.ctypes.data, scale.ctypes.data, first, min(nr, n - first), 128
        )
        for first in range(0, n, nr)
    ]
    parts = [b"".join(part) for part in zip(*panels, strict=True)]
    at, (panel, b, s) = [row.at for row in rows], [Memory(len(part), rng).put(part) for part in parts]

    def run(keep: object = rows) -> None:
        _core.firstconv_run(
            name, at, row_taps, step, m, panel.at, len(panels[0][0]), b.at, s.at, n, -128.0, 127.0, 128, y.at, n,
            repeats(m * n * kh * row_taps),
        )  # fmt: skip

    return run


def winograd(name: str, side: int, c: int, n: int) -> Case:
    """All panels of a strip of about 32 tiles of a picture."""
    rng = np.random.default_rng(0)
    columns = (side + 1) // 2
    tiles_down = max(1, min(columns, 32 // columns))
    h, tiles, nr = min(side, 2 * tiles_down), tiles_down * columns, _core.winograd_row(name)["nr"]
    rows = [Memory((side + 2) * c + 64, rng) for _ in range(2 * tiles_down + 2)]
    v, sums, y = Memory(32 * (tiles * c + 32), rng), Memory(64 * tiles * nr, rng), Memory(h * side * n, rng)
    w = rng.integers(-127, 128, (n, 3, 3, c), dtype=np.int8)
    bias, scale = constants(n, rng)
    panels = []
    for first in range(0, n, nr):
        data = _core.winograd_pack(
            name, w.ctypes.data, c, bias.ctypes.data, scale.ctypes.data, first, min(nr, n - first), 128
        )
        panels.append((first, [Memory(len(d), rng).put(d) for d in data]))
    at = [row.at for row in rows]
    strip = [side + 2, c, c, tiles_down, columns, tiles * c + 32]

    def run(keep: object = rows) -> None:
        for first, packed in panels:
            _core.winograd_run(
                name, at, strip, v.at, sums.at, [p.at for p in packed], min(nr, n - first), [-128.0, 127.0, 128.0],
                [y.at + first, side * n, n, h, side], repeats(h * side * n * 9 * c),
            )  # fmt: skip

    return run


def resize(name: str, side: int) -> Case:
    """One square box of a frame to the model's input."""
    rng = np.random.default_rng(0)
    frame, y = Memory(side * side * 3, rng), Memory(48 * 48 * 3, rng)
    scratch = Memory(_core.resize_scratch(48), rng)

    def run() -> None:
        _core.resize_run(
            name, frame.at, side * 3, side, side, 3, 3, [0, 1, 2, 0], 0, 48, 48, 0, y.at, 3, 144, scratch.at, 64
        )

    return run


def pool(name: str) -> Iterator[tuple[str, Case]]:
    """One output row of 2 x 2 max and 3 x 3 average; the mean of a picture."""
    rng = np.random.default_rng(0)
    side, c = 12, CHANNELS
    x, y = Memory(side * side * c, rng), Memory(side * c, rng)
    shape, clamp = [side, side, c], [0, 255]

    def one(what: str, k: int, m: int) -> Case:
        again = repeats(m * c * k * k)
        return lambda: _core.pool_run(
            name, what, x.at, shape, c, side * c, [k, k], [2, 2], [0, 0], 2, m, y.at, c, clamp, False, True,
            128, [128, 128], [1.0, 1.0], again,
        )  # fmt: skip

    yield "max", one("max", 2, 6)
    yield "average", one("average", 3, 5)
    again = repeats(side * side * c)
    yield "mean", lambda: _core.pool_mean(name, x.at, shape, c, side * c, 128, 1 / 144, clamp, 128, y.at, again)


def eltwise(name: str) -> Iterator[tuple[str, Case]]:
    """Residual add, affine, byte table and product over one picture."""
    rng = np.random.default_rng(0)
    size, c = PIXELS * CHANNELS, CHANNELS
    a, b, y, table = Memory(size, rng), Memory(size, rng), Memory(size, rng), Memory(256, rng)
    w, (bias, scale) = rng.integers(-127, 128, c, dtype=np.int8), constants(c, rng)
    packed = [Memory(len(data), rng).put(data) for data in (w.tobytes(), bias.tobytes(), scale.tobytes())]
    clamp, again = [0, 255], repeats(BYTE_MACS * size)
    yield (
        "add",
        lambda: _core.eltwise_add(
            name, a.at, b.at, y.at, [c, c, c], PIXELS, c, [128, 120, 131], 599479, 449389, 20, clamp, again
        ),
    )
    yield (
        "affine",
        lambda: _core.eltwise_affine(
            name, a.at, y.at, [c, c], PIXELS, c, *(part.at for part in packed), clamp, 128, again
        ),
    )
    yield "table", lambda: _core.eltwise_table(name, a.at, y.at, [c, c], PIXELS, c, table.at, again)
    yield (
        "mul",
        lambda: _core.eltwise_mul(name, a.at, b.at, y.at, [c, 0, c], PIXELS, c, [128, 120, 131], 1 / 144, clamp, again),
    )


def softmax(name: str) -> Iterator[tuple[str, Case]]:
    """The probabilities of one frame, as floats."""
    rng = np.random.default_rng(0)
    x, p = Memory(CLASSES, rng), Memory(4 * CLASSES, rng)
    table = Memory(1024, rng).put(quant.exp_table(0.1).astype(np.uint32).tobytes())
    again = repeats(BYTE_MACS * CLASSES)
    yield "floats", lambda: _core.softmax_run(name, x.at, CLASSES, table.at, p.at, 0, 1.0, [0, 255], 0, again)


def layernorm(name: str) -> Iterator[tuple[str, Case]]:
    """A picture, every pixel of it normalised."""
    rng = np.random.default_rng(0)
    c, again = CHANNELS, repeats(BYTE_MACS * PIXELS * CHANNELS)
    x, y = Memory(PIXELS * c, rng), Memory(PIXELS * c, rng)
    g, b = (Memory(4 * c, rng).put(rng.normal(0, 32, c).astype(np.float32).tobytes()) for _ in range(2))
    yield (
        "picture",
        lambda: _core.layernorm_run(name, x.at, y.at, [c, c], PIXELS, c, 4.0, g.at, b.at, [0, 255], 128, again),
    )


def edge(name: str) -> Iterator[tuple[str, Case]]:
    """A picture of floats to bytes, and back."""
    rng = np.random.default_rng(0)
    size = PIXELS * CHANNELS
    real = rng.uniform(-150, 150, size).astype(np.float32)  # some beyond the bytes
    floats, made = Memory(4 * size, rng).put(real.tobytes()), Memory(4 * size, rng)
    x, y = Memory(size, rng), Memory(size, rng)
    extent, wide, narrow = [1, 1, 1, 1, 1, size], [0, 0, 0, 0, 0, 4], [0, 0, 0, 0, 0, 1]
    again = repeats(BYTE_MACS * size)
    yield (
        "quantise",
        lambda: _core.edge_run(name, "quantise", floats.at, y.at, extent, wide, narrow, 1.0, 128, 0, again),
    )
    yield (
        "dequantise",
        lambda: _core.edge_run(name, "dequantise", x.at, made.at, extent, narrow, wide, 1.0, 128, 0, again),
    )


def interpolate(name: str) -> Iterator[tuple[str, Case]]:
    """One row of a picture at twice its size: between pixels, and nearest."""
    rng = np.random.default_rng(0)
    side, c = 12, CHANNELS
    x, y = Memory(2 * side * c, rng), Memory(2 * side * c, rng)
    for what, places in (("linear", 1024 * np.arange(2 * side - 1)), ("nearest", np.arange(2 * side) // 2 * 2048)):
        columns = places.astype(np.int32)
        m, weight = len(columns), 512 if what == "linear" else 0
        yield (
            what,
            lambda at=columns, m=m, weight=weight: _core.interpolate_run(
                name, x.at, x.at + side * c, weight, at.ctypes.data, m, c, c, y.at, c, repeats(BYTE_MACS * m * c)
            ),
        )


def move(name: str) -> Iterator[tuple[str, Case]]:
    """A picture into a slice of wider pixels, through a byte table, as concat does; the halo of a picture."""
    rng = np.random.default_rng(0)
    side, c = 12, CHANNELS
    x, y, table = Memory(side * side * c, rng), Memory((side + 2) ** 2 * 2 * c, rng), Memory(256, rng)
    extent = [1, 1, 1, side, side, c]
    source, target = [0, 0, 0, side * c, c, 1], [0, 0, 0, side * 2 * c, 2 * c, 1]
    again = repeats(BYTE_MACS * side * side * c)
    yield "copy", lambda: _core.move_copy(name, x.at, y.at, extent, source, target, table.at, again)
    yield "halo", lambda: _core.move_halo(name, [side, side, c], [1, 1, 1, 1], c, (side + 2) * c, y.at, 128, 4 * again)


def wide(name: str) -> Iterator[tuple[str, Case]]:
    """int16 to int16: a strip of a convolution, a depthwise row, an add and a mean of a picture."""
    rng = np.random.default_rng(0)
    side, c, k = 12, CHANNELS, 144
    tile = _core.wide_row(name)
    x, other, y = (Memory(2 * side * (side + 2) * c, rng) for _ in range(3))
    w, (bias, scale) = rng.integers(-127, 128, (tile["nr"], k), dtype=np.int8), constants(c, rng)
    panel = [
        Memory(len(data), rng).put(data)
        for data in _core.wide_pack(name, w.ctypes.data, k, bias.ctypes.data, scale.ctypes.data, 0, tile["nr"])
    ]
    deep = [Memory(len(d), rng).put(d) for d in (rng.bytes(9 * c), bias.tobytes(), scale.tobytes())]
    rows, out = [x.at + 2 * c * side * ky for ky in range(3)], [-32768, 32767, 0, 1]
    tile_of, weights = [8, k, tile["nr"]], [part.at for part in panel]
    again, to, px = repeats(2 * 8 * k * tile["nr"]), [y.at, 2 * c], 2 * c
    yield "conv", lambda: _core.wide_conv(name, [x.at, other.at], tile_of, weights, out, to, again)
    taps, deep_at = repeats(2 * 9 * side * c), [part.at for part in deep]
    shape = [3, side - 2, c]
    yield "dwconv", lambda: _core.wide_dwconv(name, rows, shape, [px, px], [1, 0], deep_at, out, to, taps)
    size, bytes_ = [side * side, c], repeats(BYTE_MACS * side * side * c)
    sides = [[part.at, px, 1, 0] for part in (x, other)]
    yield "add", lambda: _core.wide_pairs(name, "add", *sides, size, [0.5, 0.75], out, to, bytes_)
    yield "mul", lambda: _core.wide_pairs(name, "mul", *sides, size, [1e-4, 0], out, to, bytes_)
    yield "mean", lambda: _core.wide_mean(name, sides[0], [side, side, c], 1 / 144, out, y.at, bytes_)


def shapes_of(name: str, shapes: list[T]) -> list[T]:
    """The shapes a row is timed on; a scalar row, the same loop at any size, on the first and the last."""
    return shapes[:: len(shapes) - 1] if name.endswith("_scalar") else shapes


def kernel_cases() -> dict[str, Case]:
    """Every row this CPU can run, on shapes it takes."""

    def every() -> Iterator[tuple[str, Case]]:
        for name in rows_of("qgemm"):
            for kh, kc, m, n in shapes_of(name, QGEMM):
                if _core.qgemm_fits(name, m, n, kh * kc, False, kh):
                    yield f"{name}/{kh}x{kc}x{m}x{n}", qgemm(name, kh, kc, m, n)
        for name in rows_of("dwconv"):
            for k, stride, c, m in shapes_of(name, DWCONV):
                if _core.dwconv_fits(name, k, k, stride, 1, c, m, dense=True):
                    yield f"{name}/{k}x{k}s{stride}_{m}x{c}", dwconv(name, k, stride, c, m)
        for name in rows_of("firstconv"):
            for kh, row_taps, step, m, n in shapes_of(name, FIRSTCONV):
                if _core.firstconv_fits(name, kh, row_taps, 1, n, m, step):
                    yield f"{name}/{kh}x{row_taps}x{step}x{m}x{n}", firstconv(name, kh, row_taps, step, m, n)
        for name in rows_of("winograd"):
            for side, c, n in shapes_of(name, WINOGRAD):
                yield f"{name}/{side}x{side}x{c}x{n}", winograd(name, side, c, n)
        for name in rows_of("resize"):
            for side in shapes_of(name, RESIZE):
                yield f"{name}/{side}", resize(name, side)
        for family in (pool, eltwise, softmax, layernorm, edge, move, interpolate, wide):
            for name in rows_of(family.__name__):
                for what, case in family(name):
                    yield f"{name}/{what}", case

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
