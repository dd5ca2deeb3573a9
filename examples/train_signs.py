# SPDX-License-Identifier: Apache-2.0
"""Train the traffic-sign classifier, compile it to int8, measure it and write its model card.

    python examples/train_signs.py train     --data DIR --out DIR   learn, validate, write sign.onnx and metrics.json
    python examples/train_signs.py compile   --out DIR              int8, temperature and threshold: sign.ekm
    python examples/train_signs.py eval-test --data DIR --out DIR   open the test set, beside the validation figure
    python examples/train_signs.py evaluate  --out DIR --card docs  every figure: the model card and its JSON

`--data` holds either train.tar + train.csv (+ test_a.tar, test_a.csv) or the official GTSRB archives unpacked
(GTSRB/Final_Training/Images, GTSRB/Final_Test/Images). Only `eval-test` opens the test set, and nothing is chosen by
it. Needs `pip install -r examples/requirements-train.txt` and edgekern with its `compile` extra.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from signs.fit import Recipe, logits_of, train, varied_figures
from signs.net import CONFIGS, Classifier, SignNet, count

import edgekern
from signs import card, data, measure, product


def export(net: SignNet, path: Path) -> None:
    """Write the network as ONNX opset 17: 'image' float32 [1, 3, 48, 48] in, 'probabilities' [1, 43] out."""
    model = Classifier(net.eval())
    torch.onnx.export(
        model,
        (torch.zeros(1, 3, data.SIDE, data.SIDE),),
        str(path),
        opset_version=17,
        dynamo=False,
        input_names=["image"],
        output_names=["probabilities"],
    )


def run_train(arguments: argparse.Namespace) -> None:
    """Train one configuration and write everything later steps need."""
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    crops = data.read(arguments.data, arguments.cache or out / "cache")
    training, validation = data.split(crops)
    overrides = dict(pair.split("=", 1) for pair in arguments.set)
    defaults = asdict(Recipe())
    unknown = sorted(set(overrides) - set(defaults))
    if unknown:
        raise SystemExit(f"--set knows {', '.join(defaults)}; not {', '.join(unknown)}")
    settings = {key: type(defaults[key])(value) for key, value in overrides.items()}
    if arguments.epochs:
        settings["epochs"] = arguments.epochs
    recipe = Recipe(**{**defaults, **settings, "seed": arguments.seed})
    net = train(arguments.config, recipe, crops, training, validation, out)
    epochs = json.loads((out / "history.json").read_text())["epochs"]
    minutes = sum(epoch["seconds"] for epoch in epochs) / 60
    export(net, out / "sign.onnx")
    torch.save({"config": arguments.config, "state": net.state_dict()}, out / "weights.pt")
    np.savez(
        out / "calib.npz",
        images=data.calibration_images(crops, training),
        val_images=crops.images[validation],
        val_labels=crops.labels[validation],
        val_tracks=crops.tracks[validation],
    )
    logits = logits_of(net, crops.images[validation])
    parameters, macs = count(net)
    metrics = {
        "config": arguments.config,
        "note": arguments.note,
        "recipe": asdict(recipe),
        "parameters": parameters,
        "macs": macs,
        "minutes": minutes,
        "pictures": {"training": len(training), "validation": len(validation)},
        "tracks": {
            "training": len(np.unique(crops.tracks[training])),
            "validation": len(np.unique(crops.tracks[validation])),
        },
        "validation": measure.summary(logits, crops.labels[validation]),
        "varied": varied_figures(net, crops, validation),
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    trials: Path = arguments.trials or out / "trials.json"
    tried = json.loads(trials.read_text()) if trials.exists() else []
    trials.write_text(json.dumps([*tried, metrics], indent=1) + "\n")
    print(f"validation {metrics['validation']}, {minutes:.1f} minutes, written to {out}", flush=True)


def load_net(out: Path) -> SignNet:
    """Return the trained float network of a `train` directory."""
    saved = torch.load(out / "weights.pt", weights_only=True)
    net = SignNet(CONFIGS[saved["config"]])
    net.load_state_dict(saved["state"])
    return net.eval()


def run_compile(arguments: argparse.Namespace) -> None:
    """Build the int8 model; its temperature and threshold come from the held-out tracks."""
    out: Path = arguments.out
    with np.load(out / "calib.npz") as sets:
        model, temperature, threshold = product.calibrated(
            out / "sign.onnx", sets["images"], sets["val_images"], sets["val_labels"], sets["val_tracks"]
        )
    model.save(str(out / "sign.ekm"))
    (out / "compile.json").write_text(json.dumps({"temperature": temperature, "threshold": threshold}, indent=1) + "\n")
    print(f"temperature {temperature}, threshold {threshold}, {(out / 'sign.ekm').stat().st_size} bytes")


def figures_of(out: Path, images: data.Bytes, labels: data.Ints) -> dict[str, Any]:
    """Return the float and int8 figures of one set."""
    threshold = json.loads((out / "compile.json").read_text())["threshold"]
    model = edgekern.load(str(out / "sign.ekm"))
    return product.figures(model, logits_of(load_net(out), images), images, labels, threshold)


def run_eval_test(arguments: argparse.Namespace) -> None:
    """Open the test set: print float and int8 beside the validation figures and keep them in test.json."""
    out: Path = arguments.out
    crops = data.read(arguments.data, arguments.cache or out / "cache", test=True)
    validation = json.loads((out / "metrics.json").read_text())["validation"]
    figures = measure.summary(logits_of(load_net(out), crops.images), crops.labels)
    print(f"float: validation {validation['accuracy']:.4%}, test {figures['accuracy']:.4%} of {len(crops.labels)}")
    if arguments.float_only:
        return
    with np.load(out / "calib.npz") as sets:
        held = figures_of(out, sets["val_images"], sets["val_labels"])
    test = figures_of(out, crops.images, crops.labels)
    (out / "test.json").write_text(json.dumps(test, indent=1) + "\n")
    for name, part in (("validation", held), ("test", test)):
        chosen = part["selective"]
        print(
            f"int8 {name}: {part['int8']['accuracy']:.4%} (float {part['float']['accuracy']:.4%}), calibration error "
            f"{part['ece']:.4%}, abstains {chosen['abstained']:.3%}: {chosen['errors_removed']:.0%} of the errors"
        )


def other_run(out: Path) -> dict[str, Any]:
    """Return the validation and, where opened, the test figures of another training."""
    kept = json.loads((out / "metrics.json").read_text())
    entry = {key: kept[key] for key in ("config", "recipe", "note") if key in kept}
    entry["validation"] = {"float": kept["validation"]["accuracy"]}
    if (out / "test.json").exists():
        test = json.loads((out / "test.json").read_text())
        with np.load(out / "calib.npz") as sets:
            entry["validation"]["int8"] = figures_of(out, sets["val_images"], sets["val_labels"])["int8"]["accuracy"]
        entry["test"] = {kind: test[kind]["accuracy"] for kind in ("float", "int8")}
    return entry


def earlier_runs(card_json: Path) -> tuple[list[Any], list[Any]]:
    """Return (trials, trainings for which the test set was opened) of an earlier model's card, its own among them."""
    facts = json.loads(card_json.read_text())
    own = {key: facts["training"][key] for key in ("config", "recipe", "note") if key in facts["training"]}
    for part in ("validation", "test"):
        own[part] = {kind: facts[part][kind]["accuracy"] for kind in ("float", "int8")}
    return facts["trials"], [*facts["others"], own]


