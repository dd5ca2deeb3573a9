# SPDX-License-Identifier: Apache-2.0
"""Broken TFLite models: cut, with other bytes, and with tables that lie (offsets, lengths, shapes, cycles)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from onnx_mutants import ANY, ODD, pick

__all__ = ["tflite_mutants"]


def tflite_mutants(data: bytes, draw: Any, count: int) -> Iterator[tuple[str, bytes]]:
    """(what was done, the bytes): words of the tables and vectors changed, one to three at once."""
    places = words(data)
    for k in range(count):
        if k % 4 == 0:
            change = pick(draw, ANY)
            yield change.__name__, change(data, draw)
            continue
        changed, what = bytearray(data), []
        for _ in range(int(draw.integers(1, 4)) if k % 3 == 0 else 1):
            name = tuple(places)[k % len(places)] if k < 3 * len(places) and not what else pick(draw, tuple(places))
            at, size = pick(draw, places[name])
            value = pick(draw, (*ODD, 2, 3, 4, 9, 17, 0x7FC00000, 0x7F800000, len(data), at, int(draw.integers(256))))
            changed[at : at + size] = (value % (1 << (8 * size))).to_bytes(size, "little")
            what.append(name)
        yield " ".join(what), bytes(changed)


def words(data: bytes) -> dict[str, list[tuple[int, int]]]:
    """(place, bytes) of what a file says of itself, by what it says."""
    import tflite

    model = tflite.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    found: dict[str, list[tuple[int, int]]] = {"root": [(0, 4)]}

    def field(table: Any, number: int, name: str, size: int = 4) -> int | None:
        place = table._tab.Offset(4 + 2 * number)
        if not place:
            return None
        found.setdefault(name, []).append((table._tab.Pos + place, size))
        return int(place)

    def vector(table: Any, number: int, name: str, size: int = 4, most: int = 8) -> None:
        place = field(table, number, f"{name} offset")
        if place is None:
            return
        start, length = table._tab.Vector(place), table._tab.VectorLen(place)
        found.setdefault(f"{name} length", []).append((start - 4, 4))
        found.setdefault(name, []).extend((start + size * i, size) for i in range(min(length, most)))

    for number, name in ((1, "codes"), (2, "graphs"), (4, "buffers")):
        vector(model, number, name)
    for number, name in ((0, "tensors"), (1, "inputs"), (2, "outputs"), (3, "operators")):
        vector(graph, number, name)
    for k in range(model.OperatorCodesLength()):
        field(model.OperatorCodes(k), 0, "old code", 1)
        field(model.OperatorCodes(k), 3, "code")
    for k in range(model.BuffersLength()):
        vector(model.Buffers(k), 0, "data", 1, 4)
    for k in range(graph.TensorsLength()):
        tensor = graph.Tensors(k)
        vector(tensor, 0, "shape")
        field(tensor, 1, "type", 1)
        field(tensor, 2, "buffer")
        vector(tensor, 3, "name", 1)
        field(tensor, 4, "quantisation")
        if quantisation := tensor.Quantization():
            vector(quantisation, 2, "scale")
            vector(quantisation, 3, "zero point", 8)
            field(quantisation, 6, "axis")
    for k in range(graph.OperatorsLength()):
        operator = graph.Operators(k)
        field(operator, 0, "code of an operator")
        vector(operator, 1, "inputs of an operator")
        vector(operator, 2, "outputs of an operator")
        field(operator, 3, "kind of options", 1)
        if field(operator, 4, "options") and (options := operator.BuiltinOptions()):
            start = options.Pos
            found.setdefault("option", []).extend(
                (start + 4 * i, 4) for i in range(5) if start + 4 * i + 4 <= len(data)
            )
    return found
