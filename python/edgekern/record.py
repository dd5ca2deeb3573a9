# SPDX-License-Identifier: Apache-2.0
"""What a compile writes down beside the network: class names, known answer, accuracy, report, provenance."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekern.artifact import Artifact, KnownAnswer, write
from edgekern.calibrate import compare
from edgekern.calibrate.samples import Sampler, frames_of
from edgekern.errors import InputError
from edgekern.graph.graph import Graph
from edgekern.graph.run import feed, fetch
from edgekern.preprocess import Preprocess
from edgekern.report import Accuracy, Report
from edgekern.types import Array, DType

if TYPE_CHECKING:
    from edgekern.compiler import Settings

__all__ = [
    "COMPARED",
    "accuracy_of",
    "class_names",
    "final_size",
    "known_answer",
    "provenance_of",
    "report_of",
]

COMPARED = 64  # frames the report compares, drawn evenly from the calibration samples
_GOLDEN = 251  # elements of the known answer's input; a prime, so that rows of a picture differ


def known_answer(outside: Graph, integer: Graph, first: Mapping[str, Array]) -> KnownAnswer:
    """The golden frame: a few elements of the first calibration sample, over and over, which a file holds in little.

    Without samples (a source that is quantised already) random bytes.
    """
    if not first:
        return KnownAnswer.random(outside)
    golden = {}
    for port, inner in zip(outside.inputs, integer.inputs, strict=True):
        sample = first[inner.name]
        if port.dtype is not DType.FLOAT32:
            sample = fetch(outside, port, feed(integer, inner, sample))
        apart = max(1, sample.size // _GOLDEN)
        golden[port.name] = np.resize(sample.ravel()[::apart][:_GOLDEN], sample.shape)
    return KnownAnswer.of(outside, golden)


def class_names(labels: Iterable[object] | None, graph: Graph) -> tuple[str, ...]:
    """The classes' names: as many as the first output has elements, or none."""
    names = () if labels is None else (labels,) if isinstance(labels, str) else tuple(labels)
    for number, name in enumerate(names):
        if not isinstance(name, str) or "\0" in name:
            raise InputError(f"label {number} is {name!r}, not a text", hint="Labels are the classes' names.")
    classes = graph.types[graph.outputs[0].tensor].size
    if names and len(names) != classes:
        raise InputError(f"{len(names)} labels for {classes} classes")
    return tuple(str(name) for name in names)


def accuracy_of(
    graph: Graph, integer: Graph, preprocess: Preprocess | None, evaluation: Iterable[tuple[Any, int]]
) -> Accuracy:
    """Top-1 of the float and the integer graph on labelled samples.

    Raises:
        InputError: There is none, or one does not fit; its number is named.
    """
    classes = graph.types[graph.outputs[0].tensor].size
    numbers: list[int] = []

    def samples() -> Iterable[Any]:
        for number, pair in enumerate(evaluation):
            try:
                sample, label = pair
                numbers.append(operator.index(label))
            except (TypeError, ValueError):
                raise InputError(
                    f"evaluation sample {number} is no (sample, class number)",
                    hint="Give pairs; a class is an integer, counted from 0.",
                ) from None
            if not 0 <= numbers[-1] < classes:
                raise InputError(f"evaluation sample {number} has class {numbers[-1]}, not 0 to {classes - 1}")
            yield sample

    def batches() -> Iterable[tuple[dict[str, Array], Array]]:
        for frame in frames_of(graph, preprocess, samples(), "evaluation sample"):
            yield frame, np.array([numbers[-1]])

    found = compare.accuracy(graph, integer, batches())
    if not found.samples:
        raise InputError("there is no evaluation sample", hint="Leave evaluation out, or give labelled samples.")
    return found


def report_of(
    settings: Settings,
    sampler: Sampler,
    graph: Graph,
    integer: Graph,
    accuracy: Accuracy | None,
    size: int,
    changes: tuple[str, ...],
) -> Report:
    """The compile in figures, but for the size of the file."""
    feeds = sampler.held(COMPARED) if sampler.count else KnownAnswer.random(integer).inputs
    rows = compare.layers(graph, integer, feeds)
    return Report(
        method=settings.method,
        bias_correction=settings.bias_correction,
        calibration_samples=sampler.count,
        compared_samples=min(sampler.count, COMPARED),
        outputs=compare.outputs(graph, integer, feeds),
        layers=rows,
        accuracy=accuracy,
        source_bytes=size,
        bytes=0,
        macs=sum(row.macs for row in rows),
        parameters=sum(value.size for value in graph.constants.values()),
        changes=changes,
    )


def final_size(artifact: Artifact, report: Report) -> int:
    """Bytes of the file that says its own size."""
    size = 0
    for _ in range(4):
        given = replace(artifact, provenance={**artifact.provenance, "report": replace(report, bytes=size).to_json()})
        found = len(write(given))
        if found == size:
            break
        size = found
    return size


def provenance_of(data: bytes, sampler: Sampler, settings: Settings) -> dict[str, Any]:
    """Where the model comes from; JSON data.

    Args:
        data: The source model with all its weights.
        sampler: All calibration samples have passed it.
        settings: Of the compile.
    """
    return {
        "source_sha256": hashlib.sha256(data).hexdigest(),
        "calibration": {"samples": sampler.count, "sha256": sampler.digest, "method": settings.method},
        "bias_correction": settings.bias_correction,
        "edgekern": _version(),
        "numpy": np.__version__,
        "blas": _blas(),
    }


def _version() -> str:
    try:
        return metadata.version("edgekern")
    except metadata.PackageNotFoundError:
        return "unknown"


def _blas() -> str:
    """Name and version of NumPy's BLAS."""
    found: Any = np.show_config(mode="dicts")
    blas = dict(found or {}).get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
