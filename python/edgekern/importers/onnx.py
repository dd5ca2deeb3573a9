# SPDX-License-Identifier: Apache-2.0
"""ONNX -> graph, float or quantised, from PyTorch's exporters (old and new), tf2onnx and everyone else: NCHW or NHWC.

Nodes are read in order. What depends on constants only is computed on the spot, what depends on the input becomes
a node of ours (or, for Transpose, Reshape and the like, a new view of a tensor: see `_layout`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekern.errors import CompileError, EdgekernError, ShapeError, UnsupportedOpError
from edgekern.graph.graph import Graph, Port
from edgekern.importers import (
    _layers,
    _normalisation,
    _pointwise,
    _products,
    _quantised,
    _shapes,
    _slices,
    _upsampling,
)
from edgekern.importers._builder import Builder, bounded
from edgekern.importers._image import guess_layout
from edgekern.importers._layout import Value
from edgekern.importers._proto import attributes, constant, load_onnx, result_shapes
from edgekern.importers._source import HANDLERS, Source
from edgekern.importers._text import type_name
from edgekern.ops.reshape import Reshape
from edgekern.types import Array, DType, TensorType

if TYPE_CHECKING:
    import onnx

__all__ = ["OPSETS", "import_onnx", "load_onnx", "supported"]

OPSETS = (7, 28)  # the oldest and the newest operator set that the tests read
#: Each enters its operators into HANDLERS.
_FAMILIES = (_layers, _normalisation, _pointwise, _products, _quantised, _shapes, _slices, _upsampling)
_DOMAINS = ("", "ai.onnx")
_TYPES = {"FLOAT": DType.FLOAT32, "UINT8": DType.UINT8, "INT8": DType.INT8}  # of ports
_INSTEAD = {  # the way out, where there is one
    "ConvInteger": "It gives int32: use QLinearConv, or QuantizeLinear and DequantizeLinear.",
    "LogSoftmax": "Export the logits or a Softmax; the class is the same.",
    "MatMulInteger": "It gives int32: use QLinearMatMul, or QuantizeLinear and DequantizeLinear.",
}


def supported() -> tuple[str, ...]:
    """Names of the ONNX operators that can stand on the path of an activation."""
    return tuple(sorted(name for name in HANDLERS if not name.startswith(f"{_normalisation.OWN_DOMAIN}.")))


def import_onnx(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    image: tuple[int, int, int] | None = None,
    layout: str | None = None,
) -> Graph:
    """Reads a float model as a graph: NHWC inside, batch first and 1, ports as the source has them.

    Args:
        source: Path, bytes or ModelProto.
        image: (height, width, channels) that the first input takes, where the model leaves its size open.
        layout: "nchw" or "nhwc" of image inputs where shapes do not tell; guessed if None (a wrong guess costs a
            transpose).

    Raises:
        UnsupportedOpError: Operators, attributes or types that edgekern does not run: all of them, by node.
        ShapeError: Shapes do not fit, or are not fixed.
        CompileError: The file is broken; the message names the place.
    """
    return _Reader(load_onnx(source), image, layout).read()


@dataclass
class _Reader:
    model: onnx.ModelProto
    image: tuple[int, int, int] | None
    layout: str | None
    build: Builder = field(default_factory=Builder)
    values: dict[str, Value | Array] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)  # tensor -> why there is none
    batch: int = 1

    def read(self) -> Graph:
        graph = self.model.graph
        self.opset = next((o.version for o in self.model.opset_import if o.domain in _DOMAINS), OPSETS[0])
        if not OPSETS[0] <= self.opset <= OPSETS[1]:
            raise UnsupportedOpError(
                f"the model uses operator set {self.opset}; edgekern reads {OPSETS[0]} to {OPSETS[1]}",
                hint="Export it with one of these (opset_version=17 in PyTorch), or use onnx.version_converter.",
            )
        for tensor in graph.initializer:
            self.values[tensor.name] = constant(tensor, f"initializer {tensor.name!r}")
        self._refuse_sparse()
        inputs = tuple(self._input(i) for i in graph.input if i.name not in self.values)
        if not inputs:
            raise CompileError("the model has no input")
        for number, node in enumerate(_normalisation.fused(graph, self.values)):
            self._node(node, f"{node.name or '#' + str(number)} ({node.op_type})")
        problems = [text for text in dict.fromkeys(self.refusals.values()) if text]
        if problems:
            raise UnsupportedOpError(
                f"{len(problems)} node(s) that edgekern does not run: " + "; ".join(problems),
                hint="Replace them in the model, or cut the model before them.",
            )
        if not graph.output:
            raise CompileError("the model has no output")
        outputs = tuple(self._output(o) for o in graph.output)
        build = self.build
        for port in inputs:
            if port.dtype is not DType.FLOAT32 and build.types[port.tensor].quant is None:
                raise UnsupportedOpError(
                    f"input {port.name!r} is {port.dtype.name} and nothing says its scale",
                    hint="Export the model in float32, or quantised with QuantizeLinear and DequantizeLinear.",
                )
        return build.graph(inputs, outputs)

    # ---- edges ----------------------------------------------------------------------------------

    def _refuse_sparse(self) -> None:
        for tensor in self.model.graph.sparse_initializer:
            raise UnsupportedOpError(f"initializer {tensor.values.name!r} is sparse", hint="Store it dense.")

    def _input(self, info: onnx.ValueInfoProto) -> Port:
        tensor_type = info.type.tensor_type
        kind = type_name(tensor_type.elem_type)
        if not info.type.HasField("tensor_type") or kind not in _TYPES:
            raise UnsupportedOpError(
                f"input {info.name!r} has type {kind}, not FLOAT (float32), UINT8 or INT8",
                hint="Export the model in float32; edgekern quantises it itself.",
            )
        shape = self._input_shape(info)
        perm = self._input_perm(info.name, shape)
        ours = [0] * len(shape)
        for i, k in enumerate(perm):
            ours[k] = shape[i]
        self.build.types[info.name] = TensorType(bounded(ours, f"input {info.name!r}"))
        groups = tuple((k,) if shape[i] > 1 or k == 0 else () for i, k in enumerate(perm))
        self.values[info.name] = Value(info.name, groups)
        return Port(info.name, info.name, _TYPES[kind], perm)

    def _input_shape(self, info: onnx.ValueInfoProto) -> tuple[int, ...]:
        dims = info.type.tensor_type.shape.dim
        sizes: list[int | str] = [d.dim_value if d.dim_value > 0 else d.dim_param or "?" for d in dims]
        if self.image is not None:
            sizes[1:] = self._image_sizes(info.name, sizes)
            self.image = None  # the first input only
        if not 2 <= len(sizes) <= 6:
            raise ShapeError(f"input {info.name!r} has {len(sizes)} dimensions", hint="The batch and one to five more.")
        loose = [str(n) for n in sizes[1:] if not isinstance(n, int)]
        if loose:
            raise ShapeError(
                f"input {info.name!r} has no fixed size: dimension {', '.join(loose)} of {sizes} is open",
                hint="Export with a fixed image size, or give it: a Preprocess with size=(height, width).",
            )
        if isinstance(sizes[0], int):
            self.batch = max(self.batch, sizes[0])
        return (1, *(int(n) for n in sizes[1:]))

    def _image_sizes(self, name: str, sizes: Sequence[int | str]) -> list[int | str]:
        """Open dimensions filled in from the image the caller will give, in the layout that fits the fixed ones."""
        assert self.image is not None
        h, w, c = self.image
        fits = {
            layout: list(wanted)
            for layout, wanted in (("nchw", (c, h, w)), ("nhwc", (h, w, c)))
            if len(sizes) == 4 and all(n == m for n, m in zip(sizes[1:], wanted, strict=True) if isinstance(n, int))
        }
        if not fits:
            raise ShapeError(
                f"input {name!r} has shape {list(sizes)}; the Preprocess makes {h}x{w} pixels of {c} channels",
                hint="Give the Preprocess the size and channels of the model.",
            )
        if self.layout not in fits:
            self.layout = next(iter(fits))
        return list(fits[self.layout])

    def _input_perm(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Where each source dimension lies inside: images NHWC, all else as it is."""
        plain = tuple(range(len(shape)))
        readers = [n for n in self.model.graph.node if name in n.input]
        if len(shape) == 3 and any(n.op_type in ("Conv", "MaxPool", "AveragePool") for n in readers):
            return (0, 2, 1)
        if len(shape) != 4:
            return plain
        layout = self.layout or guess_layout(self.model.graph, name, shape)
        return plain if layout == "nhwc" else (0, 3, 1, 2)

    def _output(self, info: onnx.ValueInfoProto) -> Port:
        name = info.name
        value = self.values.get(name)
        if not isinstance(value, Value):
            what = "made by no node" if value is None else "constant: it does not depend on the input"
            raise CompileError(f"output {name!r} is {what}")
        build = self.build
        build.begin(name, name, "")
        source = build.shape(value)
        batch = value.batch if value.batch is not None else next((i for i, n in enumerate(source) if n == 1), None)
        if batch is None:
            raise ShapeError(
                f"output {name!r} of shape {list(source)} has no batch dimension", hint="Keep the batch first."
            )
        if batch != 0:
            raise ShapeError(
                f"output {name!r} of shape {list(source)} has the batch at dimension {batch}",
                hint="Transpose it to the front.",
            )
        body = [i for i in value.natural_order() if i != batch]
        if len(build.ours(value)) != len(source) or any(len(group) > 1 for group in value.groups):
            tensor = build.materialise(value, body, (1, *(source[i] for i in body)))
            value = build.plain(tensor, body, len(source), batch)
        if value.tensor in {i.name for i in self.model.graph.input}:
            value = Value(build.emit(Reshape(build.ours(value)[1:]), [value.tensor]), value.groups)
        ours = build.ours(value)
        free = [k for k in range(1, len(ours)) if not any(k in group for group in value.groups)]
        perm = tuple(0 if i == batch else g[0] if g else free.pop(0) for i, g in enumerate(value.groups))
        dtype = _TYPES.get(type_name(info.type.tensor_type.elem_type), DType.FLOAT32)
        if dtype is not DType.FLOAT32 and build.types[value.tensor].quant is None:
            raise UnsupportedOpError(f"output {name!r} is {dtype.name} and nothing quantises it")
        return Port(name, value.tensor, dtype, perm)

    # ---- nodes ----------------------------------------------------------------------------------

    def _node(self, node: onnx.NodeProto, where: str) -> None:
        missing = [i for i in node.input if i and i not in self.values and i not in self.refusals]
        if missing:
            raise CompileError(f"node {where}: its input {missing[0]!r} is made by no node before it")
        double = [o for o in node.output if o and o in self.values]
        if double:
            raise CompileError(f"node {where}: {double[0]!r} is made a second time")
        blocked = [i for i in node.input if i in self.refusals]
        try:
            results = [] if blocked else self._results(node)
            text = ""
        except UnsupportedOpError as error:
            results = []
            text = f"{where}: {error.args[0]}" + (f" ({error.hint})" if error.hint else "")
        except EdgekernError as error:
            raise type(error)(f"node {where}: {error.args[0]}", hint=error.hint) from error
        except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise CompileError(f"node {where} is broken: {type(error).__name__}: {error}") from error
        for k, output in enumerate(node.output):
            if not results:
                self.refusals[output] = text
            elif k < len(results):
                if output:
                    self.values[output] = results[k]
            elif output:
                self._refuse_later(output, f"{where}: its output {k} ({output!r}) is used")

    def _refuse_later(self, output: str, text: str) -> None:
        used = any(output in n.input for n in self.model.graph.node)
        if used or any(output == o.name for o in self.model.graph.output):
            self.refusals[output] = text

    def _results(self, node: onnx.NodeProto) -> Sequence[Value | Array]:
        """What a node makes; of outputs behind these the importer has nothing."""
        inputs = [self.values[i] if i else None for i in node.input]
        name = node.op_type if node.domain in _DOMAINS else f"{node.domain}.{node.op_type}"
        if name.removeprefix("com.microsoft.") in ("DequantizeLinear", "QuantizeLinear"):
            name = node.op_type  # older exporters name the same operator in this domain
        if name != "DequantizeLinear" and not any(isinstance(i, Value) for i in inputs):
            return self._folded(node, inputs)
        if name not in HANDLERS:
            raise UnsupportedOpError(f"operator {name} is not supported", hint=_INSTEAD.get(name, ""))
        self.build.begin(node.output[0], node.name or node.output[0], name.rpartition(".")[2])
        source = Source(name, self.opset, attributes(node), inputs, self.batch, self.build, node.output)
        made = HANDLERS[name](source)
        self.build.end()
        return made if isinstance(made, list) else [made]

    def _folded(self, node: onnx.NodeProto, inputs: Sequence[Value | Array | None]) -> list[Array]:
        """The values of a node that depends on constants only."""
        if node.op_type == "Constant" and node.domain in _DOMAINS:
            for attribute in node.attribute:
                if attribute.name == "value":
                    return [constant(attribute.t, f"constant {node.output[0]!r}")]
        from onnx import reference

        self.build.removed.append((node.op_type, "computed while compiling"))
        feeds = {n: v for n, v in zip(node.input, inputs, strict=True) if n and isinstance(v, np.ndarray)}
        for shape in result_shapes(node, feeds, self.opset):
            bounded(shape, "its result")
        try:
            evaluator = reference.ReferenceEvaluator(node, opsets={"": self.opset})
            results: Any = evaluator.run(None, feeds)
            return [np.asarray(result) for result in results]
        except Exception as error:  # whatever the reference meets is a fault of this node
            raise UnsupportedOpError(f"this node of constants cannot be computed: {error}") from error
