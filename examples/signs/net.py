# SPDX-License-Identifier: Apache-2.0
"""The network: depthwise-separable blocks that quantise well, described as data and counted.

Every width is a multiple of 16, every activation is ReLU6 (so int8 ranges are known before calibration),
every batch norm follows its convolution directly (so it folds exactly).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from signs.data import CLASSES, SIDE


@dataclass(frozen=True)
class Config:
    """One network as data.

    Attributes:
        stem: channels of the first convolution, 3x3.
        stages: (channels, stride of the first block, blocks), every block with a 3x3 depthwise convolution.
        stem_stride: of the first convolution.
    """

    stem: int
    stages: tuple[tuple[int, int, int], ...]
    stem_stride: int = 2

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """(channels, stride) of each separable block in order."""
        return [(channels, stride if k == 0 else 1) for channels, stride, n in self.stages for k in range(n)]


CONFIGS: dict[str, Config] = {
    # Equal weight on every resolution.
    "even": Config(32, ((32, 1, 1), (64, 2, 3), (128, 2, 4), (192, 2, 2))),
    # A thin start and a deep middle.
    "late": Config(16, ((32, 1, 1), (64, 2, 4), (128, 2, 4), (192, 2, 2))),
    # The first convolution sees every pixel; what the rest costs goes to the deep end.
    "fine": Config(16, ((32, 2, 2), (64, 2, 4), (128, 2, 4), (192, 2, 3)), stem_stride=1),
}


def _unit(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class Separable(nn.Module):
    """Depthwise then pointwise convolution; adds its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = _unit(inputs, inputs, 3, stride, inputs)
        self.pointwise = _unit(inputs, outputs, 1)
        self.residual = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for [N, C, H, W]."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return x + y if self.residual else y


class SignNet(nn.Module):
    """Give logits [N, 43] for pictures [N, 3, 48, 48] in 0..1."""

    def __init__(self, config: Config, dropout: float = 0.2) -> None:
        super().__init__()
        widths = [config.stem, *(channels for channels, _ in config.blocks)]
        blocks = [Separable(i, o, s) for i, (o, s) in zip(widths, config.blocks, strict=False)]
        self.features = nn.Sequential(_unit(3, config.stem, 3, config.stem_stride), *blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        y: Tensor = self.head(self.dropout(self.pool(self.features(x)).flatten(1)))
        return y


class Classifier(nn.Module):
    """Give probabilities instead of logits: what is exported."""

    def __init__(self, net: SignNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        """Return probabilities."""
        return torch.softmax(self.net(image), dim=1)


def count(net: nn.Module) -> tuple[int, int]:
    """Return (parameters after folding batch norms, multiply-accumulates per picture)."""
    macs = parameters = 0

    def hook(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal macs, parameters
        weight = module.weight
        assert isinstance(weight, Tensor)
        pixels = output[0, 0].numel() if output.dim() == 4 else 1
        macs += weight.numel() * pixels
        parameters += weight.numel() + weight.shape[0]

    handles = [m.register_forward_hook(hook) for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    training = net.training
    net.eval()
    with torch.no_grad():
        net(torch.zeros(1, 3, SIDE, SIDE))
    net.train(training)
    for handle in handles:
        handle.remove()
    return parameters, macs
