"""A sign classifier trained by somebody else: batch norm after ReLU, NHWC, exported by tf2onnx from Keras.

It was trained on whole pictures, so it gets them whole, not the sign's box.
"""

from __future__ import annotations

import csv
import io
import itertools
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="compiling needs the extra `compile`")
Image = pytest.importorskip("PIL.Image", reason="reading pictures needs the extra `cli`")

import edgekern  # noqa: E402
from edgekern.compiler import optimise  # noqa: E402
from edgekern.graph.run import evaluate  # noqa: E402
from edgekern.importers.onnx import import_onnx  # noqa: E402
from edgekern.ops import Affine, Conv2D  # noqa: E402

MODEL = Path("models") / "gtsrb_dtc" / "gtsrb_model.onnx"
PRE = edgekern.Preprocess((30, 30))
LEAST = 0.983
SMALLER = 3.5  # times, than the float file
CALIBRATION = 400

pytestmark = pytest.mark.data


def pictures(folder: Path, name: str, every: int = 1) -> Iterator[tuple[Any, int]]:
    """Every n-th picture of an archive as PRE makes it of the whole frame, with its class."""
    with (folder / f"{name}.csv").open() as file:
        labels = {row["file"]: int(row["label"]) for row in csv.DictReader(file)}
    with tarfile.open(folder / f"{name}.tar") as tar:
        files = (member for member in tar if member.isfile())
        for number, member in enumerate(files):
            key = member.name if member.name in labels else Path(member.name).name
            data = tar.extractfile(member) if number % every == 0 and key in labels else None
            if data is not None:
                with Image.open(io.BytesIO(data.read())) as image:
                    yield PRE.crop(np.asarray(image.convert("RGB"))), labels[key]


def test_batch_norm_stays_before_padding(data_dir: Path) -> None:
    graph, _ = optimise(import_onnx(data_dir / MODEL))
    makers = graph.producers()
    padded = [n for n in graph.nodes if isinstance(n.op, Conv2D) and any(n.op.pads) and n.inputs[0] in makers]
    assert sum(isinstance(makers[n.inputs[0]].op, Affine) for n in padded) == 3


def test_the_compiled_file_is_small(data_dir: Path, tmp_path: Path) -> None:
    """Samples hardly change the size, so two are enough."""
    samples = [image for image, _ in itertools.islice(pictures(data_dir / "gtsrb", "train"), 2)]
    compiled = edgekern.compile(data_dir / MODEL, preprocess=PRE, calibration=samples)
    compiled.save(tmp_path / "net.ekm")
    assert (tmp_path / "net.ekm").stat().st_size * SMALLER <= (data_dir / MODEL).stat().st_size


@pytest.mark.slow
def test_int8_keeps_its_accuracy(data_dir: Path) -> None:
    folder = data_dir / "gtsrb"
    calibration = [image for image, _ in pictures(folder, "train", every=19_605 // CALIBRATION)]
    compiled = edgekern.compile(data_dir / MODEL, preprocess=PRE, calibration=calibration)
    graph, _ = optimise(import_onnx(data_dir / MODEL))
    tested = list(pictures(folder, "test_a"))
    images, labels = np.stack([image for image, _ in tested]), np.array([label for _, label in tested])
    assert len(labels) == 6315
    y = compiled.run(images)
    floats = np.concatenate(
        [evaluate(graph, {"input": PRE.normalise(images[i : i + 64])})["Identity:0"] for i in range(0, len(images), 64)]
    )
    exact, int8 = (float((p.argmax(1) == labels).mean()) for p in (floats, y))
    same = float((y.argmax(1) == floats.argmax(1)).mean())
    print(f"\nstranger's model on test_a: float {exact:.2%}, int8 {int8:.2%}, same class {same:.2%}")
    assert np.array_equal(y[:8], compiled.reference(images[:8]))
    assert exact > 0.985
    assert int8 >= LEAST
