# SPDX-License-Identifier: Apache-2.0
"""What a compile did and what it cost: float against int8."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ["Accuracy", "Cost", "Layer", "OutputError", "Removed", "Report", "shown_name"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One node of the compiled graph.

    Attributes:
        name: Of the node in the source model.
        op: Operator.
        shape: Of its result.
        macs: Multiply-accumulates for one frame.
        bytes: Of its constants.
        sqnr: Signal to quantisation noise of its result in dB, over calibration samples; infinite if exact.
        made_of: Operators of the source nodes it stands for; none where it only joins others.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    macs: int
    bytes: int
    sqnr: float
    made_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Removed:
    """Source nodes of one operator of which nothing is left.

    Attributes:
        op: Operator of the source model.
        count: How many.
        why: What became of them, or the pass that took them out.
    """

    op: str
    count: int
    why: str


@dataclass(frozen=True, slots=True)
class OutputError:
    """One output, float against int8, over calibration samples.

    Attributes:
        name: Of the output.
        sqnr: dB.
        greatest: Greatest absolute difference.
        same_class: Share of samples whose greatest element is the same.
    """

    name: str
    sqnr: float
    greatest: float
    same_class: float


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of labelled samples whose class is right, or the caller's own measure.

    Attributes:
        samples: How many.
        float32: Of the float network.
        int8: Of its integer form.
    """

    samples: int
    float32: float
    int8: float

    @property
    def drop(self) -> float:
        """What the integer form loses, in points (hundredths)."""
        return round(100 * (self.float32 - self.int8), 6)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one layer in integers costs, measured alone in the float network.

    Attributes:
        layer: Its name.
        share: Of the noise that all layers together bring to the outputs.
        weights: The part of `share` that comes from rounding its weights; the rest comes from its result.
        drop: Points of accuracy that it alone costs; None where that was not measured.
    """

    layer: str
    share: float
    weights: float
    drop: float | None = None

    def __str__(self) -> str:
        points = "" if self.drop is None else f", alone {self.drop:.2f} points"
        return f"{shown_name(self.layer)}: {self.share:.0%} of the noise ({self.weights:.0%} its weights){points}"


@dataclass(frozen=True, slots=True)
class Report:
    """A compile in figures.

    Attributes:
        method: How ranges were chosen.
        bias_correction: Whether biases were corrected.
        calibration_samples: How many were observed.
        compared_samples: How many of them the figures below compare.
        outputs: Each output, float against int8.
        layers: Each node in order.
        accuracy: On the labelled samples given; None without.
        source_bytes: Of the source model.
        bytes: Of the model file.
        macs: Multiply-accumulates for one frame.
        parameters: Elements of the float weights and biases.
        changes: What the passes fused, folded and removed, and equalisation scaled.
        unsupported: Operators that could not be compiled, by name: none in a model that exists.
        costs: Of the layers, the worst first; empty if they were not asked for.
        removed: Source nodes of which nothing is left, by operator and reason.
        rounding: How weights were rounded: "nearest", or "compensated", where they make up for each other.
    """

    method: str
    bias_correction: bool
    calibration_samples: int
    compared_samples: int
    outputs: tuple[OutputError, ...]
    layers: tuple[Layer, ...]
    accuracy: Accuracy | None
    source_bytes: int
    bytes: int
    macs: int
    parameters: int
    changes: tuple[str, ...]
    unsupported: tuple[str, ...] = ()
    costs: tuple[Cost, ...] = ()
    removed: tuple[Removed, ...] = ()
    rounding: str = "nearest"

    def worst(self, count: int = 5) -> Sequence[Layer]:
        """The layers with the lowest SQNR, worst first."""
        return sorted(self.layers, key=lambda layer: layer.sqnr)[:count]

    def to_json(self) -> dict[str, Any]:
        """Plain data for a model file's provenance: decibels to a tenth, None for infinite ones.

        Of layers only their decibels and what they are made of, in the order of the file's nodes: the rest stands in
        its graph.
        """
        data = asdict(self)
        for entry in (*data["outputs"], *data["layers"]):
            entry["sqnr"] = round(entry["sqnr"], 1) if math.isfinite(entry["sqnr"]) else None
        if not data["costs"]:
            del data["costs"]
        data["sqnr"] = [entry["sqnr"] for entry in data.pop("layers")]
        kinds = list(dict.fromkeys(layer.made_of for layer in self.layers))
        data["made_of"] = {"kinds": kinds, "layers": [kinds.index(layer.made_of) for layer in self.layers]}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any], layers: Iterable[Layer]) -> Report:
        """What `to_json` made plain data of.

        Args:
            data: Of `to_json`.
            layers: The file's nodes in order; their `sqnr` is taken from the data.

        Raises:
            KeyError, TypeError, ValueError: The data is something else.
        """
        values = dict(data)
        accuracy = values["accuracy"]
        sqnr, parts = values.pop("sqnr"), values.pop("made_of", None)  # reports of old files tell no parts
        made_of = [tuple(parts["kinds"][i]) for i in parts["layers"]] if parts else [()] * len(sqnr)
        rows = zip(layers, sqnr, made_of, strict=True)
        values["layers"] = tuple(replace(layer, sqnr=_decibels(db), made_of=made) for layer, db, made in rows)
        values["removed"] = tuple(Removed(**entry) for entry in values.get("removed", ()))
        values["outputs"] = tuple(OutputError(**{**o, "sqnr": _decibels(o["sqnr"])}) for o in values["outputs"])
        values["accuracy"] = None if accuracy is None else Accuracy(**accuracy)
        values["costs"] = tuple(Cost(**cost) for cost in values.get("costs", ()))
        for name in ("changes", "unsupported"):
            values[name] = tuple(values[name])
        return cls(**values)

    def __str__(self) -> str:
        lines = [f"{'SQNR dB':>8} {'MACs':>12} {'bytes':>10}  layer"]
        lines += [
            f"{_text(n.sqnr):>8} {n.macs:12,} {n.bytes:10,}  {n.op} {shown_name(n.name)} {list(n.shape)}"
            + (f" of {' + '.join(n.made_of)}" if n.made_of else "")
            for n in self.layers
        ]
        seen = f"{self.compared_samples} samples" if self.compared_samples else "one random frame"
        lines += ["", f"Float against int8 on {seen}:"]
        lines += [
            f"{o.name}: SQNR {_text(o.sqnr)} dB, greatest difference {o.greatest:.4g}, same class {o.same_class:.1%}"
            for o in self.outputs
        ]
        if self.accuracy is not None:
            a = self.accuracy
            lines.append(f"accuracy on {a.samples} samples: float {a.float32:.2%}, int8 {a.int8:.2%}")
        lines += [f"costs {cost}" for cost in self.costs]
        lines += ["", *(f"changed: {change}" for change in self.changes)]
        lines += [f"nothing left of: {r.count} {r.op} ({r.why})" for r in self.removed]
        biases = ", biases corrected" if self.bias_correction else ""
        weights = ", weights rounded to make up for each other" if self.rounding == "compensated" else ""
        ratio = self.source_bytes / max(self.bytes, 1)
        lines += [
            f"{self.method} ranges from {self.calibration_samples} samples{weights}{biases}"
            if self.calibration_samples
            else "integers of the source, no samples",
            f"{self.parameters:,} parameters, {self.macs:,} multiply-accumulates a frame",
            f"{self.bytes:,} bytes, the network has {self.source_bytes:,} ({ratio:.1f} times as many)",
        ]
        return "\n".join(lines)


def shown_name(name: str) -> str:
    """The first of the names that TFLite's converter joins for what it fused.

    >>> shown_name("net/Relu;net/batch_norm;net/conv")
    'net/Relu;…'
    """
    first, more, _ = name.partition(";")
    return f"{first};…" if more else name


def _decibels(written: float | None) -> float:
    return math.inf if written is None else float(written)


def _text(decibels: float) -> str:
    return f"{decibels:.1f}" if math.isfinite(decibels) else "exact"
