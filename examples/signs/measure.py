# SPDX-License-Identifier: Apache-2.0
"""Figures from logits: accuracy, likelihood, calibration, temperature, risk against coverage, confusion.

Nothing here knows a network; float and int8 results pass through the same functions.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """Return probabilities of logits divided by the temperature."""
    scaled = logits / temperature
    e = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    result: Floats = e / e.sum(axis=1, keepdims=True)
    return result


def nll(logits: Floats, labels: Ints, temperature: float = 1.0) -> float:
    """Return the mean negative log-likelihood, nats."""
    p = softmax(logits, temperature)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(p, 1e-300)).mean())


def calibration_error(probabilities: Floats, labels: Ints, bins: int = 15) -> float:
    """Return the expected calibration error of the top class: equal-width bins, weighted by their pictures."""
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((top * bins).astype(np.int64), bins - 1)
    return float(sum(abs(right[place == b].sum() - top[place == b].sum()) for b in range(bins)) / len(labels))


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """Return the temperature of least negative log-likelihood, by golden section over 0.1..10."""
    low, high, ratio = math.log(0.1), math.log(10.0), (math.sqrt(5) - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    fa, fb = nll(logits, labels, math.exp(a)), nll(logits, labels, math.exp(b))
    for _ in range(60):
        if fa < fb:
            high, b, fb = b, a, fa
            a = high - ratio * (high - low)
            fa = nll(logits, labels, math.exp(a))
        else:
            low, a, fa = a, b, fb
            b = low + ratio * (high - low)
            fb = nll(logits, labels, math.exp(b))
    return math.exp((low + high) / 2)


def summary(logits: Floats, labels: Ints) -> dict[str, float]:
    """Return accuracy and nll at temperature 1, the best temperature and what calibration remains at it."""
    temperature = fit_temperature(logits, labels)
    return {
        "accuracy": float((logits.argmax(axis=1) == labels).mean()),
        "errors": int((logits.argmax(axis=1) != labels).sum()),
        "nll": nll(logits, labels),
        "temperature": temperature,
        "nll_tempered": nll(logits, labels, temperature),
        "ece_tempered": calibration_error(softmax(logits, temperature), labels),
    }


def threshold_for(probabilities: Floats, tracks: Ints, abstain: float, sure: float = 0.8) -> float:
    """Return the largest confidence threshold that abstains on at most the share `abstain`, with a margin for luck.

    Doubtful pictures come by the track, so a validation set of a few hundred tracks says little about another set.
    The share is held to `abstain` in all but 1 - `sure` of 1,000 redraws of the tracks.

    Args:
        probabilities: [N, classes].
        tracks: [N], the physical sign of each picture.
        abstain: share of signs that may fall below the threshold.
        sure: share of the redraws that must keep to it.
    """
    top = probabilities.max(axis=1)
    order = np.argsort(top, kind="stable")
    place = np.unique(tracks, return_inverse=True)[1]
    sizes = np.bincount(place).astype(np.float64)
    draws = np.random.default_rng(3).multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=1000)
    pictures = draws @ sizes
    below = np.zeros(len(draws))
    for i in order:
        below += draws[:, place[i]]
        if np.quantile(below / pictures, sure) > abstain:
            return float(top[i])
    return float(top[order[-1]])


def selective(probabilities: Floats, labels: Ints, threshold: float) -> dict[str, float]:
    """Return what abstaining below a threshold costs and removes.

    Returns:
        threshold, abstained (share of pictures), errors_removed (share of errors that abstain, 1 without errors),
        accuracy_kept.
    """
    top, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != labels
    out = top < threshold
    errors = int(wrong.sum())
    kept = int((~out).sum())
    return {
        "threshold": threshold,
        "abstained": float(out.mean()),
        "errors_removed": float((wrong & out).sum() / errors) if errors else 1.0,
        "accuracy_kept": 1 - float((wrong & ~out).sum() / kept) if kept else 1.0,
    }


def risk_coverage(probabilities: Floats, labels: Ints, points: int = 500) -> list[tuple[float, float, float]]:
    """Return (coverage, risk, confidence at that coverage) from the surest pictures to all of them."""
    top, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != labels
    order = np.argsort(-top, kind="stable")
    risks = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    counts = np.unique(np.linspace(1, len(order), points).round().astype(np.int64))
    return [(float(n / len(order)), float(risks[n - 1]), float(top[order[n - 1]])) for n in counts]


def confusion(predicted: Ints, labels: Ints, classes: int) -> npt.NDArray[np.int64]:
    """Return counts [true, predicted]."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (labels, predicted), 1)
    return table
