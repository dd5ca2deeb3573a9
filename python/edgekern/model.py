# SPDX-License-Identifier: Apache-2.0
"""A compiled model: load it, run it, look inside it. Nothing here needs the compiler."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edgekern import _core
from edgekern.arguments import box_rows, dense_frame, fitting, limit_in_bytes
from edgekern.errors import InputError
from edgekern.plan import MemoryPlan, OpProfile, TensorInfo
from edgekern.preprocess import CHANNELS, Box, Preprocess
from edgekern.types import Array, DType

if TYPE_CHECKING:
    from edgekern.artifact import Artifact
    from edgekern.report import Report

__all__ = ["MemoryPlan", "Model", "OpProfile", "TensorInfo", "load"]

Tensors: TypeAlias = Array | Mapping[str, Array]
_ORDERS = {name: number for number, name in enumerate(CHANNELS)}  # as ek_channels counts them
_ANY_BATCH = 2**31 - 1  # frames run one after the other: the plan does not grow with the batch


def _info(record: Mapping[str, Any]) -> TensorInfo:
    dtype = DType(record["dtype"]).numpy
    return TensorInfo(record["name"], dtype, tuple(record["shape"]), record["scale"], record["zero_point"])


def load(
    path: str | os.PathLike[str],
    *,
    threads: int = 1,
    memory_limit: int | str | None = None,
    isa: str | None = None,
    selftest: bool = True,
) -> Model:
    """Loads a model file, plans it for this CPU and checks its known answer.

    Args:
        path: A file that `edgekern compile` or `Model.save` wrote.
        threads: How many compute, the caller among them, on Linux up to 64; the bytes are those of one. They share a
            single frame; of a batch, or of boxes, each takes whole frames, in memory of its own. What is too short to
            gain runs on the caller alone. Workers sleep between frames and end with the model; the child of an
            `os.fork` runs without them.
        memory_limit: Bytes or text such as "8 MiB", for the plan and, while it runs, the self-test's frame. What
            passes it is refused before it is allocated; the file in memory is not counted.
        isa: Cap on instruction sets, such as "avx2"; None takes EDGEKERN_ISA, else all this CPU has.
        selftest: Run the file's known answer and refuse on one differing byte.

    Raises:
        CorruptModelError: The file breaks a rule of the format.
        VersionError: A newer edgekern wrote it.
        SelfTestError: This machine computes something else than the file's known answer.
        MemoryLimitError: The plan needs more than the limit.
        IsaError: `isa` names an instruction set that is unknown or absent here.

    >>> ek.SignClassifier().model.save("signs.ekm")
    >>> ek.load("signs.ekm", memory_limit="1 MiB").outputs[0].shape
    (1, 43)
    """
    data = Path(path).read_bytes()
    return Model.from_bytes(data, threads=threads, memory_limit=memory_limit, isa=isa, selftest=selftest)


class Model:
    """A loaded model; make one with `edgekern.load`, `Model.from_bytes` or `edgekern.compile`.

    One model serves one thread at a time; a second thread that calls meanwhile gets an error.

    Attributes:
        inputs: The source model's inputs.
        outputs: The source model's outputs.
        labels: Names of the classes; may be empty.
        abstain_threshold: Least confidence that is not an abstention; 0 where the file has none.
        takes_images: Whether the file holds a preprocess, so that `run_image` works.

    >>> import numpy as np
    >>> model = ek.SignClassifier().model
    >>> x = np.zeros((2, *model.inputs[0].shape[1:]), model.inputs[0].dtype)
    >>> y = model.run(x)
    >>> y.shape, bool((y == model.reference(x)).all())
    ((2, 43), True)
    """

    def __init__(self, data: bytes, core: _core.Model, session: _core.Session, isa: str | None) -> None:
        self._data, self._core, self._session, self._isa = data, core, session, isa
        self._handle = session.handle
        facts = core.describe()
        self.inputs = tuple(map(_info, core.inputs()))
        self.outputs = tuple(map(_info, core.outputs()))
        self.labels: tuple[str, ...] = tuple(core.labels())
        self.abstain_threshold: float = facts["abstain_threshold"]
        self.takes_images: bool = facts["has_preprocess"]
        self._provenance: str = facts["provenance"]
        self._direct: Callable[[object, object], Any] | None = None  # the frequent call, without a line of Python
        if len(self.inputs) == len(self.outputs) == 1:
            x, y = self.inputs[0], self.outputs[0]
            self._direct = _core.direct(self._handle, np.ndarray, np.empty, (x.dtype, x.shape), (y.dtype, y.shape))

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        *,
        threads: int = 1,
        memory_limit: int | str | None = None,
        isa: str | None = None,
        selftest: bool = True,
    ) -> Model:
        """Loads a model from the bytes of its file; arguments and errors as for `edgekern.load`.

        >>> ek.SignClassifier().model.save("signs.ekm")
        >>> Model.from_bytes(Path("signs.ekm").read_bytes(), isa="scalar").labels[14]
        'Stop'
        """
        if threads < 1:
            raise InputError(f"threads is {threads}; a frame needs one")
        core = _core.Model(data)
        check = selftest and core.describe()["has_known_answer"]
        limit = limit_in_bytes(memory_limit)
        session = _core.Session(core, isa, limit, threads, max_batch=_ANY_BATCH, selftest=check)
        return cls(bytes(data), core, session, isa)

    def __repr__(self) -> str:
        ports = ", ".join(f"{t.name}: {t.dtype.name}{list(t.shape)}" for t in (*self.inputs, *self.outputs))
        return f"<edgekern.Model {ports}>"

    # ---- running ---------------------------------------------------------------------------------------------

    def run(self, x: Tensors, out: Tensors | None = None, raw: bool = False) -> Any:
        """Runs a batch.

        Args:
            x: The source model's own tensor (dtype and shape, batch first); several inputs as a dict by name.
            out: Where to write; several outputs as a dict by name.
            raw: Give int8 (or int16) as it is inside, instead of the source model's dtype.

        Returns:
            One array, or a dict by name where the model has several outputs.

        Raises:
            InputError: Wrong dtype, shape or name.

        >>> model = ek.SignClassifier().model
        >>> x = np.zeros((3, 48, 48, 3), np.uint8)
        >>> y = np.empty((3, 43), np.float32)
        >>> model.run(x, out=y) is y
        True
        >>> model.run(x).argmax(axis=1).shape
        (3,)
        """
        if self._direct is not None and not raw:
            done = self._direct(x, out)
            if done is not None:
                return done
        feeds = self._feeds(x)
        batch = feeds[0].shape[0]
        result, buffers = self._results(out, batch, raw)
        _core.run(self._handle, feeds, buffers, batch, raw)
        return result

    def run_image(
        self,
        frame: Array,
        boxes: Sequence[Box] | Array | None = None,
        channels: str = "rgb",
        out: Tensors | None = None,
        raw: bool = False,
    ) -> Any:
        """Runs boxes of a camera frame through the preprocess in the file.

        Args:
            frame: uint8 [H, W, C], or [H, W] for "gray". Rows may lie apart; pixels that do not lie side by side
                (a reversed or transposed view) are copied first.
            boxes: (x, y, width, height) in pixels from the top left, enlarged by the file's margin and clipped;
                None for the whole frame, without margin.
            channels: Order of the frame: "rgb", "bgr", "gray", "rgba" or "bgra".
            out: Where to write, one row per box.
            raw: Give int8 as it is inside.

        Returns:
            One row per box.

        Raises:
            InputError: The file holds no preprocess, a box is empty or outside (its index is named), or the frame
                is not as above.

        >>> model = ek.SignClassifier().model
        >>> frame = np.zeros((120, 160, 3), np.uint8)
        >>> model.run_image(frame, boxes=[(10, 20, 40, 40), (90, 30, 36, 38)], channels="bgr").shape
        (2, 43)
        """
        if channels not in _ORDERS:
            raise InputError(f"channels {channels!r} is not one of {', '.join(_ORDERS)}")
        frame = dense_frame(frame, CHANNELS[channels])
        rows = None if boxes is None else box_rows(boxes)
        count = 1 if rows is None else len(rows)
        result, buffers = self._results(out, count, raw)
        if count:
            _core.run_regions(self._handle, frame, rows, _ORDERS[channels], buffers, raw)
        return result

    def _feeds(self, x: Tensors) -> tuple[Array, ...]:
        if isinstance(x, Mapping):
            if set(x) != {t.name for t in self.inputs}:
                raise InputError(f"inputs are {[t.name for t in self.inputs]}, not {list(x)}")
            arrays = tuple(x[t.name] for t in self.inputs)
        elif len(self.inputs) == 1:
            arrays = (x,)
        else:
            raise InputError(f"the model has several inputs: give a dict with {[t.name for t in self.inputs]}")
        feeds = tuple(fitting(a, t, "input") for a, t in zip(arrays, self.inputs, strict=True))
        if len({a.shape[0] for a in feeds}) != 1 or not feeds[0].shape[0]:
            raise InputError(f"batches of {[a.shape[0] for a in feeds]}: they must be equal and not 0")
        return tuple(np.ascontiguousarray(a) for a in feeds)

    def _results(self, out: Tensors | None, batch: int, raw: bool) -> tuple[Any, tuple[Array, ...]]:
        """What `run` returns, and the arrays the engine writes."""
        infos = self._raw_outputs if raw else self.outputs
        if out is None:
            arrays = tuple(np.empty((batch, *t.shape[1:]), t.dtype) for t in infos)
            result: Any = arrays[0] if len(infos) == 1 else {t.name: a for t, a in zip(infos, arrays, strict=True)}
            return result, arrays
        if isinstance(out, Mapping):
            if set(out) != {t.name for t in infos}:
                raise InputError(f"outputs are {[t.name for t in infos]}, not {list(out)}")
            arrays = tuple(out[t.name] for t in infos)
        elif len(infos) == 1:
            arrays = (out,)
        else:
            raise InputError(f"the model has several outputs: give a dict with {[t.name for t in infos]}")
        for array, info in zip(arrays, infos, strict=True):
            fitting(array, info, "out")
            if array.shape[0] != batch or not array.flags.c_contiguous or not array.flags.writeable:
                raise InputError(f"out for {info.name!r} must be writeable, contiguous and of batch {batch}")
        return out, arrays

    @cached_property
    def _raw_outputs(self) -> tuple[TensorInfo, ...]:
        kinds = (DType(record["inside"]).numpy for record in self._core.outputs())
        return tuple(
            TensorInfo(t.name, kind, t.shape, t.scale, t.zero_point)
            for t, kind in zip(self.outputs, kinds, strict=True)
        )

    # ---- looking inside --------------------------------------------------------------------------------------

    def reference(self, x: Tensors, trace: bool = False, raw: bool = False) -> Any:
        """What the NumPy specification computes; slow. Equal to `run`, or with `trace` to `trace`, byte for byte.

        >>> model = ek.SignClassifier().model
        >>> x = np.full((1, 48, 48, 3), 77, np.uint8)
        >>> model.reference(x).tobytes() == model.run(x).tobytes()
        True
        """
        from edgekern.graph import run

        feeds = dict(zip((t.name for t in self.inputs), self._feeds(x), strict=True))
        result = run.reference(self._artifact.graph, feeds, trace=trace, raw=raw)
        return result[self.outputs[0].name] if not trace and len(self.outputs) == 1 else result

    def trace(self, x: Tensors) -> dict[str, Array]:
        """Every tensor by name as the kernels computed it (NHWC, int8 or int16, batch first), from an unfused plan.

        >>> model = ek.SignClassifier().model
        >>> x = np.full((1, 48, 48, 3), 77, np.uint8)
        >>> tensors = model.trace(x)
        >>> [name for name, y in model.reference(x, trace=True).items() if (tensors[name] != y).any()]
        []
        """
        feeds = self._feeds(x)
        session = self._unfused()
        infos = [_info(record) for record in self._core.tensors()]
        batch = feeds[0].shape[0]
        tensors = {t.name: np.empty((batch, *t.shape[1:]), t.dtype) for t in infos}
        for i in range(batch):
            _, buffers = self._results(None, 1, False)
            _core.run(session.handle, tuple(a[i : i + 1] for a in feeds), buffers, 1, False)
            for name, values in tensors.items():
                session.tensor(name, values[i : i + 1])
        return tensors

    def profile(self, x: Tensors | None = None, rounds: int = 100, fused: bool = True) -> list[OpProfile]:
        """Times every step of the plan on one frame.

        Args:
            x: One frame; zeros if None.
            rounds: How often; the least time of each step counts.
            fused: The plan that `run` uses; False: op by op, each tensor in its own memory.

        >>> steps = ek.SignClassifier(isa="scalar").model.profile(rounds=1)
        >>> steps[-1].op, steps[-1].kernel.endswith("scalar"), steps[-1].nanoseconds > 0
        ('Softmax', True, True)
        """
        zeros = {t.name: np.zeros(t.shape, t.dtype) for t in self.inputs}
        feeds = self._feeds(zeros if x is None else x)
        _, buffers = self._results(None, 1, False)
        session = self._session if fused else self._unfused()
        _core.profile(session.handle, tuple(a[:1] for a in feeds), buffers, rounds)
        return [OpProfile(**record) for record in session.ops()]

    def plan(self) -> list[OpProfile]:
        """The steps in the order they run; times are those of the last `profile`.

        >>> ek.SignClassifier().model.plan()[-1].op
        'Softmax'
        """
        return [OpProfile(**record) for record in self._session.ops()]

    def _unfused(self) -> _core.Session:
        return _core.Session(self._core, self._isa, selftest=False, trace=True)

    def memory_plan(self) -> MemoryPlan:
        """Bytes this model holds while it is loaded.

        >>> plan = ek.SignClassifier().model.memory_plan()
        >>> plan.weights + plan.arena + plan.scratch <= plan.total < 2**20
        True
        """
        return MemoryPlan(**self._session.memory())

    @cached_property
    def provenance(self) -> Mapping[str, Any]:
        """Where the file comes from: source digest, calibration, edgekern version.

        Raises:
            CorruptModelError: It is no JSON object; such a file still runs.

        >>> len(ek.SignClassifier().model.provenance["source_sha256"])
        64
        """
        from edgekern.artifact.reader import parse_provenance

        return MappingProxyType(parse_provenance(self._provenance) if self._provenance else {})

    @cached_property
    def report(self) -> Report | None:
        """What the compiler wrote down: float against int8, SQNR per layer, sizes; None where it wrote nothing.

        Raises:
            CorruptModelError: What stands there is no report on this model.

        >>> report = ek.SignClassifier().model.report
        >>> report.bytes < report.source_bytes / 3
        True
        """
        from edgekern.artifact.report import report_from

        written = self.provenance.get("report")
        return None if written is None else report_from(self._artifact.graph, written)

    @property
    def preprocess(self) -> Preprocess | None:
        """From camera bytes to the input; None for models of tensors only.

        >>> ek.SignClassifier().model.preprocess.size
        (48, 48)
        """
        return self._artifact.preprocess if self.takes_images else None

    @cached_property
    def _artifact(self) -> Artifact:
        from edgekern.artifact import read

        return read(self._data)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model file. It appears whole or not at all.

        >>> model = ek.SignClassifier().model
        >>> model.save("copy.ekm")
        >>> ek.load("copy.ekm").labels == model.labels
        True
        """
        target = Path(path)
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with part.open("xb") as file:
                file.write(self._data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
