# SPDX-License-Identifier: Apache-2.0
"""Photographs in, labelled crops out: two archive layouts, one crop rule, one split by track.

A *track* is one physical sign filmed about thirty times. Frames of one track look alike, so a split by image
would measure memory; the split here never separates a (label, track) pair.
"""

from __future__ import annotations

import csv
import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgekern.preprocess import Box, Preprocess, resize

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

SIDE = 48  # the network's input, pixels
MARGIN = 20  # the product's crop margin, 1/256 of the box side
WIDE = 120  # a training crop: the product's crop at twice its density, and an eighth more on every side
WIDE_INNER = 96 / WIDE  # the share of a wide crop's side that the product's crop covers
CROP = Preprocess(size=(SIDE, SIDE), scale=1 / 255, channels="rgb", layout="nchw", margin=MARGIN)
CLASSES = 43
VALIDATION_SHARE = 0.2
_CACHE_VERSION = "1"


@dataclass(frozen=True)
class Record:
    """One row of the archive's table: where the picture is and what it shows."""

    file: str
    label: int
    track: int
    box: Box


@dataclass(frozen=True)
class Crops:
    """Labelled crops in memory.

    Attributes:
        images: uint8 [N, 48, 48, 3], RGB, exactly what the product's crop and resize give.
        wide: uint8 [N, 120, 120, 3] for augmentation, or an empty array for a test set.
        labels: int64 [N], 0..42.
        tracks: int64 [N], unique per physical sign; -1 where unknown.
    """

    images: Bytes
    wide: Bytes
    labels: Ints
    tracks: Ints


def roi_box(x1: int, y1: int, x2: int, y2: int) -> Box:
    """Return (x, y, width, height) of a region whose far corner is inclusive."""
    return x1, y1, x2 - x1 + 1, y2 - y1 + 1


def crop(picture: Bytes, box: Box) -> Bytes:
    """Cut a region as the product does: uint8 [48, 48, 3]."""
    result: Bytes = CROP.crop(picture, box)
    return result


def wide_crop(picture: Bytes, box: Box) -> Bytes:
    """Cut what the product cuts and an eighth more on every side, edge pixels repeated, at twice its density."""
    x, y, w, h = box
    mx, my = (w * MARGIN + 128) >> 8, (h * MARGIN + 128) >> 8
    mx, my = mx + (w + 2 * mx + 4) // 8, my + (h + 2 * my + 4) // 8
    rows = np.clip(np.arange(y - my, y + h + my), 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(x - mx, x + w + mx), 0, picture.shape[1] - 1)
    result: Bytes = resize(picture[rows][:, columns], WIDE, WIDE)
    return result


def _tar_records(directory: Path, stem: str) -> tuple[list[Record], Callable[[], Iterator[tuple[Record, bytes]]]]:
    with (directory / f"{stem}.csv").open(newline="") as handle:
        rows = [
            Record(
                row["file"],
                int(row["label"]),
                int(row.get("track", -1)),
                roi_box(*(int(row[f"roi_{k}"]) for k in ("x1", "y1", "x2", "y2"))),
            )
            for row in csv.DictReader(handle)
        ]
    by_name = {record.file: record for record in rows}

    def contents() -> Iterator[tuple[Record, bytes]]:
        with tarfile.open(directory / f"{stem}.tar") as archive:
            for member in archive:
                record = by_name.get(member.name.removeprefix("./"))
                stream = archive.extractfile(member)
                if record is not None and stream is not None:
                    yield record, stream.read()

    return rows, contents


def _official_records(directory: Path, test: bool) -> tuple[list[Record], Callable[[], Iterator[tuple[Record, bytes]]]]:
    root = directory / "GTSRB" if (directory / "GTSRB").is_dir() else directory
    folder = root / ("Final_Test" if test else "Final_Training") / "Images"
    tables = [folder / "GT-final_test.csv"] if test else sorted(folder.glob("*/GT-*.csv"))
    if test and not tables[0].exists():
        tables = [directory / "GT-final_test.csv"]
    rows = []
    for table in tables:
        with table.open(newline="") as handle:
            for row in csv.DictReader(handle, delimiter=";"):
                name = row["Filename"]
                path = folder / name if test else table.parent / name
                track = -1 if test else int(name.split("_")[0])
                box = roi_box(*(int(row[f"Roi.{k}"]) for k in ("X1", "Y1", "X2", "Y2")))
                rows.append(Record(str(path), int(row["ClassId"]), track, box))
    if not rows:
        raise FileNotFoundError(f"{directory} holds neither train.tar with train.csv nor GTSRB/Final_Training/Images")
    return rows, lambda: ((record, Path(record.file).read_bytes()) for record in rows)


