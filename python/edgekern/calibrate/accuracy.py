# SPDX-License-Identifier: Apache-2.0
"""How right a network is, by labelled samples or by the caller's own measure."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from edgekern.calibrate.ranges import chunks, frames_per_chunk
from edgekern.calibrate.samples import each, frames_of
from edgekern.errors import InputError
from edgekern.graph.graph import Graph
from edgekern.preprocess import Preprocess
from edgekern.types import Array

__all__ = ["Judge", "Labelled", "Measure", "Measured", "Run", "judge_of"]

Run = Callable[[Mapping[str, Array]], dict[str, Array]]  # a batch by port name -> outputs by port name
Outputs = Callable[[Iterable[Any]], "Array | dict[str, Array]"]  # samples -> their outputs, stacked
Measure = Callable[[Outputs], float]  # a share: 1 is perfect

_WHAT = "accuracy sample"
_NONE_RUN = "the accuracy function ran the network on no sample"
_KEPT = 1 << 25  # elements of labelled samples kept for being asked again


class Labelled:
    """Share of labelled samples whose greatest output has their number.

    Samples that fit are kept for the next call. Of more, a collection is gone through again; a generator cannot be, and
    the next call sees those that were kept.

    Args:
        graph: Whose first output names the class.
        preprocess: As in `frames_of`.
        pairs: (sample, class number).

    Raises:
        InputError: When called: there is no sample, or one does not fit; its number is named.
    """

    def __init__(self, graph: Graph, preprocess: Preprocess | None, pairs: Iterable[tuple[Any, int]]) -> None:
        self._graph, self._preprocess = graph, preprocess
        self._classes = graph.types[graph.outputs[0].tensor].size
        self._pairs: Iterable[tuple[Any, int]] | None = pairs
        self._kept: list[tuple[dict[str, Array], Array]] = []
        self.samples = 0

    def __call__(self, runs: Sequence[Run]) -> list[float]:
        """The share for each network; all see the same samples."""
        name = self._graph.outputs[0].name
        right, self.samples = [0] * len(runs), 0
        for feeds, truth in self._batches():
            self.samples += len(truth)
            for i, run in enumerate(runs):
                right[i] += int((run(feeds)[name].reshape(len(truth), -1).argmax(axis=1) == truth).sum())
        if not self.samples:
            raise InputError("there is no accuracy sample", hint="Leave accuracy out, or give labelled samples.")
        return [count / self.samples for count in right]

    def _batches(self) -> Iterator[tuple[dict[str, Array], Array]]:
        if self._pairs is None:
            yield from self._kept
            return
        pairs = each(self._pairs, f"{_WHAT}s")
        once = pairs is self._pairs
        labels: list[int] = []
        frames = frames_of(self._graph, self._preprocess, self._samples(pairs, labels), _WHAT)
        paired = ({**frame, _WHAT: np.array([labels[-1]])} for frame in frames)
        room = _KEPT
        for batch in chunks(paired, frames_per_chunk(self._graph)):
            truth = batch.pop(_WHAT)
            room -= sum(x.size for x in batch.values())
            if room >= 0 or not self._kept:
                self._kept.append((batch, truth))
            yield batch, truth
        if once or room >= 0:
            self._pairs = None
        else:
            self._kept = []

    def _samples(self, pairs: Iterator[tuple[Any, int]], labels: list[int]) -> Iterator[Any]:
        for number, pair in enumerate(pairs):
            try:
                sample, label = pair
                labels.append(operator.index(label))
            except (TypeError, ValueError):
                raise InputError(
                    f"{_WHAT} {number} is no (sample, class number)",
                    hint="Give pairs; a class is an integer, counted from 0.",
                ) from None
            if not 0 <= labels[-1] < self._classes:
                raise InputError(f"{_WHAT} {number} has class {labels[-1]}, not 0 to {self._classes - 1}")
            yield sample


class Measured:
    """The caller's own measure, a function of a function that runs the network.

    Args:
        graph: The float graph; all forms of the network share its ports.
        preprocess: As in `frames_of`.
        measure: Gets `outputs(samples)`, which runs samples (as in calibration) and gives the outputs stacked: an
            array, or a dict by name. Answers a share: 1 is perfect.

    Raises:
        InputError: When called: the measure is no share, or ran nothing.
    """

    def __init__(self, graph: Graph, preprocess: Preprocess | None, measure: Measure) -> None:
        self._graph, self._preprocess, self._measure = graph, preprocess, measure
        self.samples = 0

    def __call__(self, runs: Sequence[Run]) -> list[float]:
        """The measure of each network."""
        return [self._of(run) for run in runs]

    def _of(self, run: Run) -> float:
        self.samples = 0

        def outputs(samples: Iterable[Any]) -> Array | dict[str, Array]:
            frames = frames_of(self._graph, self._preprocess, samples, _WHAT)
            found = [run(batch) for batch in chunks(frames, frames_per_chunk(self._graph))]
            if not found:
                raise InputError(_NONE_RUN)
            stacked = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
            self.samples += len(next(iter(stacked.values())))
            return stacked if len(stacked) > 1 else next(iter(stacked.values()))

        answer: Any = self._measure(outputs)
        try:
            value = float(answer)
        except (TypeError, ValueError):
            raise InputError(f"the accuracy function answered {answer!r}, not a number") from None
        if not (math.isfinite(value) and -1 <= value <= 1):
            raise InputError(
                f"the accuracy function answered {value:g}, not a share",
                hint="1 is perfect: give 0.98, not 98.",
            )
        if not self.samples:
            raise InputError(_NONE_RUN, hint="Call what it gets: outputs(samples).")
        return value


Judge = Labelled | Measured


def judge_of(
    graph: Graph,
    preprocess: Preprocess | None,
    accuracy: Iterable[tuple[Any, int]] | Measure,
) -> Judge:
    """Labelled samples or a function, as a judge of networks with the ports of `graph`."""
    if callable(accuracy):
        return Measured(graph, preprocess, accuracy)
    return Labelled(graph, preprocess, accuracy)
