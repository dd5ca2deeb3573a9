# SPDX-License-Identifier: Apache-2.0
"""What the caller gives for calibration -> batches of the float graph's own tensors."""

from __future__ import annotations

import hashlib
import heapq
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from edgekern.errors import InputError
from edgekern.graph.graph import Graph, Port
from edgekern.graph.run import fetch
from edgekern.preprocess import Preprocess, check_depth
from edgekern.types import Array

__all__ = ["Sampler", "each", "frames_of", "picture"]

_ORDERS = {1: "gray", 3: "rgb", 4: "rgba"}


def picture(source: Any) -> tuple[Array, str]:
    """uint8 [H, W, C] pixels and their channel order, of an array or an image file.

    Raises:
        InputError: Not uint8, not an image, or Pillow is needed and missing.
    """
    if isinstance(source, (str, os.PathLike)):
        try:
            from PIL import Image
        except ImportError as error:
            raise InputError("reading image files needs pip install 'edgekern[cli]'") from error
        try:
            with Image.open(source) as image:
                check_depth(image.mode)
                return np.asarray(image.convert("RGB")), "rgb"
        except (EOFError, OSError, SyntaxError, ValueError) as error:
            text, hint = (error.args[0], error.hint) if isinstance(error, InputError) else (error, "")
            raise InputError(f"{os.fspath(source)}: {text}", hint=hint) from error
    image = np.asarray(source)
    if image.ndim == 2:
        image = image[..., None]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in _ORDERS or 0 in image.shape:
        raise InputError(
            f"the image is {image.dtype} {image.shape}",
            hint="With a Preprocess give uint8 images [height, width, 1, 3 or 4], or paths of image files.",
        )
    return image, _ORDERS[image.shape[2]]


def each(given: Iterable[Any], what: str) -> Iterator[Any]:
    """An iterator over what the caller gives.

    Raises:
        InputError: It is one thing, not several.
    """
    try:
        return iter(given)
    except TypeError:
        raise InputError(f"{what}: a {type(given).__name__} cannot be iterated over", hint="Give a list.") from None


def frames_of(
    graph: Graph, preprocess: Preprocess | None, samples: Iterable[Any], what: str = "calibration sample"
) -> Iterator[dict[str, Array]]:
    """Frames (batch 1) of the float graph's ports.

    Args:
        graph: A float graph.
        preprocess: Makes the only input from images; None: samples are the source model's own tensors.
        samples: Images, or arrays with or without a batch dimension, or dicts of them by port name.
        what: The samples are called in messages.

    Raises:
        InputError: A sample does not fit; its number is named.
    """
    for number, sample in enumerate(each(samples, f"{what}s")):
        try:
            if preprocess is not None:
                image, order = picture(sample)
                yield {graph.inputs[0].name: _normalised(graph, preprocess, preprocess.crop(image, None, order))}
                continue
            given = sample if isinstance(sample, Mapping) else {graph.inputs[0].name: sample}
            if set(given) != {port.name for port in graph.inputs}:
                names = ", ".join(repr(port.name) for port in graph.inputs)
                raise InputError(f"it has {sorted(given)}", hint=f"The model's inputs are {names}: give a dict.")
            batch = {port.name: _tensor(graph, port, given[port.name]) for port in graph.inputs}
            if len({len(x) for x in batch.values()}) > 1:
                sizes = ", ".join(f"{len(x)} of {name!r}" for name, x in batch.items())
                raise InputError(f"its batches differ: {sizes}")
            for i in range(len(next(iter(batch.values())))):
                yield {name: x[i : i + 1] for name, x in batch.items()}
        except InputError as error:
            raise InputError(f"{what} {number}: {error.args[0]}", hint=error.hint) from error


def _normalised(graph: Graph, preprocess: Preprocess, crop: Array) -> Array:
    """The source model's float tensor of a crop."""
    real = preprocess.normalise(crop)[None]
    port = graph.inputs[0]
    return fetch(graph, port, np.ascontiguousarray(real))


def _tensor(graph: Graph, port: Port, given: Any) -> Array:
    x = np.asarray(given)
    shape = port.outside(graph.types[port.tensor].shape)
    if x.shape == shape[1:]:
        x = x[None]
    kind = port.dtype.numpy
    if (x.dtype.kind != "f" if kind == np.float32 else x.dtype != kind) or x.shape[1:] != shape[1:]:
        raise InputError(
            f"it is {x.dtype} {x.shape} for input {port.name!r}",
            hint=f"The model takes {kind} [batch, {', '.join(map(str, shape[1:]))}]; images need a Preprocess.",
        )
    return x.astype(kind)


class Sampler:
    """Passes frames on, keeping a digest of all and an even draw of some, whatever their order.

    A frame's key is the sha256 of its values: the frames of least keys are kept (a draw that depends on the frames
    alone), and the digest is the sum of all keys.

    Args:
        frames: Of the float graph's ports, batch 1.
        keep: How many to hold.
    """

    def __init__(self, frames: Iterable[Mapping[str, Array]], keep: int) -> None:
        self._frames = frames
        self._keep = keep
        self._held: list[tuple[int, int, Mapping[str, Array]]] = []  # a heap, the greatest key first; keys negated
        self._sum = 0
        self.count = 0

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        for frame in self._frames:
            key = _key(frame)
            self._sum += key
            full = len(self._held) == self._keep
            if not full or -key > self._held[0][0]:
                own = {name: x.copy() for name, x in frame.items()}  # a frame may be a view of a batch of many
                (heapq.heapreplace if full else heapq.heappush)(self._held, (-key, self.count, own))
            self.count += 1
            yield frame

    @property
    def digest(self) -> str:
        """Of all frames that passed, hexadecimal: the sum of their sha256 modulo 2^256."""
        return f"{self._sum % 2**256:064x}"

    def held(self, most: int | None = None) -> dict[str, Array]:
        """The kept frames as one batch, least key first; with `most`, at most that many of them."""
        frames = [frame for *_, frame in sorted(self._held, key=lambda entry: -entry[0])[:most]]
        return {name: np.concatenate([frame[name] for frame in frames]) for name in frames[0]}


def _key(frame: Mapping[str, Array]) -> int:
    found = hashlib.sha256()
    for name, x in sorted(frame.items()):
        found.update(f"{name}{x.shape}".encode())
        found.update(np.ascontiguousarray(x, x.dtype.newbyteorder("<")).tobytes())
    return int.from_bytes(found.digest(), "big")
