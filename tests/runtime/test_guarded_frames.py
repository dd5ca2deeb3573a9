# SPDX-License-Identifier: Apache-2.0
"""The caller's memory is read and written exactly: frames, tensors and results end at inaccessible pages."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekern import _core
from edgekern.artifact import Artifact, write
from edgekern.graph import Graph, Port
from edgekern.model import Model
from edgekern.ops import registry
from edgekern.preprocess import CHANNELS, Preprocess
from edgekern.types import DType
from sample_models import Builder, every_op, mixed_elements

sys.path.append(str(Path(__file__).resolve().parents[1] / "kernels"))

from guarded import Guarded, assert_same

CAPS = ["scalar", *(name for name in _core.isa_available() if name != "scalar")]
SIZES = [(1, 1), (1, 37), (41, 1), (2, 3), (19, 16), (23, 33), (61, 83)]  # height, width
ENDS = ["tail", "head"]


def boxes_at_borders(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Boxes of several sizes in every corner and at every side, beyond it, and the whole frame."""
    boxes = [(0, 0, width, height), (-3, -2, width + 7, height + 5)]
    for w, h in {(1, 1), (min(2, width), min(3, height)), (max(1, width // 2), max(1, height - 1))}:
        right, low = width - w, height - h
        boxes += [(x, y, w, h) for x in (0, right // 2, right) for y in (0, low // 2, low)]
        boxes += [(right + w // 2, low + h // 2, w, h), (-(w // 2), -(h // 2), w, h)]
    return boxes


def passing(channels: str, size: tuple[int, int] = (9, 11)) -> bytes:
    """A model that hands its crop through: what the resize reads is what comes out."""
    pre = Preprocess(size, mean=0.2, std=0.5, channels=channels, margin=40)
    b = Builder((1, *size, pre.depth))
    b.add(registry()["MaxPool2D"]((1, 1)), ("t0",), b.shape("t0"), q=b.types["t0"].quant)
    return write(Artifact(b.graph({"y": "t1"}), pre))


def placed(picture: np.ndarray, gap: int, end: str) -> tuple[Guarded, np.ndarray]:
    """The picture in guarded memory that holds its rows, `gap` bytes between them, and not one byte more."""
    height, width, depth = picture.shape
    row, stride = width * depth, width * depth + gap
    memory = Guarded((height - 1) * stride + row, end)
    rows = np.lib.stride_tricks.as_strided(memory.bytes, (height, row), (stride, 1))
    rows[:] = picture.reshape(height, row)
    view = np.lib.stride_tricks.as_strided(memory.bytes, (height, width, depth), (stride, depth, 1))
    return memory, view


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("target", ["rgb", "bgr", "gray"])
def test_frames_are_read_exactly(target: str, end: str, cap: str) -> None:
    models = [Model.from_bytes(passing(target, size), isa=cap) for size in ((9, 11), (24, 24))]
    draw = np.random.default_rng(5)
    for channels, (height, width) in ((c, s) for c in CHANNELS for s in SIZES):
        picture = draw.integers(0, 256, (height, width, CHANNELS[channels])).astype(np.uint8)
        boxes = boxes_at_borders(height, width)
        for model, gap in ((m, g) for m in models for g in (0, 5)):
            memory, frame = placed(picture, gap, end)
            where = (channels, height, width, gap)
            assert_same(model.run_image(frame, boxes, channels), model.run_image(picture, boxes, channels), where)
            upside = model.run_image(frame[::-1], boxes, channels)
            assert_same(upside, model.run_image(picture[::-1].copy(), boxes, channels), where)
            assert_same(model.run_image(frame, None, channels), model.run_image(picture, None, channels), where)
            assert memory.intact()


PERMS = {"nhwc": (0, 1, 2, 3), "nchw": (0, 3, 1, 2)}


def through(shape: tuple[int, ...], kind: DType, layout: str) -> bytes:
    """A model that hands a tensor of any dtype and layout through, as int8, and its softmax as float32."""
    b = Builder(shape)
    y = b.add(registry()["MaxPool2D"]((1, 1)), ("t0",), shape, q=b.types["t0"].quant)
    p = b.softmax(y)
    perm = PERMS[layout]
    given = b.graph({"y": y, "p": p}, kind)
    ports = (Port("y", y, kind, perm), Port("p", p, DType.FLOAT32, perm))
    return write(Artifact(Graph((Port("image", "t0", kind, perm),), ports, given.nodes, given.types, given.constants)))


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", [DType.UINT8, DType.INT8, DType.FLOAT32], ids=lambda kind: kind.name.lower())
def test_tensors_are_read_and_results_written_exactly(kind: DType, end: str, cap: str) -> None:
    draw = np.random.default_rng(6)
    shapes = [(1, 1, 1, 1), (1, 1, 1, 7), (1, 3, 5, 3), (1, 5, 3, 4), (1, 4, 9, 17), (1, 1, 33, 1), (1, 2, 2, 64)]
    for shape, layout in ((s, p) for s in shapes for p in PERMS):
        check_tensors(Model.from_bytes(through(shape, kind, layout), isa=cap), draw, end, (shape, layout))


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("net", [every_op, mixed_elements], ids=["int8", "int16"])
def test_a_net_of_every_operator_keeps_to_its_memory(net: Callable[[], Artifact], end: str, cap: str) -> None:
    check_tensors(Model.from_bytes(write(net()), isa=cap), np.random.default_rng(7), end, net.__name__)


def check_tensors(model: Model, draw: np.random.Generator, end: str, where: object) -> None:
    """Batches of 1 and 3 from guarded memory into guarded memory, as the source has it and raw."""
    (port,) = model.inputs
    for batch, raw in ((1, False), (3, False), (3, True)):
        x = draw.integers(0, 256, (batch, *port.shape[1:])).astype(np.uint8)
        x = x.astype(np.float32) / 200 - 0.1 if port.dtype == np.float32 else x.view(port.dtype)
        expected = model.run(x, raw=raw)
        held = Guarded.holding(x, end)
        results = {name: Guarded(y.nbytes, end) for name, y in expected.items()}
        out = {n: g.view(expected[n].dtype).reshape(expected[n].shape) for n, g in results.items()}
        model.run(held.view(x.dtype).reshape(x.shape), out=out, raw=raw)
        for name, y in expected.items():
            assert_same(out[name].view(np.uint8), y.view(np.uint8), (where, batch, raw, name))
        assert held.intact(), where
        assert all(g.intact() for g in results.values()), where


def dies(call: Callable[[], object]) -> bool:
    """Whether a child process that makes the call dies of SIGSEGV."""
    child = os.fork()
    if child == 0:
        import faulthandler

        faulthandler.disable()
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        call()
        os._exit(0)
    return os.WIFSIGNALED(status := os.waitpid(child, 0)[1]) and os.WTERMSIG(status) == signal.SIGSEGV


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork in a process with threads
def test_one_byte_beyond_is_noticed() -> None:
    """A frame that claims one column, or a tensor that claims one element, more than there is."""
    model = Model.from_bytes(passing("rgb"))
    memory, frame = placed(np.zeros((8, 10, 3), np.uint8), 0, "tail")
    wide = np.lib.stride_tricks.as_strided(frame, (8, 11, 3), (33, 3, 1))
    shifted = np.lib.stride_tricks.as_strided(memory.bytes[1:], (8, 10, 3), (30, 3, 1))
    assert not dies(lambda: model.run_image(frame))
    assert dies(lambda: model.run_image(wide))
    assert dies(lambda: model.run_image(shifted))
    tensors = Model.from_bytes(through((1, 4, 4, 3), DType.UINT8, "nhwc"))
    short = Guarded(48, "tail")
    x = short.bytes.reshape(1, 4, 4, 3)
    assert not dies(lambda: tensors.run(x))
    assert dies(lambda: tensors.run(np.lib.stride_tricks.as_strided(short.bytes[1:], (1, 4, 4, 3), (48, 12, 3, 1))))
