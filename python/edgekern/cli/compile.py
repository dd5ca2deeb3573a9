# SPDX-License-Identifier: Apache-2.0
"""`edgekern compile`: a float network becomes an int8 model file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zipfile import BadZipFile

import numpy as np
import typer

from edgekern.cli.inspect import describe, layer_facts, page_of
from edgekern.cli.pictures import Folder, class_number, read_labels, read_text
from edgekern.cli.screen import Json, print_json, say, steps
from edgekern.cli.target import check_target, saving_text
from edgekern.errors import InputError
from edgekern.model import Model
from edgekern.preprocess import CHANNELS, Preprocess

if TYPE_CHECKING:
    from edgekern.artifact import Artifact

_STEPS = {  # of the compiler, as the screen calls them
    "calibrate": "Calibrating",
    "weights": "Scaling weights",
    "rounding": "Rounding weights",
    "biases": "Correcting biases",
    "compare": "Comparing layers",
    "judge": "Judging",
    "sensitivity": "Finding what layers cost",
}


def compile(
    network: Annotated[Path, typer.Argument(help="The network, float or 8-bit: *.onnx or *.tflite.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The model file to write, *.ekm.")],
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="100 to 500 inputs as the model will see them: a folder or tar of pictures, or a "
            "folder of *.npy tensors (then the model takes tensors only). A quantised network needs none."
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH of the input; the network's own if it is fixed there.")
    ] = None,
    scale: Annotated[str | None, typer.Option(help="Of a camera byte: a number or fraction; 1/255.")] = None,
    mean: Annotated[str | None, typer.Option(help="Subtracted after scaling; one, or one a channel; 0.")] = None,
    std: Annotated[str | None, typer.Option(help="Divided by, last; one, or one a channel; 1.")] = None,
    channels: Annotated[str | None, typer.Option(help="The network's order: rgb, bgr or gray; rgb.")] = None,
    layout: Annotated[
        str | None, typer.Option(help="Of the network's input: nchw (PyTorch) or nhwc (Keras); as its shape tells.")
    ] = None,
    margin: Annotated[
        int | None, typer.Option(help="1/256 of a box's side that is added all round before a crop; 0.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Text file with the classes' names, one a line.")] = None,
    method: Annotated[str, typer.Option(help="How ranges are chosen: mse, minmax or percentile.")] = "mse",
    bias_correction: Annotated[bool, typer.Option(help="Make up for the mean error of each channel.")] = True,
    equalise: Annotated[bool, typer.Option(help="Bring channels of far different ranges together.")] = True,
    rounding: Annotated[str, typer.Option(help="Of weights: compensated or nearest.")] = "compensated",
    temperature: Annotated[float, typer.Option(help="Divides the logits before the final softmax.")] = 1.0,
    abstain_threshold: Annotated[float, typer.Option(help="Least confidence that is not an abstention.")] = 0.0,
    accuracy: Annotated[
        Path | None,
        typer.Option(
            help="CSV with the columns file and label: measure both networks on these whole pictures (or *.npy "
            "tensors), which lie beside the CSV."
        ),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Refuse a model that loses more points of --accuracy than this, such as 0.3.")
    ] = None,
    mixed: Annotated[
        str | None,
        typer.Option(help="auto: 16 bits for the activations that lose most, or for as many as --max-drop needs."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report as one HTML page, too.")] = None,
    as_json: Json = False,
) -> None:
    """Compile a network to an int8 model file, and compare the two.

    A camera byte b becomes (b * scale - mean) / std, as in training.
    """
    from edgekern.compiler import build
    from edgekern.settings import Settings

    _check_targets(out, report)
    names = read_text(labels).splitlines() if labels else []
    tensors = sorted(calibration.glob("*.npy")) if calibration and calibration.is_dir() else []
    settings = Settings(method, bias_correction, equalise, rounding, temperature, abstain_threshold, max_drop, mixed)
    pixels: dict[str, Any] = {"size": size, "scale": scale, "mean": mean, "std": std}
    pixels |= {"channels": channels, "layout": layout, "margin": margin}
    totals = {"calibrate": len(tensors)}
    with ExitStack() as stack:
        preprocess: Preprocess | None = None
        samples: Iterator[Any] | None
        if tensors:
            _refuse_useless(pixels, calibration)
            samples = (_tensor(path) for path in tensors)
        elif calibration is None:
            preprocess = _preprocess(network, pixels) if any(value is not None for value in pixels.values()) else None
            samples = None
        else:
            pictures = stack.enter_context(Folder(calibration))
            if not len(pictures):
                raise InputError(f"{calibration} has no picture and no *.npy tensor")
            preprocess = _preprocess(network, pixels)
            samples, totals["calibrate"] = iter(pictures), len(pictures)
        judged = None if accuracy is None else _labelled(stack, accuracy, names)
        progress = stack.enter_context(steps(_STEPS, totals))
        artifact, found = build(network, samples, preprocess, names or None, settings, judged, progress)
    _save(artifact, out, report)
    if as_json:
        print_json({"file": str(out), **found.to_json(), "layers": layer_facts(found)})
    else:
        say(f"{found}\n\n{out}: {found.bytes:,} bytes" + (f"\n{report}: the report" if report else ""))


def _check_targets(out: Path, page: Path | None) -> None:
    for target in (out, page):
        if target is not None:
            check_target(target)
    if page is not None and page.resolve() == out.resolve():
        raise typer.BadParameter(f"--report {page} is the model file")


def _save(artifact: Artifact, out: Path, page: Path | None) -> None:
    """Writes the model file, and the page if there is to be one: both or none."""
    from edgekern.artifact import write

    data = write(artifact)
    model = Model.from_bytes(data)  # runs the known answer
    with ExitStack() as stack:
        if page is not None:
            text = page_of(model, data, describe(model, out, data, selftest=True))
            stack.enter_context(saving_text(page, text))
        model.save(out)


def _refuse_useless(pixels: Mapping[str, Any], calibration: Path | None) -> None:
    if useless := [f"--{name}" for name, value in pixels.items() if value is not None]:
        raise typer.BadParameter(
            f"{', '.join(useless)}: {calibration} holds *.npy tensors, which are taken as they are; "
            "calibrate with pictures for a model that takes pictures"
        )


def _preprocess(network: Path, given: Mapping[str, Any]) -> Preprocess:
    """The preprocess of the options that were given (None: not), and of the network's own input."""
    channels = given["channels"] or "rgb"
    layout, size = _input_image(network, given["layout"], CHANNELS.get(channels, 3), given["size"])
    scale = _numbers(given["scale"] or "1/255", "--scale")
    if len(scale) != 1:
        raise typer.BadParameter(f"--scale {given['scale']!r} is not one number; --std takes one a channel")
    return Preprocess(
        size=size,
        scale=scale[0],
        mean=_one_or_each(_numbers(given["mean"] or "0", "--mean")),
        std=_one_or_each(_numbers(given["std"] or "1", "--std")),
        channels=channels,
        layout=layout,
        margin=given["margin"] or 0,
    )


