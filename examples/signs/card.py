# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501  (lines of the card are lines of Markdown)
"""Write the model card: every number comes from `model-card.json`, so the card cannot drift from the measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter

Facts = dict[str, Any]


def percent(value: float, digits: int = 2) -> str:
    """Return 0.9931 as '99.31 %'."""
    return f"{100 * value:.{digits}f} %"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def plot_risk_coverage(facts: Facts, path: Path) -> None:
    """Draw error rate against the share of pictures answered, one line per set, the default threshold marked."""
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for name, colour in (("validation", "#888888"), ("test", "#1f6fb4")):
        if name not in facts:
            continue
        curve = facts[name]["risk_coverage"]
        axes.plot(
            [c for c, _, _ in curve],
            [r for _, r, _ in curve],
            color=colour,
            label=f"{name}, {facts[name]['pictures']} pictures",
        )
        chosen = facts[name]["selective"]
        axes.plot([1 - chosen["abstained"]], [1 - chosen["accuracy_kept"]], "o", color=colour)
    axes.set_xlim(0.8, 1.0)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("coverage: share of pictures answered")
    axes.set_ylabel("risk: errors among them")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plot_confusion(facts: Facts, path: Path) -> None:
    """Draw the confusion of the widest set available, errors only, darker for more."""
    name = "test" if "test" in facts else "validation"
    table = facts[name]["confusion"]
    errors = [[0 if i == j else v for j, v in enumerate(row)] for i, row in enumerate(table)]
    figure, axes = plt.subplots(figsize=(8, 8), layout="constrained")
    axes.imshow(errors, cmap="Blues", vmin=0, vmax=2 * max(1, *map(max, errors)))
    for i, row in enumerate(errors):
        for j, value in enumerate(row):
            if value:
                axes.text(j, i, str(value), ha="center", va="center", fontsize=7)
    axes.set_xticks(range(len(table)), [str(i) for i in range(len(table))], fontsize=7)
    axes.set_yticks(range(len(table)), [str(i) for i in range(len(table))], fontsize=7)
    axes.set_xlabel(f"predicted class ({name} errors)")
    axes.set_ylabel("true class")
    axes.grid(alpha=0.2)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _accuracy_section(facts: Facts) -> str:
    rows = []
    for name in ("validation", "test"):
        if name in facts:
            part = facts[name]
            rows.append(
                [
                    f"{name}, {part['pictures']} pictures",
                    percent(part["float"]["accuracy"]),
                    percent(part["int8"]["accuracy"]),
                    str(part["int8"]["errors"]),
                    percent(part["ece"]),
                    f"{part['nll']:.4f}",
                ]
            )
    text = _table(["set", "float", "int8", "int8 errors", "calibration error (15 bins)", "nll"], rows)
    if facts["others"]:
        runs = [
            [
                f"{run['config']}, {run['recipe']['epochs']} epochs, seed {run['recipe']['seed']}",
                run.get("note", ""),
                *(
                    percent(run[part][kind]) if kind in run.get(part, {}) else "-"
                    for part in ("validation", "test")
                    for kind in ("float", "int8")
                ),
            ]
            for run in facts["others"]
        ]
        head = ["training", "", "validation, float", "int8", "test, float", "int8"]
        text += "\n\nOther trainings for which the test set was opened:\n\n" + _table(head, runs)
    if facts["remark"]:
        text += f"\n\n{facts['remark']}"
    return text


def _class_section(facts: Facts) -> str:
    part = facts["test" if "test" in facts else "validation"]
    rows = []
    for label, row in enumerate(part["confusion"]):
        shown = sum(row)
        wrong = sorted(((v, j) for j, v in enumerate(row) if j != label and v), reverse=True)[:3]
        confused = ", ".join(f"{v} as {facts['names'][j]}" for v, j in wrong) or "none"
        rows.append(
            [str(label), facts["names"][label], str(shown), percent(row[label] / shown, 1) if shown else "-", confused]
        )
    return _table(["class", "sign", "pictures", "int8 right", "taken for"], rows)


def write(facts: Facts, directory: Path) -> None:
    """Write `model-card.md`, `risk-coverage.png` and `confusion.png` into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    plot_risk_coverage(facts, directory / "risk-coverage.png")
    plot_confusion(facts, directory / "confusion.png")
    training = facts["training"]
    recipe = training["recipe"]
    tried = [
        [
            run["config"],
            str(run["recipe"]["epochs"]),
            str(run["recipe"]["seed"]),
            f"{run['parameters']:,}",
            f"{run['macs'] / 1e6:.2f} M",
            percent(run["validation"]["accuracy"]),
            f"{run['validation']['nll_tempered']:.4f}",
            percent(run["varied"]["accuracy"]) if "varied" in run else "-",
            run.get("note", ""),
        ]
        for run in facts["trials"]
    ]
    abstention = []
    for name in ("validation", "test"):
        if name in facts:
            chosen = facts[name]["selective"]
            abstention.append(
                [
                    f"{name}, signs",
                    percent(chosen["abstained"]),
                    percent(chosen["errors_removed"], 0),
                    percent(chosen["accuracy_kept"]),
                ]
            )
    for group in facts.get("negatives", []):
        abstention.append([f"{group['crops']:,} {group['name']}", percent(group["abstained"], 1), "-", "-"])
    text = f"""# Model card: the bundled sign classifier

Names one of 43 German traffic signs in a crop that a detector or a person supplies. It does not find signs, and it makes
no claim of safety. Generated by `examples/train_signs.py evaluate`.

## What it is
- Input: a box in a camera frame; {facts["margin"]}/256 of its side is added on each side, clipped to the frame, resized to 48x48 RGB, value / 255.
- Network: first convolution 3x3, then {facts["depthwise"]} depthwise-separable blocks, ReLU6, residual additions, global average pool, one linear layer,
  softmax; configuration `{training["config"]}` in `examples/signs/net.py`.
- {training["parameters"]:,} parameters, {training["macs"]:,} multiply-accumulates per sign, {facts["bytes"]:,} bytes as `.ekm` ({facts["onnx_bytes"]:,} as float ONNX).
- sha256 of the `.ekm`: `{facts["sha256"]}`
- int8 weights per output channel, int8 activations per tensor; the same bytes on every CPU.

## Data
German Traffic Sign Recognition Benchmark (J. Stallkamp, M. Schlipsing, J. Salmen, C. Igel: *Man vs. computer: benchmarking
machine learning algorithms for traffic sign recognition*, Neural Networks 32, 2012). The photographs are not part of this project.
- Training: {training["pictures"]["training"]:,} pictures of {training["tracks"]["training"]:,} tracks; validation: {training["pictures"]["validation"]:,} pictures of
  {training["tracks"]["validation"]:,} other tracks. A track is one physical sign filmed about thirty times, so the split is by track, in every class.
- Test: {facts["test_note"]} No weights were picked by its figures; every training it was opened for, and what changed after, stands below.
- Varied in training by rotation, scale, shift, shear, perspective, gamma, exposure, contrast, colour, slanting light, blur, low resolution, noise and
  occlusion; never mirrored. {percent(recipe["negative_share"], 0)} of each batch are made non-signs with no class at all.

## Accuracy
{_accuracy_section(facts)}

The validation figure is not the test figure's twin: {training["tracks"]["validation"]} tracks are few, and one unusual sign gives up to
fifteen errors at once. `varied` is measured on the validation pictures under the variations of training, where errors are ten times as
many; between trainings of one configuration it decides. Every configuration that was tried, by validation only:

{_table(["configuration", "epochs", "seed", "parameters", "MACs", "validation", "nll (tempered)", "varied", "note"], tried)}

## Confidence and abstention
Temperature {facts["temperature"]:.4f}, fitted on the validation tracks to the int8 logits. At the default threshold {facts["threshold"]:.4f}, chosen
on the same tracks, a sign below it is reported as `abstained`:

{_table(["set", "abstain", "of the errors", "accuracy of the rest"], abstention)}

![Risk against coverage](risk-coverage.png)

## By class
{_class_section(facts)}

![Confusion](confusion.png)

## Limits
- 43 German signs of about 2010, daylight and dusk, one camera. Signs of other countries or later designs get one of the 43 names or an abstention.
- Crops are given. A box far from the sign's edge, a mirrored or strongly turned sign is outside what was measured.
- A non-sign can be named with confidence; the table above says how often. Confidence is calibrated for photographs like these.
- Errors come by the physical sign, not by chance: a sticker, a faded ring or a leaf in front fails on every frame of that sign. Voting over frames
  does not help against it.
- Made for research and products that stay useful when it errs. Not tested as a safety function.
"""
    (directory / "model-card.md").write_text(text)
