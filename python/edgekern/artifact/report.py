# SPDX-License-Identifier: Apache-2.0
"""The compiler's report out of a model file: figures from its provenance, layers from its graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgekern.errors import CorruptModelError
from edgekern.graph.graph import Graph
from edgekern.report import Layer, Report

__all__ = ["layers_of", "report_from"]


def layers_of(graph: Graph) -> tuple[Layer, ...]:
    """Every node with its cost; its noise is not known, and given as none."""
    layers = []
    for node in graph.nodes:
        held, constants = graph.types[node.output], [graph.constants[name] for name in node.constants]
        size = sum(constant.nbytes for constant in constants)
        name, kind = node.name or node.output, type(node.op).__name__
        layers.append(Layer(name, kind, held.shape[1:], node.op.macs(held, constants), size, math.inf))
    return tuple(layers)


def report_from(graph: Graph, written: Mapping[str, Any]) -> Report:
    """The report, its decibels to a tenth.

    Args:
        graph: Of the file.
        written: What stands under "report" in its provenance.

    Raises:
        CorruptModelError: That is no report on this graph.
    """
    try:
        return Report.from_json(written, layers_of(graph))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise CorruptModelError(
            f"the report in the provenance is none on this graph: {error!r}",
            field="provenance",
            hint="Compile or fetch the file again.",
        ) from error
