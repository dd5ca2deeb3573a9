# SPDX-License-Identifier: Apache-2.0
"""A value of the source model as a view of a tensor of ours: no data moves until an operator needs it to.

Inside, tensors are NHWC with the batch first and given as 1. A source dimension is described by the dimensions of
our tensor it runs over, row by row: transposing, flattening, squeezing and most reshaping change only that
description.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Value", "regroup"]

Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Value:
    """An activation of the source model.

    Attributes:
        tensor: Name of our tensor.
        groups: For each source dimension the dimensions of our tensor it runs over, outermost first. Dimensions of
            size 1 are left out, but for the batch: (0,).
        integers: "int8" or "uint8" for what a QuantizeLinear gives, "" for real values.
    """

    tensor: str
    groups: Groups
    integers: str = ""

    def shape(self, ours: Sequence[int]) -> tuple[int, ...]:
        """Source shape, for the shape of our tensor."""
        return tuple(math.prod(ours[d] for d in group) for group in self.groups)

    @property
    def batch(self) -> int | None:
        """The source dimension that is the batch; None where the model merged it away."""
        return next((i for i, group in enumerate(self.groups) if group == (0,)), None)

    def sequence(self) -> tuple[int, ...]:
        """Our dimensions in source order, without the batch."""
        return tuple(d for group in self.groups for d in group if d != 0)

    def natural_order(self) -> tuple[int, ...]:
        """Source dimensions in the order of our tensor, those of size 1 first."""
        return tuple(sorted(range(len(self.groups)), key=lambda i: min(self.groups[i], default=-1)))


def regroup(value: Value, ours: Sequence[int], target: Sequence[int]) -> tuple[Groups, tuple[int, ...]] | None:
    """The source shape `target` as another description of the same tensor.

    Returns:
        The groups, and the shape our tensor must have first: its own, or its own with dimensions split in place.
        None when the tensor would have to be transposed first.
    """
    items = [[d, ours[d]] for d in value.sequence()]
    pieces: dict[int, list[int]] = {d: [] for d, _ in items}
    taken: list[list[tuple[int, int]]] = []  # per target dimension: (our dimension, which piece of it)
    for size in target:
        mine: list[tuple[int, int]] = []
        left = size
        while left > 1:
            d, extent = items[0]
            part = math.gcd(left, extent)
            if part == 1:
                return None
            pieces[d].append(part)
            mine.append((d, len(pieces[d]) - 1))
            left //= part
            items[0][1] //= part
            if items[0][1] == 1:
                items.pop(0)
        taken.append(mine)
    start, shape = _split(ours, pieces)
    if len(shape) > 6:
        return None
    groups = [tuple(start[d] + k for d, k in mine) for mine in taken]
    if value.batch is not None:
        before = math.prod(value.shape(ours)[: value.batch])
        unit = [i for i, size in enumerate(target) if size == 1 and math.prod(target[:i]) == before]
        if unit:
            groups[unit[0]] = (0,)
    return tuple(groups), shape


def _split(ours: Sequence[int], pieces: dict[int, list[int]]) -> tuple[dict[int, int], tuple[int, ...]]:
    """First new dimension of each of our dimensions, and the new shape."""
    start: dict[int, int] = {}
    shape: list[int] = []
    for d, size in enumerate(ours):
        start[d] = len(shape)
        shape.extend(pieces.get(d) or [size])
    return start, tuple(shape)
