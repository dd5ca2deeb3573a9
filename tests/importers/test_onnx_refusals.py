"""What cannot be compiled is refused by name, with the place and the way out, and all of it at once."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

from onnx import TensorProto, numpy_helper  # noqa: E402

import edgekern  # noqa: E402
from edgekern.errors import CompileError, InputError, ShapeError, UnsupportedOpError  # noqa: E402
from edgekern.importers.onnx import OPSETS, import_onnx  # noqa: E402
from small_onnx import model, node, normal  # noqa: E402

IMAGE = {"x": [1, 3, 8, 8]}


def refusal(kind: type[CompileError], proto: Any, *words: str) -> None:
    with pytest.raises(kind) as caught:
        import_onnx(proto)
    for word in words:
        assert word in str(caught.value), (word, str(caught.value))


def test_every_unsupported_operator_at_once() -> None:
    nodes = [
        node("LogSoftmax", "x", "a"),
        node("Relu", "a", "b"),
        node("LSTM", "b w r", "c", hidden_size=4),
        node("Einsum", "x", "d", equation="abcd->abdc"),
        node("Div", "x x2", "y"),
    ]
    proto = model(nodes, {**IMAGE, "x2": [1, 3, 8, 8]}, "y", {"w": normal(1, 16, 8), "r": normal(1, 16, 4)})
    words = (
        "LogSoftmax_a (LogSoftmax)",
        "Export the logits",
        "Einsum_d (Einsum)",
        "Div_y (Div)",
        "quotient of two activations",
    )
    refusal(UnsupportedOpError, proto, "3 node(s)", *words)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("MaxPool", "x", "y", kernel_shape=[2, 2], dilations=[2, 2])], ("MaxPool_y", "dilations (2, 2)")),
        ([node("Pad", "x p", "y", mode="wrap")], ("Pad_y", "'wrap'", "constant, edge or reflect")),
        ([node("BatchNormalization", "x s s s s", "y", training_mode=1)], ("training_mode 1", "evaluation mode")),
        ([node("MaxPool", "x", "y i", kernel_shape=[2, 2]), node("Add", "y i", "z")], ("output 1 ('i') is used",)),
        ([node("Concat", "x x", "y", axis=0)], ("Concat_y", "along the batch")),
        ([node("Conv", "x dynamic", "y")], ("weight is computed from the model's input", "initializer")),
        ([node("Softmax", "x", "y", axis=0)], ("softmax over the batch",)),
        ([node("Conv", "x w", "m"), node("Mul", "x m", "y")], ("Mul_y", "[1, 3, 8, 8] and [1, 1, 8, 8]")),
        ([node("Cast", "x", "y", to=TensorProto.FLOAT16)], ("Cast_y", "float32 only")),
    ],
)
def test_an_attribute_that_is_not_run(nodes: Any, words: tuple[str, ...]) -> None:
    constants = {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "s": np.ones(3, np.float32), "w": normal(1, 3, 1, 1)}
    inputs = {**IMAGE, **({"dynamic": [4, 3, 1, 1]} if "dynamic" in str(nodes[0].input) else {})}
    refusal(UnsupportedOpError, model(nodes, inputs, nodes[-1].output[0], constants), *words)


def test_three_dimensional_windows() -> None:
    proto = model([node("Conv", "x w", "y")], {"x": [1, 2, 4, 4, 4]}, "y", {"w": normal(2, 2, 3, 3, 3)})
    refusal(UnsupportedOpError, proto, "Conv_y", "over 3 dimensions")


def test_float16_names_the_tensor() -> None:
    weights = normal(4, 3, 1, 1).astype(np.float16)
    refusal(UnsupportedOpError, model([node("Conv", "x w", "y")], IMAGE, "y", {"w": weights}), "'w'", "FLOAT16")
    proto = model([node("Relu", "x", "y")], IMAGE, "y", dtype=TensorProto.FLOAT16)
    refusal(UnsupportedOpError, proto, "input 'x'", "FLOAT16", "float32")


def test_an_operator_set_that_is_not_tested() -> None:
    nodes = [node("Relu", "x", "y")]
    for opset in (1, OPSETS[0] - 1, OPSETS[1] + 1, 1000):
        refusal(UnsupportedOpError, model(nodes, IMAGE, "y", opset=opset), f"operator set {opset};", "Export it with")
    for opset in OPSETS:
        assert import_onnx(model(nodes, IMAGE, "y", opset=opset)).nodes


def test_the_documents_say_which_operator_sets(repo: Path) -> None:
    assert f"opset {OPSETS[0]} to {OPSETS[1]}" in (repo / "README.md").read_text()


def test_an_open_image_size() -> None:
    proto = model([node("Relu", "x", "y")], {"x": ["n", 3, "height", None]}, "y")
    refusal(ShapeError, proto, "'x'", "height", "Preprocess")
    graph = import_onnx(proto, image=(20, 24, 3))
    assert graph.types["x"].shape == (1, 20, 24, 3)
    with pytest.raises(ShapeError, match="20x24 pixels of 1 channels"):
        import_onnx(proto, image=(20, 24, 1))


def test_shapes_that_do_not_fit() -> None:
    proto = model([node("Conv", "x w", "y")], IMAGE, "y", {"w": normal(4, 5, 3, 3)})
    refusal(ShapeError, proto, "Conv_y", "3 channels")
    proto = model([node("Reshape", "x s", "y")], IMAGE, "y", {"s": np.array([1, 100])})
    refusal(ShapeError, proto, "Reshape_y", "[1, 100]")


def test_broken_files(tmp_path: Path) -> None:
    proto = model([node("Conv", "x w", "y")], IMAGE, "y", {"w": normal(4, 3, 3, 3)})
    data = proto.SerializeToString()
    path = tmp_path / "net.onnx"
    for broken in (data[: len(data) // 2], b"", b"not a model at all", bytes(200)):
        path.write_bytes(broken)
        with pytest.raises(CompileError, match=r"net\.onnx"):
            import_onnx(path)
    with pytest.raises(CompileError, match=r"missing\.onnx"):
        import_onnx(tmp_path / "missing.onnx")


def test_broken_models_name_the_place() -> None:
    proto = model([node("Conv", "x w", "y")], IMAGE, "y", {"w": normal(4, 3, 3, 3)})
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:-3]
    refusal(CompileError, proto, "initializer 'w' cannot be read")
    refusal(CompileError, model([node("Relu", "nowhere", "y")], IMAGE, "y"), "Relu_y", "'nowhere'")
    refusal(CompileError, model([node("Relu", "x", "z")], IMAGE, "y"), "output 'y' is made by no node")
    twice = [node("Relu", "x", "y"), node("Tanh", "x", "y")]
    refusal(CompileError, model(twice, IMAGE, "y"), "Tanh_y", "'y' is made a second time")
    refusal(CompileError, model([node("MaxPool", "x", "y")], IMAGE, "y"), "MaxPool_y", "kernel_shape")
    refusal(CompileError, model([node("Add", "x", "y")], {}, "y", {"x": normal(1, 3)}), "no input")
    weights = numpy_helper.from_array(np.full((4, 3, 1, 1), np.nan, np.float32), "w")
    proto = model([node("Conv", "x w", "y")], IMAGE, "y")
    proto.graph.initializer.append(weights)
    refusal(CompileError, proto, "weight has values that are not finite")


def test_words_that_are_none() -> None:
    proto = model([node("Relu", "x", "y")], IMAGE, "y")
    proto.graph.input[0].type.tensor_type.elem_type = 65
    refusal(UnsupportedOpError, proto, "input 'x' has type number 65")
    proto = model([node("Conv", "x w", "y")], IMAGE, "y", {"w": normal(4, 3, 3, 3)})
    proto.graph.initializer[0].data_type = 77
    refusal(CompileError, proto, "initializer 'w' cannot be read")
    data = model([node("Relu", "x", "Relu"), node("Relu", "Relu", "y")], IMAGE, "y").SerializeToString()
    refusal(CompileError, data.replace(b"Relu_y", b"Relu\xd0y"), "graph.node.name is not UTF-8")


def test_weights_beside_the_model(tmp_path: Path) -> None:
    proto = model([node("Conv", "x w", "y")], IMAGE, "y", {"w": normal(4, 3, 3, 3)})
    path = tmp_path / "net.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="net.data", size_threshold=0)
    assert import_onnx(path).constants["y/c0"].shape == (4, 3, 3, 3)
    with pytest.raises(CompileError, match="'w'"):
        import_onnx(path.read_bytes())
    (tmp_path / "net.data").write_bytes(b"short")
    with pytest.raises(CompileError, match="w"):
        import_onnx(path)
    (tmp_path / "net.data").unlink()
    with pytest.raises(CompileError, match=r"net\.data"):
        import_onnx(path)


def test_every_cut_of_a_model_is_refused_or_read() -> None:
    """No cut of the bytes raises anything but a CompileError."""
    nodes = [node("Conv", "x w", "a"), node("Relu", "a", "b"), node("GlobalAveragePool", "b", "y")]
    data = model(nodes, IMAGE, "y", {"w": normal(4, 3, 3, 3)}).SerializeToString()
    for end in range(0, len(data), 7):
        try:
            import_onnx(data[:end])
        except CompileError:
            continue


def flipped(bits: int, seed: int) -> Iterator[bytes]:
    """A small model's bytes, one bit of them turned over."""
    nodes = [node("Conv", "x w", "a", pads=[1, 1, 1, 1]), node("MaxPool", "a", "y", kernel_shape=[2, 2])]
    data = bytearray(model(nodes, {"x": [1, 1, 6, 6]}, "y", {"w": normal(1, 1, 2, 2)}).SerializeToString())
    draw = np.random.default_rng(seed)
    for _ in range(bits):
        place, bit = int(draw.integers(len(data))), int(draw.integers(8))
        data[place] ^= 1 << bit
        yield bytes(data)
        data[place] ^= 1 << bit


def test_flipped_bytes_are_refused_or_read() -> None:
    for data in flipped(300, seed=3):
        with contextlib.suppress(CompileError):
            import_onnx(data)


def test_flipped_bytes_are_refused_or_compiled() -> None:
    """Beyond the importer: what it reads, passes, calibration and the writer take or refuse in words."""
    samples, compiled = [normal(1, 1, 6, 6, seed=i) for i in range(2)], 0
    for data in flipped(150, seed=4):
        with contextlib.suppress(CompileError, InputError):  # InputError: the samples fit the model as it was
            y = edgekern.compile(data, calibration=samples).run(samples[0])
            compiled += 1
            assert np.isfinite(y).all()
    assert 30 < compiled < 120  # neither all refused nor all harmless


def test_without_onnx_the_way_out_is_said() -> None:
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "import edgekern\n"
        "try: edgekern.compile(b'onnx', calibration=[])\n"
        "except edgekern.EdgekernError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "edgekern.compile needs pip install 'edgekern[compile]'" in done.stdout
