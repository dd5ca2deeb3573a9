# SPDX-License-Identifier: Apache-2.0
"""`edgekern doctor`: is this installation sound? Needs NumPy only."""

from __future__ import annotations

import json
import os
import platform
import time
from importlib.util import find_spec
from typing import Any

import numpy as np

from edgekern import __version__, isa_available
from edgekern.cli import EXTRAS
from edgekern.errors import EdgekernError
from edgekern.signs import SignClassifier


def doctor(*, as_json: bool = False) -> bool:
    """Prints what is installed and what this CPU has; true if the bundled model's test passes."""
    facts = examine()
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        test = facts["self_test"]
        lines = {
            "edgekern": facts["edgekern"],
            "python": f"{facts['python']}, NumPy {facts['numpy']}",
            "system": facts["system"],
            "cpu": ", ".join(facts["isa"]),
            "EDGEKERN_ISA": facts["isa_cap"] or "not set",
            **{
                f"extra {name}": "installed" if there else f"pip install 'edgekern[{name}]'"
                for name, there in facts["extras"].items()
            },
            "bundled model": f"passed, {test['milliseconds']} ms to load, test and classify"
            if test["passed"]
            else f"FAILED: {test['message']}",
        }
        for name, text in lines.items():
            print(f"{name:<14} {text}")
    return bool(facts["self_test"]["passed"])


def examine() -> dict[str, Any]:
    """Gathers the facts that `doctor` prints."""
    return {
        "edgekern": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "isa": list(isa_available()),
        "isa_cap": os.environ.get("EDGEKERN_ISA", ""),
        "extras": {
            extra: all(find_spec(module) is not None for module in modules) for extra, modules in EXTRAS.items()
        },
        "self_test": _self_test(),
    }


def _self_test() -> dict[str, Any]:
    """Loads the bundled model, which runs its known answer, and classifies one grey picture."""
    begin = time.perf_counter()
    try:
        SignClassifier().classify(np.full((48, 48, 3), 128, np.uint8))
    except (EdgekernError, OSError) as error:
        return {"passed": False, "message": str(error)}
    return {"passed": True, "milliseconds": round((time.perf_counter() - begin) * 1e3, 1)}
