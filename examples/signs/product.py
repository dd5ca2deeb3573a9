# SPDX-License-Identifier: Apache-2.0
"""The compiled classifier: int8 build, temperature, threshold, and its figures, all through edgekern itself.

Logits are recovered as the logarithm of the probabilities of a build at temperature 1, so the temperature is fitted
to what the int8 kernels give and not to the float network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import edgekern
from signs import measure
from signs.data import CLASSES, CROP, Bytes, Ints

ABSTAIN = 0.01  # share of signs that may fall below the default threshold
NAMES = tuple((Path(__file__).parent / "labels.txt").read_text().splitlines())
_FLOOR = 2.0**-24  # half a unit of the softmax table: a probability the kernels give as 0


def build(onnx: Path, images: Bytes, temperature: float = 1.0, threshold: float = 0.0) -> edgekern.Model:
    """Compile the exported network to int8 with the product's crop, labels, temperature and threshold.

    Args:
        onnx: written by `train`.
        images: uint8 [N, 48, 48, 3] crops of training tracks, for calibration.
        temperature: divides the logits before the softmax.
        threshold: confidence below which a prediction abstains.
    """
    return edgekern.compile(
        str(onnx),
        preprocess=CROP,
        calibration=images,
        labels=NAMES,
        temperature=temperature,
        abstain_threshold=threshold,
    )


def probabilities(model: edgekern.Model, images: Bytes) -> measure.Floats:
    """Return [N, 43] for crops that already have the network's size."""
    return np.concatenate([model.run_image(image) for image in images]).astype(np.float64)


def logits(model: edgekern.Model, images: Bytes) -> measure.Floats:
    """Return logits up to a constant per picture, of a model built at temperature 1."""
    return np.log(np.maximum(probabilities(model, images), _FLOOR))


def calibrated(
    onnx: Path, images: Bytes, held_images: Bytes, held_labels: Ints, held_tracks: Ints
) -> tuple[edgekern.Model, float, float]:
    """Build, fit temperature and threshold on held-out tracks, build again.

    Returns:
        The final model, its temperature and its threshold.
    """
    raw = logits(build(onnx, images), held_images)
    temperature = round(measure.fit_temperature(raw, held_labels), 4)
    threshold = measure.threshold_for(measure.softmax(raw, temperature), held_tracks, ABSTAIN)
    threshold = float(np.floor(threshold * 1e4) / 1e4)
    return build(onnx, images, temperature, threshold), temperature, threshold


def figures(
    model: edgekern.Model, float_logits: measure.Floats, images: Bytes, labels: Ints, threshold: float
) -> dict[str, Any]:
    """Return everything the card says about one set of labelled crops."""
    p = probabilities(model, images)
    predicted = p.argmax(axis=1)
    chosen = p[np.arange(len(labels)), labels]
    float_right = float_logits.argmax(axis=1) == labels
    return {
        "pictures": len(labels),
        "float": {"accuracy": float(float_right.mean()), "errors": int((~float_right).sum())},
        "int8": {"accuracy": float((predicted == labels).mean()), "errors": int((predicted != labels).sum())},
        "changed": int((predicted != float_logits.argmax(axis=1)).sum()),
        "nll": float(-np.log(np.maximum(chosen, _FLOOR)).mean()),
        "ece": measure.calibration_error(p, labels),
        "selective": measure.selective(p, labels, threshold),
        "risk_coverage": measure.risk_coverage(p, labels),
        "confusion": measure.confusion(predicted, labels, CLASSES).tolist(),
    }


def non_signs(model: edgekern.Model, directory: Path, threshold: float, count: int = 1000) -> dict[str, Any]:
    """Return how many of `count` random boxes of sign-free pictures abstain; boxes come from a fixed seed.

    Args:
        model: the final build.
        directory: pictures without traffic signs (.bmp, .jpg, .png).
        threshold: the default one.
        count: boxes, spread evenly over the pictures.
    """
    files = sorted(f for f in directory.iterdir() if f.suffix.lower() in (".bmp", ".jpg", ".jpeg", ".png"))
    if not files:
        raise FileNotFoundError(f"{directory} holds no .bmp, .jpg or .png picture")
    rng = np.random.default_rng(7)
    tops = []
    for k, file in enumerate(files):
        frame = np.asarray(Image.open(file).convert("RGB"))
        h, w = frame.shape[:2]
        for _ in range(count // len(files) + (k < count % len(files))):
            side = int(rng.integers(20, max(21, min(h, w) // 2)))
            box = (int(rng.integers(0, w - side + 1)), int(rng.integers(0, h - side + 1)), side, side)
            tops.append(float(model.run_image(frame, boxes=[box]).max()))
    top = np.asarray(tops)
    return {
        "name": f"random boxes of {len(files)} photographs without signs",
        "crops": len(top),
        "abstained": float((top < threshold).mean()),
    }
