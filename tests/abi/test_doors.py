# SPDX-License-Identifier: Apache-2.0
"""The same golden frames through pybind11, cffi and a C99 program: the same bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekern.artifact import Artifact, write
from edgekern.errors import EdgekernError
from edgekern.model import Model
from edgekern.types import DType, Quant, TensorType
from native import program, run
from sample_models import Builder, classifier

HERE = Path(__file__).parent
CLASSES = 5


@dataclass(frozen=True)
class Golden:
    """A model file, a batch of tensors, a frame with boxes, and what Python makes of them."""

    path: Path
    tensors: np.ndarray
    frame: np.ndarray
    boxes: np.ndarray
    of_tensors: bytes
    of_boxes: bytes


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Golden:
    draw = np.random.default_rng(3)
    data = write(classifier())
    path = tmp_path_factory.mktemp("golden") / "golden.ekm"
    path.write_bytes(data)
    tensors = draw.integers(0, 256, (7, 24, 24, 3)).astype(np.uint8)
    frame = draw.integers(0, 256, (120, 160, 3)).astype(np.uint8)
    boxes = np.array([[0, 0, 160, 120], [30, 20, 24, 24], [-9, 100, 40, 40], [150, 3, 99, 1], [7, 7, 1, 1]], np.int32)
    model = Model.from_bytes(data)
    y = model.run(tensors)
    assert len(np.unique(y)) > 20, "a constant answer would prove nothing"
    return Golden(path, tensors, frame, boxes, y.tobytes(), model.run_image(frame, boxes).tobytes())


def test_c99_program_gives_the_same_bytes(golden: Golden, tmp_path: Path) -> None:
    exe = program(HERE / "golden.c")
    files = {name: tmp_path / name for name in ("tensors", "frame", "boxes", "out")}
    files["tensors"].write_bytes(golden.tensors.tobytes())
    files["frame"].write_bytes(golden.frame.tobytes())
    files["boxes"].write_bytes(golden.boxes.tobytes())
    height, width = golden.frame.shape[:2]

    def output(*arguments: object) -> bytes:
        done = run(exe, *arguments)
        assert done.returncode == 0, done.stderr
        return files["out"].read_bytes()

    assert output("run", golden.path, files["tensors"], len(golden.tensors), files["out"]) == golden.of_tensors
    boxes = (files["boxes"], len(golden.boxes), files["out"])
    assert output("regions", golden.path, files["frame"], width, height, *boxes) == golden.of_boxes


class Cffi:
    """A session through edgekern.capi."""

    def __init__(self, path: Path, **options: Any) -> None:
        capi = pytest.importorskip("edgekern.capi", reason="needs cffi", exc_type=ImportError)
        self.capi, self.ffi, self.lib = capi, capi.ffi, capi.lib
        model = self.ffi.new("ek_model **")
        capi.check(self.lib.ek_model_load_file(str(path).encode(), model))
        chosen = self.ffi.new("ek_session_options *", {"struct_size": self.ffi.sizeof("ek_session_options"), **options})
        session = self.ffi.new("ek_session **")
        capi.check(self.lib.ek_session_create(model[0], chosen, session))
        self.output = self.ffi.new("ek_tensor_info *", {"struct_size": self.ffi.sizeof("ek_tensor_info")})
        capi.check(self.lib.ek_model_output(model[0], 0, self.output))
        self.lib.ek_model_free(model[0])
        self.session = self.ffi.gc(session[0], self.lib.ek_session_free)

    def buffer(self, array: np.ndarray) -> Any:
        return self.ffi.new("ek_buffer *", (self.ffi.from_buffer(array), array.nbytes))


def test_cffi_gives_the_same_bytes(golden: Golden) -> None:
    c = Cffi(golden.path, max_batch=8, selftest=1)
    y = np.zeros((len(golden.tensors), CLASSES), np.float32)
    c.capi.check(c.lib.ek_session_run(c.session, c.buffer(golden.tensors), 1, c.buffer(y), 1, len(y), 0))
    assert y.tobytes() == golden.of_tensors
    y = np.zeros((len(golden.boxes), CLASSES), np.float32)
    height, width = golden.frame.shape[:2]
    pixels = c.ffi.from_buffer("uint8_t[]", golden.frame)
    frame = c.ffi.new("ek_frame *", (c.ffi.sizeof("ek_frame"), pixels, width, height, width * 3, c.lib.EK_RGB))
    boxes = c.ffi.from_buffer("ek_box[]", golden.boxes)
    c.capi.check(c.lib.ek_session_run_regions(c.session, frame, boxes, len(golden.boxes), c.buffer(y), 1, 0))
    assert y.tobytes() == golden.of_boxes


def of_one_conv(wide: bool) -> bytes:
    """A convolution whose result is int16, or int8."""
    b = Builder((1, 6, 7, 3))
    y = b.conv("t0", 5, 3)
    if wide:
        b.types[y] = TensorType(b.shape(y), DType.INT16, Quant(2.0**-12, 0))
        b.nodes[0] = replace(b.nodes[0], op=replace(b.nodes[0].op, clamp=(-32768, 32767)))
    return write(Artifact(b.graph({"y": y})))


@pytest.mark.parametrize("wide", [False, True], ids=["int8", "int16"])
def test_a_caller_knows_what_a_raw_output_is(wide: bool, tmp_path: Path) -> None:
    """Before the first run: dtype and so the bytes of the buffer."""
    data = of_one_conv(wide)
    (tmp_path / "net.ekm").write_bytes(data)
    c = Cffi(tmp_path / "net.ekm")
    kinds = {c.lib.EK_INT8: np.int8, c.lib.EK_INT16: np.int16}
    assert c.output.dtype == c.lib.EK_FLOAT32
    x = np.random.default_rng(4).integers(0, 256, (1, 6, 7, 3)).astype(np.uint8)
    y = np.zeros(tuple(c.output.shape)[: c.output.rank], kinds[c.output.inside])
    c.capi.check(c.lib.ek_session_run(c.session, c.buffer(x), 1, c.buffer(y), 1, 1, 1))
    want = Model.from_bytes(data, selftest=False).run(x, raw=True)
    assert want.dtype == y.dtype == (np.int16 if wide else np.int8)
    assert np.array_equal(y, want)
    assert len(np.unique(y)) > 20


def test_refusals_carry_words(golden: Golden) -> None:
    with pytest.raises(EdgekernError, match=r"65 threads; a session takes at most 64"):
        Cffi(golden.path, threads=65)
    c = Cffi(golden.path)
    with pytest.raises(EdgekernError, match="struct_size"):
        c.capi.check(c.lib.ek_session_memory(c.session, c.ffi.new("ek_memory_info *")))
    with pytest.raises(EdgekernError, match="null pointer"):
        c.capi.check(c.lib.ek_session_run(c.session, c.ffi.NULL, 1, c.ffi.NULL, 1, 1, 0))
    for bytes_given in (0, 1, 24 * 24 * 3 + 1):
        x = np.zeros(max(bytes_given, 1), np.uint8)
        y = np.zeros(CLASSES, np.float32)
        given = c.ffi.new("ek_buffer *", (c.ffi.from_buffer(x), bytes_given))
        with pytest.raises(EdgekernError, match="1728"):
            c.capi.check(c.lib.ek_session_run(c.session, given, 1, c.buffer(y), 1, 1, 0))


def test_an_older_caller_with_a_shorter_struct_is_served(golden: Golden) -> None:
    """Structs grow at their end: a caller compiled against a shorter one gets the fields it knows."""
    c = Cffi(golden.path)
    info = c.ffi.new("ek_memory_info *")
    info.struct_size = c.ffi.offsetof("ek_memory_info", "scratch")
    c.capi.check(c.lib.ek_session_memory(c.session, info))
    assert info.weights > 0
    assert (info.scratch, info.total) == (0, 0)
