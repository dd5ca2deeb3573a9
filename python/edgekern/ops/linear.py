# SPDX-License-Identifier: Apache-2.0
"""The fully connected layer. It has no opcode of its own: it is a convolution whose kernel covers the whole input."""

from __future__ import annotations

import math

from edgekern.errors import ShapeError
from edgekern.ops._op import NO_CLIP
from edgekern.ops.conv2d import Conv2D, image_shape
from edgekern.types import Array

__all__ = ["linear"]


def linear(weights: Array, shape: tuple[int, ...], clip: tuple[float, float] = NO_CLIP) -> tuple[Conv2D, Array]:
    """A fully connected layer y = x @ weights.T as a convolution, and its weights [N, kh, kw, C].

    An image [b, h, w, c] gives [b, 1, 1, N]: its kernel is h x w, and no flatten is needed before it. A vector
    [b, c] gives [b, N].

    Args:
        weights: [N, K], K in the order of the input's elements (height, width, channels).
        shape: Of the input.
        clip: Fused activation.

    >>> import numpy as np
    >>> op, w = linear(np.zeros((10, 75), np.float32), (1, 5, 5, 3))
    >>> op.kernel, w.shape
    ((5, 5), (10, 5, 5, 3))
    """
    _, h, w, c = image_shape(shape)
    if weights.ndim != 2 or weights.shape[1] != math.prod(shape[1:]):
        raise ShapeError(f"weights {weights.shape} do not fit an input {shape}")
    return Conv2D((h, w), clip=clip), weights.reshape(-1, h, w, c)
