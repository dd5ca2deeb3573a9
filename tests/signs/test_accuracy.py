# SPDX-License-Identifier: Apache-2.0
"""The bundled model is as good as its card says, on pictures it never saw, and the card names the file shipped."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

LEAST_ACCURACY = 0.992
MOST_CALIBRATION_ERROR = 0.005
MOST_ABSTAINED = 0.01
LEAST_ERRORS_CAUGHT = 0.5


@pytest.fixture(scope="module")
def card(repo: Path) -> Any:
    return json.loads((repo / "docs" / "model-card.json").read_text())


def untold(shipped: bytes, facts: dict[str, Any], text: str) -> list[str]:
    """What a card gets wrong about the file it describes."""
    size, digest = len(shipped), hashlib.sha256(shipped).hexdigest()
    said = {
        "bytes in the JSON": facts.get("bytes") == size,
        "sha256 in the JSON": facts.get("sha256") == digest,
        "bytes in the text": f"{size:,} bytes as `.ekm`" in text,
        "sha256 in the text": digest in text,
    }
    return [what for what, right in said.items() if not right]


def test_the_card_names_the_file_shipped(repo: Path, card: dict[str, Any]) -> None:
    shipped = resources.files("edgekern.signs").joinpath("signs.ekm").read_bytes()
    text = (repo / "docs" / "model-card.md").read_text()
    assert untold(shipped, card, text) == []
    assert untold(shipped[:-1] + b"?", card, text) == ["sha256 in the JSON", "sha256 in the text"]
    assert len(untold(shipped + b"?", card, text)) == 4


@pytest.fixture(scope="module")
def measured(data_dir: Path) -> Any:
    """What `edgekern eval --json` prints of the test pictures and their boxes."""
    for module in ("typer", "PIL"):
        pytest.importorskip(module, reason="the command line needs the extra `cli`")
    import contextlib
    import io

    from edgekern.__main__ import main

    pictures = data_dir / "gtsrb" / "test_a"
    arguments = ["eval", f"{pictures}.tar", "--labels", f"{pictures}.csv", "--json"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(arguments) == 0
    return json.loads(printed.getvalue())


@pytest.mark.data
@pytest.mark.slow
def test_accuracy_calibration_and_abstention_hold(measured: dict[str, Any]) -> None:
    total, errors = measured["total"], measured["total"] - measured["right"]
    assert total == 6315
    assert measured["right"] / total >= LEAST_ACCURACY
    assert measured["calibration_error"] <= MOST_CALIBRATION_ERROR
    assert measured["abstained"] / total <= MOST_ABSTAINED
    assert measured["errors_abstained"] / errors >= LEAST_ERRORS_CAUGHT


@pytest.mark.data
@pytest.mark.slow
def test_the_figures_are_those_of_the_card(measured: dict[str, Any], card: dict[str, Any]) -> None:
    """The same bytes on every CPU, so the same counts: nothing here has a tolerance."""
    test, names = card["test"], card["names"]
    total, errors = measured["total"], measured["total"] - measured["right"]
    assert (total, errors) == (test["pictures"], test["int8"]["errors"])
    assert measured["right"] / total == test["int8"]["accuracy"]
    assert measured["abstained"] / total == test["selective"]["abstained"]
    assert measured["errors_abstained"] / errors == test["selective"]["errors_removed"]
    assert measured["accuracy_when_answering"] == round(test["selective"]["accuracy_kept"], 6)
    assert measured["calibration_error"] == round(test["ece"], 6)
    confusion = [[0] * len(names) for _ in names]
    for row in measured["classes"]:
        confusion[row["index"]][row["index"]] = row["right"]
        for name, count in row["taken_for"].items():
            confusion[row["index"]][names.index(name)] = count
    assert confusion == test["confusion"]
