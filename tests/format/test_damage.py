# SPDX-License-Identifier: Apache-2.0
"""A damaged file is refused, and the refusal says where."""

from __future__ import annotations

import numpy as np
import pytest
from ekm_fields import File

from edgekern import _core
from edgekern.artifact import write
from edgekern.errors import CorruptModelError, ModelFormatError, VersionError
from sample_models import every_op


@pytest.fixture(scope="module")
def data() -> bytes:
    return write(every_op())


def test_the_whole_file_loads(data: bytes) -> None:
    _core.Session(_core.Model(data), selftest=True)


def test_every_truncation_is_refused(data: bytes) -> None:
    tables = File.of(data).starts["strings"]
    lengths = [*range(tables), *range(tables, len(data), 37), len(data) - 1]
    for length in lengths:
        with pytest.raises(CorruptModelError) as refusal:
            _core.Model(data[:length])
        assert refusal.value.field == "file_size" or (length < 8 and refusal.value.field == "magic"), length
        assert refusal.value.offset in (16, length)


def test_bytes_behind_the_end_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptModelError) as refusal:
        _core.Model(data + b"\0")
    assert refusal.value.field == "file_size"


def test_every_flipped_bit_is_refused(data: bytes) -> None:
    """Every bit of header and section table, one bit of every byte of the tables, a sample of the rest."""
    file, draw = File.of(data), np.random.default_rng(5)
    flips = [(i, bit) for i in range(file.starts["graph"]) for bit in range(8)]
    flips += [(i, int(draw.integers(8))) for i in range(file.starts["graph"], file.starts["strings"])]
    flips += [(int(i), int(draw.integers(8))) for i in draw.integers(file.starts["strings"], len(data), 500)]
    for at, bit in flips:
        damaged = bytearray(data)
        damaged[at] ^= 1 << bit
        with pytest.raises(ModelFormatError) as refusal:
            _core.Model(damaged)
        if isinstance(refusal.value, VersionError):
            assert 8 <= at < 16
        elif at >= 32 or (24 <= at < 28 and refusal.value.field == "sha256"):  # a smaller, legal section count
            assert (refusal.value.field, refusal.value.offset) == ("sha256", 32)
        else:
            assert refusal.value.offset <= at < refusal.value.offset + 8, (at, refusal.value)


def test_the_error_says_what_where_and_what_to_do(data: bytes) -> None:
    with pytest.raises(CorruptModelError, match=r"byte 32, sha256: .*damaged or edited; fetch it again"):
        _core.Model(data[:-1] + bytes([data[-1] ^ 1]))
