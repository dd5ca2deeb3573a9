# SPDX-License-Identifier: Apache-2.0
"""Loading a path through the C ABI: what cannot be a model file is named as what it is."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from edgekern import _core
from edgekern.artifact import write
from sample_models import classifier

INVALID_ARGUMENT = 1


def load(path: Path) -> tuple[int, str, str]:
    """Status, text and field of ek_model_load_file."""
    lib = ctypes.CDLL(_core.__file__)
    lib.ek_last_error.restype = lib.ek_last_error_field.restype = ctypes.c_char_p
    lib.ek_model_free.argtypes = [ctypes.c_void_p]
    model = ctypes.c_void_p()
    status = lib.ek_model_load_file(str(path).encode(), ctypes.byref(model))
    lib.ek_model_free(model)
    assert (status == 0) == (model.value is not None)
    return status, lib.ek_last_error().decode(), lib.ek_last_error_field().decode()


def test_a_file_loads(tmp_path: Path) -> None:
    path = tmp_path / "net.ekm"
    path.write_bytes(write(classifier()))
    assert load(path)[0] == 0


def test_a_directory_is_called_one(tmp_path: Path) -> None:
    status, text, field = load(tmp_path)
    assert (status, field) == (INVALID_ARGUMENT, "path")
    assert "directory" in text


def test_a_device_is_no_file() -> None:
    status, text, field = load(Path("/dev/zero"))
    assert (status, field) == (INVALID_ARGUMENT, "path")
    assert "no regular file" in text


def test_a_missing_file_has_the_systems_reason(tmp_path: Path) -> None:
    status, text, _ = load(tmp_path / "absent.ekm")
    assert status == INVALID_ARGUMENT
    assert "No such file" in text


def test_a_short_read_says_so() -> None:
    """Files of /sys say that they have a page and give a line."""
    path = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not path.is_file() or path.stat().st_size <= len(path.read_bytes()):
        pytest.skip("no file here is shorter than its size")
    status, text, field = load(path)
    assert (status, field) == (INVALID_ARGUMENT, "path")
    assert f"it ends after {len(path.read_bytes())} of its {path.stat().st_size} bytes" in text
