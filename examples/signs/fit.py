# SPDX-License-Identifier: Apache-2.0
"""Train one network: AdamW, warm-up and cosine, averaged weights, label smoothing, a share of non-signs."""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from signs import measure
from signs.augment import Augment, negatives
from signs.data import CLASSES, SIDE, Bytes, Crops, Ints
from signs.net import CONFIGS, SignNet, count


@dataclass(frozen=True)
class Recipe:
    """Everything a training depends on beside data and network."""

    epochs: int = 70
    batch: int = 128
    rate: float = 4e-3
    decay: float = 0.03
    warmup: int = 3
    average: float = 0.998
    smoothing: float = 0.05
    negative_share: float = 0.06
    strength: float = 1.0
    dropout: float = 0.2
    balance: float = 0.3
    seed: int = 1


class Average:
    """Keep an exponential average of a network's weights and batch-norm statistics."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0

    def update(self, net: nn.Module) -> None:
        """Move towards `net`; faster during the first steps."""
        self.steps += 1
        share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(self._floats(self.net), self._floats(net), share)

    @staticmethod
    def _floats(net: nn.Module) -> list[Tensor]:
        return [tensor for tensor in net.state_dict().values() if tensor.is_floating_point()]


def logits_of(net: nn.Module, images: Bytes, batch: int = 256) -> measure.Floats:
    """Return float64 logits [N, 43] for uint8 crops [N, 48, 48, 3]."""
    net.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), batch):
            x = torch.from_numpy(np.ascontiguousarray(images[start : start + batch])).permute(0, 3, 1, 2).float() / 255
            parts.append(net(x).numpy())
    return np.concatenate(parts).astype(np.float64)


def _optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    heavy = [p for p in net.parameters() if p.dim() > 1]
    light = [p for p in net.parameters() if p.dim() <= 1]
    groups = [{"params": heavy, "weight_decay": recipe.decay}, {"params": light, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.rate, foreach=True)


def _rate(recipe: Recipe, progress: float) -> float:
    """Return the learning rate at `progress` epochs."""
    if progress < recipe.warmup:
        return recipe.rate * max(progress / recipe.warmup, 0.01)
    done = (progress - recipe.warmup) / max(recipe.epochs - recipe.warmup, 1e-9)
    return recipe.rate * (0.5 + 0.5 * math.cos(math.pi * min(done, 1.0))) + 1e-6


def _targets(labels: Tensor, real: int, smoothing: float) -> Tensor:
    targets = torch.full((len(labels), CLASSES), 1 / CLASSES)
    targets[:real] = smoothing / CLASSES
    targets[torch.arange(real), labels[:real]] += 1 - smoothing
    return targets


def varied_figures(net: nn.Module, crops: Crops, chosen: Ints, draws: int = 2) -> dict[str, float]:
    """Return `measure.summary` of pictures under the variations of training, from a fixed seed.

    Errors are ten times as many as on the pictures themselves, so two networks are told apart by fewer of them.

    Args:
        net: gives logits.
        crops: all pictures of the training archive.
        chosen: indices of those to measure on.
        draws: variations of each picture.
    """
    augment = Augment(torch.Generator().manual_seed(9))
    net.eval()
    parts = []
    with torch.no_grad():
        for _ in range(draws):
            for first in range(0, len(chosen), 256):
                wide = torch.from_numpy(crops.wide[chosen[first : first + 256]])
                parts.append(net(augment(wide, wide[:0, :SIDE, :SIDE])).numpy())
    return measure.summary(np.concatenate(parts).astype(np.float64), np.tile(crops.labels[chosen], draws))


def train(config: str, recipe: Recipe, crops: Crops, training: Ints, validation: Ints, out: Path) -> SignNet:
    """Train, printing a line per epoch, and return the averaged weights; resumes from `out/checkpoint.pt`.

    The last epoch is taken whatever the validation figures say, so they stay a measurement of it.

    Args:
        config: a name in `CONFIGS`.
        recipe: the training's settings; a checkpoint of another recipe is refused.
        crops: all pictures of the training archive.
        training: indices to learn from.
        validation: indices for the figures, never learnt from.
        out: receives `checkpoint.pt` each epoch and `history.json`.
    """
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    augment = Augment(generator, recipe.strength)
    net = SignNet(CONFIGS[config], recipe.dropout)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = Average(net, recipe.average)
    optimizer = _optimizer(net, recipe)
    history: list[dict[str, float]] = []
    settings = {"config": config, **asdict(recipe)}
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state["settings"] != settings:
            raise ValueError(f"{checkpoint} belongs to {state['settings']}; give another --out or remove it")
        net.load_state_dict(state["net"])
        average.net.load_state_dict(state["average"])
        average.steps = state["steps"]
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        history = state["history"]
    print(
        f"{config}: {count(net)[0]} parameters, {count(net)[1]} multiply-accumulates, {len(training)} pictures",
        flush=True,
    )

    labels = crops.labels[training]
    share = np.bincount(labels, minlength=CLASSES)[labels].astype(np.float64) ** -recipe.balance
    weights = torch.from_numpy(share / share.sum())
    wide, plain = torch.from_numpy(crops.wide[training]), torch.from_numpy(crops.images[training])
    targets_of = torch.from_numpy(labels)
    fake = round(recipe.batch * recipe.negative_share)
    real = recipe.batch - fake
    steps = len(training) // real
    for epoch in range(len(history), recipe.epochs):
        began, total = time.perf_counter(), 0.0
        order = torch.multinomial(weights, steps * real, replacement=True, generator=generator)
        net.train()
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = _rate(recipe, epoch + step / steps)
            chosen = order[step * real : (step + 1) * real]
            pictures = wide[chosen]
            x = augment(pictures, plain[chosen[: real // 8]])
            if fake:
                x = torch.cat((x, negatives(augment, pictures, fake)))
            x = x.contiguous(memory_format=torch.channels_last)
            y = _targets(functional.pad(targets_of[chosen], (0, fake)), real, recipe.smoothing)
            loss = functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            average.update(net)
            total += float(loss.detach())
        figures = measure.summary(logits_of(average.net, crops.images[validation]), crops.labels[validation])
        seconds = time.perf_counter() - began
        history.append({"epoch": epoch + 1, "loss": total / steps, "seconds": seconds, **figures})
        print(
            f"epoch {epoch + 1:3d}/{recipe.epochs}  loss {total / steps:.4f}  validation {figures['accuracy']:.4%}"
            f"  nll {figures['nll_tempered']:.4f}  {seconds:.1f} s",
            flush=True,
        )
        state = {
            "settings": settings,
            "net": net.state_dict(),
            "average": average.net.state_dict(),
            "steps": average.steps,
            "optimizer": optimizer.state_dict(),
            "generator": generator.get_state(),
            "torch": torch.get_rng_state(),
            "history": history,
        }
        torch.save(state, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)
    (out / "history.json").write_text(json.dumps({"settings": settings, "epochs": history}, indent=1) + "\n")
    assert isinstance(average.net, SignNet)
    return average.net
