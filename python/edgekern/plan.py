# SPDX-License-Identifier: Apache-2.0
"""What a loaded model tells of itself: its tensors, its steps, its memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["MemoryPlan", "OpProfile", "TensorInfo"]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output as the caller sees it.

    Attributes:
        name: Name in the source model.
        dtype: Of the caller's array.
        shape: Of the caller's array; the batch stands first and is given as 1.
        scale: Of the int8 or int16 tensor inside, real = scale * (q - zero_point); 0 for float32 inside.
        zero_point: Of the tensor inside.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class OpProfile:
    """One step of the plan.

    Attributes:
        name: Of the op in the source model.
        op: Operator; of a fused group, which runs under the name of its last op, Separable, Bottleneck, ConvAdd or
            ConvPool.
        kernel: The kernel row that runs it; of a group those of its members, joined by "+".
        macs: Multiply-accumulates of one frame; convolutions have some.
        nanoseconds: Least time of one frame; 0 before a profile.
        predicted_cycles: What the plan expected when it chose the kernel, or the group.
        unfused_cycles: What it expected of a group's ops one by one, the tensors between them included: more than
            predicted_cycles, or there would be no group. Without a group, the same.
    """

    name: str
    op: str
    kernel: str
    macs: int
    nanoseconds: float
    predicted_cycles: float
    unfused_cycles: float


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes of a session, known before they are allocated.

    Attributes:
        weights: Packed weights.
        arena: Activations, shared by their lifetimes.
        scratch: Rows and tables that one op needs at a time.
        total: All of it, the plan's own records included; the model file in memory is not.
    """

    weights: int
    arena: int
    scratch: int
    total: int
