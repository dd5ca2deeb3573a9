# SPDX-License-Identifier: Apache-2.0
"""What a model file holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekern.graph import run
from edgekern.graph.graph import Graph
from edgekern.preprocess import Preprocess
from edgekern.types import Array

__all__ = ["Artifact", "Decision", "KnownAnswer"]


@dataclass(frozen=True, slots=True)
class Decision:
    """When a classifier abstains.

    Attributes:
        threshold: Least confidence that is not an abstention.
        temperature: What went into the softmax table; for the record.
    """

    threshold: float = 0.0
    temperature: float = 1.0


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """One golden frame: the caller's tensors (batch 1) by port name, and what the NumPy reference makes of them."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]

    @classmethod
    def of(cls, graph: Graph, inputs: Mapping[str, Array]) -> KnownAnswer:
        """Computes the answer.

        Args:
            graph: An integer graph.
            inputs: The caller's tensor of each input, batch 1.
        """
        return cls(dict(inputs), run.reference(graph, inputs))

    @classmethod
    def random(cls, graph: Graph, seed: int = 0) -> KnownAnswer:
        """The answer to a frame of random integers inside: every value of every input tensor may occur."""
        draw = np.random.Generator(np.random.PCG64(seed))
        inputs = {}
        for port in graph.inputs:
            kind = graph.types[port.tensor]
            half = 32768 if kind.wide else 128
            inside = draw.integers(-half, half, kind.shape, np.int64).astype(kind.dtype.numpy)
            inputs[port.name] = run.fetch(graph, port, inside)
        return cls.of(graph, inputs)


@dataclass(frozen=True)
class Artifact:
    """A compiled model as plain data.

    Attributes:
        graph: Integer.
        preprocess: From camera bytes to input 0; None for models of tensors only.
        labels: Of the classes; may be empty.
        decision: None where nothing abstains.
        known_answer: None: the load-time self-test has nothing to check.
        provenance: Where it comes from; JSON data with string keys.
    """

    graph: Graph
    preprocess: Preprocess | None = None
    labels: tuple[str, ...] = ()
    decision: Decision | None = None
    known_answer: KnownAnswer | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
