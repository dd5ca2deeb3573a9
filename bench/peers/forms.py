# SPDX-License-Identifier: Apache-2.0
"""The int8 forms of the float networks: QDQ ONNX by ONNX Runtime's own quantizer, and the same integers as TFLite. And
the sign model of the package.

Files are made once and kept under `build/peers/`, in a folder named after what makes them.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from latency import MODEL
from peers import bundled, lite, nets

CALIBRATION = 16  # pictures

TRAINED = {  # below the directory of the real data sets
    "ad01": "models/mlperf_tiny/ad01_int8.tflite",
    "kws": "models/mlperf_tiny/kws_ref_model.tflite",
    "vww": "models/mlperf_tiny/vww_96_int8.tflite",
    "resnet8": "models/mlperf_tiny/pretrainedResnet_quant.tflite",
    "mobilenet_v2_coral": "models/coral/tf2_mobilenet_v2_1.0_224_ptq.tflite",
}
MADE = (  # name, form, whether also run capped; vww_shaped only there
    ("mobilenet_v2", "onnx", True),
    ("resnet18", "onnx", True),
    ("sign_dw64", "onnx", False),
    ("sign_dw64", "tflite", False),
    ("sign_vgg48", "onnx", False),
    ("sign_vgg48", "tflite", False),
    ("vww_shaped", "onnx", True),
    ("vww_shaped", "tflite", False),
)


@dataclass(frozen=True)
class Case:
    """One model file that several runtimes read.

    Attributes:
        name: Of the network.
        form: "onnx" (QDQ) or "tflite".
        capped: Run under capped instruction sets, too.
        trained: Relative path of a trained file; "" for a network that is made here, and for the bundled one.
    """

    name: str
    form: str
    capped: bool = False
    trained: str = ""

    @property
    def id(self) -> str:
        return f"{self.name}.{self.form}"

    @property
    def twin(self) -> bool:
        """Whether there is a float network of it."""
        return self.name in nets.SHAPES


SIGNS = Case("signs", "tflite")  # the bundled model
CASES = [
    SIGNS,
    *(Case(n, "tflite", trained=path) for n, path in TRAINED.items()),
    *(Case(n, f, capped=c) for n, f, c in MADE),
]


def chosen(only: str) -> list[Case]:
    """The cases of a comma list of names ("kws") or ids ("sign_dw64.tflite"); all of them for "".

    Raises:
        ValueError: A name that no case has.
    """
    wanted = [word for word in only.split(",") if word]
    known = {word for case in CASES for word in (case.name, case.id)}
    if unknown := [word for word in wanted if word not in known]:
        raise ValueError(f"no net {', '.join(unknown)}; there are {', '.join(case.id for case in CASES)}")
    return [case for case in CASES if not wanted or {case.name, case.id} & set(wanted)]


def folder(root: Path, case: Case) -> Path:
    """Where a file lies that is made here: by which sources, and of the bundled model or by which quantizer."""
    parts: tuple[str, ...]
    if case == SIGNS:
        kind, parts, of = "signs", ("bundled", "lite"), MODEL.read_bytes()
    else:
        import onnxruntime

        kind, parts, of = "nets", ("nets", "forms", "lite"), onnxruntime.__version__.encode()
    by = b"".join((Path(__file__).parent / f"{part}.py").read_bytes() for part in parts)
    return root / f"{kind}-{hashlib.sha256(by + of).hexdigest()[:12]}"


def float_twin(case: Case, root: Path) -> Path:
    """The float network of a case that is made here; `source` writes it."""
    return folder(root, case) / f"{case.name}.float.onnx"


def keep(path: Path, make: Callable[[], bytes]) -> Path:
    """The file, made whole or not at all if it is not there."""
    if not path.exists():
        part = path.with_suffix(".part")
        part.write_bytes(make())
        part.replace(path)
    return path


def source(case: Case, root: Path, data: Path | None) -> Path:
    """The model file of a case, made if it is not there.

    Raises:
        FileNotFoundError: A trained file is not below `data`.
    """
    if case.trained:
        path = Path() if data is None else data / case.trained
        if not path.is_file():
            raise FileNotFoundError(f"needs {case.trained} below --data DIR (or EDGEKERN_DATA)")
        return path
    target = folder(root, case)
    target.mkdir(parents=True, exist_ok=True)
    if case == SIGNS:
        return keep(target / f"{case.name}.tflite", bundled.tflite)
    float32, qdq = float_twin(case, root), target / f"{case.name}.onnx"
    if not qdq.exists():
        onnx.save(nets.float_net(case.name)[0], float32)
        quantise(float32, qdq, nets.SHAPES[case.name])
    if case.form == "onnx":
        return qdq
    return keep(target / f"{case.name}.tflite", lambda: lite.from_qdq(onnx.load(qdq)))


def quantise(float32: Path, target: Path, shape: tuple[int, ...]) -> None:
    """Writes the QDQ int8 version of a float ONNX file: uint8 activations, int8 weights per channel."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            feeds = [{"x": picture[None]} for picture in nets.pictures(CALIBRATION, shape, 1)]
            self._feeds: Iterator[dict[str, Any]] = iter(feeds)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._feeds, None)

    logging.disable(logging.WARNING)  # it recommends a pass for what these graphs do not have
    try:
        part = target.with_suffix(".part")
        quantize_static(
            str(float32),
            str(part),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        part.replace(target)
    finally:
        logging.disable(logging.NOTSET)
