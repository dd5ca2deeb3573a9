# SPDX-License-Identifier: Apache-2.0
"""The operators. Each file holds one, with all its faces; importing this package fills the registry."""

from __future__ import annotations

from edgekern.ops._op import NO_CLAMP, NO_CLIP, Op, registry
from edgekern.ops.add import Add
from edgekern.ops.affine import Affine
from edgekern.ops.average_pool import AveragePool2D
from edgekern.ops.concat import Concat
from edgekern.ops.conv2d import Conv2D
from edgekern.ops.depthwise import DepthwiseConv2D
from edgekern.ops.layer_norm import LayerNorm
from edgekern.ops.linear import linear
from edgekern.ops.max_pool import MaxPool2D
from edgekern.ops.mean import Mean
from edgekern.ops.mul import Mul
from edgekern.ops.pad import Pad
from edgekern.ops.reshape import Reshape
from edgekern.ops.resize import Resize2D
from edgekern.ops.slice import Slice
from edgekern.ops.softmax import Softmax
from edgekern.ops.table import Table
from edgekern.ops.transpose import Transpose

__all__ = [
    "NO_CLAMP",
    "NO_CLIP",
    "Add",
    "Affine",
    "AveragePool2D",
    "Concat",
    "Conv2D",
    "DepthwiseConv2D",
    "LayerNorm",
    "MaxPool2D",
    "Mean",
    "Mul",
    "Op",
    "Pad",
    "Reshape",
    "Resize2D",
    "Slice",
    "Softmax",
    "Table",
    "Transpose",
    "linear",
    "registry",
]
