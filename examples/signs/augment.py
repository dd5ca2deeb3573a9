# SPDX-License-Identifier: Apache-2.0
"""Vary a batch of crops as cameras, roads and weather do; never mirror, since left and right differ in meaning.

All randomness comes from one `torch.Generator`, so a seed gives a training. Order follows the light: geometry,
occlusion, lighting, lens and motion, sensor resolution, sensor noise, eight-bit rounding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from signs.data import SIDE, WIDE_INNER


class Augment:
    """Turn wide crops into varied network inputs.

    Args:
        generator: the source of all randomness.
        strength: 1 as tuned on validation tracks; 0 leaves only the rounding.
    """

    def __init__(self, generator: torch.Generator, strength: float = 1.0) -> None:
        self.generator = generator
        self.strength = strength

    def __call__(self, wide: Tensor, plain: Tensor) -> Tensor:
        """Return varied pictures, float32 [N, 3, 48, 48] in 0..1 on eight-bit levels.

        Args:
            wide: uint8 [N, 120, 120, 3].
            plain: uint8 [M, 48, 48, 3], M <= N, the product's own crops of the first M: these keep their geometry and
                sharpness, so that the network also sees exactly what it will be given.
        """
        x = wide.permute(0, 3, 1, 2).float().div_(255)
        x = functional.grid_sample(
            x, self._grid(self._homographies(len(x))), padding_mode="border", align_corners=False
        )
        x[: len(plain)] = plain.permute(0, 3, 1, 2).float() / 255
        x = self._occlude(x)
        x = self._light(x)
        x = self._blur(x)
        x = self._coarsen(x)
        x = self._noise(x)
        return x.clamp_(0, 1).mul_(255).round_().div_(255).contiguous(memory_format=torch.channels_last)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Draw from [low, high)."""
        return torch.rand(shape, generator=self.generator) * (high - low) + low

    def pick(self, n: int, share: float) -> Tensor:
        """Return the indices of about `share` of n pictures."""
        return torch.nonzero(self.uniform(0, 1, n) < share).flatten()

    @staticmethod
    def _grid(matrices: Tensor) -> Tensor:
        """Return sampling positions in the wide crop for 3x3 maps of the output square -1..1."""
        axis = (torch.arange(SIDE) * 2 + 1) / SIDE - 1
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        points = torch.stack((x.flatten(), y.flatten(), torch.ones(SIDE * SIDE)))
        moved = matrices @ points
        return (moved[:, :2] / moved[:, 2:].clamp_min(0.2) * WIDE_INNER).permute(0, 2, 1).reshape(-1, SIDE, SIDE, 2)

    def _homographies(self, n: int) -> Tensor:
        """Rotation, scale and aspect, shear, shift, perspective."""
        s = self.strength
        angle = self.uniform(-0.26, 0.26, n) * s
        scale = torch.exp(self.uniform(-0.17, 0.17, n) * s)
        aspect = torch.exp(self.uniform(-0.12, 0.12, n) * s)
        shear = self.uniform(-0.12, 0.12, n) * s
        m = torch.zeros(n, 3, 3)
        cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
        m[:, 0, 0], m[:, 0, 1] = cos * aspect, -sin + shear
        m[:, 1, 0], m[:, 1, 1] = sin, cos / aspect
        m[:, :2, 2] = self.uniform(-0.16, 0.16, n, 2) * s
        m[:, 2, :2] = self.uniform(-0.15, 0.15, n, 2) * s
        m[:, 2, 2] = 1
        return m

    def _occlude(self, x: Tensor) -> Tensor:
        """Cover a rectangle of a fifth of the pictures with a flat colour taken from another picture."""
        rows = torch.arange(SIDE)
        for i in self.pick(len(x), 0.2 * self.strength).tolist():
            h, w = (int(v) for v in self.uniform(6, 20, 2))
            cy, cx = (int(v) for v in self.uniform(0, SIDE, 2))
            j = int(self.uniform(0, len(x), 1))
            inside = ((rows - cy).abs() * 2 <= h)[:, None] & ((rows - cx).abs() * 2 <= w)[None, :]
            x[i] = torch.where(inside, x[j].mean(dim=(1, 2))[:, None, None], x[i])
        return x

    def _light(self, x: Tensor) -> Tensor:
        """Gamma, exposure, contrast, saturation, tint and a slanting light."""
        n, s = len(x), self.strength

        def factor(low: float, high: float, share: float) -> Tensor:
            on = (self.uniform(0, 1, n) < share).float()
            return torch.exp(self.uniform(low, high, n) * s * on)[:, None, None, None]

        x = x.clamp(1e-4, 1) ** factor(-0.4, 0.4, 0.5)
        grey = x.mean(dim=1, keepdim=True)
        pale = (self.uniform(0, 1, n) > 0.08 * s).float()[:, None, None, None]
        x = grey + (x - grey) * factor(-0.9, 0.4, 0.5) * (0.2 + 0.8 * pale)
        middle = x.mean(dim=(1, 2, 3), keepdim=True)
        x = middle + (x - middle) * factor(-0.8, 0.5, 0.6)
        gain = factor(-1.0, 0.6, 0.8)
        x = x * torch.maximum(gain, (0.1 / middle.clamp_min(0.02)).clamp_max(1))
        x = x * torch.exp(torch.randn(n, 3, 1, 1, generator=self.generator) * (0.07 * s))
        axis = torch.linspace(-1, 1, SIDE)
        tilt = self.uniform(-0.3, 0.3, n, 2) * s * (self.uniform(0, 1, n, 1) < 0.5)
        slope = tilt[:, :1, None] * axis[None, :, None] + tilt[:, 1:, None] * axis[None, None, :]
        return x * (1 + slope[:, None])

    def _blur(self, x: Tensor) -> Tensor:
        """Blur a third of the pictures: by the lens (round) or by motion (along a line)."""
        chosen = self.pick(len(x), 0.35 * self.strength)
        if len(chosen) == 0:
            return x
        n, radius = len(chosen), 3
        axis = torch.arange(-radius, radius + 1).float()
        angle = self.uniform(0, math.pi, n)[:, None, None]
        along = torch.cos(angle) * axis[None, None, :] + torch.sin(angle) * axis[None, :, None]
        across = -torch.sin(angle) * axis[None, None, :] + torch.cos(angle) * axis[None, :, None]
        length = self.uniform(0.4, 1.7, n)[:, None, None]
        width = torch.where(self.uniform(0, 1, n)[:, None, None] < 0.5, length, torch.full_like(length, 0.4))
        kernel = torch.exp(-0.5 * ((along / length) ** 2 + (across / width) ** 2))
        kernel = kernel / kernel.sum(dim=(1, 2), keepdim=True)
        picked = functional.pad(x[chosen], (radius,) * 4, mode="replicate")
        blurred = torch.zeros(n, 3, SIDE, SIDE)
        for dy in range(2 * radius + 1):
            for dx in range(2 * radius + 1):
                blurred.addcmul_(picked[:, :, dy : dy + SIDE, dx : dx + SIDE], kernel[:, dy, dx, None, None, None])
        x[chosen] = blurred
        return x

    def _coarsen(self, x: Tensor) -> Tensor:
        """Give some pictures the resolution of a distant sign."""
        for side in (14, 18, 24, 32):
            chosen = self.pick(len(x), 0.07 * self.strength)
            if len(chosen):
                small = functional.interpolate(x[chosen], size=(side, side), mode="bilinear", antialias=True)
                x[chosen] = functional.interpolate(small, size=(SIDE, SIDE), mode="bilinear")
        return x

    def _noise(self, x: Tensor) -> Tensor:
        """Add sensor noise, up to 0.3 of the picture's own contrast, to two fifths of the pictures."""
        chosen = self.pick(len(x), 0.4 * self.strength)
        if len(chosen):
            spread = x[chosen].std(dim=(1, 2, 3), keepdim=True)
            sigma = self.uniform(0, 0.3, len(chosen))[:, None, None, None] * spread
            x[chosen] += torch.randn(x[chosen].shape, generator=self.generator) * sigma
        return x


