# SPDX-License-Identifier: Apache-2.0
"""Reads pictures: single files, a folder or a tar of them, and the CSV that labels them."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import typer

from edgekern.errors import InputError
from edgekern.preprocess import Box, check_depth

__all__ = ["Folder", "Labelled", "Picture", "parse_box", "read_labels", "read_picture"]

Picture = npt.NDArray[np.uint8]

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
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
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
            found = (p for p in path.rglob("*") if p.suffix.lower() in ENDINGS)
            self.names = sorted(str(p.relative_to(path)) for p in found)
            return
        try:
            self._tar = tarfile.open(path)  # noqa: SIM115  (stays open as long as the folder)
            members = [m for m in self._tar.getmembers() if m.isfile()]
        except tarfile.TarError as error:
            self.__exit__()
            raise InputError(
                f"{path} is neither a folder nor a tar file",
                hint="Give a folder of pictures, or a tar of them.",
            ) from error
        self._members = {m.name.removeprefix("./"): m for m in members}
        self.names = [n for n in self._members if Path(n).suffix.lower() in ENDINGS]

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
        file = self._tar.extractfile(member) if member else None
        if file is None:
            raise InputError(f"{self.path} has no file {name}")
        return read_picture(io.BytesIO(file.read()), f"{self.path}:{name}")

    def __iter__(self) -> Iterator[Picture]:
        """Decodes every picture, in the order of `names`."""
        return (self.read(name) for name in self.names)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class Labelled:
    """One line of a labels CSV: a file, its class (number or name) and perhaps a box."""

    file: str
    label: str
    box: Box | None


def read_labels(path: Path) -> list[Labelled]:
    """Reads a CSV with the columns file and label, and perhaps roi_x1, roi_y1, roi_x2, roi_y2.

    The corners are inclusive, as in GTSRB: the box is (x1, y1, x2 - x1 + 1, y2 - y1 + 1).

    Raises:
        InputError: if a column or a number is missing; it names the line.
    """
    found: list[Labelled] = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        columns = set(rows.fieldnames or ())
        if not {"file", "label"} <= columns:
            raise InputError(
                f"{path} has the columns {', '.join(sorted(columns)) or 'none'}",
                hint="It needs a header line with file and label, and may have roi_x1, roi_y1, roi_x2 and roi_y2.",
            )
        corners = ("roi_x1", "roi_y1", "roi_x2", "roi_y2")
        for row in rows:
            box = None
            if columns.issuperset(corners):
                try:
                    x1, y1, x2, y2 = (int(row[c]) for c in corners)
                except (TypeError, ValueError):
                    raise InputError(f"{path}:{rows.line_num}: roi_* are not numbers") from None
                box = (x1, y1, x2 - x1 + 1, y2 - y1 + 1)
            found.append(Labelled(row["file"], row["label"].strip(), box))
    if not found:
        raise InputError(f"{path} has no line below its header")
    return found
