# SPDX-License-Identifier: Apache-2.0
"""edgekern: exact int8 inference on CPUs at the edge. The same bytes on every CPU.

model = edgekern.compile("net.onnx", preprocess=..., calibration=images)
model.save("net.ekm")
p = edgekern.SignClassifier().classify(image)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekern._core import __version__, isa_available
from edgekern.errors import EdgekernError
from edgekern.model import Model, load
from edgekern.preprocess import Preprocess
from edgekern.signs import Prediction, SignClassifier

if TYPE_CHECKING:
    from edgekern.compiler import compile

__all__ = ["EdgekernError", "Model", "Prediction", "Preprocess", "SignClassifier"]
__all__ += ["__version__", "compile", "isa_available", "load"]


def __getattr__(name: str) -> Any:
    if name != "compile":  # a vehicle that only runs models never loads the compiler
        raise AttributeError(f"module 'edgekern' has no attribute {name!r}")
    from edgekern.compiler import compile

    return compile


def __dir__() -> list[str]:
    return [*globals(), "compile"]