def run_evaluate(arguments: argparse.Namespace) -> None:
    """Measure on the validation tracks, add test.json if `eval-test` wrote one, and write the card."""
    out: Path = arguments.out
    training = json.loads((out / "metrics.json").read_text())
    trials: Path = arguments.trials or out / "trials.json"
    trials_before, others_before = earlier_runs(arguments.before) if arguments.before else ([], [])
    with np.load(out / "calib.npz") as sets:
        validation = figures_of(out, sets["val_images"], sets["val_labels"])
    facts: dict[str, Any] = {
        "training": training,
        "trials": [*trials_before, *json.loads(trials.read_text())],
        "names": list(product.NAMES),
        "margin": data.MARGIN,
        "depthwise": len(CONFIGS[training["config"]].blocks),
        "bytes": (out / "sign.ekm").stat().st_size,
        "sha256": hashlib.sha256((out / "sign.ekm").read_bytes()).hexdigest(),
        "onnx_bytes": (out / "sign.onnx").stat().st_size,
        **json.loads((out / "compile.json").read_text()),
        "validation": validation,
        "test_note": "the official test pictures with their regions of interest.",
        "remark": arguments.remark,
        "others": others_before,
        "negatives": [],
    }
    if (out / "test.json").exists():
        facts["test"] = json.loads((out / "test.json").read_text())
        facts["test_note"] = (
            f"{facts['test']['pictures']:,} pictures of the official test set with their regions of interest."
        )
    for other in arguments.other or []:
        facts["others"].append(other_run(other))
    if arguments.negatives:
        model = edgekern.load(str(out / "sign.ekm"))
        facts["negatives"].append(product.non_signs(model, arguments.negatives, facts["threshold"]))
    arguments.card.mkdir(parents=True, exist_ok=True)
    (arguments.card / "model-card.json").write_text(json.dumps(facts) + "\n")
    card.write(facts, arguments.card)
    print(f"int8 validation {validation['int8']['accuracy']:.4%}, {facts['negatives']}; card in {arguments.card}")


