# SPDX-License-Identifier: Apache-2.0
"""Whether the integer form of a network is right often enough, and which layers are to blame if not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

from edgekern.calibrate import integer as coded
from edgekern.calibrate import sensitivity
from edgekern.calibrate.accuracy import Judge, Run
from edgekern.calibrate.ranges import Progress, frames_per_chunk, unseen
from edgekern.errors import AccuracyError, InputError
from edgekern.graph.graph import Graph
from edgekern.graph.run import evaluate
from edgekern.passes.quantise import wide_candidates
from edgekern.quantiser import Quantiser
from edgekern.record import some_frames
from edgekern.report import Accuracy, Cost, Report
from edgekern.settings import Settings
from edgekern.types import Array

__all__ = ["accept", "choose", "costs_of", "judged"]

_COSTS = 8  # layers whose cost is told
_WORTH = 0.005  # share of the noise that a message names: 1 % when rounded
_SCANNED = 16  # frames that tell what a layer costs
_LEFT = 0.25  # of the noise of activations, 6 dB


def judged(judge: Judge, graph: Graph, integer: Graph, progress: Progress = unseen) -> Accuracy:
    """The float graph and its integer form on the same samples; `progress` gets ("judge", samples done, 0)."""
    done = 0

    def watched(feeds: Mapping[str, Array]) -> dict[str, Array]:
        nonlocal done
        found = coded.run(integer, feeds)
        done += len(next(iter(found.values())))
        progress("judge", done, 0)
        return found

    exact, found = judge([partial(evaluate, graph), watched])
    return Accuracy(judge.samples, exact, found)


def choose(
    make: Quantiser, judge: Judge | None, settings: Settings, camera: Collection[str]
) -> tuple[Graph, Accuracy | None, tuple[str, ...]]:
    """The integer form, its accuracy if there is a judge, and what the report says of int16 tensors.

    With `mixed` tensors become int16, those first whose rounding is most of the noise at the outputs: twice as many
    each time until no more than `max_drop` is lost; without one, until a quarter of the activations' noise is left.

    Args:
        make: Calibrated.
        judge: Of accuracy.
        settings: Of the compile.
        camera: Inputs that stay int8.

    Raises:
        InputError: There are no samples to tell the noise by.
    """
    if settings.mixed is not None and not make.sampler.count:
        raise InputError("mixed='auto' needs calibration samples: a quantised source keeps its own types")
    integer = make.integer()
    measured = None if judge is None else judged(judge, make.graph, integer, make.progress)
    if settings.mixed is None or _enough(measured, settings):
        return integer, measured, ()
    possible = set(wide_candidates(make.graph)) - set(camera)
    noise = sensitivity.scan(make.graph, integer, _few_frames(make, integer), make.progress)
    order = [n for n in sorted(noise, key=lambda n: -n.activations) if n.tensor in possible and n.activations > 0]
    left = sum(n.activations for n in noise)
    goal, count = left * _LEFT, 0
    while count < len(order):
        if settings.max_drop is None:
            while count < len(order) and left > goal:
                left -= order[count].activations
                count += 1
        else:
            count = min(max(1, 2 * count), len(order))
        integer = make.integer([n.tensor for n in order[:count]])
        measured = None if judge is None else judged(judge, make.graph, integer, make.progress)
        if settings.max_drop is None or _enough(measured, settings):
            break
    told = ", ".join(n.tensor for n in order[:count])
    return integer, measured, (f"int16: {told}",) if told else ()


def _enough(measured: Accuracy | None, settings: Settings) -> bool:
    return measured is not None and settings.max_drop is not None and measured.drop <= settings.max_drop


def _few_frames(make: Quantiser, integer: Graph) -> Mapping[str, Array]:
    return some_frames(make.sampler, integer, min(_SCANNED, frames_per_chunk(make.graph)))


def costs_of(make: Quantiser, integer: Graph, judge: Judge | None) -> tuple[Cost, ...]:
    """What the costliest layers cost, the worst first; without a judge only their shares of the noise."""
    graph = make.graph
    noise = sensitivity.scan(graph, integer, _few_frames(make, integer), make.progress)
    total = sum(n.both for n in noise)
    worst = sorted((n for n in noise if n.both > 0), key=lambda n: -n.both)[:_COSTS]
    names = {node.output: node.name or node.output for node in graph.nodes}
    drops: list[float | None] = [None] * len(worst)
    if judge is not None and worst:
        runs: list[Run] = [partial(evaluate, graph), *(sensitivity.alone(graph, integer, {n.tensor}) for n in worst)]
        exact, *alone = judge(runs)
        drops = [round(100 * (exact - found), 6) for found in alone]
    return tuple(
        Cost(names.get(n.tensor, n.tensor), round(n.both / total, 6), round(n.weights / total, 6), drop)
        for n, drop in zip(worst, drops, strict=True)
    )


def accept(report: Report, settings: Settings, costs: Callable[[], tuple[Cost, ...]]) -> None:
    """Refuses an integer form that loses more than that.

    Args:
        report: With its accuracy.
        settings: With `max_drop`.
        costs: Finds out what the layers cost, for a refusal.

    Raises:
        AccuracyError: It loses more; the layers that cost most are named.
    """
    found = report.accuracy
    if found is None or settings.max_drop is None or _enough(found, settings):
        return
    report = replace(report, costs=costs())
    named = [cost for cost in report.costs if cost.share >= _WORTH or (cost.drop or 0) > 0]
    told = "; ".join(map(str, named or report.costs)) or "none that adds noise on the calibration samples"
    raise AccuracyError(
        f"int8 reaches {found.int8:.2%} where float32 reaches {found.float32:.2%} on {found.samples} samples: "
        f"{found.drop:.2f} points lost, max_drop is {float(settings.max_drop):g}. Worst layers: {told}.",
        hint=("" if settings.mixed or not report.calibration_samples else "Try mixed='auto' (--mixed auto). ")
        + "Calibrate with more and typical samples, or train on with fewer extreme weights in the layers named.",
        report=report,
    )
