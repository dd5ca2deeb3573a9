# SPDX-License-Identifier: Apache-2.0
"""A PyTorch module -> ONNX, by PyTorch's own exporter. PyTorch is the caller's: nothing here installs or needs it."""

from __future__ import annotations

import io
import sys
import warnings
from importlib.util import find_spec
from typing import Any

from edgekern.errors import CompileError, InputError

__all__ = ["exported", "is_module"]

_BATCH = "batch"


def is_module(source: object) -> bool:
    """Whether this is a torch.nn.Module: there is none before PyTorch is imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.nn.Module)


def exported(module: Any, example: Any) -> bytes:
    """The bytes of the module's ONNX model, in evaluation mode, with a free batch; the module's own mode stays.

    Args:
        module: A torch.nn.Module.
        example: An input as the module takes it (a tensor with its batch, or a tuple of them).

    Raises:
        InputError: There is no example.
        CompileError: PyTorch cannot export the module; its own words are given.
    """
    torch = sys.modules["torch"]
    if example is None:
        raise InputError("a torch.nn.Module needs an example of its input", hint="compile(net, example=torch.zeros(…))")
    inputs = example if isinstance(example, tuple) else (example,)
    names = [f"input_{i}" if i else "input" for i in range(len(inputs))]
    training = module.training
    held = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter, about itself
            module.eval()
            if find_spec("onnxscript") is not None:
                free = tuple({0: torch.export.Dim(_BATCH)} for _ in inputs)
                program = torch.onnx.export(
                    module, inputs, dynamo=True, input_names=names, dynamic_shapes=free, verbose=False
                )
                held.write(program.model_proto.SerializeToString())
            else:
                axes = {name: {0: _BATCH} for name in names}
                torch.onnx.export(module, inputs, held, dynamo=False, input_names=names, dynamic_axes=axes)
    except Exception as error:  # whatever PyTorch raises is about the module
        raise CompileError(f"PyTorch cannot export the module: {error}") from error
    finally:
        module.train(training)
    return held.getvalue()