def negatives(augment: Augment, wide: Tensor, n: int) -> Tensor:
    """Return n crops that show no sign: for these the network learns to know nothing.

    A quarter each: smooth random textures, hard stripes and patches, magnified corners of pictures, and signs so far
    off centre that most of the crop is something else.

    Args:
        augment: supplies randomness and lighting.
        wide: uint8 [M, 120, 120, 3] training crops to cut pieces from, M >= n.
        n: how many.
    """
    u = augment.uniform
    side = wide.shape[1]
    made = torch.zeros(n, 3, SIDE, SIDE)
    for i in range(n):
        kind = int(u(0, 4, 1))
        if kind == 0:
            x = torch.zeros(1, 3, SIDE, SIDE)
            for cells in (2, 4, 8, 16, 48):
                coarse = torch.randn(1, 3 if float(u(0, 1, 1)) < 0.4 else 1, cells, cells, generator=augment.generator)
                x = x + functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear") * float(u(0, 0.25, 1))
            made[i] = x[0] + u(0.1, 0.9, 3, 1, 1)
        elif kind == 1:
            axis = torch.linspace(-1, 1, SIDE)
            angle, pitch = float(u(0, math.pi, 1)), float(u(1, 20, 1))
            wave = torch.sin(
                (axis[None, :] * math.cos(angle) + axis[:, None] * math.sin(angle)) * pitch + float(u(0, 6, 1))
            )
            x = torch.where((wave > float(u(-0.9, 0.9, 1)))[None], u(0, 1, 3, 1, 1), u(0, 1, 3, 1, 1))
            for _ in range(int(u(0, 4, 1))):
                y0, x0, h, w = (int(v) for v in u(0, SIDE, 4))
                x[:, y0 : y0 + h, x0 : x0 + w] = u(0, 1, 3, 1, 1)
            made[i] = x
        else:
            picture = wide[i].permute(2, 0, 1)[None].float() / 255
            if kind == 2:
                cut = int(u(8, 28, 1))
                y0, x0 = (int(v) * (side - cut) for v in (u(0, 2, 2)))
                piece = picture[:, :, y0 : y0 + cut, x0 : x0 + cut]
                if float(u(0, 1, 1)) < 0.5:
                    other = wide[(i + 1) % len(wide)].permute(2, 0, 1)[None].float() / 255
                    piece = torch.cat((piece, other[:, :, y0 : y0 + cut, x0 : x0 + cut]), dim=int(u(2, 4, 1)))
            else:
                reach = 7 * side // 12
                far = functional.pad(picture, (reach,) * 4, mode="reflect")
                shift = [int(v) for v in u(-reach, reach, 2)]
                shift[int(u(0, 2, 1))] = int(u(5 * side // 12, reach, 1)) * (1 if float(u(0, 1, 1)) < 0.5 else -1)
                inner = round(side * WIDE_INNER)
                y0, x0 = (reach + (side - inner) // 2 + v for v in shift)
                piece = far[:, :, y0 : y0 + inner, x0 : x0 + inner]
            made[i] = functional.interpolate(piece, size=(SIDE, SIDE), mode="bilinear", antialias=True)[0]
    return augment._noise(augment._coarsen(augment._light(made))).clamp_(0, 1).mul_(255).round_().div_(255)
