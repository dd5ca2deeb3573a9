# SPDX-License-Identifier: Apache-2.0
"""The integer forms of one float graph, from what calibration saw of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from edgekern.calibrate.bias import correct_biases
from edgekern.calibrate.clipping import min_max, search_weight_scales
from edgekern.calibrate.equalise import equalise, observe_again
from edgekern.calibrate.integer import channel_axis
from edgekern.calibrate.observer import Histogram
from edgekern.calibrate.ranges import Progress, decisive, observe, ranges
from edgekern.calibrate.rounding import compensate
from edgekern.calibrate.samples import Sampler
from edgekern.errors import QuantizationError
from edgekern.graph.graph import Graph
from edgekern.graph.verify import verify
from edgekern.ops.conv2d import Conv2D
from edgekern.ops.depthwise import DepthwiseConv2D
from edgekern.passes import quantise
from edgekern.settings import Settings
from edgekern.types import Array

__all__ = ["Quantiser"]


class Quantiser:
    """Calibrates a float graph once and makes integer forms of it.

    Args:
        graph: After all passes.
        sampler: Of the calibration samples; none are read before `calibrate`.
        settings: Of the compile.
        progress: Called with (what, how many done, of how many; 0 if unknown).

    Attributes:
        graph: The float graph whose nodes the integer forms follow one by one; `calibrate` equalises it.
        ranges: Least and greatest value of every tensor that has no quantisation of the source.
        changes: What was done beside rounding, for the report.
    """

    def __init__(self, graph: Graph, sampler: Sampler, settings: Settings, progress: Progress) -> None:
        self.graph = graph
        self.sampler = sampler
        self._settings = settings
        self.progress = progress
        self.ranges: dict[str, tuple[float, float]] = {}
        self.changes: tuple[str, ...] = ()
        self._seen: Mapping[str, Histogram] = {}
        self._scales: dict[str, Array] | None = None

    def calibrate(self) -> None:
        """Runs all samples through the float graph: equalises it, and chooses the ranges of its tensors.

        Raises:
            InputError: There is no sample, or one does not fit.
            QuantizationError: A value is not finite.
        """
        self._seen = observe(self.graph, self.sampler, self.progress)
        if self.done.equalise:
            self.graph, factors = equalise(self.graph, self._seen)
            if factors:
                self._seen = observe_again(self.graph, factors, self._seen, self.sampler.held())
                self.changes = (f"equalised: {len(factors)} tensor{'s' * (len(factors) > 1)}",)
        self.ranges = ranges(self._seen, self._settings.method)
        self.ranges |= {name: min_max(self._seen[name]) for name in decisive(self.graph)}

    def integer(self, wide: Collection[str] = ()) -> Graph:
        """The integer form.

        Args:
            wide: Tensors that become int16, of those in `quantise.wide_candidates`.

        Raises:
            QuantizationError: A tensor or constant cannot be brought to integers; it is named.
        """
        if unseen := [name for name in wide if name not in self._seen]:
            raise QuantizationError(f"no calibration sample showed {unseen[0]!r}", hint="Give calibration samples.")
        if self._scales is None:
            self._scales = self._weight_scales()
        whole = {name: min_max(self._seen[name]) for name in wide}  # 16 bits have room for what lies far out
        made = verify(quantise.run(self.graph, {**self.ranges, **whole}, self._scales, wide))
        if self.done.rounding == "compensated":
            made = verify(compensate(self.graph, made, self.sampler.held(), self.progress))
        if self.done.bias_correction:
            made = verify(correct_biases(self.graph, made, self.sampler.held(), self.progress))
        return made

    @property
    def done(self) -> Settings:
        """The settings, less what is not done: without samples, and where the source gives its integers."""
        ours = self.sampler.count > 0 and not (self.graph.weight_scales and self.graph.quantised)
        return replace(
            self._settings,
            bias_correction=self._settings.bias_correction and ours,
            equalise=self._settings.equalise and ours,
            rounding=self._settings.rounding if ours else "nearest",
        )

    def _weight_scales(self) -> dict[str, Array]:
        """Scales of the convolution weights that have none of the source, by the node's result; none for min-max."""
        if self._settings.method == "minmax":
            return {}
        graph, found = self.graph, {}
        for done, node in enumerate(graph.nodes):
            if isinstance(node.op, (Conv2D, DepthwiseConv2D)) and node.constants[0] not in graph.weight_scales:
                self.progress("weights", done, len(graph.nodes))
                weights = np.moveaxis(graph.constants[node.constants[0]], channel_axis(node), 0)
                found[node.output] = search_weight_scales(weights)
        return found
