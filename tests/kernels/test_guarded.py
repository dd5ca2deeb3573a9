# SPDX-License-Identifier: Apache-2.0
"""The instruments themselves: a guard page kills, a canary tells."""

from __future__ import annotations

import ctypes
import os
import signal

import numpy as np
import pytest
from guarded import Guarded, assert_same


def dies_reading(address: int) -> bool:
    """Whether a child process that reads one byte there dies of SIGSEGV."""
    child = os.fork()
    if child == 0:
        import faulthandler

        faulthandler.disable()
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        ctypes.string_at(address, 1)
        os._exit(0)
    return os.WIFSIGNALED(status := os.waitpid(child, 0)[1]) and os.WTERMSIG(status) == signal.SIGSEGV


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork in a process with threads
@pytest.mark.parametrize("size", [1, 4095, 4096, 5000])
def test_one_byte_too_far_dies(size: int) -> None:
    tail, head = Guarded(size, "tail"), Guarded(size, "head")
    assert not dies_reading(tail.address + size - 1)
    assert dies_reading(tail.address + size)
    assert not dies_reading(head.address)
    assert dies_reading(head.address - 1)
    slack = Guarded(size, "tail", behind=3)
    assert not dies_reading(slack.address + size + 2)
    assert dies_reading(slack.address + size + 3)


def test_a_changed_canary_is_seen() -> None:
    memory = Guarded(100, "tail", behind=8)
    memory.bytes[:] = 0
    assert memory.intact()
    ctypes.memset(memory.address + 100, 1, 1)
    assert not memory.intact()


def test_one_different_byte_is_named() -> None:
    expected = np.zeros((3, 4), np.uint8)
    actual = expected.copy()
    actual[2, 1] = 9
    with pytest.raises(AssertionError, match=r"kernel: at \(2, 1\): 9, expected 0"):
        assert_same(actual, expected, "kernel")
    with pytest.raises(AssertionError, match="shape"):
        assert_same(actual[:2], expected)
