# SPDX-License-Identifier: Apache-2.0
"""Random integer graphs, grown node by node so that their values stay alive.

Every operator draws its own examples (`Op.example`), so a new one joins without an edit here. Quantisations follow
the values that reach a tensor, as calibration would choose them, with a third of the scales powers of two: then sums
meet rounding ties. Integer constants are disturbed afterwards, so that they also hold what no quantiser writes (-128).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np

import edgekern
from edgekern import quant
from edgekern.artifact import Artifact, write
from edgekern.errors import QuantizationError
from edgekern.graph import Graph, Node, Port, run
from edgekern.ops import registry
from edgekern.ops._op import Example, Op, draw_clip, pick
from edgekern.types import Array, DType, Quant, TensorType

SIDES = (1, 2, 3, 5, 6, 7, 9, 12)
CHANNELS = (1, 2, 3, 4, 5, 6, 8, 12, 16, 17, 24)
MOST_ELEMENTS = 4000  # of a tensor: keeps the suite fast
PROBES = 2  # random frames whose values choose the quantisations, and one frame of one value
PARTS = {"Conv2D": 1, "DepthwiseConv2D": 0}  # axis along which weights beyond int8 lie one below the other
EXTREMES = 0.02  # share of int8 constants drawn anew from all 256 values; ten times that of multipliers to 2^k


def draw_quant(draw: np.random.Generator, reach: float = 3.0) -> Quant:
    """A quantisation whose values reach about +-`reach`."""
    scale = float(np.float32(reach / 128 * draw.uniform(0.5, 2.0)))
    if draw.random() < 1 / 3:
        scale = float(2.0 ** np.round(np.log2(scale)))
    return Quant(scale, int(draw.integers(-128, 128)) if draw.random() < 0.5 else int(draw.integers(-20, 21)))


def calibrated(draw: np.random.Generator, values: Array) -> Quant:
    """A quantisation for float values. Some values are left outside, so that clamping happens; some ranges are too
    wide, so that a fused activation ends inside them.
    """
    lo, hi = (float(v) for v in np.quantile(values[np.isfinite(values)], (0.01, 0.99)))
    wide = pick(draw, (1.0, 1.5, 2.0))
    q = quant.choose_quant(lo * wide, max(hi * wide, lo + 1e-3))
    if draw.random() < 1 / 3:
        q = Quant(min(float(2.0 ** np.ceil(np.log2(q.scale))), 256.0), q.zero_point)
    return q


def frames(draw: np.random.Generator, shape: tuple[int, ...], count: int, kind: type = np.int8) -> Array:
    """int8 (or int16) values [count, ...]: uniform, with runs of the extremes."""
    least, most = np.iinfo(kind).min, np.iinfo(kind).max
    x = draw.integers(least, most + 1, (count, *shape[1:]), np.int64).astype(kind)
    corner = draw.random(x.shape)
    return np.where(corner < 0.01, kind(least), np.where(corner > 0.99, kind(most), x)).astype(kind)


@dataclass
class Growth:
    """A graph as it grows; `values` are the int8 (or float) results for the probe frames."""

    draw: np.random.Generator
    wild: float = EXTREMES
    most_elements: int = MOST_ELEMENTS
    floats: dict[str, Example] = field(default_factory=dict)
    types: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    values: dict[str, Array] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)

    def add_input(self, shape: tuple[int, ...]) -> str:
        name = f"x{len(self.inputs)}"
        self.types[name] = TensorType(shape, DType.INT8, draw_quant(self.draw))
        flat = np.full((1, *shape[1:]), self.draw.integers(-128, 128), np.int8)
        self.values[name] = np.concatenate([frames(self.draw, shape, PROBES), flat])
        self.inputs.append(name)
        return name

    def tensor_of(self, shape: tuple[int, ...], but: str) -> str:
        """An existing int8 tensor of this shape, or a new input."""
        known = [n for n, t in self.types.items() if t.shape == shape and t.quant and n != but]
        return pick(self.draw, known) if known and self.draw.random() < 0.7 else self.add_input(shape)

    def float_values(self, name: str) -> Array:
        q = self.types[name].quant
        return self.values[name] if q is None else quant.dequantise(self.values[name], q)

    def add_node(self, kind: type[Op], source: str, given: Example | None = None) -> bool:
        """Appends an example of `kind` (or the given one) that reads `source`; says whether there was one."""
        example = given or kind.example(self.draw, self.types[source].shape)
        if example is None:
            return False
        inputs = [source, *(self.tensor_of(shape, source) for shape in example.others)]
        types = [self.types[name] for name in inputs]
        made = example.op.infer(types, example.constants)
        if made.size > self.most_elements:
            return False
        real = example.op.evaluate([self.float_values(name) for name in inputs], list(example.constants))
        finite = bool(np.isfinite(real).any())
        out = replace(made, quant=made.quant or (calibrated(self.draw, real) if finite else draw_quant(self.draw)))
        if kind.rescales and finite and self.draw.random() < 0.4:
            out = replace(out, quant=calibrated(self.draw, real))  # an imported model may rescale while it copies
        if kind.opcode == "Softmax" and self.draw.random() < 0.5:
            out = TensorType(out.shape)
        try:
            op, constants = example.op.quantise(types, out, example.constants)
        except QuantizationError:
            return False  # such as a residual add of scales far apart
        output = f"t{len(self.nodes)}"
        own = np.random.default_rng([len(self.nodes), constants[0].size] if constants else 0)
        if self.wild and kind.opcode in PARTS and own.random() < 0.15:
            parts = [constants[0] // pick(own, (1, 2, -3)) for _ in range(pick(own, (1, 2)))]
            constants = (np.concatenate([constants[0], *parts], PARTS[kind.opcode]), *constants[1:])
        names = tuple(f"{output}.c{i}" for i in range(len(constants)))
        self.constants.update(zip(names, (self.disturbed(c, self.draw) for c in constants), strict=True))
        self.floats[output] = example
        self.nodes.append(Node(op, tuple(inputs), names, output, f"{kind.opcode} {output}"))
        self.types[output] = out
        values = [self.constants[name] for name in names]
        self.values[output] = op.reference([self.values[name] for name in inputs], values, types, out)
        return True

    def disturbed(self, constant: Array, draw: np.random.Generator) -> Array:
        """int8 constants with values that no quantiser writes; multipliers that are powers of two, which make ties."""
        chosen = draw.random(constant.shape) < (self.wild if constant.dtype == np.int8 else 10 * self.wild)
        if constant.dtype == np.int8:
            return np.where(chosen, draw.integers(-128, 128, constant.shape), constant).astype(np.int8)
        if constant.dtype == np.float32:
            powers = np.exp2(np.rint(np.log2(np.maximum(constant, quant.TINY)))).astype(np.float32)
            return np.where(chosen, powers, constant).astype(np.float32)
        return constant

    def graph(self) -> Graph:
        """All tensors that nobody reads are outputs, and one that somebody reads."""
        read = {name for node in self.nodes for name in node.inputs}
        ends = [n.output for n in self.nodes if n.output not in read]
        inner = [n.output for n in self.nodes if n.output in read]
        if inner and self.draw.random() < 0.5:
            ends.append(pick(self.draw, inner))
        inputs = tuple(self._port(name) for name in self.inputs)
        outputs = tuple(self._port(name) for name in ends)
        return Graph(inputs, outputs, tuple(self.nodes), self.types, self.constants)

    def _port(self, name: str) -> Port:
        t = self.types[name]
        dtype = pick(self.draw, (DType.FLOAT32, DType.INT8, DType.UINT8)) if t.quant else DType.FLOAT32
        rank = len(t.shape)
        perm = tuple(range(rank))
        if rank > 2 and self.draw.random() < 0.5:
            perm = (0, *(int(i) + 1 for i in self.draw.permutation(rank - 1)))
        return Port(f"port {name}", name, dtype, perm)


def grow(
    seed: int | list[int],
    least: int = 8,
    most: int = 22,
    sides: tuple[int, ...] = SIDES,
    channels: tuple[int, ...] = CHANNELS,
    elements: int = MOST_ELEMENTS,
) -> Graph:
    """The graph of a seed: `least` to `most` nodes over tensors of at most `elements`."""
    return grow_growth(seed, least, most, sides, channels, elements).graph()


def grow_growth(
    seed: int | list[int],
    least: int = 8,
    most: int = 22,
    sides: tuple[int, ...] = SIDES,
    channels: tuple[int, ...] = CHANNELS,
    elements: int = MOST_ELEMENTS,
) -> Growth:
    """What `grow` makes a graph of."""
    draw = np.random.default_rng(seed)
    growth = Growth(draw, most_elements=elements)
    growth.add_input((1, pick(draw, sides), pick(draw, sides), pick(draw, channels)))
    kinds = [kind for kind in registry().values() for _ in range(2 + len(fields(kind)))]  # more attributes, more often
    size = int(draw.integers(least, most + 1))
    while len(growth.nodes) < size:
        alive = [name for name, t in growth.types.items() if t.quant]
        images = [name for name in alive if len(growth.types[name].shape) == 4 and growth.types[name].size > 12]
        wide = images if images and draw.random() < 0.8 else alive
        source = alive[-1] if draw.random() < 0.25 else pick(draw, wide)
        growth.add_node(pick(draw, kinds), source)
    return growth


def grow_separable(seed: int | list[int]) -> Graph:
    """[expand ->] depthwise [-> project] and what random nodes make of it, on images so large that a plan fuses."""
    draw = np.random.default_rng(seed)
    growth = Growth(draw, most_elements=140_000)
    h, w = (int(v) for v in draw.integers(20, 41, 2))
    wide = 4 * (80_000 // (4 * h * w) + 1 + int(draw.integers(0, 3)))  # tensors beyond 64 KiB
    expand, project = pick(draw, ((True, False), (False, True), (True, True), (True, True)))
    last = growth.add_input((1, h, w, pick(draw, (3, 8, 12)) if expand else wide))

    def convolve(source: str, k: int, n: int, groups: int) -> str:
        op = registry()["Conv2D"](kernel=(k, k), pads=(k // 2,) * 4, groups=groups, clip=draw_clip(draw))
        weights = draw.normal(size=(n, k, k, growth.types[source].shape[3] // groups)).astype(np.float32)
        example = Example(op, (), (weights, draw.normal(size=n).astype(np.float32)))
        assert growth.add_node(type(op), source, example)
        return growth.nodes[-1].output

    if expand:
        c = growth.types[last].shape[3]
        last = convolve(last, pick(draw, (1, 1, 3)), wide, pick(draw, [g for g in (1, 1, 2) if c % g == 0]))
    deep = registry()["DepthwiseConv2D"]
    for _ in range(500):
        example = deep.example(draw, growth.types[last].shape)
        assert example
        size = example.op.infer([growth.types[last]], example.constants).size
        if (size > 2**15 or not project) and growth.add_node(deep, last, example):
            break
    assert growth.nodes[-1].op.opcode == deep.opcode
    last = growth.nodes[-1].output
    if project:
        last = convolve(last, 1, int(draw.integers(1, 40)), 1)
    kinds = [kind for name, kind in registry().items() if "Conv" not in name]
    for _ in range(int(draw.integers(0, 4))):
        growth.add_node(pick(draw, kinds), last)
        last = growth.nodes[-1].output if growth.types[growth.nodes[-1].output].quant else last
    return growth.graph()


def single(kind: type[Op], seed: int | list[int], wild: float = EXTREMES) -> Growth:
    """A graph of one node of `kind`."""
    draw = np.random.default_rng(seed)
    while True:
        growth = Growth(draw, wild)
        shape: tuple[int, ...] = (1, pick(draw, SIDES), pick(draw, SIDES), pick(draw, CHANNELS))
        source = growth.add_input(shape if draw.random() < 0.8 else (1, shape[1] * shape[3]))
        if growth.add_node(kind, source):
            return growth


def feeds(graph: Graph, draw: np.random.Generator, count: int = 8) -> dict[str, Array]:
    """The caller's tensors: random frames, then one of zero points, one of the least value, one of the greatest, one
    that alternates.

    Float frames lie between the steps of their tensor, on ties too, and hold NaN and infinities.
    """
    result = {}
    for port in graph.inputs:
        t = graph.types[port.tensor]
        assert t.quant
        kind = np.int16 if t.wide else np.int8
        least, most = np.iinfo(kind).min, np.iinfo(kind).max
        corners = [np.full((1, *t.shape[1:]), v, kind) for v in (t.quant.zero_point, least, most)]
        corners.append(np.where(np.indices(corners[0].shape).sum(axis=0) % 2, most, least).astype(kind))
        inside = np.concatenate([frames(draw, t.shape, count, kind), *corners])
        x = run.fetch(graph, port, inside)
        if x.dtype == np.float32:
            place = draw.random(x[:count].shape)
            between = np.where(place < 0.5, draw.uniform(-0.5, 0.5, place.shape), np.where(place < 0.7, 0.5, 0))
            odd = np.where(place > 0.99, draw.choice(np.array([np.nan, np.inf, -np.inf, 1e-45]), place.shape), 0)
            x[:count] = (x[:count] + between * t.quant.scale + odd).astype(np.float32)
        result[port.name] = x
    return result


def model_bytes(graph: Graph) -> bytes:
    return write(Artifact(graph))


def caps() -> list[str]:
    """Everything this CPU has, each instruction set alone, and none."""
    names = [name for name in edgekern.isa_available() if name != "scalar"]
    return list(dict.fromkeys([",".join(names), *names, "scalar"]) if names else ["scalar"])


def run_under(cap: str, graph: Graph, model: bytes, given: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs by port name, from the kernels a cap allows."""
    loaded = edgekern.Model.from_bytes(model, isa=cap)
    result = loaded.run(given if len(given) > 1 else next(iter(given.values())))
    return result if isinstance(result, dict) else {graph.outputs[0].name: result}


