# SPDX-License-Identifier: Apache-2.0
"""From sign pictures to labels, with the bundled model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

from edgekern.errors import InputError
from edgekern.model import Model, TensorInfo
from edgekern.preprocess import Box
from edgekern.types import Array

__all__ = ["Prediction", "SignClassifier"]

_MODEL = "signs.ekm"
_MOVES = ("Reshape", "Transpose")  # what may stand behind the softmax


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the classifier says of one picture.

    Attributes:
        label: Name of the class.
        index: Number of the class, 0 to 42; ties go to the lowest.
        confidence: Calibrated probability of the class, 0 to 1.
        margin: Confidence less that of the second class.
        abstained: The confidence is below the threshold: take it as "no known sign".

    >>> sign = Prediction("stop", 14, confidence=0.31, margin=0.02, abstained=True)
    >>> sign.label if not sign.abstained else "no known sign"
    'no known sign'
    """

    label: str
    index: int
    confidence: float
    margin: float
    abstained: bool


class SignClassifier:
    """Names German traffic signs in pictures and camera frames.

    It is given crops or boxes: it does not find signs. One instance serves one thread at a time.

    Args:
        model: A compiled classifier with a preprocess and labels; the bundled GTSRB model if None.
        threshold: Least confidence that is not an abstention; the model's own if None.
        threads: How many compute: each takes boxes of its own. See `edgekern.load`.
        isa: Cap on instruction sets such as "avx2"; everything the CPU has if None.
        memory_limit: Bytes or text such as "8 MiB"; refused before anything is allocated.

    Raises:
        InputError: The model is no classifier: no preprocess, no labels, or not one Softmax over two or more classes
            as its output. Or the threshold is outside [0, 1].
        MemoryLimitError: The model needs more than the limit.

    >>> import numpy as np
    >>> SignClassifier().classify(np.zeros((32, 32, 3), np.uint8)).index in range(43)
    True
    """

    def __init__(
        self,
        model: Model | None = None,
        *,
        threshold: float | None = None,
        threads: int = 1,
        isa: str | None = None,
        memory_limit: int | str | None = None,
    ) -> None:
        if model is None:
            data = resources.files("edgekern.signs").joinpath(_MODEL).read_bytes()
            model = Model.from_bytes(data, threads=threads, isa=isa, memory_limit=memory_limit)
        elif isa is not None or memory_limit is not None or threads != 1:
            raise InputError("threads, isa and memory_limit belong to the model: give them to edgekern.load")
        _check_classifier(model)
        self.model = model
        self.threshold = model.abstain_threshold if threshold is None else float(threshold)
        if not 0.0 <= self.threshold <= 1.0:
            raise InputError(f"threshold {threshold} is outside [0, 1]")

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of their numbers.

        >>> SignClassifier().labels[:2]
        ('Speed limit 20', 'Speed limit 30')
        """
        return self.model.labels

    def classify(self, image: Array, channels: str = "rgb") -> Prediction:
        """Names the sign that fills `image`.

        Args:
            image: uint8 [H, W, C] (or [H, W] for "gray"), any strides along rows.
            channels: "rgb", "bgr", "gray", "rgba" or "bgra".

        Raises:
            InputError: Not uint8, wrong shape, or an unknown channel order.

        A red disc with a white bar:

        >>> y, x = np.mgrid[:48, :48] - 23.5
        >>> image = np.full((48, 48, 3), 120, np.uint8)
        >>> image[x * x + y * y < 23 * 23] = 180, 20, 30
        >>> image[20:28, 8:40] = 240
        >>> SignClassifier().classify(image).label
        'No entry'
        """
        return self._predictions(self.model.run_image(image, channels=channels))[0]

    def classify_regions(self, frame: Array, boxes: Sequence[Box] | Array, channels: str = "rgb") -> list[Prediction]:
        """Names the sign in each box of one camera frame.

        Args:
            frame: uint8 [H, W, C] (or [H, W] for "gray"). Rows may lie apart; pixels that do not lie side by side are
                copied first.
            boxes: (x, y, width, height) in pixels from the top left; partly outside is clipped.
            channels: Order of the frame.

        Returns:
            One prediction per box, in order.

        Raises:
            InputError: A box is empty or outside (its index is named), or the frame is not as above.

        >>> frame = np.zeros((120, 160, 3), np.uint8)
        >>> boxes = [(10, 20, 40, 40), (90, 30, 36, 38)]
        >>> [p.abstained for p in SignClassifier(threshold=1.0).classify_regions(frame, boxes)]
        [True, True]
        """
        if len(boxes) == 0:
            return []
        return self._predictions(self.model.run_image(frame, boxes=boxes, channels=channels))

    def _predictions(self, found: Array) -> list[Prediction]:
        probabilities = _real(found, self.model.outputs[0])
        index = probabilities.argmax(axis=1)
        second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
        return [
            Prediction(self.labels[i], int(i), float(p), float(p - q), bool(p < self.threshold))
            for i, p, q in zip(index, first, second, strict=True)
        ]


def _real(found: Array, output: TensorInfo) -> Array:
    """The values of an output, which a quantised network gives as integers."""
    if found.dtype == np.float32:
        return found
    zero = output.zero_point + (128 if found.dtype == np.uint8 else 0)
    values: Array = (found.astype(np.float32) - np.float32(zero)) * np.float32(output.scale)
    return values


def _check_classifier(model: object) -> None:
    """Refuses a model whose output is no list of probabilities with names.

    Raises:
        InputError: It says what is missing.
    """
    if not isinstance(model, Model):
        raise InputError(f"model is a {type(model).__name__}, not a Model", hint="Load the file: edgekern.load(path).")
    if not model.takes_images or not model.labels:
        raise InputError(
            "a classifier needs a model with a preprocess and labels; this one has no "
            + ("labels" if model.takes_images else "preprocess" if model.labels else "preprocess and no labels"),
            hint="Compile it with preprocess=... and labels=... (--scale or another option of pictures, and --labels).",
        )
    shapes = [list(output.shape) for output in model.outputs]
    if len(model.labels) < 2 or shapes != [[1, len(model.labels)]]:
        raise InputError(
            f"a classifier has one output over two or more classes; this model has {shapes} for "
            f"{len(model.labels)} labels",
            hint="Keep only the probabilities as the network's output; use Model.run_image for others.",
        )
    last = next((step.op for step in reversed(model.plan()) if step.op not in _MOVES), "nothing")
    if last != "Softmax":
        raise InputError(
            f"a classifier ends in a Softmax; this model ends in {last}, so its output is no probability",
            hint="Add a Softmax to the network, or use Model.run_image for the output as it is.",
        )
