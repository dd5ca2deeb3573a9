# SPDX-License-Identifier: Apache-2.0
"""`edgekern compile`: a float network becomes an int8 model file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from edgekern.cli.pictures import Folder
from edgekern.cli.screen import Json, print_json, print_table, say, tail, working
from edgekern.errors import InputError
from edgekern.model import Model
from edgekern.preprocess import Preprocess

if TYPE_CHECKING:
    from edgekern.report import Report


def compile(
    network: Annotated[Path, typer.Argument(help="A float network, *.onnx.")],
    calibration: Annotated[
        Path,
        typer.Option(
            help="100 to 500 inputs as the model will see them: a folder or tar of pictures, or a "
            "folder of *.npy tensors (then the model takes tensors only)."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The model file to write, *.ekm.")],
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH of the input; the network's own if it is fixed there.")] = "",
    scale: Annotated[str, typer.Option(help="Of a camera byte: a number or fraction.")] = "1/255",
    mean: Annotated[str, typer.Option(help="Subtracted after scaling; one, or one a channel.")] = "0",
    std: Annotated[str, typer.Option(help="Divided by, last; one, or one a channel.")] = "1",
    channels: Annotated[str, typer.Option(help="The network's order: rgb, bgr or gray.")] = "rgb",
    layout: Annotated[str, typer.Option(help="Of the network's input: nchw (PyTorch) or nhwc (Keras).")] = "nchw",
    margin: Annotated[int, typer.Option(help="1/256 of a box's side that is added all round before a crop.")] = 0,
    labels: Annotated[Path | None, typer.Option(help="Text file with the classes' names, one a line.")] = None,
    method: Annotated[str, typer.Option(help="How ranges are chosen: mse, minmax or percentile.")] = "mse",
    bias_correction: Annotated[bool, typer.Option(help="Make up for the mean error of each channel.")] = True,
    as_json: Json = False,
) -> None:
    """Compile a float ONNX network to int8, and compare the two.

    A camera byte b becomes (b * scale - mean) / std, as in training.
    """
    from edgekern.artifact import write
    from edgekern.compiler import Settings, build

    if not out.absolute().parent.is_dir():
        raise InputError(f"{out.parent} is no folder: {out.name} could not be written there")
    names = labels.read_text(encoding="utf-8").splitlines() if labels else None
    tensors = sorted(calibration.glob("*.npy")) if calibration.is_dir() else []
    settings = Settings(method=method, bias_correction=bias_correction)
    with ExitStack() as stack:
        preprocess: Preprocess | None = None
        samples: Iterator[Any]
        if tensors:
            samples = (_tensor(path) for path in working(tensors, "Calibrating"))
        else:
            pictures = stack.enter_context(Folder(calibration))
            if not len(pictures):
                raise InputError(f"{calibration} has no picture and no *.npy tensor")
            preprocess = Preprocess(
                size=_size(size, "--size") if size else _input_size(network, layout),
                scale=_numbers(scale, "--scale")[0],
                mean=_one_or_each(_numbers(mean, "--mean")),
                std=_one_or_each(_numbers(std, "--std")),
                channels=channels,
                layout=layout,
                margin=margin,
            )
            samples = working(pictures, "Calibrating", len(pictures))
        artifact, report = build(network, samples, preprocess, names, settings)
    Model.from_bytes(write(artifact)).save(out)  # loading runs the known answer
    if as_json:
        layers = [{**asdict(n), "sqnr": _finite(n.sqnr)} for n in report.layers]
        print_json({"file": str(out), **report.to_json(), "layers": layers})
    else:
        _print(report, out)


def _finite(decibels: float) -> float | None:
    return round(decibels, 1) if math.isfinite(decibels) else None


def _print(report: Report, out: Path) -> None:
    rows = [
        (
            tail(n.name, 40),
            n.op,
            "x".join(map(str, n.shape)),
            f"{n.macs:,}",
            f"{n.bytes:,}",
            f"{n.sqnr:.1f}" if math.isfinite(n.sqnr) else "exact",
        )
        for n in report.layers
    ]
    print_table("Layers", ("name", "op", "shape", "MACs", "bytes", "SQNR dB"), rows, left=3)
    results = [(o.name, f"{o.sqnr:.1f}", f"{o.greatest:.4g}", f"{o.same_class:.1%}") for o in report.outputs]
    columns = ("output", "SQNR dB", "greatest difference", "same class")
    print_table(f"\nFloat against int8 on {report.compared_samples} samples", columns, results)
    if report.accuracy:
        a = report.accuracy
        say(f"accuracy on {a.samples}: float {a.float32:.2%}, int8 {a.int8:.2%}")
    say("")
    for change in report.changes:
        say(f"fused: {change}")
    biases = ", biases corrected" if report.bias_correction else ""
    say(f"{report.method} ranges from {report.calibration_samples} samples{biases}")
    say(f"{report.parameters:,} parameters, {report.macs:,} multiply-accumulates a frame")
    say(
        f"{out}: {report.bytes:,} bytes, the network has {report.source_bytes:,} "
        f"({report.source_bytes / report.bytes:.1f} times as many)"
    )


def _tensor(path: Path) -> np.ndarray[Any, Any]:
    try:
        array: np.ndarray[Any, Any] = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise InputError(f"{path} is no NumPy array: {error}") from error
    return array


def _numbers(text: str, option: str) -> list[float]:
    """Reads "1/255" or "0.485,0.456,0.406".

    >>> _numbers("1/4, 2", "--mean")
    [0.25, 2.0]
    """
    return [_parsed(part.strip(), option, lambda p: float(Fraction(p))) for part in text.split(",")]


def _size(text: str, option: str) -> tuple[int, int]:
    """Reads HEIGHTxWIDTH.

    >>> _size("48x64", "--size")
    (48, 64)
    """
    parts = text.lower().split("x")
    if len(parts) not in (1, 2):
        raise typer.BadParameter(f"{option} {text!r} is not HEIGHTxWIDTH")
    return _parsed(parts[0], option, int), _parsed(parts[-1], option, int)


def _parsed(text: str, option: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(text)
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(f"{option} {text!r} is not a number") from None


def _one_or_each(values: list[float]) -> float | tuple[float, ...]:
    return values[0] if len(values) == 1 else tuple(values)


def _input_size(network: Path, layout: str) -> tuple[int, int]:
    """Takes height and width from the network's first input that is no weight."""
    from edgekern.importers.onnx import load_onnx

    graph = load_onnx(network).graph
    weights = {w.name for w in graph.initializer}
    port = next((i for i in graph.input if i.name not in weights), None)
    dims = [d.dim_value for d in port.type.tensor_type.shape.dim] if port else []
    inner = dims[2:] if layout == "nchw" else dims[1:-1]
    if len(dims) != 4 or min(inner) < 1:
        raise InputError(
            f"{network} leaves the height and width of its input open: {dims}",
            hint="Give them: --size HEIGHTxWIDTH.",
        )
    return inner[0], inner[1]
