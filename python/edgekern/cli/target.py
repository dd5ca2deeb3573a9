# SPDX-License-Identifier: Apache-2.0
"""Refuses a file that cannot be written before the work begins whose result it would hold."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekern.errors import InputError

__all__ = ["check_target", "save_text", "saving_text"]


def check_target(path: Path) -> None:
    """Makes sure that a file of this name can appear; it leaves nothing behind.

    Raises:
        InputError: The name is a folder's, its folder does not exist, or nothing can be written there.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: nothing can be written over it", hint="Give the name of a file in it.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path.parent} is no folder: {path.name} could not be written there")
    try:
        with tempfile.TemporaryFile(dir=path.parent) as probe:
            probe.write(b"\0")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def saving_text(path: Path, text: str) -> Iterator[None]:
    """Writes a text file whole when the block ends well, and not at all if it raises: an older file stays."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("x", encoding="utf-8") as file:
            file.write(text)
        yield
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def save_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with saving_text(path, text):
        pass
