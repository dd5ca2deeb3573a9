# SPDX-License-Identifier: Apache-2.0
"""Small networks that are quantised already, each made here: the same file and the same bytes on every architecture."""

from __future__ import annotations

from typing import Any

import numpy as np

from small_onnx import model as onnx_model
from small_onnx import quantised_nodes
from small_tflite import Operator, Tensor, model


def tflite_net(dtype: str) -> bytes:
    """Convolutions per channel and per tensor, a sum, a sigmoid, a product, a pool, a mean, a softmax."""
    draw = np.random.default_rng(11)
    shift = 128 if dtype == "uint8" else 0
    low, high = (1, 256) if dtype == "uint8" else (-127, 128)
    scales: Any = 0.013 if dtype == "uint8" else (0.003 * np.arange(1, 7)).tolist()
    tensors = {
        "x": Tensor((1, 8, 9, 3), dtype, 0.0371, -3 + shift),
        "w": Tensor((6, 3, 3, 3), dtype, scales, shift and 121, 0, draw.integers(low, high, (6, 3, 3, 3))),
        "b": Tensor((6,), "int32", 0.001, data=draw.integers(-3000, 3000, 6)),
        "y": Tensor((1, 8, 9, 6), dtype, 0.217, -20 + shift),
        "v": Tensor((1, 3, 3, 6), dtype, 0.0071, shift, 3, draw.integers(low, high, (1, 3, 3, 6))),
        "c": Tensor((6,), "int32", 0.001, data=draw.integers(-3000, 3000, 6)),
        "d": Tensor((1, 8, 9, 6), dtype, 0.311, 9 + shift),
        "a": Tensor((1, 8, 9, 6), dtype, 0.377, 4 + shift),
        "s": Tensor((1, 8, 9, 6), dtype, 1 / 256, -128 + shift),
        "g": Tensor((1, 8, 9, 6), dtype, 0.291, -7 + shift),
        "q": Tensor((1, 4, 4, 6), dtype, 0.291, -7 + shift),
        "axes": Tensor((2,), "int32", data=[1, 2]),
        "m": Tensor((1, 6), dtype, 0.083, 5 + shift),
        "p": Tensor((1, 6), dtype, 1 / 256, -128 + shift),
    }
    conv = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    pool = {"Padding": 1, "StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 2}
    operators = [
        Operator("CONV_2D", ["x", "w", "b"], ["y"], {**conv, "FusedActivationFunction": 1}, "Conv2DOptions"),
        Operator("DEPTHWISE_CONV_2D", ["y", "v", "c"], ["d"], {**conv, "DepthMultiplier": 1}, "DepthwiseConv2DOptions"),
        Operator("ADD", ["y", "d"], ["a"], {"FusedActivationFunction": 0}, "AddOptions"),
        Operator("LOGISTIC", ["a"], ["s"]),
        Operator("MUL", ["a", "s"], ["g"], {"FusedActivationFunction": 0}, "MulOptions"),
        Operator("AVERAGE_POOL_2D", ["g"], ["q"], pool, "Pool2DOptions"),
        Operator("MEAN", ["q", "axes"], ["m"], {"KeepDims": False}, "ReducerOptions"),
        Operator("SOFTMAX", ["m"], ["p"], {"Beta": 1.0}, "SoftmaxOptions"),
    ]
    return model(tensors, operators, ["x"], ["p"])


def onnx_net() -> bytes:
    """Pairs of QuantizeLinear and DequantizeLinear round a convolution, a ReLU, a mean and a product."""
    draw = np.random.default_rng(12)
    held = {"xs": np.float32(0.021), "xz": np.uint8(117), "ys": np.float32(0.033), "yz": np.uint8(0)}
    held |= {"w": draw.integers(-127, 128, (6, 3, 3, 3)).astype(np.int8), "ws": np.float32(0.0011 * np.arange(1, 7))}
    held |= {"b": draw.integers(-9000, 9000, 6).astype(np.int32), "bs": np.float32(0.021) * held["ws"]}
    held |= {"f": draw.integers(-127, 128, (5, 6)).astype(np.int8), "fs": np.float32(0.013)}
    held |= {"ms": np.float32(0.011), "mz": np.uint8(7), "os": np.float32(0.19), "oz": np.uint8(90)}
    return bytes(onnx_model(quantised_nodes("w ws"), {"x": [1, 3, 5, 4]}, "out", held).SerializeToString())


SOURCES = {
    "tflite int8": lambda: tflite_net("int8"),
    "tflite uint8": lambda: tflite_net("uint8"),
    "onnx pairs": onnx_net,
}
