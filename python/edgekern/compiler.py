# SPDX-License-Identifier: Apache-2.0
"""From a trained float network to a model: import, passes, calibration, quantisation, report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekern.acceptance import accept, choose, costs_of
from edgekern.artifact import Artifact, Decision, write
from edgekern.calibrate.accuracy import Measure, judge_of
from edgekern.calibrate.bias import frames_at_once
from edgekern.calibrate.ranges import Progress, unseen
from edgekern.calibrate.samples import Sampler, frames_of
from edgekern.errors import InputError
from edgekern.graph.graph import Graph
from edgekern.graph.verify import verify
from edgekern.importers.source import read
from edgekern.ops.softmax import Softmax
from edgekern.passes import (
    dead_code,
    fold_batch_norm,
    fold_padding,
    fuse_activation,
    hoist_pointwise,
    name_tensors,
    remove_no_ops,
    requantise_copies,
)
from edgekern.passes._rewrite import made_of
from edgekern.preprocess import Preprocess
from edgekern.quantiser import Quantiser
from edgekern.record import (
    COMPARED,
    class_names,
    final_size,
    known_answer,
    provenance_of,
    report_of,
)
from edgekern.report import Report
from edgekern.settings import Settings
from edgekern.types import DType

if TYPE_CHECKING:
    import onnx
    import torch

    from edgekern.model import Model

__all__ = ["PASSES", "build", "compile", "optimise"]

#: The order of the passes over the float graph.
PASSES: tuple[tuple[str, Callable[[Graph], Graph]], ...] = (
    ("dead code", dead_code.run),
    ("no-ops", remove_no_ops.run),
    ("padding into convolutions", fold_padding.run),
    ("pointwise before moves", hoist_pointwise.run),
    ("batch norm and bias", fold_batch_norm.run),
    ("no-ops", remove_no_ops.run),
    ("activations", fuse_activation.run),
    ("copies", requantise_copies.run),
    ("names", name_tensors.run),
)


def compile(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto | torch.nn.Module,
    *,
    calibration: Iterable[Any] | None = None,
    preprocess: Preprocess | None = None,
    labels: Iterable[str] | None = None,
    method: str = "mse",
    bias_correction: bool = True,
    equalise: bool = True,
    rounding: str = "compensated",
    temperature: float = 1.0,
    abstain_threshold: float = 0.0,
    accuracy: Iterable[tuple[Any, int]] | Measure | None = None,
    max_drop: float | None = None,
    mixed: str | None = None,
    progress: Progress = unseen,
    example: object = None,
) -> Model:
    """Compiles an ONNX or TFLite model to int8.

    A source that is quantised (TFLite, QuantizeLinear and DequantizeLinear pairs, QLinear operators) keeps its
    integers, and the model takes and gives its types; it needs no calibration.

    The same source, samples and arguments give the same bytes on the same NumPy and BLAS. Nothing is written; a model
    is saved by `Model.save`.

    Args:
        source: Path of an ONNX or TFLite file, its bytes, a ModelProto, or a torch.nn.Module.
        calibration: 100 to 500 inputs as the model will see them; any iterable, streamed. With a preprocess: uint8
            images [H, W, C] in RGB or gray, or paths of image files (needs Pillow). Without: the source model's own
            tensors, with or without the batch dimension, or dicts of them by input name.
        preprocess: How camera images become the model's input. The model then takes uint8 NHWC where a camera byte
            is the input's own byte, else the source model's tensors; `run_image` takes camera frames in both cases.
        labels: Names of the classes.
        method: "mse" (least squared error), "minmax" or "percentile" (99.99 %).
        bias_correction: Make up for the mean error int8 gives each channel.
        equalise: Bring channels of far different ranges together, by powers of two between layers that leave the
            float network as it is.
        rounding: Of weights: "nearest", or "compensated": each weight of a sum makes up for what rounding those before
            it did to the sum over the samples.
        temperature: Divides the logits before the final softmax.
        abstain_threshold: Least confidence that is not an abstention.
        accuracy: Labelled samples (sample as in `calibration`, class number; a list or other collection, as forms are
            judged again for `mixed` and a refusal), or a function that measures: it gets
            `outputs(samples)`, which gives the stacked outputs of samples, and answers a share of 1, such as the share
            that is right. The float network and its integer form are both judged, for the report.
        max_drop: Points (hundredths of accuracy) that the integer form may lose; 0.3 is a usual demand.
        mixed: "auto" holds those activations in 16 bits that lose most at the outputs: as many as `max_drop` needs, or,
            without it, until three quarters of the activations' noise are gone.
        progress: Called with (what, how many done, of how many; 0 if unknown), for all that takes long.
        example: Input of a torch.nn.Module, with its batch: a tensor, or a tuple of them.

    Raises:
        UnsupportedOpError: Operators, attributes or types edgekern does not run, all of them by node.
        ShapeError: Shapes do not fit, or are not fixed.
        QuantizationError: A tensor cannot be brought to int8; it is named.
        AccuracyError: More than `max_drop` is lost; it says which layers cost what.
        CompileError: The source is broken; the place is named.
        InputError: A calibration sample or argument is wrong.

    >>> from onnx import TensorProto, helper
    >>> x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 4]) for n in "xy")
    >>> graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "clipped", [x], [y])
    >>> model = compile(helper.make_model(graph), calibration=np.float32([[-1, 0, 0.5, 1]]))
    >>> model.run(np.float32([[-2, 0, 0.5, 3]])).round(2)
    array([[0. , 0. , 0.5, 1. ]], dtype=float32)
    """
    from edgekern.model import Model

    settings = Settings(method, bias_correction, equalise, rounding, temperature, abstain_threshold, max_drop, mixed)
    artifact, _ = build(source, calibration, preprocess, labels, settings, accuracy, progress, example)
    return Model.from_bytes(write(artifact))


def optimise(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """The float graph after all passes, and what changed."""
    changes = []
    for name, run in PASSES:
        before, parts = len(graph.nodes), made_of(*graph.nodes)
        graph = verify(run(graph))
        if len(graph.nodes) != before:
            changes.append(f"{name}: {before} -> {len(graph.nodes)} nodes")
        left = set(made_of(*graph.nodes))
        graph = replace(graph, removed=(*graph.removed, *((part[1], name) for part in parts if part not in left)))
    return graph, tuple(changes)


def build(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto | torch.nn.Module,
    calibration: Iterable[Any] | None = None,
    preprocess: Preprocess | None = None,
    labels: Iterable[str] | None = None,
    settings: Settings | None = None,
    accuracy: Iterable[tuple[Any, int]] | Measure | None = None,
    progress: Progress = unseen,
    example: object = None,
) -> tuple[Artifact, Report]:
    """Everything `compile` does before a runtime is needed; arguments and errors as there."""
    settings = settings or Settings()
    if preprocess is not None and not isinstance(preprocess, Preprocess):
        raise InputError(f"preprocess is a {type(preprocess).__name__}, not a Preprocess")
    if not callable(progress):
        raise InputError(f"progress {progress!r} is not a function", hint="Leave it out to see none.")
    image = None if preprocess is None else (*preprocess.size, preprocess.depth)
    imported, data = read(source, image, preprocess.layout if preprocess else None, example)
    if settings.max_drop is not None and accuracy is None:
        raise InputError(
            "max_drop needs accuracy", hint="Give labelled samples or a function that measures (--accuracy CSV)."
        )
    if preprocess is not None and len(imported.inputs) > 1:
        raise InputError(f"a Preprocess feeds one input; the model has {len(imported.inputs)}")
    graph, changes = optimise(_tempered(verify(imported), settings.temperature))
    names = class_names(labels, graph)
    held = max(COMPARED // 8, frames_at_once(graph))
    sampler = Sampler(frames_of(graph, preprocess, () if calibration is None else calibration), held)
    make = Quantiser(graph, sampler, settings, progress)
    if calibration is not None or not graph.quantised:  # what the source leaves to us is then refused by name
        make.calibrate()
    if preprocess is not None:
        make.ranges[graph.inputs[0].tensor] = _byte_range(preprocess)
    judge = None if accuracy is None else judge_of(graph, preprocess, accuracy)
    camera = () if preprocess is None else (graph.inputs[0].tensor,)  # its bytes have no 16 bits
    integer, measured, wide = choose(make, judge, settings, camera)
    graph, settings, changes = make.graph, make.done, (*changes, *make.changes, *wide)
    outside = integer if preprocess is None else _byte_port(integer, preprocess)
    provenance = provenance_of(data, sampler, settings)
    artifact = Artifact(
        graph=outside,
        preprocess=preprocess,
        labels=names,
        decision=_decision(settings, names),
        known_answer=known_answer(outside, integer, sampler),
        provenance=provenance,
    )
    report = report_of(settings, sampler, graph, integer, len(data), changes, progress)
    report = replace(report, accuracy=measured)
    report = replace(report, bytes=final_size(artifact, report))
    accept(report, settings, lambda: costs_of(make, integer, judge))
    return replace(artifact, provenance={**provenance, "report": report.to_json()}), report


# ---- pieces -------------------------------------------------------------------------------------


def _tempered(graph: Graph, temperature: float) -> Graph:
    """The graph whose final softmax divides its input by the temperature."""
    if temperature == 1:
        return graph
    outside = {port.tensor for port in graph.outputs}
    final = [node for node in graph.nodes if isinstance(node.op, Softmax) and node.output in outside]
    if not final:
        raise InputError("a temperature needs a model that ends in a Softmax")
    nodes = tuple(replace(n, op=Softmax(temperature)) if n in final else n for n in graph.nodes)
    return graph.with_nodes(nodes)


def _byte_range(preprocess: Preprocess) -> tuple[float, float]:
    """What a preprocess can make of a camera byte."""
    ends = preprocess.normalise(np.repeat(np.array([[0], [255]], np.uint8), preprocess.depth, axis=1))
    return float(ends.min()), float(ends.max())


def _byte_port(graph: Graph, preprocess: Preprocess) -> Graph:
    """The input as uint8 NHWC, if every camera byte is the input tensor's own (biased) byte."""
    port = graph.inputs[0]
    q = graph.types[port.tensor].quant
    if port.dtype is not DType.FLOAT32:
        return graph
    assert q is not None
    if not (preprocess.table(q) == np.arange(256, dtype=np.uint8)).all():
        return graph
    rank = len(graph.types[port.tensor].shape)
    return replace(graph, inputs=(replace(port, dtype=DType.UINT8, perm=tuple(range(rank))),))


def _decision(settings: Settings, labels: Sequence[str]) -> Decision | None:
    if not labels and settings.temperature == 1 and settings.abstain_threshold == 0:
        return None
    return Decision(settings.abstain_threshold, settings.temperature)
