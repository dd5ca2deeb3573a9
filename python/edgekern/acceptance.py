# SPDX-License-Identifier: Apache-2.0
"""Whether the integer form of a network is right often enough, and which layers are to blame if not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from edgekern.calibrate import integer as coded
from edgekern.calibrate import sensitivity
from edgekern.calibrate.accuracy import Judge, Run
from edgekern.calibrate.ranges import Progress, unseen
from edgekern.errors import AccuracyError
from edgekern.graph.graph import Graph
from edgekern.graph.run import evaluate
from edgekern.report import Accuracy, Cost, Report
from edgekern.types import Array

__all__ = ["accept", "costs_of", "judged"]

_COSTS = 8  # layers whose cost is told


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


def costs_of(
    graph: Graph, integer: Graph, feeds: Mapping[str, Array], judge: Judge | None, progress: Progress = unseen
) -> tuple[Cost, ...]:
    """What the costliest layers cost, the worst first; without a judge only their shares of the noise.

    Args:
        graph: The float graph.
        integer: Its integer form.
        feeds: A few samples.
        judge: Measures what each of the worst costs alone.
        progress: Called with (what, how many done, of how many).
    """
    noise = sensitivity.scan(graph, integer, feeds, progress)
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


def accept(report: Report, max_drop: float, costs: Callable[[], tuple[Cost, ...]]) -> Report:
    """The report itself, if the integer form loses no more than that.

    Args:
        report: With its accuracy.
        max_drop: Points.
        costs: Finds out what the layers cost, for a refusal.

    Raises:
        AccuracyError: It loses more; the layers that cost most are named.
    """
    found = report.accuracy
    assert found is not None
    if found.drop <= max_drop:
        return report
    report = replace(report, costs=costs())
    told = "; ".join(str(cost) for cost in report.costs)
    raise AccuracyError(
        f"int8 reaches {found.int8:.2%} where float32 reaches {found.float32:.2%} on {found.samples} samples: "
        f"{found.drop:.2f} points lost, max_drop is {max_drop:g}. Worst layers: {told}.",
        hint="Calibrate with more and typical samples, or train on with fewer extreme weights in the layers named.",
        report=report,
    )
