# SPDX-License-Identifier: Apache-2.0
"""Reads pictures: single files, a folder or a tar of them, and the CSV that labels them."""

from __future__ import annotations

import csv
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import typer

from edgekern.errors import InputError
from edgekern.preprocess import Box, check_depth

__all__ = ["Folder", "Labelled", "Picture", "class_number", "parse_box", "read_labels", "read_picture", "read_text"]

Picture = npt.NDArray[np.uint8]

_DAMAGE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)  # what a cut or damaged archive raises
ENDINGS = {".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".webp", ".bmp"}


def read_picture(source: Path | io.BytesIO, name: str = "", channels: str = "rgb") -> Picture:
    """Decodes one picture to uint8 [H, W, 3], or [H, W] for "gray".

    Raises:
        InputError: if it is no picture that Pillow can read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(source) as image:
            check_depth(image.mode)
            return np.asarray(image.convert("L" if channels == "gray" else "RGB"))
    except FileNotFoundError:
        raise
    except InputError as error:
        raise InputError(f"{name or source}: {error.args[0]}", hint=error.hint) from error
    except (UnidentifiedImageError, Image.DecompressionBombError, EOFError, OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{name or source} is not a picture that can be read: {error}",
            hint="JPEG, PNG, WebP, PPM and BMP are.",
        ) from error


def parse_box(text: str) -> Box:
    """Reads "x,y,width,height".

    >>> parse_box("4,5,20,21")
    (4, 5, 20, 21)

    Raises:
        typer.BadParameter: if these are not four integers.
    """
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not x,y,width,height in whole pixels") from None
    return x, y, width, height


class Folder:
    """The pictures of a directory or of a tar file, by name; use it as a context manager.

    Args:
        path: the directory or tar.

    Raises:
        InputError: if it is neither.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tar: tarfile.TarFile | None = None
        if path.is_dir():
            return
        try:
            self._tar = tarfile.open(path)  # noqa: SIM115  (stays open as long as the folder)
            members = [m for m in self._tar.getmembers() if m.isfile()]
        except _DAMAGE as error:
            self.__exit__()
            raise InputError(
                f"{path} is neither a folder nor a tar file that can be read: {error}",
                hint="Give a folder of pictures, or a whole tar of them.",
            ) from error
        self._members = {m.name.removeprefix("./"): m for m in members}

    @cached_property
    def names(self) -> list[str]:
        """Of all pictures, a directory's sorted; those of a labels CSV are read without."""
        if self._tar is not None:
            return [n for n in self._members if Path(n).suffix.lower() in ENDINGS]
        found = (p for p in self.path.rglob("*") if p.suffix.lower() in ENDINGS)
        return sorted(str(p.relative_to(self.path)) for p in found)

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tar is not None:
            self._tar.close()

    def read(self, name: str) -> Picture:
        """Decodes one picture as RGB.

        Raises:
            InputError: if there is none of that name, or it cannot be decoded.
        """
        if self._tar is None:
            path = self.path / name
            if not path.is_file():
                raise InputError(f"{self.path} has no file {name}")
            return read_picture(path, str(path))
        member = self._members.get(name)
        try:
            file = self._tar.extractfile(member) if member else None
            if file is None:
                raise InputError(f"{self.path} has no file {name}")
            data = file.read()
        except _DAMAGE as error:
            raise InputError(f"{self.path}:{name} cannot be read: {error}") from error
        return read_picture(io.BytesIO(data), f"{self.path}:{name}")

    def __iter__(self) -> Iterator[Picture]:
        """Decodes every picture, in the order of `names`."""
        return (self.read(name) for name in self.names)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class Labelled:
    """One row of a labels CSV: a file, its class (number or name), perhaps a box, and `path:line` for messages."""

    file: str
    label: str
    box: Box | None
    where: str


def read_text(path: Path) -> str:
    """Reads a text in UTF-8, with or without a byte order mark.

    Raises:
        InputError: It is in another encoding.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 at byte {error.start}", hint="Save it as UTF-8.") from None


def read_labels(path: Path) -> list[Labelled]:
    """Reads a CSV with the columns file and label, and perhaps roi_x1, roi_y1, roi_x2, roi_y2.

    The corners are inclusive, as in GTSRB: the box is (x1, y1, x2 - x1 + 1, y2 - y1 + 1).

    Raises:
        InputError: if a column or a number is missing; it names the line.
    """
    try:
        return list(_rows(path))
    except csv.Error as error:
        raise InputError(f"{path} is no CSV: {error}") from error


def class_number(line: Labelled, names: Sequence[str], classes: int | None) -> int:
    """The class of a labelled picture.

    Args:
        line: Its label is a name or a number.
        names: Of the classes; may be empty.
        classes: How many there are; None: unknown.

    Raises:
        InputError: There is no such class.
    """
    number = int(line.label) if line.label.isdecimal() else -1
    if line.label in names:
        return list(names).index(line.label)
    if number < 0 or (classes is not None and number >= classes):
        most = "" if classes is None else f" to {classes - 1}"
        raise InputError(
            f"{line.where}: {line.file} has the label {line.label!r}",
            hint=f"A label is a number from 0{most} or a class name of the model.",
        )
    return number


def _rows(path: Path) -> Iterator[Labelled]:
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
    columns = set(rows.fieldnames or ())
    if not {"file", "label"} <= columns:
        raise InputError(
            f"{path} has the columns {', '.join(sorted(columns)) or 'none'}",
            hint="It needs a header line with file and label, and may have roi_x1, roi_y1, roi_x2 and roi_y2.",
        )
    corners = ("roi_x1", "roi_y1", "roi_x2", "roi_y2")
    empty = True
    for row in rows:
        where, empty = f"{path}:{rows.line_num}", False
        missing = [name for name in ("file", "label") if not (row[name] or "").strip()]
        if missing:
            raise InputError(f"{where}: there is no {' and no '.join(missing)}")
        box = None
        if columns.issuperset(corners):
            try:
                x1, y1, x2, y2 = (int(row[c]) for c in corners)
            except (TypeError, ValueError):
                raise InputError(f"{where}: roi_* are not numbers") from None
            box = (x1, y1, x2 - x1 + 1, y2 - y1 + 1)
        yield Labelled(row["file"], row["label"].strip(), box, where)
    if empty:
        raise InputError(f"{path} has no line below its header")
