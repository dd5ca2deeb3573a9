# SPDX-License-Identifier: Apache-2.0
"""A libedgekern that a test has built, asked through its C ABI beside the one in the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekern.types import Array


class Library:
    """One shared library; symbols stay its own, so that many can be loaded."""

    def __init__(self, path: Path) -> None:
        self.capi = pytest.importorskip("edgekern.capi", reason="needs cffi", exc_type=ImportError)
        self.ffi = self.capi.ffi
        self.lib: Any = self.ffi.dlopen(str(path))

    def _check(self, status: int) -> None:
        assert status == self.lib.EK_OK, self.ffi.string(self.lib.ek_last_error()).decode()

    @contextmanager
    def session(self, model: bytes, isa: str, batch: int) -> Iterator[Any]:
        made, session = self.ffi.new("ek_model **"), self.ffi.new("ek_session **")
        self._check(self.lib.ek_model_load(self.ffi.from_buffer(model), len(model), made))
        cap = self.ffi.new("char[]", isa.encode())
        size = self.ffi.sizeof("ek_session_options")
        options = {"struct_size": size, "isa": cap, "max_batch": batch, "threads": 1}
        try:
            self._check(self.lib.ek_session_create(made[0], self.ffi.new("ek_session_options *", options), session))
        finally:
            self.lib.ek_model_free(made[0])
        try:
            yield session[0]
        finally:
            self.lib.ek_session_free(session[0])

    def run(self, model: bytes, isa: str, inputs: list[Array], want: list[Array]) -> list[Array]:
        """Outputs for a batch of tensors; `want` tells their shapes and types."""
        made = [np.zeros_like(y) for y in want]
        with self.session(model, isa, len(want[0])) as session:
            given, taken = self._buffers(inputs), self._buffers(made)
            counts = len(inputs), taken, len(made), len(want[0])
            self._check(self.lib.ek_session_run(session, given, *counts, 0))
        return made

    def run_regions(self, model: bytes, isa: str, frame: Array, channels: int, boxes: Array, want: Array) -> Array:
        """The int8 output for boxes (int32 [n, 4]) of a dense frame; `channels` is an EK_ number."""
        made = np.zeros_like(want)
        height, width, depth = frame.shape
        picture = self.ffi.new("ek_frame *", {"struct_size": self.ffi.sizeof("ek_frame"), "width": width})
        picture.data, picture.height = self.ffi.from_buffer("uint8_t[]", frame), height
        picture.row_stride, picture.channels = width * depth, channels
        with self.session(model, isa, len(boxes)) as session:
            rows = self.ffi.from_buffer("ek_box[]", boxes)
            outputs = self._buffers([made])
            self._check(self.lib.ek_session_run_regions(session, picture, rows, len(boxes), outputs, 1, 1))
        return made

    def rows(self, model: bytes, isa: str) -> list[str]:
        """Names of the kernels of a plan."""
        with self.session(model, isa, 1) as session:
            count = self.ffi.new("int32_t *")
            self._check(self.lib.ek_session_op_count(session, count))
            names = []
            for i in range(count[0]):
                op = self.ffi.new("ek_op_info *", {"struct_size": self.ffi.sizeof("ek_op_info")})
                self._check(self.lib.ek_session_op(session, i, op))
                names.append(self.ffi.string(op.kernel).decode())
            return names

    def _buffers(self, arrays: list[Array]) -> Any:
        buffers = self.ffi.new("ek_buffer[]", len(arrays))
        for buffer, array in zip(buffers, arrays, strict=True):
            buffer.data, buffer.bytes = self.ffi.from_buffer(array), array.nbytes
        return buffers
