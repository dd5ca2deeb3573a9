"""Small ONNX models, written node by node, and what ONNX's own reference makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    """A node; names are separated by spaces, "-" is an input left out."""
    names = ["" if n == "-" else n for n in inputs.split()]
    return helper.make_node(kind, names, outputs.split(), name=f"{kind}_{outputs.split()[0]}", **attributes)


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Sequence[int | str | None]],
    outputs: str,
    constants: Mapping[str, Any] | None = None,
    opset: int = 17,
    dtype: int = TensorProto.FLOAT,
) -> ModelProto:
    """A model of float32 inputs; constants are arrays."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(n, dtype, list(shape)) for n, shape in inputs.items()],
        [helper.make_tensor_value_info(n, dtype, None) for n in outputs.split()],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def wanted(proto: ModelProto, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs by name, from ONNX's reference."""
    names = [o.name for o in proto.graph.output]
    return dict(zip(names, ReferenceEvaluator(proto).run(None, dict(feeds)), strict=True))


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Any:
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def quantised_nodes(weights: str) -> list[NodeProto]:
    """x -> out: a convolution, a ReLU, a mean and a product, each between QuantizeLinear and DequantizeLinear.

    Args:
        weights: What dequantises the filters: "w ws", or with their zero points "w ws wz".
    """
    return [
        node("QuantizeLinear", "x xs xz", "xq"),
        node("DequantizeLinear", "xq xs xz", "xd"),
        node("DequantizeLinear", weights, "wd", axis=0),
        node("DequantizeLinear", "b bs", "bd", axis=0),
        node("Conv", "xd wd bd", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        node("QuantizeLinear", "r ys yz", "yq"),
        node("DequantizeLinear", "yq ys yz", "yd"),
        node("GlobalAveragePool", "yd", "m"),
        node("QuantizeLinear", "m ms mz", "mq"),
        node("DequantizeLinear", "mq ms mz", "md"),
        node("Flatten", "md", "fl"),
        node("DequantizeLinear", "f fs", "fd"),
        node("Gemm", "fl fd", "g", transB=1),
        node("QuantizeLinear", "g os oz", "gq"),
        node("DequantizeLinear", "gq os oz", "out"),
    ]
