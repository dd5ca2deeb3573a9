# SPDX-License-Identifier: Apache-2.0
"""What the golden bytes are of: frames from a hash, alike for every NumPy, and the digest of what a model makes.

`PYTHONPATH=tests python tests/golden_frames.py [--data DIR]` writes tests/golden/digests.json anew, from the NumPy
reference alone. With the folder of the real data sets it writes the real models, without it keeps theirs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekern.compiler import build
from edgekern.model import Model, load

HERE = Path(__file__).parent
DIGESTS = HERE / "golden" / "digests.json"
SIGNS = "signs"
MADE = ("tflite int8", "tflite uint8", "onnx pairs")  # of recorded_nets
EXPORTED = "importers/exported/quantised/pytorch_fx.onnx"
REAL = (  # below the folder of the real data sets
    "models/mlperf_tiny/ad01_int8.tflite",
    "models/mlperf_tiny/kws_ref_model.tflite",
    "models/mlperf_tiny/pretrainedResnet_large_int8.tflite",
    "models/mlperf_tiny/pretrainedResnet_quant.tflite",
    "models/mlperf_tiny/str_ww_ref_model.tflite",
    "models/mlperf_tiny/vww_96_int8.tflite",
    "models/coral/mobilenet_v1_0.25_128_quant.tflite",
    "models/coral/mobilenet_v2_1.0_224_quant.tflite",
    "models/coral/tf2_mobilenet_v2_1.0_224_ptq.tflite",
)
SMALL_FRAMES, REAL_FRAMES = 16, 4
BOXES = [(10, 20, 48, 48), (0, 0, 160, 120), (100, 60, 21, 23), (150, 110, 30, 30), (-9, -9, 33, 40)]
Array = np.ndarray[Any, Any]


def noise(name: str, shape: tuple[int, ...]) -> Array:
    """uint8 from SHAKE-256 of a name."""
    return np.frombuffer(hashlib.shake_256(name.encode()).digest(int(np.prod(shape))), np.uint8).reshape(shape)


def frames(name: str, count: int, shape: tuple[int, ...], dtype: Any) -> Array:
    """Blocks with noise upon them, of four contrasts in turn, as the type of a model's input; float32 in -4..4.

    Small nets answer alike to much of one kind, and a net that answers alike to all proves nothing.
    """
    coarse = tuple(-(-side // 16) if side > 16 else side for side in shape)
    blocks = noise(f"{name} blocks", (count, *coarse))
    for axis, side in enumerate(shape, 1):
        blocks = np.repeat(blocks, 16 if side > 16 else 1, axis).take(range(side), axis)
    made = (blocks // 2 + noise(name, (count, *shape)) // 2).astype(np.int16) - 128
    contrast = np.arange(count).reshape(-1, *(1 for _ in shape)) % 4
    made = (made >> (3 - contrast)) + 128
    if dtype == np.float32:
        return ((made - 128) / np.float32(32)).astype(np.float32)
    return (made - 128 if dtype == np.int8 else made).astype(dtype)


def digest(name: str, run: Callable[[Array], Any], model: Model) -> str:
    """sha256 of the outputs on the frames of a model; `run` gives them, one array or several by name."""
    (port,) = model.inputs
    count = REAL_FRAMES if name in REAL else SMALL_FRAMES
    made = run(frames(name, count, tuple(port.shape[1:]), port.dtype))
    outputs = made if isinstance(made, Mapping) else {"": made}
    if all(len({row.tobytes() for row in values}) < 2 for values in outputs.values()):
        raise ValueError(f"{name}: all frames give one answer, which would prove nothing")
    return hashlib.sha256(b"".join(outputs[key].tobytes() for key in sorted(outputs))).hexdigest()


def picture() -> Array:
    """A camera frame of blocks of colour with noise."""
    coarse = noise("blocks", (15, 20, 3)).repeat(8, 0).repeat(8, 1)
    return coarse // 2 + noise("picture", coarse.shape) // 2


def source(name: str, data: Path | None = None) -> Any:
    """What compiles to a model: bytes or a path."""
    from recorded_nets import SOURCES

    if name in SOURCES:
        return SOURCES[name]()
    return HERE / name if name == EXPORTED else Path(data or "") / name


def recorded() -> dict[str, str]:
    found: dict[str, str] = json.loads(DIGESTS.read_text())
    return found


def crops(model: Model) -> Array:
    """What the model's own Preprocess makes of the boxes of the picture."""
    assert model.preprocess is not None
    return np.stack([model.preprocess.crop(picture(), box) for box in BOXES])


def main() -> None:
    import edgekern

    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    data = parser.parse_args().data
    found = recorded() if DIGESTS.exists() else {}
    signs = load(Path(edgekern.__file__).parent / "signs" / "signs.ekm", selftest=False)
    found[SIGNS] = hashlib.sha256(signs.reference(crops(signs)).tobytes()).hexdigest()
    for name in (*MADE, EXPORTED, *(REAL if data else ())):
        from edgekern.artifact import write

        model = Model.from_bytes(write(build(source(name, data))[0]), selftest=False)
        found[name] = digest(name, model.reference, model)
        print(name, found[name], flush=True)
    DIGESTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