def read(directory: Path, cache: Path, test: bool = False) -> Crops:
    """Decode, crop and resize a whole set once; later calls map the cached arrays.

    Args:
        directory: holds `train.tar` + `train.csv` (`test_a.*`), or the official archives unpacked.
        cache: where the arrays are kept, keyed by the table of records.
        test: read the test set, without wide crops.

    Raises:
        FileNotFoundError: if neither layout is there.
    """
    stem = "test_a" if test else "train"
    if (directory / f"{stem}.csv").exists():
        rows, contents = _tar_records(directory, stem)
    else:
        rows, contents = _official_records(directory, test)
    key = hashlib.sha256(
        _CACHE_VERSION.encode() + repr([(Path(r.file).name, r.label, r.box) for r in rows]).encode()
    ).hexdigest()[:12]
    images_file, wide_file, ids_file = (cache / f"{stem}-{key}-{part}.npy" for part in ("images", "wide", "ids"))
    if not ids_file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        images = np.zeros((len(rows), SIDE, SIDE, 3), np.uint8)
        wide = np.zeros((0 if test else len(rows), WIDE, WIDE, 3), np.uint8)
        ids = np.full((len(rows), 2), -1, np.int64)
        place = {record.file: i for i, record in enumerate(rows)}
        for done, (record, content) in enumerate(contents(), 1):
            picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
            i = place[record.file]
            images[i] = crop(picture, record.box)
            if not test:
                wide[i] = wide_crop(picture, record.box)
            ids[i] = record.label, record.label * 100_000 + record.track if record.track >= 0 else -1
            if done % 2000 == 0:
                print(f"decoded {done} of {len(rows)}", flush=True)
        if (ids[:, 0] < 0).any():
            raise FileNotFoundError(f"{int((ids[:, 0] < 0).sum())} pictures of {stem}.csv are not in the archive")
        np.save(images_file, images)
        np.save(wide_file, wide)
        np.save(ids_file, ids)
    ids = np.load(ids_file)
    return Crops(np.load(images_file), np.load(wide_file, mmap_mode="r"), ids[:, 0], ids[:, 1])


def split(crops: Crops, seed: int = 0, share: float = VALIDATION_SHARE) -> tuple[Ints, Ints]:
    """Divide the pictures into training and validation by track.

    Args:
        crops: a training set with tracks.
        seed: the split's own seed, apart from the training's, so that figures of two trainings compare.
        share: of every class's tracks, rounded up; every class stands on both sides.

    Returns:
        Sorted indices (training, validation).
    """
    rng = np.random.default_rng(seed)
    held: list[int] = []
    for label in np.unique(crops.labels):
        tracks = np.unique(crops.tracks[crops.labels == label])
        if len(tracks) < 2:
            raise ValueError(f"class {label} has {len(tracks)} track, two are needed to split")
        held.extend(rng.permutation(tracks)[: int(np.ceil(share * len(tracks)))].tolist())
    mask = np.isin(crops.tracks, held)
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def calibration_images(crops: Crops, training: Ints, count: int = 256) -> Bytes:
    """Return `count` crops of training tracks, spread evenly over classes; the same ones for the same split."""
    rng = np.random.default_rng(20)
    queues = [list(rng.permutation(training[crops.labels[training] == label])) for label in np.unique(crops.labels)]
    chosen: list[int] = []
    while len(chosen) < count and any(queues):
        chosen.extend(int(queue.pop()) for queue in queues if queue)
    result: Bytes = crops.images[np.asarray(chosen[:count])]
    return result
