# SPDX-License-Identifier: Apache-2.0
"""Writes the tables of docs/models.md from the importers' registries: `python docs/tables.py`.

A test compares the page with what this makes, so a new operator cannot be forgotten. One that no row names gets a row
of its own; name it in a row where it belongs to others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from edgekern.importers import onnx, tflite

PAGE = Path(__file__).parent / "models.md"

# What a row is about, and the names that belong to it in any format; the importers say which of them are read.
ROWS = {
    "convolution, depthwise and grouped ones": "Conv QLinearConv CONV_2D DEPTHWISE_CONV_2D",
    "transposed convolution": "ConvTranspose TRANSPOSE_CONV",
    "image in another size": "Resize Upsample RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR",
    "fully connected, product with a constant": "Gemm MatMul QGemm QLinearMatMul FULLY_CONNECTED",
    "batch norm": "BatchNormalization",
    "layer norm": "LayerNormalization",
    "average pool": "AveragePool QLinearAveragePool AVERAGE_POOL_2D",
    "max pool": "MaxPool GlobalMaxPool ReduceMax MAX_POOL_2D",
    "mean": "GlobalAveragePool ReduceMean QLinearGlobalAveragePool MEAN",
    "sum, difference": "Add Sub Sum QLinearAdd ADD SUB",
    "product, quotient": "Mul Div QLinearMul MUL",
    "softmax": "Softmax QLinearSoftmax SOFTMAX",
    "limits": "Clip Max Min Relu RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1",
    "slope per channel": "LeakyRelu PRelu QLinearLeakyRelu LEAKY_RELU",
    "sigmoid and its kin": "Sigmoid HardSigmoid HardSwish Swish Mish Tanh QLinearSigmoid LOGISTIC HARD_SWISH TANH",
    "GELU, ELU and their kin": "Gelu Erf Elu Celu Selu Softplus Softsign ThresholdedRelu GELU ELU",
    "functions of one element": "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Exp Floor Log Neg Pow "
    "Reciprocal Round Sign Sin Sinh Sqrt Tan ABS CEIL COS EXP FLOOR LOG NEG ROUND RSQRT SIGN SIN SQRT SQUARE",
    "concatenation": "Concat QLinearConcat CONCATENATION",
    "parts of a tensor": "Slice Split SLICE SPLIT SPLIT_V STRIDED_SLICE PACK UNPACK",
    "padding": "Pad PAD PADV2",
    "another shape or order": "Reshape Flatten Squeeze Unsqueeze Transpose DepthToSpace SpaceToDepth RESHAPE "
    "SQUEEZE EXPAND_DIMS TRANSPOSE",
    "quantisation": "QuantizeLinear DequantizeLinear QUANTIZE DEQUANTIZE",
    "nothing left when it runs": "Cast Dropout Identity Shape Size",
}

COLUMNS = ("ONNX", "ONNX, already integer", "TFLite")

# framework, how it writes the file, format, samples to calibrate with, which test runs such a file and what the file is
FRAMEWORKS = (
    (
        "PyTorch",
        '`torch.onnx.export(net.eval(), x, "net.onnx", dynamo=True)`',
        "ONNX float",
        "yes",
        ("tests/importers/test_onnx_import.py", "its files"),
    ),
    (
        "PyTorch",
        "the same with `dynamo=False`",
        "ONNX float",
        "yes",
        ("tests/importers/test_onnx_import.py", "its files"),
    ),
    (
        "PyTorch",
        "`ek.compile(net, example=x, …)`",
        "`torch.nn.Module`",
        "yes",
        ("tests/importers/test_torch_module.py", "where PyTorch is installed"),
    ),
    (
        "PyTorch, quantised (FX)",
        "`convert_fx`, then `torch.onnx.export(…, dynamo=False)`",
        "ONNX QDQ",
        "no",
        ("tests/importers/test_exported.py", "a file of it"),
    ),
    (
        "torchao, PT2E",
        "`convert_pt2e`, then `torch.onnx.export(…, dynamo=True)`",
        "ONNX QDQ",
        "for what it leaves in float",
        ("tests/importers/test_exported.py", "a file of it"),
    ),
    (
        "NNCF",
        "`nncf.quantize(onnx_model, …)`, then `onnx.save`",
        "ONNX QDQ",
        "for what it leaves in float",
        ("tests/importers/test_exported.py", "a file of it"),
    ),
    (
        "Keras 3 on PyTorch",
        '`net.export("net.onnx", format="onnx")`',
        "ONNX float",
        "yes",
        ("tests/importers/test_onnx_import.py", "its file"),
    ),
    (
        "Keras, TensorFlow",
        "`python -m tf2onnx.convert --saved-model DIR --output net.onnx`",
        "ONNX float",
        "yes",
        ("tests/importers/test_onnx_keras.py", "written as it writes"),
    ),
    (
        "Keras, TensorFlow",
        "`tf.lite.TFLiteConverter.from_keras_model(net).convert()`",
        "TFLite float",
        "yes",
        ("tests/compiler/test_twins.py", "its files, with the data"),
    ),
    (
        "Keras, TensorFlow",
        "the same with `optimizations` and a `representative_dataset`",
        "TFLite int8, uint8",
        "no",
        ("tests/importers/test_litert.py", "its files, with the data"),
    ),
    (
        "ONNX Runtime",
        "`onnxruntime.quantization.quantize_static(…)`, QDQ or QOperator",
        "ONNX int8, uint8",
        "no",
        ("tests/importers/test_onnxruntime.py", "where it is installed"),
    ),
)


def operator_table() -> str:
    """Rows of operators by format, as Markdown."""
    read = _by_format()
    lines = [_line(("", *COLUMNS)), _line(["---"] * (len(COLUMNS) + 1))]
    for title, names in _rows(read).items():
        cells = [" ".join(name for name in sorted(found) if name in names) for found in read.values()]
        lines.append(_line((title, *cells)))
    return "\n".join(lines)


def framework_table() -> str:
    """Frameworks, their formats and the tests that run them, as Markdown."""
    lines = [_line(("from", "written by", "format", "samples", "run by the tests")), _line(["---"] * 5)]
    for framework, how, form, samples, (test, what) in FRAMEWORKS:
        lines.append(_line((framework, how, form, samples, f"[{what}](../{test})")))
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with its tables made anew."""
    made = {"operators": operator_table(), "frameworks": framework_table()}
    text = re.sub(r"opset \d+ to \d+", f"opset {onnx.OPSETS[0]} to {onnx.OPSETS[1]}", text)
    for name, table in made.items():
        begin, end = f"<!-- {name}: made by docs/tables.py -->\n", f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = before + begin + table + "\n" + end + rest.split(end, 1)[1]
    return text


def _by_format() -> Mapping[str, set[str]]:
    """Names of the operators that are read, by column."""
    names = set(onnx.supported())
    integer = {name for name in names if name.startswith(("QLinear", "com.microsoft.Q"))}
    return {
        COLUMNS[0]: names - integer,
        COLUMNS[1]: {name.removeprefix("com.microsoft.") for name in integer},
        COLUMNS[2]: set(tflite.supported()),
    }


def _rows(read: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Names by row title: of the rows above those that are read, then what no row names."""
    everything = set().union(*read.values())
    rows = {title: set(names.split()) & everything for title, names in ROWS.items()}
    for name in sorted(everything - set().union(*rows.values())):
        rows.setdefault(_plain(name), set()).add(name)
    return {title: names for title, names in rows.items() if names}


def _plain(name: str) -> str:
    """A name as a title: ResizeNearest and RESIZE_NEAREST are one."""
    return name.replace("QLinear", "").replace("_", "").lower()


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
