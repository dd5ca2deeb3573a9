# SPDX-License-Identifier: Apache-2.0
"""The types of tensors: dtype, shape, quantisation."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "DType", "Quant", "TensorType", "WeightScale"]

Array = npt.NDArray[Any]


class DType(enum.Enum):
    """Element type of a tensor; the value is its number in model files."""

    FLOAT32 = 1
    INT8 = 2
    UINT8 = 3
    INT16 = 4
    INT32 = 5

    @property
    def numpy(self) -> np.dtype[Any]:
        """NumPy's name for it.

        >>> DType.INT8.numpy
        dtype('int8')
        """
        return np.dtype(self.name.lower())


_LEAST_SCALE = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class Quant:
    """Per-tensor affine quantisation: real = scale * (q - zero_point).

    Attributes:
        scale: A normal float32 value in (0, 256], held exactly in a Python float.
        zero_point: An int8 value; 0 for int16 tensors.

    >>> Quant(0.5, -128)
    Quant(scale=0.5, zero_point=-128)
    """

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        if float(np.float32(self.scale)) != self.scale or not _LEAST_SCALE <= self.scale <= 256:
            raise ValueError(f"scale {self.scale!r} is no normal float32 in (0, 256]")
        if not -128 <= self.zero_point <= 127:
            raise ValueError(f"zero point {self.zero_point} is no int8")


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape (NHWC, batch first and given as 1), element type and quantisation of a tensor.

    `quant` is None for int8 results whose quantisation the operator leaves to calibration. A float32 tensor of a float
    graph has one where the source model is quantised: it is taken over, not calibrated. An integer graph holds int8,
    and int16 where a tensor needs finer steps than 256 values give.
    """

    shape: tuple[int, ...]
    dtype: DType = DType.FLOAT32
    quant: Quant | None = None

    def __post_init__(self) -> None:
        if self.dtype is DType.INT16 and self.quant is not None and self.quant.zero_point != 0:
            raise ValueError(f"an int16 tensor has zero point 0, not {self.quant.zero_point}")

    @property
    def wide(self) -> bool:
        """Whether it holds int16."""
        return self.dtype is DType.INT16

    @property
    def size(self) -> int:
        """Elements of one frame."""
        return int(np.prod(self.shape[1:], dtype=np.int64))


@dataclass(frozen=True, slots=True)
class WeightScale:
    """Scales of a node's weights, one per output channel.

    Attributes:
        values: float32 [N].
        given: They are the source model's own: weights and biases are whole multiples and are taken over as integers.
    """

    values: Array
    given: bool = False