def _labelled(stack: ExitStack, table: Path, names: Sequence[str]) -> Iterable[tuple[Any, int]]:
    """The pictures or tensors of a CSV that lie beside it, with their class numbers; the CSV is checked at once."""
    lines = read_labels(table)
    classes = len(names) or None  # the compiler knows how many there are
    truth = [class_number(line, names, classes) for line in lines]
    folder = stack.enter_context(Folder(table.parent))
    return _Labelled(folder, tuple(zip((line.file for line in lines), truth, strict=True)))


@dataclass(frozen=True)
class _Labelled:
    """Samples with their class numbers, read anew each time they are gone through."""

    folder: Folder
    rows: tuple[tuple[str, int], ...]

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        for file, number in self.rows:
            yield _tensor(self.folder.path / file) if file.endswith(".npy") else self.folder.read(file), number


def _tensor(path: Path) -> np.ndarray[Any, Any]:
    try:
        with path.open("rb") as file:
            array: Any = np.load(file, allow_pickle=False)
    except (BadZipFile, EOFError, ValueError) as error:
        raise InputError(f"{path} is no NumPy array: {error}") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} holds several NumPy arrays, not one")
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
    except (OverflowError, ValueError, ZeroDivisionError):
        raise typer.BadParameter(f"{option} {text!r} is not a number") from None


def _one_or_each(values: list[float]) -> float | tuple[float, ...]:
    return values[0] if len(values) == 1 else tuple(values)


def _input_image(network: Path, layout: str | None, depth: int, size: str | None) -> tuple[str, tuple[int, int]]:
    """Layout and (height, width) of the network's first input, as far as the options do not give them.

    Raises:
        InputError: The shape contradicts the layout, or leaves the size open.
    """
    from edgekern.importers.source import first_image

    wanted = _size(size, "--size") if size else None
    found, dims = first_image(network, depth)
    if len(dims) != 4:
        raise InputError(
            f"{network} takes {dims}, not images of four dimensions", hint="Calibrate it with *.npy tensors."
        )
    at = 3 if layout == "nhwc" else 1
    if layout not in (None, found) and dims[at] > 0 and dims[at] != depth:
        raise InputError(f"{network} takes {dims}: that is {found}", hint=f"Give --layout {found}, or leave it out.")
    layout = layout or found
    height, width = dims[1:3] if layout == "nhwc" else dims[2:]
    if wanted is None and min(height, width) < 1:
        raise InputError(
            f"{network} leaves the height and width of its input open: {dims}",
            hint="Give them: --size HEIGHTxWIDTH.",
        )
    return layout, wanted or (height, width)
