# SPDX-License-Identifier: Apache-2.0
"""A transposed convolution by its definition: each input pixel's share is written where it belongs."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekern.types import Quant


def scattered(x: Any, w: Any, stride: Any, begin: Any, size: Any, groups: int = 1, dilation: Any = (1, 1)) -> Any:
    """Sums [b, O, h, w] of x [b, I, h, w] and w [I, O / groups, kh, kw], without bias."""
    (n, channels, h, wd), (_, outputs, kh, kw) = x.shape, w.shape
    y = np.zeros((n, outputs * groups, *size), np.result_type(x, w))
    for i in range(h):
        for j in range(wd):
            for ky in range(kh):
                for kx in range(kw):
                    r, c = i * stride[0] + ky * dilation[0] - begin[0], j * stride[1] + kx * dilation[1] - begin[1]
                    if 0 <= r < size[0] and 0 <= c < size[1]:
                        for g in range(groups):
                            part = slice(g * channels // groups, (g + 1) * channels // groups)
                            y[:, g * outputs : (g + 1) * outputs, r, c] += x[:, part, i, j] @ w[part, :, ky, kx]
    return y


def requantised(acc: Any, x: Quant, scales: Any, y: Quant, relu: bool) -> Any:
    """int8 [h, w, O] of int32 sums, by the formula of the specification."""
    m = (np.float32(x.scale) * scales) / np.float32(y.scale)
    lo = y.zero_point if relu else -128
    t = np.clip(acc.astype(np.float32) * m, lo - y.zero_point, 127 - y.zero_point)
    return (np.rint(t).astype(np.int32) + y.zero_point).astype(np.int8)
