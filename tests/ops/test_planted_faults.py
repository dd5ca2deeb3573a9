# SPDX-License-Identifier: Apache-2.0
"""The comparison can fail: a fault planted in a kernel's source makes its bytes differ from the NumPy reference.

Each fault of planted.py is compiled alone and linked with the sound objects of everything else; the graphs of one
operator that tests/ops compares with the reference must show it, as they show none in the sound library.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from planted import FAULTS, KINDS, SPARED, Fault
from random_graphs import feeds, model_bytes, single
from wide_graphs import single_wide

import edgekern
import native
from edgekern import quant
from edgekern.artifact import Artifact, write
from edgekern.graph import Graph, run
from edgekern.ops import registry
from edgekern.preprocess import CHANNELS, Preprocess
from edgekern.types import Array, Quant
from loaded import Library
from sample_models import INPUT, Builder

pytestmark = pytest.mark.slow

GRAPHS = 40  # of each operator
KERNELS = native.TESTS.parent / "cpp" / "kernels"
FAMILIES = sorted(path.parent.name for path in KERNELS.glob("*/kernels.def"))
#: Families that run what no operator names them for: ports of the caller, borders of a padded input.
ALSO = {"edge": ("Transpose", "Reshape"), "move": ("Conv2D", "DepthwiseConv2D")}


def kinds(family: str) -> list[str]:
    return [*(name for name, kind in registry().items() if family in kind.kernels), *ALSO.get(family, ())]


Question = tuple[bytes, list[Array], list[Array]]  # a model, its inputs, and the reference's answer


def asked(graph: Graph, seed: int) -> Question:
    given = feeds(graph, np.random.default_rng(seed), 3)
    want = run.reference(graph, given)
    inputs = [np.ascontiguousarray(given[port.name]) for port in graph.inputs]
    return model_bytes(graph), inputs, [np.ascontiguousarray(want[port.name]) for port in graph.outputs]


@cache
def question(opcode: str, seed: int, wide: bool = False) -> Question:
    kind = registry()[opcode]
    return asked(single_wide(kind, seed)[1] if wide else single(kind, seed).graph(), seed)


def layer_norm_of_ties() -> Graph:
    """Where the channels alternate between -128 and 127, every result lies on the tie of two steps, or would by one
    rounding more: a rounding less, or one bit of the reciprocal root, gives the other step.
    """
    c, one = 45, np.float32(1)  # both the root and the division round
    q = np.where(np.arange(c) % 2, 127, -128)
    v = np.float32(c * (q * q).sum() - q.sum() ** 2)
    t = (c * q - q.sum()).astype(np.float32) * (one / np.sqrt(v))
    g, b = np.full(c, one), np.arange(c) // 2 % 2 + np.float32(0.5) - t  # 0.5 and 1.5 go to 0 and 2
    half_bit = 2.0**-25  # of 0.5
    for i in range(0, c, 3):  # t * g is 2^-25 once it is rounded, and a little more before
        near = [np.float32(half_bit / float(t[i]) * (1 + k * 2.0**-24)) for k in range(-9, 10)]
        fits = [n for n in near if t[i] * n == half_bit and float(t[i]) * float(n) > half_bit]
        if fits:
            g[i], b[i] = fits[0], 0.5
    built = Builder((1, 1, 1, c))
    epsilon = float(np.finfo(np.float32).tiny)
    built.add(registry()["LayerNorm"](epsilon), ("t0",), (1, 1, 1, c), (g, b.astype(np.float32)), Quant(0.5, 0))
    return built.graph({"y": "t1"})


@cache
def made_for(family: str) -> list[Question]:
    """What few random graphs hold: layers that firstconv, winograd or the inner product takes, a softmax and a layer
    norm of ties.
    """
    graphs = [layer_norm_of_ties()] if family == "layernorm" else []
    if family == "winograd":
        for i, (h, w, c, n) in enumerate([(12, 12, 32, 16), (13, 9, 40, 21), (8, 31, 16, 32), (7, 7, 64, 16)]):
            b = Builder((1, h, w, c), i)
            b.conv("t0", n, 3, 1, 1)
            graphs.append(b.graph({"y": "t1"}))
    if family == "qgemm":
        for c, n in ((194, 136), (20, 24)):  # the inner product; several tiles of a strip
            b = Builder((1, 7, 7, c))
            b.conv("t0", n, 1)
            graphs.append(b.graph({"y": "t1"}))
    if family == "firstconv":
        for i, (c, k, n) in enumerate([(3, 3, 16), (1, 5, 8), (4, 3, 8), (3, 7, 8), (3, 3, 33), (3, 4, 9)]):
            b = Builder((1, 13, 14, c), i)
            b.conv("t0", n, k, 1 + i % 2, k // 2)
            graphs.append(b.graph({"y": "t1"}))
    if family == "softmax":  # 512 equal logits: half a step each
        b = Builder((1, 512))
        table = quant.exp_table(INPUT.scale).astype(np.int32)
        b.add(registry()["Softmax"](), ("t0",), (1, 512), (table,), Quant(1 / 256, -128))
        graphs.append(b.graph({"y": "t1"}))
    return [asked(graph, i) for i, graph in enumerate(graphs)]


def questions(family: str) -> Iterator[tuple[str, Question]]:
    for i, made in enumerate(made_for(family)):
        yield f"made {i}", made
    for seed in range(GRAPHS):
        for opcode in kinds(family):
            yield f"{opcode} {seed}", question(opcode, seed, family == "wide")
        if family == "edge":  # its part for int16 tensors
            yield f"wide Mean {seed}", question("Mean", seed, True)


@cache
def pictures() -> list[tuple[bytes, Array, int, Array, Array]]:
    """Models that hand a frame's crops through, frames with boxes, and the NumPy preprocess of them."""
    draw = np.random.default_rng(7)
    boxes = np.array([(0, 0, 83, 61), (10, 20, 24, 24), (40, 30, 1, 1), (0, 59, 2, 2), (3, 3, 2, 50)], np.int32)
    found = []
    for inside, channels, number in (("rgb", "rgb", 0), ("rgb", "bgra", 4), ("gray", "gray", 2), ("gray", "bgr", 1)):
        pre = Preprocess((9, 11), channels=inside)
        b = Builder((1, 9, 11, pre.depth))
        q = b.types["t0"].quant
        assert q
        b.add(registry()["MaxPool2D"]((1, 1)), ("t0",), b.shape("t0"), q=q)
        frame = draw.integers(0, 256, (61, 83, CHANNELS[channels])).astype(np.uint8)
        crops = [pre.apply(pre.crop(frame, (int(x), int(y), int(w), int(h)), channels), q) for x, y, w, h in boxes]
        found.append((write(Artifact(b.graph({"y": "t1"}), pre)), frame, number, boxes, np.stack(crops)))
    return found


