# SPDX-License-Identifier: Apache-2.0
"""Runs calibration samples through the float graph and observes every tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from edgekern.calibrate.clipping import choose_range
from edgekern.calibrate.observer import Histogram
from edgekern.errors import InputError
from edgekern.graph.graph import Graph
from edgekern.graph.run import evaluate
from edgekern.ops.reshape import Reshape
from edgekern.ops.softmax import Softmax
from edgekern.ops.transpose import Transpose
from edgekern.types import Array

__all__ = ["Progress", "chunks", "decisive", "frames_per_chunk", "observe", "ranges", "unseen"]

Progress = Callable[[str, int, int], None]  # what, how many done, of how many (0: unknown)
Feeds = Mapping[str, Array]


def unseen(what: str, done: int, total: int) -> None:
    """Shows no progress."""


_BUDGET = 1 << 24  # elements held at once by one chunk of frames


def frames_per_chunk(graph: Graph) -> int:
    """Frames evaluated together: a property of the graph, so results do not depend on how samples arrive.

    1 or a multiple of 4: BLAS sums the rows of a product in blocks, and the odd ones at its end in another order.
    """
    most = _BUDGET // max(1, sum(t.size for t in graph.types.values()))
    return next((frames for frames in (32, 16, 8, 4) if frames <= most), 1)


def chunks(samples: Iterable[Feeds], frames: int) -> Iterator[dict[str, Array]]:
    """Regroups batches of any size into batches of `frames`, the last one smaller."""
    held: list[Feeds] = []
    count = 0
    for batch in samples:
        size = len(next(iter(batch.values())))
        for i in range(size):
            held.append({name: x[i : i + 1] for name, x in batch.items()})
            count += 1
            if count == frames:
                yield _joined(held)
                held, count = [], 0
    if held:
        yield _joined(held)


def _joined(frames: list[Feeds]) -> dict[str, Array]:
    return {name: np.concatenate([f[name] for f in frames]) for name in frames[0]}


def observe(graph: Graph, samples: Iterable[Feeds], progress: Progress = unseen) -> dict[str, Histogram]:
    """Histograms of every tensor over the samples; memory does not grow with their number.

    Args:
        graph: A float graph.
        samples: Batches of the caller's tensors by port name.
        progress: Called with ("calibrate", frames done, 0).

    Raises:
        InputError: There is no sample.
        QuantizationError: A value is not finite.
    """
    seen = {name: Histogram(name) for name in graph.types}
    done = 0
    frames = frames_per_chunk(graph)
    for feeds in chunks(samples, frames):
        count = len(next(iter(feeds.values())))
        rows = frames if done else next(n for n in (1, 4, 8, 16, 32) if n >= count)
        if count < rows:  # the last chunk is filled up, or BLAS would round its frames in another way
            feeds = {name: np.resize(x, (rows, *x.shape[1:])) for name, x in feeds.items()}
        with np.errstate(all="ignore"):  # what is not finite is refused by name, below
            traced = evaluate(graph, feeds, trace=True)
        for name, values in traced.items():
            seen[name].add(values[:count])
        done += count
        del traced, values  # before the next chunk makes its own
        progress("calibrate", done, 0)
    if done == 0:
        raise InputError(
            "there is no calibration sample",
            hint="Give at least one (calibration=..., --calibration); 100 to 500 are usual.",
        )
    return seen


def ranges(seen: Mapping[str, Histogram], method: str) -> dict[str, tuple[float, float]]:
    """The range of every tensor by one of METHODS."""
    return {name: choose_range(histogram, method) for name, histogram in seen.items()}


def decisive(graph: Graph) -> set[str]:
    """Tensors whose largest element decides: outputs and what a softmax reads. Their range is never cut.

    Followed back through operators that keep their input's quantisation.
    """
    found = {port.tensor for port in graph.outputs}
    for node in reversed(graph.nodes):
        if isinstance(node.op, Softmax) or (node.output in found and isinstance(node.op, (Reshape, Transpose))):
            found.update(node.inputs)
    return found
