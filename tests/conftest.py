# SPDX-License-Identifier: Apache-2.0
"""What every test shares: real data on request, strict warnings, the ISA levels of this machine.

EDGEKERN_DATA        directory of the real data sets (also --data DIR); without it their tests skip
EDGEKERN_MINUTES=1   run what takes minutes, too
EDGEKERN_BOX=S       start no test later than S seconds after the first; those skip with that reason
EDGEKERN_EXPECT_ISA  levels this machine must have ("avx2,avxvnni", "scalar"); any other set fails
CI=true              every warning is an error, not only those from edgekern
"""

from __future__ import annotations

import ctypes
import os
import platform
import time
from pathlib import Path

import pytest

# Before NumPy or a peer is imported: a float network is evaluated alike in every run on one BLAS thread only, and tests
# send nothing.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

REPO = Path(__file__).resolve().parents[1]
BEGUN = time.monotonic()
NO_DATA = "needs the real data sets: set EDGEKERN_DATA=DIR or pass --data DIR"


def available_isa() -> list[str]:
    """Ask the C ABI inside the extension which ISA levels this CPU has (before any cap)."""
    from edgekern import _core

    names = ctypes.create_string_buffer(256)
    status = ctypes.CDLL(_core.__file__).ek_isa_available(names, ctypes.c_size_t(len(names)))
    if status != 0:
        raise RuntimeError(f"ek_isa_available returned status {status}")
    return names.value.decode().split(",")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--data",
        metavar="DIR",
        default=os.environ.get("EDGEKERN_DATA") or None,
        help="directory of the real data sets (default: $EDGEKERN_DATA)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI", "").lower() == "true":
        config.getini("filterwarnings").insert(0, "error")
    if data := config.getoption("--data"):
        if not Path(data).is_dir():
            raise pytest.UsageError(f"--data / EDGEKERN_DATA: {data} is not a directory")
        os.environ["EDGEKERN_DATA"] = str(Path(data).resolve())
    if expected := os.environ.get("EDGEKERN_EXPECT_ISA"):
        want, found = sorted(filter(None, expected.split(","))), sorted(available_isa())
        if want != found:
            raise pytest.UsageError(
                f"EDGEKERN_EXPECT_ISA={expected}, but this machine has {','.join(found)}: "
                "the run would not cover what its lane promises"
            )


def pytest_report_header(config: pytest.Config) -> list[str]:
    try:
        isa = ",".join(available_isa())
    except (ImportError, OSError) as error:
        isa = f"unknown, edgekern does not import: {error}"
    cap = os.environ.get("EDGEKERN_ISA")
    return [
        f"isa: {isa}" + (f" (capped to {cap})" if cap else "") + f" on {platform.machine()}",
        f"data: {os.environ.get('EDGEKERN_DATA') or 'none, tests on real data skip'}",
    ]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.monotonic() - BEGUN > float(os.environ.get("EDGEKERN_BOX") or "inf"):
        pytest.skip(f"beyond the time box of {os.environ['EDGEKERN_BOX']} s")
    if item.get_closest_marker("data") and not os.environ.get("EDGEKERN_DATA"):
        pytest.skip(NO_DATA)
    if item.get_closest_marker("minutes") and os.environ.get("EDGEKERN_MINUTES") != "1":
        pytest.skip("takes minutes: set EDGEKERN_MINUTES=1")
    if item.get_closest_marker("arm") and platform.machine() != "aarch64":
        pytest.skip(f"needs aarch64, this is {platform.machine()}")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The directory of the real data sets; skips the test when there is none."""
    data = os.environ.get("EDGEKERN_DATA")
    if not data:
        pytest.skip(NO_DATA)
    return Path(data)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the checkout."""
    return REPO
