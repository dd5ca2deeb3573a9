# SPDX-License-Identifier: Apache-2.0
"""Where the channels of an image input stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

__all__ = ["first_input", "guess_layout"]


def first_input(graph: onnx.GraphProto) -> onnx.ValueInfoProto | None:
    """The first input that is no weight."""
    weights = {w.name for w in graph.initializer}
    return next((i for i in graph.input if i.name not in weights), None)


def guess_layout(graph: onnx.GraphProto, name: str, sizes: Sequence[int | str], depth: int | None = None) -> str:
    """Says "nhwc" where a first Transpose or the sizes do, else "nchw".

    Args:
        graph: Of the source model.
        name: Of the input.
        sizes: Its four dimensions; 0 or a text where they are open.
        depth: Channels of its images; 1, 3 or 4 if None.
    """
    perms = (list(a.ints) for n in graph.node if n.op_type == "Transpose" and name in n.input for a in n.attribute)
    if [0, 3, 1, 2] in perms:
        return "nhwc"
    images = (1, 3, 4) if depth is None else (depth,)
    return "nhwc" if sizes[3] in images and sizes[1] not in images else "nchw"
