# SPDX-License-Identifier: Apache-2.0
"""Memory that notices: operands between inaccessible pages, results between canaries.

A kernel that reads or writes one byte outside an operand placed flush against a page dies of SIGSEGV (pytest's
faulthandler prints the test); one that writes inside the pages but outside its tile changes a canary.
"""

from __future__ import annotations

import ctypes
import mmap
import weakref
from collections.abc import Iterator

import numpy as np

PAGE = mmap.PAGESIZE
CANARY = 0xC3
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class _Pages:
    """Readable pages between two inaccessible ones; arrays made from them keep them mapped."""

    def __init__(self, size: int) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        start = _LIBC.mmap(None, size + 2 * PAGE, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
        if start == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "mmap")
        weakref.finalize(self, _LIBC.munmap, start, size + 2 * PAGE)
        for guard in (start, start + PAGE + size):
            if _LIBC.mprotect(guard, PAGE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        self.address = start + PAGE
        self.__array_interface__ = {"version": 3, "shape": (size,), "typestr": "|u1", "data": (self.address, False)}


class Guarded:
    """`size` bytes that end (or begin) at an inaccessible page.

    `behind` more bytes after them are readable (an operand's documented slack); they hold canaries, as does the
    rest of the readable pages. `flush` says which end touches its guard page: "tail" or "head".
    """

    def __init__(self, size: int, flush: str = "tail", behind: int = 0) -> None:
        pages = _Pages(-(-(size + behind) // PAGE) * PAGE or PAGE)
        self._all = np.asarray(pages)
        self._all[:] = CANARY
        offset = {"tail": self._all.size - size - behind, "head": 0}[flush]
        self._around = np.delete(np.arange(self._all.size), slice(offset, offset + size))
        self.address = pages.address + offset
        self.bytes = self._all[offset : offset + size]

    @classmethod
    def holding(cls, array: np.ndarray, flush: str = "tail", behind: int = 0) -> Guarded:
        """Guarded memory with a copy of `array`'s bytes."""
        raw = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        memory = cls(raw.size, flush, behind)
        memory.bytes[:] = raw
        return memory

    def view(self, dtype: type) -> np.ndarray:
        """The bytes as another type."""
        return self.bytes.view(dtype)

    def intact(self) -> bool:
        """Whether every readable byte around the operand still holds its canary."""
        return bool((self._all[self._around] == CANARY).all())


def differences(actual: np.ndarray, expected: np.ndarray) -> Iterator[str]:
    """The first few places where two byte arrays differ, as text."""
    if actual.shape != expected.shape:
        yield f"shape {actual.shape}, expected {expected.shape}"
        return
    for index in np.flatnonzero(actual.ravel() != expected.ravel())[:4]:
        place = tuple(int(i) for i in np.unravel_index(index, expected.shape))
        yield f"at {place}: {actual.ravel()[index]}, expected {expected.ravel()[index]}"


def assert_same(actual: np.ndarray, expected: np.ndarray, what: object = "") -> None:
    """Byte equality; there is no tolerance anywhere in this suite."""
    found = list(differences(actual, expected))
    assert not found, f"{what}: {'; '.join(found)}"
