# SPDX-License-Identifier: Apache-2.0
"""What a compile writes down beside the network: class names, known answer, accuracy, report, provenance."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekern.artifact import Artifact, KnownAnswer, write
from edgekern.calibrate import compare
from edgekern.calibrate.ranges import Progress
from edgekern.calibrate.samples import Sampler, each
from edgekern.errors import InputError
from edgekern.graph.graph import Graph
from edgekern.graph.run import feed, fetch
from edgekern.report import Removed, Report
from edgekern.types import Array, DType

if TYPE_CHECKING:
    from edgekern.settings import Settings

__all__ = [
    "COMPARED",
    "class_names",
    "final_size",
    "known_answer",
    "provenance_of",
    "report_of",
    "some_frames",
]

COMPARED = 64  # frames the report compares, drawn from the calibration samples
_GOLDEN = 251  # elements of the known answer's input; a prime, so that rows of a picture differ


def known_answer(outside: Graph, integer: Graph, sampler: Sampler) -> KnownAnswer:
    """The golden frame: a few elements of one calibration sample, over and over, which a file holds in little.

    Without samples (a source that is quantised already) random bytes.
    """
    if not sampler.count:
        return KnownAnswer.random(outside)
    first = sampler.held(1)
    golden = {}
    for port, inner in zip(outside.inputs, integer.inputs, strict=True):
        sample = first[inner.name]
        if port.dtype is not DType.FLOAT32:
            sample = fetch(outside, port, feed(integer, inner, sample))
        apart = max(1, sample.size // _GOLDEN)
        golden[port.name] = np.resize(sample.ravel()[::apart][:_GOLDEN], sample.shape)
    return KnownAnswer.of(outside, golden)


def some_frames(sampler: Sampler, integer: Graph, most: int) -> Mapping[str, Array]:
    """At most that many calibration samples as one batch; a random frame where there are none."""
    return sampler.held(most) if sampler.count else KnownAnswer.random(integer).inputs


def class_names(labels: Iterable[object] | None, graph: Graph) -> tuple[str, ...]:
    """The classes' names: as many as the first output has elements, or none."""
    names = () if labels is None else (labels,) if isinstance(labels, str) else tuple(each(labels, "labels"))
    for number, name in enumerate(names):
        if not isinstance(name, str) or "\0" in name:
            raise InputError(f"label {number} is {name!r}, not a text", hint="Labels are the classes' names.")
    classes = graph.types[graph.outputs[0].tensor].size
    if names and len(names) != classes:
        raise InputError(f"{len(names)} labels for {classes} classes")
    return tuple(str(name) for name in names)


def report_of(
    settings: Settings,
    sampler: Sampler,
    graph: Graph,
    integer: Graph,
    size: int,
    changes: tuple[str, ...],
    progress: Progress,
) -> Report:
    """The compile in figures, but for its accuracy and the size of the file."""
    feeds = some_frames(sampler, integer, COMPARED)
    rows = compare.layers(graph, integer, feeds, progress)
    return Report(
        method=settings.method,
        bias_correction=settings.bias_correction,
        rounding=settings.rounding,
        calibration_samples=sampler.count,
        compared_samples=min(sampler.count, len(next(iter(feeds.values())))),  # fewer are held of large ones
        outputs=compare.outputs(graph, integer, feeds),
        layers=rows,
        accuracy=None,
        source_bytes=size,
        bytes=0,
        macs=sum(row.macs for row in rows),
        parameters=sum(value.size for value in graph.constants.values()),
        changes=changes,
        removed=tuple(Removed(op, count, why) for (op, why), count in Counter(graph.removed).items()),
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
        "equalise": settings.equalise,
        "rounding": settings.rounding,
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