def differences(library: Library, family: str, isa: str) -> Iterator[str]:
    """What of a family's graphs or pictures comes out other than the reference."""
    if family == "resize":
        for i, (model, frame, channels, boxes, want) in enumerate(pictures()):
            if not np.array_equal(library.run_regions(model, isa, frame, channels, boxes, want), want):
                yield f"pictures {i}"
        return
    for name, (model, inputs, want) in questions(family):
        made = library.run(model, isa, inputs, want)
        if not all(np.array_equal(a, b) for a, b in zip(made, want, strict=True)):
            yield name


def edited(folder: Path, source: str, old: str, new: str) -> Path:
    """A copy of one source with `old`, which occurs once, replaced."""
    text = (KERNELS / source).read_text()
    assert text.count(old) == 1, f"{source} holds {text.count(old)} times: {old}"
    copy = folder / "kernels" / source
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(text.replace(old, new))
    return copy


@cache
def sound_objects(family: str, isa: str) -> dict[Path, Path]:
    """The library's, except that under the scalar cap every plan that may take firstconv or winograd takes it.

    The prediction of their scalar rows never is the lowest, so that no model would show what is wrong with them.
    """
    parts = dict(native.objects())
    cheap = {
        "firstconv": ("firstconv/kernels.def", "8.0)", "-1e6)"),
        "winograd": ("winograd/winograd.cc", "predict({8,", "-predict({8,"),
    }
    if isa != "scalar" or family not in cheap:
        return parts
    source = KERNELS / family / f"{family}.cc"
    folder = parts[source].parent / f"cheap-{family}"
    copy = edited(folder, *cheap[family])
    part = copy if copy.suffix == ".cc" else source
    parts[source] = native.host().compile(part, folder / "cheap.o", "-iquote", str(folder), "-O1")
    return parts


def planted(fault: Fault, folder: Path) -> Path:
    """The library with one fault: one object anew, the rest as they are."""
    copy = edited(folder, fault.source, fault.old, fault.new)
    # Sources name headers from the root of cpp/, so that the folder's come first wherever they are included.
    original = KERNELS / (fault.compiled or fault.source)
    parts = dict(sound_objects(fault.family, fault.isa))
    flags = ("-iquote", str(folder), "-O1")
    parts[original] = native.host().compile(original if fault.compiled else copy, folder / "faulty.o", *flags)
    return native.link(folder / "faulty.so", parts.values())


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgekern-planted-") as name:
        yield Path(name)


def test_every_family_has_every_fault() -> None:
    held = {(fault.family, fault.kind) for fault in FAULTS if fault.isa == "scalar"}
    wanted = {(family, kind) for family in FAMILIES for kind in KINDS}
    assert held | set(SPARED) == wanted
    assert not held & set(SPARED)


@pytest.mark.parametrize("isa", ["scalar", "avx2"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_sound_library_agrees(family: str, isa: str, folder: Path) -> None:
    if isa not in ("scalar", *edgekern.isa_available()):
        pytest.skip(f"this CPU has no {isa}")
    library = Library(native.link(folder / "sound.so", sound_objects(family, isa).values()))
    assert list(differences(library, family, isa)) == []
    if family not in ALSO and family != "resize":  # these are no op of a plan
        rows = {name for _, (model, *_) in questions(family) for name in library.rows(model, isa)}
        assert any(name.startswith(family) and name.endswith((isa, "scalar")) for name in rows), rows


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f"{f.family}-{f.isa}-{f.kind}-{f.old}")
def test_a_planted_fault_is_seen(fault: Fault, folder: Path) -> None:
    if fault.isa not in ("scalar", *edgekern.isa_available()):
        pytest.skip(f"this CPU has no {fault.isa}")
    library = Library(planted(fault, folder))
    assert next(differences(library, fault.family, fault.isa), None), f"no graph shows {fault.new}"
