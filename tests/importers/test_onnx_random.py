"""Random chains of moves and layers: whatever the layout tracker makes of them, the function is the source's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

import edgekern
from edgekern.compiler import optimise
from edgekern.errors import CompileError
from edgekern.graph.run import evaluate
from edgekern.graph.verify import verify
from edgekern.importers.onnx import import_onnx
from small_onnx import model, node, normal, wanted

SEEDS = 250
COMPILED = 40
LENGTH = 9
MOST = 6000  # elements of a tensor
DIMENSIONS = 5  # ours has one more where the batch was merged away


class Chain:
    """A model that grows node by node; shapes come from ONNX's reference."""

    def __init__(self, seed: int) -> None:
        self.draw = np.random.default_rng(seed)
        ranks: list[tuple[int, ...]] = [(1, 3, 6, 5), (1, 4, 1, 7), (1, 12), (1, 5, 8), (1, 2, 3, 4, 2)]
        self.shape = ranks[int(self.draw.integers(len(ranks)))]
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.shapes = {"x": self.shape}
        self.last = "x"

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def add(self, kind: str, inputs: str = "", **attributes: Any) -> bool:
        """Adds a node that reads the last value first; False if it does not fit."""
        result = f"t{len(self.nodes)}"
        step = node(kind, f"{self.last} {inputs}", result, **attributes)
        try:
            y = wanted(model([step], self.shapes, result, self.constants), self.zeros())[result]
        except Exception:
            return False
        if y.size > MOST or y.size == 0 or not 2 <= y.ndim <= DIMENSIONS:
            return False
        self.nodes.append(step)
        self.shapes[result] = self.shape = y.shape
        self.last = result
        return True

    def zeros(self) -> dict[str, Any]:
        return {name: np.zeros(shape, np.float32) for name, shape in self.shapes.items()}

    def some(self, values: Any) -> Any:
        return values[int(self.draw.integers(len(values)))]

    # ---- steps ----

    def transpose(self) -> bool:
        return self.add("Transpose", perm=[0, *(1 + self.draw.permutation(len(self.shape) - 1)).tolist()])

    def reshape(self) -> bool:
        sizes: list[int] = []
        left = int(np.prod(self.shape))
        while left > 1 and len(sizes) < DIMENSIONS - 2:
            divisors = [d for d in range(2, left + 1) if left % d == 0]
            sizes.append(int(self.some(divisors)))
            left //= sizes[-1]
        sizes.append(left)
        return self.add("Reshape", self.constant(np.array([self.some([1, -1]), *sizes])))

    def flatten(self) -> bool:
        return self.add("Flatten", axis=int(self.some([1, 1, 1, 2])))  # at 2 the batch merges into the channels

    def unsqueeze(self) -> bool:
        return self.add("Unsqueeze", self.constant(np.array([int(self.draw.integers(1, len(self.shape) + 1))])))

    def squeeze(self) -> bool:
        unit = [i for i, n in enumerate(self.shape) if n == 1 and i > 0]
        return bool(unit) and self.add("Squeeze", self.constant(np.array([self.some(unit)])))

    def arithmetic(self) -> bool:
        shape = [n if self.draw.random() < 0.5 else 1 for n in self.shape][int(self.draw.integers(len(self.shape))) :]
        value = normal(*shape, seed=int(self.draw.integers(1000))) + np.float32(2)
        return self.add(self.some(["Add", "Mul", "Sub", "Div"]), self.constant(value))

    def matmul(self) -> bool:
        return self.add("MatMul", self.constant(normal(self.shape[-1], int(self.draw.integers(1, 7)), scale=0.4)))

    def matmul_left(self) -> bool:
        if len(self.shape) < 3:
            return False
        weights = normal(int(self.draw.integers(1, 6)), self.shape[-2], scale=0.4)
        step = node("MatMul", f"{self.constant(weights)} {self.last}", f"t{len(self.nodes)}")
        self.nodes.append(step)
        self.shape = (*self.shape[:-2], weights.shape[0], self.shape[-1])
        self.last = step.output[0]
        self.shapes[self.last] = self.shape
        return True

    def conv(self) -> bool:
        if len(self.shape) not in (3, 4):
            return False
        c, space = self.shape[1], self.shape[2:]
        groups = int(self.some([g for g in range(1, c + 1) if c % g == 0]))
        kernel = [min(n, int(self.draw.integers(1, 4))) for n in space]
        weights = normal(groups * int(self.draw.integers(1, 3)), c // groups, *kernel, scale=0.4)
        pads = self.draw.integers(0, 2, 2 * len(space)).tolist()
        return self.add("Conv", self.constant(weights), group=groups, pads=pads)

    def pool(self) -> bool:
        if len(self.shape) not in (3, 4):
            return False
        kind = self.some(["MaxPool", "AveragePool"])
        return self.add(kind, kernel_shape=[min(n, 2) for n in self.shape[2:]], ceil_mode=int(self.draw.integers(2)))

    def reduce(self) -> bool:
        axes = [i for i in range(1, len(self.shape)) if self.draw.random() < 0.4]
        kind = self.some(["ReduceMean", "ReduceMax"])
        return bool(axes) and self.add(kind, axes=axes, keepdims=int(self.draw.integers(2)))

    def softmax(self) -> bool:
        return len(self.shape) > 1 and self.add("Softmax", axis=int(self.draw.integers(1, len(self.shape))))

    def pad(self) -> bool:
        pads = np.zeros((2, len(self.shape)), np.int64)
        pads[:, int(self.draw.integers(1, len(self.shape)))] = self.draw.integers(0, 3, 2)
        return self.add("Pad", f"{self.constant(pads.reshape(-1))} {self.constant(np.float32(self.some([0, 1.5])))}")

    def join(self) -> bool:
        axis = int(self.draw.integers(1, len(self.shape)))
        fits = [n for n, s in self.shapes.items() if len(s) == len(self.shape) and self.rest(s, axis)]
        return self.add("Concat", self.some(fits), axis=axis)

    def rest(self, shape: tuple[int, ...], axis: int) -> bool:
        return all(a == b for i, (a, b) in enumerate(zip(shape, self.shape, strict=True)) if i != axis)

    def total(self) -> bool:
        return self.add("Add", self.some([name for name, shape in self.shapes.items() if shape == self.shape]))

    def function(self) -> bool:
        return self.add(self.some(["Relu", "Tanh", "Sigmoid", "Elu"]))


STEPS: list[Callable[[Chain], bool]] = [
    *(Chain.transpose, Chain.transpose, Chain.reshape, Chain.reshape, Chain.flatten, Chain.unsqueeze, Chain.squeeze),
    *(Chain.arithmetic, Chain.matmul, Chain.matmul_left, Chain.conv, Chain.conv, Chain.pool, Chain.reduce),
    *(Chain.softmax, Chain.pad, Chain.join, Chain.total, Chain.function),
]


def chain(seed: int) -> Chain:
    grown = Chain(seed)
    while len(grown.nodes) < LENGTH:
        grown.some(STEPS)(grown)
    return grown


def test_random_chains() -> None:
    ran, refused = Counter[str](), Counter[str]()
    for seed in range(SEEDS):
        grown = chain(seed)
        proto = model(grown.nodes, {"x": ["n", *grown.shapes["x"][1:]]}, grown.last, grown.constants)
        try:
            graph = verify(import_onnx(proto))
        except CompileError as error:
            refused[str(error.args[0]).split(": ")[-1]] += 1
            continue
        x = normal(2, *grown.shapes["x"][1:], seed=seed)
        later, _ = optimise(graph)
        for i in range(2):
            y = wanted(proto, {"x": x[i : i + 1]})[grown.last]
            for found in (evaluate(graph, {"x": x}), evaluate(later, {"x": x})):
                assert found[grown.last][i : i + 1].shape == y.shape, seed
                scale = max(1.0, float(np.abs(y).max()))
                assert np.abs(found[grown.last][i : i + 1] - y).max() < 1e-4 * scale, seed
        ran.update(n.op_type for n in grown.nodes)
    print(f"\n{SEEDS - refused.total()} of {SEEDS} chains ran, refused {dict(refused)}, nodes {dict(ran)}")
    assert refused.total() <= SEEDS // 10
    assert min(ran.values()) >= 20


def test_random_chains_in_int8() -> None:
    """Compiled, the kernels give the reference's bytes, and those are near the source's values."""
    worst, ran = np.inf, 0
    for seed in range(COMPILED):
        grown = chain(seed)
        proto = model(grown.nodes, {"x": ["n", *grown.shapes["x"][1:]]}, grown.last, grown.constants)
        x = normal(16, *grown.shapes["x"][1:], seed=seed)
        try:
            compiled = edgekern.compile(proto, calibration=x)
        except CompileError:
            continue
        y = compiled.run(x)
        assert np.array_equal(y, compiled.reference(x)), seed
        exact = np.concatenate([wanted(proto, {"x": frame[None]})[grown.last] for frame in x]).astype(np.float64)
        noise = float(((y - exact) ** 2).sum())
        worst = min(worst, 10 * np.log10(float((exact**2).sum()) / noise) if noise else np.inf)
        ran += 1
    print(f"\n{ran} chains in int8, SQNR at least {worst:.1f} dB")
    assert ran >= 0.8 * COMPILED
    assert worst > 12