def differing(graph: Graph, given: Mapping[str, Array], want: Mapping[str, Array]) -> list[str]:
    """Where outputs differ from `want` under any cap, as text; the tensor that first goes wrong is named."""
    found = []
    model = model_bytes(graph)
    for cap in caps():
        made = run_under(cap, graph, model, given)
        wrong = [name for name, y in want.items() if y.dtype != made[name].dtype or not np.array_equal(y, made[name])]
        if wrong:
            found.append(f"{cap}: {', '.join(wrong)}; {first_wrong(cap, graph, model, given)}")
    return found


def first_wrong(cap: str, graph: Graph, model: bytes, given: Mapping[str, Array]) -> str:
    """The first node whose tensor differs from the reference, and one of the places."""
    loaded = edgekern.Model.from_bytes(model, isa=cap)
    made = loaded.trace(given if len(given) > 1 else next(iter(given.values())))
    for node in graph.nodes:
        want = run.reference(graph, given, trace=True)[node.output]
        if not np.array_equal(want, made[node.output]):
            places = np.argwhere(want != made[node.output])
            at = tuple(int(i) for i in places[0])
            types = [graph.types[name] for name in (*node.inputs, node.output)]
            values = f"{made[node.output][at]}, not {want[at]}"
            return f"{node.op} of {types}: {values}, at {at} and {len(places) - 1} other places"
    return "no traced tensor does"
