# SPDX-License-Identifier: Apache-2.0
"""Any source model -> graph: which importer reads it, and the bytes that identify it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgekern.errors import InputError
from edgekern.graph.graph import Graph
from edgekern.importers._image import first_input, guess_layout
from edgekern.importers._proto import file_bytes, load_onnx
from edgekern.importers.onnx import import_onnx
from edgekern.importers.tflite import import_tflite, is_tflite
from edgekern.importers.torch_module import exported, is_module

if TYPE_CHECKING:
    import onnx
    import torch

__all__ = ["first_image", "read"]


def read(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto | torch.nn.Module,
    image: tuple[int, int, int] | None = None,
    layout: str | None = None,
    example: object = None,
) -> tuple[Graph, bytes]:
    """The graph of a TFLite or ONNX model or PyTorch module, and the bytes of the model with all its weights.

    Args:
        source: Path, bytes, ModelProto or module. TFLite files are known by their identifier, whatever their name.
        image: (height, width, channels) that the first input takes, where the model leaves its size open.
        layout: "nchw" or "nhwc" of image inputs where an ONNX model does not tell.
        example: Input of a module.

    Raises:
        CompileError: The file cannot be read; subclasses as the importers say.
    """
    if is_module(source):
        source = exported(source, example)
    elif example is not None:
        raise InputError("an example goes with a torch.nn.Module; a file tells its inputs itself")
    data = file_bytes(source) if isinstance(source, (str, os.PathLike, bytes)) else None
    if data is not None and is_tflite(data):
        return import_tflite(data), data
    proto = load_onnx(source, data)
    graph = import_onnx(proto, image, layout)
    if data is None:
        return graph, proto.SerializeToString(deterministic=True)
    if proto.ByteSize() > len(data):  # weights in files beside it
        data += proto.SerializeToString(deterministic=True)
    return graph, data


def first_image(path: str | os.PathLike[str], depth: int) -> tuple[str, list[int]]:
    """Layout ("nchw" or "nhwc") and shape of a model's first input; 0 for sizes it leaves open, [] without input.

    Args:
        path: Of the model.
        depth: Channels that images will have, where the shape does not tell the layout.
    """
    data = file_bytes(path)
    if is_tflite(data):
        graph = import_tflite(data)
        return "nhwc", list(graph.types[graph.inputs[0].tensor].shape)
    proto = load_onnx(path, data).graph
    port = first_input(proto)
    if port is None:
        return "nchw", []
    dims = [d.dim_value for d in port.type.tensor_type.shape.dim]
    return guess_layout(proto, port.name, dims, depth) if len(dims) == 4 else "nchw", dims
