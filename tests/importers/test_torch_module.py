# SPDX-License-Identifier: Apache-2.0
"""A PyTorch module as a source, where PyTorch is installed; refusals where it is not needed."""

from __future__ import annotations

import numpy as np
import pytest

import edgekern
from edgekern.errors import CompileError, InputError
from small_onnx import model, node


def test_an_example_goes_with_a_module_only() -> None:
    proto = model([node("Relu", "x", "y")], {"x": [1, 4]}, "y")
    with pytest.raises(InputError, match="file tells its inputs"):
        edgekern.compile(proto, calibration=[np.ones(4, np.float32)], example=np.ones((1, 4), np.float32))


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("onnxscript", [True, False])  # the new exporter needs it
def test_a_module_is_exported_and_compiled(onnxscript: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    if onnxscript:
        pytest.importorskip("onnxscript", reason="needs pip install onnxscript")
    else:
        monkeypatch.setattr("edgekern.importers.torch_module.find_spec", lambda name: None)
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
        torch.nn.Conv2d(8, 8, 3, stride=2, groups=8), torch.nn.Hardswish(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 5),
    )  # fmt: skip
    net.train()
    frames = torch.randn(32, 3, 12, 12)
    made = edgekern.compile(net, example=frames[:1], calibration=frames.numpy())
    assert net.training
    with torch.no_grad():
        wanted = net.eval()(frames).numpy()
    found = made.run(frames.numpy())
    assert ((found - wanted) ** 2).sum() < 3e-3 * (wanted**2).sum()
    with pytest.raises(InputError, match="example"):
        edgekern.compile(net, calibration=frames.numpy())
    with pytest.raises(CompileError, match="PyTorch cannot export"):
        edgekern.compile(net, example=torch.zeros(1, 4, 12, 12), calibration=frames.numpy())
