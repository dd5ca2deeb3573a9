# SPDX-License-Identifier: Apache-2.0
"""Broken ONNX models: cut, with other bytes, and with fields that lie (sizes, types, cycles, floods)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

__all__ = ["ANY", "ODD", "onnx_mutants", "pick"]

HUGE = (2**31 - 1, 2**31, 2**40, 2**62)
ODD = (*HUGE, -1, -(2**31), -(2**62), 0, 1, 7, 1 << 14)


def pick(draw: Any, values: Any) -> Any:
    """One of the values."""
    return values[int(draw.integers(len(values)))]


# ---- any file -----------------------------------------------------------------------------------


def cut(data: bytes, draw: Any) -> bytes:
    return data[: int(draw.integers(len(data)))]


def other_bytes(data: bytes, draw: Any) -> bytes:
    changed = bytearray(data)
    for _ in range(int(draw.integers(1, 9))):
        changed[int(draw.integers(len(data)))] = int(draw.integers(256))
    return bytes(changed)


def moved(data: bytes, draw: Any) -> bytes:
    """A piece taken out, or there twice."""
    at, size = int(draw.integers(len(data))), int(draw.integers(1, 64))
    piece = data[at : at + size]
    return data[:at] + piece * pick(draw, (0, 2, 3)) + data[at + size :]


def long_length(data: bytes, draw: Any) -> bytes:
    """A place of a protobuf where a length or number says gigabytes."""
    at = int(draw.integers(len(data)))
    return data[:at] + pick(draw, (b"\xff\xff\xff\xff\x07", b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f")) + data[at + 1 :]


ANY = (cut, other_bytes, moved)


# ---- ONNX ---------------------------------------------------------------------------------------


def _sizes(proto: Any, draw: Any) -> None:
    dims = pick(draw, proto.graph.initializer).dims
    change = pick(draw, ("one", "more", "none"))
    if change == "one" and dims:
        dims[int(draw.integers(len(dims)))] = pick(draw, ODD)
    elif change == "more":
        dims.append(pick(draw, ODD))
    else:
        del dims[:]


def _values(proto: Any, draw: Any) -> None:
    held = pick(draw, proto.graph.initializer)
    data = held.raw_data
    numbers = np.array(pick(draw, (ODD, (np.nan, np.inf, -np.inf, 0, -1, 1e38, 1e-45))))
    kind = {1: "<f4", 6: "<i4", 7: "<i8"}.get(held.data_type, "u1")
    with np.errstate(all="ignore"):
        word = numbers[int(draw.integers(len(numbers)))].astype(kind).tobytes()
    at = int(draw.integers(max(1, len(data) // len(word)))) * len(word)
    held.raw_data = pick(draw, (data[:at], data * 2, data[:at] + word + data[at + len(word) :], word * len(data), b""))


def _type(proto: Any, draw: Any) -> None:
    pick(draw, proto.graph.initializer).data_type = pick(draw, (0, *range(1, 25), 99, -1))


def _port(proto: Any, draw: Any) -> None:
    tensor = pick(draw, (*proto.graph.input, *proto.graph.output)).type.tensor_type
    if draw.integers(4) == 0 or not tensor.shape.dim:
        tensor.elem_type = pick(draw, (0, 2, 3, 7, 8, 9, 10, 11, 16, 99))
    elif draw.integers(4) == 0:
        tensor.shape.dim.add().dim_value = pick(draw, ODD)
    else:
        pick(draw, tensor.shape.dim).dim_value = pick(draw, ODD)


def _attribute(proto: Any, draw: Any) -> None:
    held = [a for node in proto.graph.node for a in node.attribute]
    if not held:
        return _cycle(proto, draw)
    attribute = pick(draw, held)
    attribute.i = pick(draw, ODD)
    attribute.f = pick(draw, (np.nan, np.inf, -1.0, 1e38))
    if attribute.ints:
        attribute.ints[int(draw.integers(len(attribute.ints)))] = pick(draw, ODD)
    change = pick(draw, ("", "", "type", "name", "longer", "none"))
    if change == "type":
        attribute.type = pick(draw, (0, 1, 2, 3, 4, 5, 7, 11))
    elif change == "name":
        attribute.name = pick(draw, ("axis", "pads", "group", "strides", "perm", "to"))
    elif change == "longer":
        attribute.ints.extend([pick(draw, ODD)] * 3)
    elif change == "none":
        attribute.Clear()
    return None


def _cycle(proto: Any, draw: Any) -> None:
    """Reads what comes later, itself, or nothing; makes what is made."""
    node, other = pick(draw, proto.graph.node), pick(draw, proto.graph.node)
    if draw.integers(3) == 0 and node.output:
        node.output[0] = pick(draw, (proto.graph.input[0].name, *other.output, ""))
    elif node.input:
        node.input[int(draw.integers(len(node.input)))] = pick(
            draw, (*node.output, *other.output, *other.input, "", "?")
        )


def _order(proto: Any, draw: Any) -> None:
    nodes = list(proto.graph.node)
    at = int(draw.integers(len(nodes)))
    nodes = pick(draw, (nodes[::-1], nodes[:at] + nodes[at + 1 :], nodes[: at + 1] + nodes[at:]))
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _operator(proto: Any, draw: Any) -> None:
    from edgekern.importers.onnx import supported

    node = pick(draw, proto.graph.node)
    node.op_type = pick(draw, (*supported(), "If", "Loop", "Scan", ""))
    node.domain = pick(draw, ("", "", "", "com.microsoft", "nowhere"))


def _flood(proto: Any, draw: Any) -> None:
    """A small constant that unfolds to gigabytes, in the place of a constant or added to the input."""
    from onnx import helper, numpy_helper

    shape = pick(draw, ([2**16, 2**16], [2**40], [2**62, 4], [2**31], [2**30]))
    one, sizes = np.ones(1, np.float32), np.array(shape, np.int64)
    made: dict[str, tuple[list[str], dict[str, Any]]] = {
        "ConstantOfShape": (["flood_sizes"], {}),
        "Expand": (["flood_one", "flood_sizes"], {}),
        "Tile": (["flood_one", "flood_last"], {}),
        "Range": (["flood_zero", "flood_end", "flood_step"], {}),
        "EyeLike": (["flood_sizes"], {}),
        "OneHot": (["flood_index", "flood_end", "flood_pair"], {}),
        "Pad": (["flood_one", "flood_pads"], {}),
        "Resize": (["flood_line", "", "", "flood_grown"], {}),
    }
    kind = pick(draw, tuple(made))
    inputs, attributes = made[kind]
    held = {
        "flood_sizes": sizes, "flood_one": one, "flood_last": sizes[:1], "flood_zero": np.int64(0),
        "flood_end": np.int64(shape[0]), "flood_step": np.int64(1), "flood_index": np.zeros(4, np.int64),
        "flood_pair": np.zeros(2, np.float32), "flood_pads": np.array([0, shape[0]]),
        "flood_line": np.ones((1, 1, 1, 1), np.float32), "flood_grown": np.array([1, 1, 1, shape[0]]),
    }  # fmt: skip
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in held.items())
    node = helper.make_node(kind, inputs, ["flood"], **attributes)
    reader = pick(draw, [n for n in proto.graph.node if n.input])
    nodes = [node, *proto.graph.node]
    if len(reader.input) > 1:
        reader.input[1] = "flood"
    else:
        nodes.insert(1, helper.make_node("Add", [reader.input[0], "flood"], ["flooded"]))
        reader.input[0] = "flooded"
    nodes = [n for n in nodes if n is not reader] + [reader] if draw.integers(2) else nodes
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _function(proto: Any, draw: Any) -> None:
    """Functions that call themselves, each other, or grow with every call."""
    from onnx import helper

    depth, ends = pick(draw, (1, 2, 60)), bool(draw.integers(2))
    for k in range(depth):
        inner = k + 1 if ends else (k + 1) % depth
        calls = [helper.make_node(f"Own{inner}", ["a"], ["m"], domain="own")]
        calls.append(helper.make_node(f"Own{inner}", ["m"], ["b"], domain="own"))
        if inner == depth:
            calls = [helper.make_node("Relu", ["a"], ["b"])]
        uses = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        proto.functions.append(helper.make_function("own", f"Own{k}", ["a"], ["b"], calls, uses))
    proto.opset_import.append(helper.make_opsetid("own", 1))
    node = pick(draw, proto.graph.node)
    node.op_type, node.domain = "Own0", "own"
    del node.input[1:], node.attribute[:]


def _beside(proto: Any, draw: Any) -> None:
    """Weights that lie in another file: none, one that is no business of the model, a length of exabytes."""
    held = pick(draw, proto.graph.initializer)
    held.data_location = 1
    for key, value in (
        ("location", pick(draw, ("/etc/passwd", "../../etc/passwd", "nothing", ""))),
        ("length", "1" + "0" * 18),
    ):
        entry = held.external_data.add()
        entry.key, entry.value = key, value


def _version(proto: Any, draw: Any) -> None:
    proto.opset_import[0].version = pick(draw, ODD)
    proto.ir_version = pick(draw, ODD)


FIELDS = (
    _sizes, _values, _values, _type, _port, _port, _attribute, _attribute, _cycle, _cycle, _order, _operator, _operator,
    _flood, _flood, _function, _beside, _version,
)  # fmt: skip


def onnx_mutants(data: bytes, draw: Any, count: int) -> Iterator[tuple[str, bytes]]:
    """(what was done, the bytes)."""
    import onnx

    for k in range(count):
        if k % 4 == 0:
            change: Callable[..., Any] = pick(draw, (*ANY, long_length))
            yield change.__name__, change(data, draw)
            continue
        proto = onnx.load_model_from_string(data)
        change = FIELDS[k % len(FIELDS)] if k < 2 * len(FIELDS) else pick(draw, FIELDS)
        change(proto, draw)
        try:
            yield change.__name__, proto.SerializeToString()
        except ValueError as error:  # a field that cannot be written
            print(f"{change.__name__}: {error}", file=sys.stderr)