def main() -> None:
    """Parse the command line and run one step."""
    parser = argparse.ArgumentParser(description="Train, compile and measure the traffic-sign classifier.")
    commands = parser.add_subparsers(dest="command", required=True)
    learn = commands.add_parser("train", help="learn from the training archive and export ONNX")
    learn.add_argument("--seed", type=int, default=1)
    learn.add_argument("--config", choices=sorted(CONFIGS), default="fine")
    learn.add_argument("--epochs", type=int, help="instead of the recipe's own")
    learn.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="change one setting of the recipe")
    learn.add_argument("--note", default="", help="a word on this run for the list of trials")
    learn.set_defaults(run=run_train)
    build = commands.add_parser("compile", help="int8, temperature and threshold from held-out tracks")
    build.set_defaults(run=run_compile)
    test = commands.add_parser("eval-test", help="open the test set, for the final figure only")
    test.add_argument("--float-only", action="store_true", help="before `compile`")
    test.set_defaults(run=run_eval_test)
    full = commands.add_parser("evaluate", help="all figures and the model card")
    full.add_argument("--card", type=Path, required=True, help="directory for model-card.md and its pictures")
    full.add_argument("--negatives", type=Path, help="directory of pictures without signs")
    full.add_argument("--other", type=Path, action="append", help="OUT directory of another training; repeatable")
    full.add_argument("--before", type=Path, help="model-card.json of an earlier model, whose trainings are listed too")
    full.add_argument("--remark", default="", help="a sentence for the card, under the accuracy table")
    full.set_defaults(run=run_evaluate)
    for sub in (learn, build, test, full):
        sub.add_argument("--out", type=Path, required=True, help="directory for results")
        sub.add_argument("--threads", type=int, default=1)
    for sub in (learn, full):
        sub.add_argument("--trials", type=Path, help="JSON that gathers the validation figure of every run")
    for sub in (learn, test):
        sub.add_argument("--data", type=Path, required=True, help="directory of the photographs")
        sub.add_argument("--cache", type=Path, help="directory for decoded crops (default OUT/cache)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
