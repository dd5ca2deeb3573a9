# SPDX-License-Identifier: Apache-2.0
"""Finds layer normalisation where a model spells it out: means, a root, a quotient or product.

Such a chain is one operator or nothing: its mean and variance have no use in int8. It is found among all operators
before any is read. Operators are named as in ONNX, with SquaredDifference and Rsqrt beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from edgekern.types import Array

__all__ = ["Chain", "Link", "chains"]


@dataclass(frozen=True, slots=True)
class Link:
    """One operator of the model.

    Attributes:
        kind: Its name; "" where it can be no link.
        inputs: Names of tensors.
        outputs: Likewise.
        axes: Sorted, of a ReduceMean that keeps its dimensions.
    """

    kind: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    axes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Chain:
    """(x - mean) / sqrt(variance + epsilon), times `scale` and plus `bias` where they are part of it.

    Attributes:
        x: What is normalised.
        axes: Over which dimensions.
        epsilon: Added to the variance.
        scale: Name of a constant.
        bias: Likewise.
        inside: Numbers of the operators that nothing but the chain needs, without its last.
    """

    x: str
    axes: tuple[int, ...]
    epsilon: float
    scale: str = ""
    bias: str = ""
    inside: frozenset[int] = frozenset()


def chains(links: Sequence[Link], constant: Callable[[str], Array | None], outputs: set[str]) -> dict[int, Chain]:
    """Every chain by the number of its last operator.

    Args:
        links: All operators in their order.
        constant: The value of a constant tensor; None for others.
        outputs: Tensors that leave the model.
    """
    search = _Search(links, constant)
    found = {}
    for number, link in enumerate(links):
        chain = search.ends(link)
        if chain is not None:
            ends = {chain.x, chain.scale, chain.bias}
            found[number] = replace(chain, inside=search.inside(number, ends, outputs))
    return found


@dataclass
class _Search:
    """Follows operators backwards."""

    links: Sequence[Link]
    constant: Callable[[str], Array | None]
    makers: dict[str, Link] = field(default_factory=dict)
    readers: dict[str, set[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, link in enumerate(self.links):
            self.makers.update((o, link) for o in link.outputs if o)
            for name in link.inputs:
                self.readers.setdefault(name, set()).add(number)

    def ends(self, link: Link) -> Chain | None:
        """The chain that an operator ends."""
        if len(link.inputs) != 2:
            return None
        a, b = link.inputs
        if link.kind == "Div":
            return self._centred(a, self._root(b))
        if link.kind == "Mul":
            return self._centred(a, self._inverse(b)) or self._centred(b, self._inverse(a))
        return self._moved(a, b) or self._moved(b, a) if link.kind == "Add" else None

    def _centred(self, name: str, spread: Chain | None) -> Chain | None:
        """x - mean over the root of its own variance."""
        return spread if spread is not None and self._centre(name) == (spread.x, spread.axes) else None

    def _moved(self, name: str, rest: str) -> Chain | None:
        """x * m + (bias - mean * m), where m = scale / root, as TensorFlow computes a batch norm."""
        product, offset = self._made(name, "Mul"), self._made(rest, "Sub")
        if product is None or offset is None or self.constant(offset.inputs[0]) is None:
            return None
        moved = self._made(offset.inputs[1], "Mul")
        for x, factor in (product.inputs, product.inputs[::-1]):
            spread = self._scaled(factor)
            if moved is None or spread is None or spread.x != x:
                continue
            for mean, other in (moved.inputs, moved.inputs[::-1]):
                if other == factor and self._mean(mean) == (x, spread.axes):
                    return Chain(x, spread.axes, spread.epsilon, spread.scale, offset.inputs[0])
        return None

    def _scaled(self, name: str) -> Chain | None:
        """scale / root, or 1 / root."""
        product = self._made(name, "Mul")
        if product is None:
            return self._inverse(name)
        for inverse, scale in (product.inputs, product.inputs[::-1]):
            spread = self._inverse(inverse)
            if spread is not None and self.constant(scale) is not None:
                return Chain(spread.x, spread.axes, spread.epsilon, scale)
        return None

    def _inverse(self, name: str) -> Chain | None:
        """1 / root, in whatever words."""
        link = self._made(name, "Reciprocal", "Rsqrt", "Div", "Pow")
        if link is None:
            return None
        if link.kind == "Reciprocal":
            return self._root(link.inputs[0])
        if link.kind == "Rsqrt" or (link.kind == "Pow" and self._number(link.inputs[1]) == -0.5):
            return self._sum(link.inputs[0])
        return self._root(link.inputs[1]) if link.kind == "Div" and self._number(link.inputs[0]) == 1 else None

    def _root(self, name: str) -> Chain | None:
        link = self._made(name, "Sqrt", "Pow")
        if link is None or (link.kind == "Pow" and self._number(link.inputs[1]) != 0.5):
            return None
        return self._sum(link.inputs[0])

    def _sum(self, name: str) -> Chain | None:
        """Variance + epsilon."""
        link = self._made(name, "Add")
        for variance, other in () if link is None else (link.inputs, link.inputs[::-1]):
            epsilon, mean = self._number(other), self._mean(variance)
            of = None if mean is None else self._squared(mean[0])
            if epsilon is not None and mean is not None and of is not None and of[1] == mean[1]:
                return Chain(*of, epsilon)
        return None

    def _squared(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        """(x, axes) of (x - mean)^2."""
        link = self._made(name, "SquaredDifference", "Mul", "Pow")
        if link is None:
            return None
        if link.kind == "SquaredDifference":
            for x, mean in (link.inputs, link.inputs[::-1]):
                found = self._mean(mean)
                if found is not None and found[0] == x:
                    return found
            return None
        twice = link.kind == "Mul" and link.inputs[0] == link.inputs[1]
        square = link.kind == "Pow" and self._number(link.inputs[1]) == 2
        return self._centre(link.inputs[0]) if twice or square else None

    def _centre(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        """(x, axes) of x - mean."""
        link = self._made(name, "Sub")
        mean = None if link is None else self._mean(link.inputs[1])
        return mean if link is not None and mean is not None and mean[0] == link.inputs[0] else None

    def _mean(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        """(x, axes) of a mean that keeps its dimensions."""
        link = self._made(name, "ReduceMean")
        return (link.inputs[0], link.axes) if link is not None and link.axes else None

    def _made(self, name: str, *kinds: str) -> Link | None:
        link = self.makers.get(name)
        needed = 1 if link is not None and link.kind in ("Reciprocal", "ReduceMean", "Rsqrt", "Sqrt") else 2
        return link if link is not None and link.kind in kinds and len(link.inputs) >= needed else None

    def _number(self, name: str) -> float | None:
        """A constant of one element."""
        array = self.constant(name)
        return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None

    def inside(self, last: int, ends: set[str], outputs: set[str]) -> frozenset[int]:
        """The operators behind `ends` that only this one needs."""
        found = {last}
        waiting = set(self.links[last].inputs)
        for number in range(last - 1, -1, -1):
            made = self.links[number].outputs
            if ends & set(made) or not waiting & set(made):
                continue
            if all(o not in outputs and self.readers.get(o, set()) <= found for o in made):
                found.add(number)
                waiting.update(self.links[number].inputs)
        return frozenset(found - {last})
