# SPDX-License-Identifier: Apache-2.0
"""`edgekern eval`: the accuracy of a classifier on labelled pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from edgekern.cli.pictures import Folder, class_number, read_labels
from edgekern.cli.plots import draw_confusion, save_png
from edgekern.cli.screen import Json, print_json, print_table, say, working
from edgekern.cli.target import check_target
from edgekern.errors import InputError
from edgekern.model import load
from edgekern.signs import Prediction, SignClassifier

CALIBRATION_BINS = 15


def eval(
    pictures: Annotated[Path, typer.Argument(help="A folder or a tar of pictures.")],
    labels: Annotated[
        Path,
        typer.Option(help="CSV: file, label and perhaps roi_x1, roi_y1, roi_x2, roi_y2 (inclusive)."),
    ],
    model: Annotated[Path | None, typer.Option(help="A compiled classifier; the bundled one if not given.")] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Classify whole pictures, whatever boxes the CSV has.")
    ] = False,
    confusion: Annotated[Path | None, typer.Option(help="Draw the confusion matrix into this PNG.")] = None,
    as_json: Json = False,
) -> None:
    """Measure accuracy, abstention and calibration on labelled pictures."""
    if confusion:
        check_target(confusion)
    classifier = SignClassifier(load(model) if model else None)
    lines = read_labels(labels)
    truth = np.array([class_number(line, classifier.labels, len(classifier.labels)) for line in lines])
    said: list[Prediction] = []
    spent: list[float] = []
    with Folder(pictures) as folder:
        for line in working(lines, "Classifying"):
            picture = folder.read(line.file)
            begin = time.perf_counter()
            try:
                if line.box is None or whole:
                    said.append(classifier.classify(picture))
                else:
                    said.extend(classifier.classify_regions(picture, [line.box]))
            except InputError as error:
                raise InputError(f"{line.where}: {line.file}: {error.args[0]}", hint=error.hint) from error
            spent.append(time.perf_counter() - begin)
    result = summary(said, truth)
    result["median_us"] = round(float(np.median(spent)) * 1e6, 1)
    if as_json:
        print_json({**result, "classes": _classes(said, truth, classifier.labels)})
    else:
        _print(result, _classes(said, truth, classifier.labels))
    if confusion:  # after the figures: a full disk must not cost them
        counts = _counts(said, truth, len(classifier.labels))
        title = f"{result['right']} of {result['total']} right"
        save_png(draw_confusion(counts, classifier.labels, title), confusion)
    if confusion and not as_json:
        say(f"confusion matrix: {confusion}")


def summary(said: Sequence[Prediction], truth: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Gives accuracy, abstention and expected calibration error of predictions.

    >>> sure = Prediction("Stop", 14, 1.0, 1.0, False)
    >>> summary([sure, sure], np.array([14, 14]))["accuracy"]
    1.0
    """
    index = np.array([p.index for p in said])
    confidence = np.array([p.confidence for p in said])
    abstained = np.array([p.abstained for p in said])
    right = index == truth
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = [abs(float(right[bins == b].sum()) - float(confidence[bins == b].sum())) for b in set(bins)]
    kept = ~abstained
    return {
        "right": int(right.sum()),
        "total": len(said),
        "accuracy": round(float(right.mean()), 6),
        "abstained": int(abstained.sum()),
        "errors_abstained": int((abstained & ~right).sum()),
        "accuracy_when_answering": round(float(right[kept].mean()), 6) if kept.any() else None,
        "calibration_error": round(sum(gaps) / len(said), 6),
    }


def _counts(said: Sequence[Prediction], truth: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.int64]:
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth, np.array([p.index for p in said])), 1)
    return counts


def _classes(said: Sequence[Prediction], truth: npt.NDArray[np.int64], names: Sequence[str]) -> list[dict[str, Any]]:
    """Gives per class how many were right and what the others were taken for."""
    counts = _counts(said, truth, len(names))
    found = []
    for index in (int(i) for i in np.flatnonzero(counts.sum(axis=1))):
        wrong = counts[index].copy()
        wrong[index] = 0
        order = [int(j) for j in np.argsort(-wrong, kind="stable") if wrong[j]]
        found.append(
            {
                "index": index,
                "label": names[index],
                "right": int(counts[index, index]),
                "total": int(counts[index].sum()),
                "taken_for": {names[j]: int(wrong[j]) for j in order},
            }
        )
    return found


def _print(result: dict[str, Any], classes: Sequence[dict[str, Any]]) -> None:
    rows = [
        (
            str(c["index"]),
            c["label"],
            ", ".join(f"{name} ({n})" for name, n in list(c["taken_for"].items())[:3]),
            f"{c['right']}/{c['total']}",
            f"{c['right'] / c['total']:.2%}",
        )
        for c in sorted(classes, key=lambda c: c["right"] / c["total"])
        if c["taken_for"]
    ]
    if rows:
        columns = ("", "class", "taken for", "right", "")
        print_table("Classes with errors", columns, rows, left=3)
    say(f"\n{result['accuracy']:.2%}: {result['right']} of {result['total']} right", "bold")
    say(
        f"abstained {result['abstained']} ({result['abstained'] / result['total']:.2%}), "
        f"{result['errors_abstained']} of them errors; "
        f"expected calibration error {result['calibration_error']:.2%}; "
        f"median {result['median_us']:.0f} us a picture"
    )
