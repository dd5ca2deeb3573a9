# SPDX-License-Identifier: Apache-2.0
"""What the times say: agreement of outputs, ratios, MAC per cycle, shares of the peak. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

OURS = "edgekern"
CAMERA = "camera"  # edgekern's bundled model from camera frames: what its peers' classifying alone is held against
FLOAT = {"torch"}  # float32 beside the int8 contenders: no peer of the ratio
FAITHFUL = 0.98  # correlation below which a peer's outputs are no longer the network's


@dataclass(frozen=True)
class Setting:
    """Under what a row was taken, and what the machine gives there.

    Attributes:
        threads: Threads and cores.
        cap: Instruction sets; "" for all there are.
        clock_ghz: 0 where it was not measured.
        peak_gmacs: int8 peak of all these cores with the widest set; 0 where it was not measured.
    """

    threads: int = 1
    cap: str = ""
    clock_ghz: float = 0.0
    peak_gmacs: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.threads} thread{'s' * (self.threads > 1)}" + (f", capped to {self.cap}" if self.cap else "")


@dataclass(frozen=True)
class Row:
    """One contender on one model file in one setting; `refused` tells why there are no times."""

    case: str
    contender: str
    setting: Setting
    macs: int = 0
    median_us: float = 0.0
    p99_us: float = 0.0
    samples: int = 0
    block: int = 1
    refused: str = ""
    exact: bool | None = None
    within: float | None = None
    correlation: float | None = None

    @property
    def macs_per_cycle(self) -> float | None:
        """Of all cores together."""
        clock = self.setting.clock_ghz
        return self.macs / (self.median_us * clock * 1e3) if clock and self.median_us else None

    @property
    def share(self) -> float | None:
        """Of the int8 peak."""
        peak = self.setting.peak_gmacs
        return self.macs / (self.median_us * peak * 1e3) if peak and self.median_us else None

    @property
    def saturates(self) -> bool:
        return self.contender not in FLOAT and self.correlation is not None and self.correlation < FAITHFUL

    @property
    def remark(self) -> str:
        """What stands beside the figures."""
        said = []
        if self.refused:
            said.append(self.refused)
        if self.exact is not None:
            said.append("= reference" if self.exact else "DIFFERS FROM ITS REFERENCE")
        if self.saturates:
            said.append("saturates")
        if self.contender in FLOAT:
            said.append("float32")
        if self.contender == CAMERA:
            said.append("crop + resize + classify")
        return ", ".join(said)


@dataclass(frozen=True)
class Summary:
    """A case in a setting in one line.

    Attributes:
        ours: edgekern's row.
        peer: The fastest int8 peer's row; None where none ran.
        torch: torch / edgekern.
        gain: Time on one thread / time here, where this setting has more threads.
    """

    ours: Row
    peer: Row | None
    torch: float | None
    gain: float | None = None

    @property
    def ratio(self) -> float | None:
        """edgekern / fastest peer."""
        return None if self.peer is None else self.ours.median_us / self.peer.median_us


def agreement(ours: Any, theirs: Any, scale: float) -> tuple[float | None, float]:
    """Share of outputs within one step of edgekern's, and the correlation of all outputs.

    Args:
        ours: edgekern's outputs, integers or their real values.
        theirs: A peer's, of the same shape and meaning.
        scale: One step of float outputs; 0 where they were never quantised, which leaves the share out.
    """
    a, b = np.asarray(ours, np.float64).ravel(), np.asarray(theirs, np.float64).ravel()
    if a.shape != b.shape:
        raise ValueError(f"outputs of {a.size} and of {b.size} values")
    step = 1.0 if np.asarray(ours).dtype.kind in "iu" else scale
    within = float((np.abs(a - b) < 1.01 * step).mean()) if step else None  # room for the peer's own rounding
    if not np.isfinite(b).all():
        return within, 0.0
    if a.std() == 0 or b.std() == 0:  # a constant says nothing unless both are the same one
        return within, float(np.array_equal(a, b))
    return within, float(np.corrcoef(a, b)[0, 1])


def int8_peers(rows: Iterable[Row]) -> list[Row]:
    """Rows of other int8 runtimes that ran."""
    return [r for r in rows if r.contender not in {OURS, CAMERA, *FLOAT} and not r.refused]


def fastest_peer(rows: Iterable[Row]) -> Row | None:
    """The int8 peer with the least median, saturating or not."""
    peers = int8_peers(rows)
    return min(peers, key=lambda r: r.median_us, default=None)


def summaries(rows: Sequence[Row]) -> list[Summary]:
    """One line for each case and setting in which edgekern ran."""
    made = []
    for ours in (r for r in rows if r.contender == OURS and not r.refused):
        here = [r for r in rows if (r.case, r.setting) == (ours.case, ours.setting)]
        float32 = [r.median_us / ours.median_us for r in here if r.contender in FLOAT and not r.refused]
        made.append(Summary(ours, fastest_peer(here), float32[0] if float32 else None))
    alone = {s.ours.case: s.ours.median_us for s in made if s.ours.setting.threads == 1 and not s.ours.setting.cap}
    return [
        replace(s, gain=alone[s.ours.case] / s.ours.median_us)
        if s.ours.setting.threads > 1 and s.ours.case in alone
        else s
        for s in made
    ]


def from_camera(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Each row from the camera beside each int8 peer that ran on the same net in the same setting."""
    cameras = [r for r in rows if r.contender == CAMERA and not r.refused]
    return [(c, p) for c in cameras for p in int8_peers(rows) if (p.case, p.setting) == (c.case, c.setting)]


def inexact(rows: Iterable[Row]) -> list[str]:
    """Cases in which edgekern gave other bytes than its reference."""
    return sorted({f"{r.case} ({r.setting.name})" for r in rows if r.exact is False})
